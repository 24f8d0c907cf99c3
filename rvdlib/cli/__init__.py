"""The command line. What a command needs is imported when it runs: help is instant."""

import click

import rvdlib
from rvdlib.cli.attack import attack
from rvdlib.cli.audit import audit
from rvdlib.cli.bench import bench
from rvdlib.cli.certify import certify
from rvdlib.cli.data import data
from rvdlib.cli.doctor import doctor
from rvdlib.cli.errors import BadInput
from rvdlib.cli.plan import plan
from rvdlib.cli.serve import serve
from rvdlib.cli.study import study
from rvdlib.cli.tune import tune
from rvdlib.cli.verify import verify


@click.version_option(rvdlib.__version__, prog_name="rvd")
@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Real-time Vicinal Defense for recommender systems: the open reference study."""
    try:
        import rvdlib.paths  # noqa: F401
    except ValueError as error:  # a variable that names no folder
        raise BadInput(str(error)) from None


for command in (attack, audit, bench, certify, data, doctor, plan, serve, study, tune, verify):
    main.add_command(command)
