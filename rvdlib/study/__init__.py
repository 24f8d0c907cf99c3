"""The study: its cells on disk, its notebooks executed, its results gathered on one page."""
