"""The command line. What a command needs is imported when it runs: help is instant."""

import click

import rvdlib
from rvdlib.cli import (
    attack,
    audit,
    bench,
    certify,
    data,
    doctor,
    plan,
    serve,
    study,
    tune,
    verify,
)
from rvdlib.cli.errors import BadInput


@click.version_option(rvdlib.__version__, prog_name="rvd")
@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Real-time Vicinal Defense for recommender systems: the open reference study."""
    try:
        import rvdlib.paths  # noqa: F401
    except ValueError as error:  # a variable that names no folder
        raise BadInput(str(error)) from None


main.add_command(data.data)
main.add_command(plan.plan)
main.add_command(study.study)
main.add_command(verify.verify)
main.add_command(tune.tune)
main.add_command(attack.attack)
main.add_command(audit.audit)
main.add_command(bench.bench)
main.add_command(certify.certify)
main.add_command(doctor.doctor)
main.add_command(serve.serve)
