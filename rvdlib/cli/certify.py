"""``rvd certify``. What it needs is imported when it runs: help is instant."""

import json
import os
from pathlib import Path

import click

from rvdlib.cli.errors import AT_LEAST_ONE, BadInput, in_one_line
from rvdlib.cli.layout_options import layout_options, read_dataset

# As rvdlib.neighbors.search has them, which takes a second to import; the first is the default.
DISTANCES = ("euclidean", "cosine", "profile_overlap")
SUFFIXES = (".png", ".pdf")


@click.command()
@click.option("--dataset", required=True, help="ml-100k, ml-1m, filmtrust, yelp, or a file.")
@click.option("--k", type=AT_LEAST_ONE, default=30, show_default=True, help="Neighbours of a user.")
@click.option(
    "--quorum",
    type=AT_LEAST_ONE,
    required=True,
    help="Neighbours who must have rated an item that a user is served; at most k.",
)
@click.option(
    "--max-in-degree",
    type=click.IntRange(1, 2**31 - 1),  # counted in 32 bits or more
    required=True,
    help="Vicinities in which anybody may stand at most; at least k, which is a usual choice.",
)
@click.option(
    "--distance",
    type=click.Choice(DISTANCES),
    default=DISTANCES[0],
    show_default=True,
    help="Between users: of MF's vectors, or profile_overlap, of the items that they rated.",
)
@click.option(
    "--regime",
    type=click.Choice(["ranking", "rating"]),
    default="ranking",
    show_default=True,
    help="How MF is trained: unobserved cells count as weak zeros, or not at all.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--out", metavar="FILE", help="Draw it, too: a name in .png or .pdf.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@layout_options
def certify(dataset: str, layout: dict, out: str | None, as_json: bool, **options) -> None:
    """Say what a quorum promises on DATASET before any attack.

    First, the most that a target's hit ratio (THR) can be, by the number of fakes and by the
    target's real raters: it holds for any profiles, any model and any training, if nobody stands in
    more than --max-in-degree vicinities. Second, for how many users the first ten items would keep
    their quorum without f of their neighbours, whichever: of lists and vicinities as they are, from MF
    trained on the data set. New fakes move both, and this promises nothing of that. The order of the
    items is not certified. Proofs: rvdlib.theory.certificate. Third, whether neighbours mean anything
    here: how far those of a second training agree, beside chance, with a warning where they agree no
    more than by chance (by profile overlap they depend on no training).
    """
    from rvdlib.lab.study.certified import as_text, certify_dataset
    from rvdlib.paths import check_writable

    path = out and Path(os.path.expanduser(out))  # shells leave --out=~/f.png as it is
    with in_one_line():
        if path and path.suffix not in SUFFIXES:
            raise BadInput(f"--out must be a name in {' or '.join(SUFFIXES)}, got {out!r}")
        if path:
            check_writable(path)  # before work that would be lost
        report = certify_dataset(read_dataset(dataset, layout), **options)
    click.echo(json.dumps(report, indent=2) if as_json else as_text(report))
    if path:
        with in_one_line():
            _draw(report, path)


def _draw(report: dict, path: Path) -> None:
    import matplotlib

    from rvdlib.lab.figures.certificate_plots import certificates
    from rvdlib.lab.figures.style import drawn, set_style
    from rvdlib.paths import write_atomically

    matplotlib.use("agg")
    set_style()
    write_atomically(path, drawn(certificates(report), path.suffix[1:]))
