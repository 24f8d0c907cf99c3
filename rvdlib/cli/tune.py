"""``rvd tune``. What it needs is imported when it runs: help is instant."""

import os
from pathlib import Path

import click

from rvdlib.cli.audit import audited_options, ended_early, source_of
from rvdlib.cli.errors import in_one_line
from rvdlib.cli.layout_options import read_dataset
from rvdlib.plain_text import plain

REMEDIES = (
    *("least_support", "unobserved_weight", "count", "quorum"),
    *("closed_form", "closed_form_and_quorum", "detection", "adversarial_training"),
)


@click.command()
@audited_options
@click.option(
    "--remedy",
    type=click.Choice(REMEDIES),
    default="closed_form",
    show_default=True,
    help="What is tuned.",
)
@click.option("--out", default="defense.yml", show_default=True, metavar="FILE")
def tune(ratings, dataset, layout, model, remedy, out, **asked) -> None:
    """Choose k, q, ω and λ of a remedy for a model on RATINGS, by validation and attacks of one's own.

    Of the choices that cost at most 2.5 % of HR and NDCG on validation items, the one that leaves least of
    the attacks which the defender simulates, with targets, fakes and seeds of his own; of none, the most
    accurate. It is printed and saved as YAML: regime, and method with choices or a chain. What costs more
    than 5 %, or makes an attack stronger, is not saved.
    """
    from rvdlib.audit.report import as_yaml
    from rvdlib.audit.tuning import choose_form
    from rvdlib.paths import check_writable, write_atomically

    path = Path(os.path.expanduser(out))
    with in_one_line(), ended_early():
        check_writable(path)
        data = read_dataset(*source_of(ratings, dataset, layout))
        chosen = choose_form(data, model, remedy.replace("_", " "), show=True, **asked)
        text = as_yaml(
            {"regime": asked["regime"], **chosen.form}, f"rvd tune of {data.name}, model {model}"
        )
        if chosen.useful:
            write_atomically(path, text)
    click.echo(text, nl=False)
    click.echo(f"Chosen {chosen}.", err=True)
    if not chosen.useful:
        raise click.ClickException(
            f"no choice of {remedy} may be used here: the best one costs more than 5 % of accuracy or "
            f"makes an attack stronger. {plain(path)} is not written"
        )
