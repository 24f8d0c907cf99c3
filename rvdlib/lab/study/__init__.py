"""What the notebooks show: rows of cells to tables, maps and verdicts."""
