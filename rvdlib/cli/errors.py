"""What a command raises for whoever gave it something that cannot be used."""

import click


class BadInput(click.ClickException):
    """Something that the user gave cannot be used: one message, exit code 2."""

    exit_code = 2
