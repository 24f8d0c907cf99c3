"""``python -m rvdlib`` is ``rvd``."""

from rvdlib.cli import main

main(prog_name="rvd")
