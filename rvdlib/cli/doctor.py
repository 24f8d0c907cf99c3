"""``rvd doctor``. What it needs is imported when it runs: help is instant."""

import click


@click.command()
def doctor() -> None:
    """Show versions, threads, device, memory, data and folders, and how to mend what is amiss."""
    from rvdlib.lab.runner.doctor import diagnose

    checks = diagnose()
    for check in checks:
        click.echo(str(check))
    if any(check.fine is False for check in checks):
        raise SystemExit(1)
