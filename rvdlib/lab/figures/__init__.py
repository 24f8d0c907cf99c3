"""Rows to axes."""
