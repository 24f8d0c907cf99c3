"""``rvd audit``. What it needs is imported when it runs: help is instant."""

import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from rvdlib.cli.errors import AT_LEAST_ONE, BadInput, Finite, Share, in_one_line
from rvdlib.cli.layout_options import layout_options, read_dataset
from rvdlib.plain_text import plain

LONGEST = 10_000  # minutes, a week
MOST = 900  # repetitions, as rvdlib.audit.measuring has it, which takes seconds to import


def audited_options(command):
    """What ``rvd audit`` and ``rvd tune`` have in common."""
    options = (
        click.argument("ratings", required=False),
        click.option("--dataset", help="ml-100k, ml-1m, filmtrust or yelp, in place of RATINGS."),
        click.option(
            "--model",
            default="MF",
            show_default=True,
            help="MF, NSVD, AutoRec, CDAE, or your own as mine.py:make_model. The file is then executed, "
            "and nothing else is: make_model() gives an object with fit(ratings) and score(users).",
        ),
        click.option(
            "--regime",
            type=click.Choice(["ranking", "rating"]),
            default="ranking",
            show_default=True,
            help="How the model is trained: unobserved cells count as weak zeros, or not at all.",
        ),
        click.option(
            "--budget", type=Share(), default="3%", show_default=True, help="Fakes per real user."
        ),
        click.option(
            "--minutes",
            type=Finite(0, LONGEST, min_open=True),
            default=10,
            show_default=True,
            help="To be kept; where all that is of use fits into less, it ends earlier.",
        ),
        click.option(
            "--seed",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Of attackers and trainings; users, split and choices are the same for every seed.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return layout_options(command)


@click.command()
@audited_options
@click.option(
    "--targets",
    metavar="FILE|IDS",
    help="Items to promote: a file with an id a line, or ids with commas between; else cold and middling ones.",
)
@click.option(
    "--list-length",
    type=AT_LEAST_ONE,
    help="Items in a list; 50 unless said, or a twentieth of the catalogue where that is less.",
)
@click.option(
    "--repetitions",
    type=click.IntRange(1, MOST),
    help="Exactly so many, without a clock: --minutes is not heeded, and the numbers are always the same.",
)
@click.option("--out", default="report", show_default=True, metavar="FOLDER")
def audit(
    ratings, dataset, layout, model, targets, list_length, repetitions, minutes, out, **asked
) -> None:
    """Say how easily a recommender on RATINGS is fooled, what helps, and what it costs.

    RATINGS is a file: csv, tsv and others as `rvd data show` reads them, implicit where there is no
    rating column. Where there is a column of times, the split is by time. Fakes promote items, remedies
    are chosen on validation items and on attacks of the defender's own, and FOLDER gets the answer:
    index.html (opens offline), audit.json, audit.csv, and defense.yml if a remedy helps. Ctrl-C ends it
    early; the report then has what was measured, and says so; before the first attack, there is none.
    """
    from rvdlib.audit import End, document, write
    from rvdlib.audit import audit as carry_out
    from rvdlib.audit.report import FILES
    from rvdlib.paths import check_writable

    folder = Path(os.path.expanduser(out))
    with in_one_line(), ended_early():
        for name in FILES:
            check_writable(folder / name)  # before work that would be lost
            if (folder / name).exists() and not (folder / "audit.json").exists():
                raise FileExistsError(f"{folder / name} is not of an audit: name another --out")
        source = source_of(ratings, dataset, layout)
        with alone_in(folder):
            data = read_dataset(*source)
            found = carry_out(
                data,
                model,
                targets=None if targets is None else _ids(targets, data.item_ids.tolist()),
                list_length=list_length or 0,
                repetitions=repetitions,
                minutes=None if repetitions else minutes,
                show=True,
                **asked,
            )
            with uninterrupted():
                command = ["rvd", *sys.argv[1:]] if sys.argv[1:2] == ["audit"] else []
                report = document(found, command, source)
                write(report, folder)
    for sentence in report["answer"]:
        click.echo(plain(sentence))
    click.echo(f"\n{plain(folder / 'index.html')}")
    if found.end is End.INTERRUPTED:
        raise SystemExit(130)
    if found.end is End.FAILED:
        raise BadInput(plain(found.interrupted))


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made if need be and removed again if nothing was written into it.

    Raises:
        OSError: if another audit holds it: of two reports in one folder, the last would win.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    place = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(
                f"another audit writes its report to {folder}: wait for it, or name another --out"
            ) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(place)
        for each in made:
            with suppress(OSError):
                each.rmdir()


@contextmanager
def ended_early() -> Iterator[None]:
    """What ends before it has found anything says so, with exit code 130."""
    try:
        yield
    except KeyboardInterrupt as error:
        reason = str(error) or "it was interrupted"
        click.echo(f"Nothing was found and nothing is written: {reason}.", err=True)
        raise SystemExit(130) from None


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Another Ctrl-C does not cut the report short."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def source_of(ratings: str | None, dataset: str | None, layout: dict) -> tuple[str, dict]:
    """What to load, a file with its times where a column has them, and how it is laid out."""
    from rvdlib.data.catalogue import CATALOGUE

    if (ratings is None) == (dataset is None):
        raise click.UsageError("Give a ratings file, or --dataset NAME: one of the two.")
    name = ratings or dataset or ""
    if name.lower() not in CATALOGUE:
        layout = {"time_column": "found"} | layout
    return name, layout


def _ids(targets: str, known: list) -> list[str]:
    """Of a file or a text; what looks like a file and is not there is no item."""
    if os.path.isfile(targets):
        lines = Path(targets).read_text(encoding="utf-8-sig", errors="replace").splitlines()
        return [line.strip() for line in lines if line.strip()]
    ids = [each.strip() for each in targets.split(",") if each.strip()]
    if (Path(targets).suffix or os.sep in targets) and not {*ids} & {*map(str, known)}:
        raise FileNotFoundError(f"--targets {targets}: there is no such file, and no such item")
    return ids
