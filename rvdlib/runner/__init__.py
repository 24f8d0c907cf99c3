"""Running a study: rows kept on disk, notebooks executed and checked, one page that gathers them."""
