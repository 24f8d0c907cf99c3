"""The laboratory: all that makes the study. The library does not import it."""
