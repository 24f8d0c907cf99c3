"""Cells: a scenario carried out, kept with what it depends on, and many of them in parallel."""
