"""``rvd serve``. What it needs is imported when it runs: help is instant."""

import os
from contextlib import ExitStack
from pathlib import Path

import click

from rvdlib.cli.errors import AT_LEAST_ONE, in_one_line
from rvdlib.cli.layout_options import layout_options, read_with_shift

# As rvdlib.models has them, which takes seconds to import.
MODELS = ("MF", "NSVD", "AutoRec", "CDAE", "PlainMF", "PlainNSVD")
ORIGIN = "origin.json"  # what a folder's model was made of


@click.command()
@click.option("--dataset", help="ml-100k, ml-1m, filmtrust or yelp.")
@click.option(
    "--ratings", metavar="FILE", help="A ratings file of your own, in place of a data set."
)
@click.option("--model", type=click.Choice(MODELS), default="MF", show_default=True)
@click.option(
    "--regime",
    type=click.Choice(["rating", "ranking"]),
    default="ranking",
    show_default=True,
    help="Whether unobserved cells count in training (ranking) or not.",
)
@click.option(
    "--defense",
    metavar="FILE",
    help="A YAML file with method and choices, or a chain of them; what held best in the study "
    "unless said, none: no defence.",
)
@click.option(
    "--approximate",
    is_flag=True,
    help="Look for neighbours by a graph, for millions. It needs a --defense file whose "
    "hubness_reduction is none; a quorum's max_in_degree must be null, too.",
)
@click.option(
    "--folder",
    default="rvd-serve",
    show_default=True,
    help="Where the trained model and the ratings that come are kept.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--workers", type=AT_LEAST_ONE, default=1, show_default=True, help="Processes.")
@click.option(
    "--cache-mib", type=click.IntRange(min=0), default=64, show_default=True, help="Of a worker."
)
@click.option(
    "--body-kib", type=AT_LEAST_ONE, default=1024, show_default=True, help="Of a request, at most."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@layout_options
def serve(
    dataset: str | None,
    ratings: str | None,
    layout: dict,
    folder: str,
    host: str,
    port: int,
    workers: int,
    cache_mib: int,
    body_kib: int,
    **made_of,
) -> None:
    """Serve lists, defended when they are asked for, over HTTP.

    The first start trains the model and keeps it in --folder; later ones load it, with the ratings
    that came since, which they put into its file. GET / is a page, GET /recommend/USER?n=10 a list,
    POST /ratings takes {"ratings": [{"user": ..., "item": ..., "rating": ...}], "remove": [USER, ...]},
    GET /metrics is for Prometheus, GET /v2/health/ready for whoever waits. Whoever can reach the port can use all of
    it: it listens to this machine alone unless --host says otherwise.

    A defence may allow fewer items than were asked for, or none: "short" in an answer says how many
    are missing, and ?fallback=undefended or ?fallback=popularity adds as many, undefended, at the
    end. Where more than 5 % of users would get an empty list, a warning says so at the start.
    """
    if (dataset is None) == (ratings is None):
        raise click.UsageError("give either --dataset or --ratings")
    if not host:
        raise click.UsageError("--host is empty, which would be every address of this machine")
    with in_one_line():
        _check_port(host, port)  # before a training that would be in vain
    from rvdlib.serving import service
    from rvdlib.serving.follower import taken_up

    place = Path(os.path.expanduser(folder))
    settings = service.Settings(
        str(place.absolute()),
        cache_bytes=cache_mib * 2**20,
        most_bytes=body_kib * 2**10,
        hosts=tuple({*service.LOOPBACK, host}) if host in service.LOOPBACK else (),
    )
    with ExitStack() as stack:
        with in_one_line():
            _make(dataset or ratings, layout, place, made_of)
            defender = stack.enter_context(taken_up(place, settings.cache_bytes))
            _check_port(host, port)  # which another may have taken meanwhile
        state = defender.state
        at = f"[{host}]" if ":" in host else host
        click.echo(
            f"{defender.defense}: {state.n_users:,} users, {len(state.base.items.ids):,} items, "
            f"at http://{at}:{port}/ (Ctrl-C ends it)"
        )
        service.run(settings, defender, host, port, workers)


def _make(source: str, layout: dict, place: Path, made_of: dict) -> None:
    """A model in the folder, if there is none."""
    import json

    from rvdlib.data.regimes import check_regime
    from rvdlib.paths import check_writable, write_atomically
    from rvdlib.serving import UNDEFENDED, RealTimeDefender, UnusableModel, save
    from rvdlib.serving.approximate import check_form
    from rvdlib.serving.follower import MODEL
    from rvdlib.serving.forms import default_form, read_form
    from rvdlib.serving.log import held
    from rvdlib.strict_yaml import read_yaml

    data, shift = read_with_shift(source, layout)
    if shift:
        raise UnusableModel(
            f"{source}: its ratings are shifted up by {shift:g}, and whoever sends others to POST /ratings "
            "would have to shift them too: write the file with ratings from 1 up, or, where a rating "
            "says like or not, with the likes alone, and give --implicit"
        )
    check_regime(data, made_of["regime"])
    form = made_of["defense"]
    if form and form != "none" and Path(form).is_file():
        made_of["defense"] = Path(form).read_text(errors="replace")
    origin = {"ratings": data.sha256, "name": data.name, **made_of}
    path, known = place / MODEL, place / ORIGIN
    if path.is_file():
        try:
            found = dict(json.loads(known.read_text())) if known.is_file() else {}
        except (ValueError, TypeError):
            raise UnusableModel(
                f"{known} is damaged: name another --folder, or remove this one"
            ) from None
        if other := [name for name in origin if found.get(name) != origin[name]]:
            raise UnusableModel(
                f"{place} has a model of another {other[0]}: name another --folder, or remove this one"
            )
        return
    check_writable(path)
    if form == "none":
        form = UNDEFENDED
    elif form is not None:  # read before anything is trained
        file, form = Path(form), read_form(form)
        regime = read_yaml(file).get("regime", made_of["regime"])
        if regime != made_of["regime"]:
            raise UnusableModel(
                f"{file} was chosen for --regime {regime}: give it, or another file"
            )
    if made_of["approximate"]:
        check_form(form or default_form(made_of["regime"], made_of["model"]))
    click.echo(f"training {made_of['model']} on {data}", err=True)
    victim = _trained(data, made_of["model"], made_of["regime"], made_of["seed"])
    defender = RealTimeDefender(victim, data, form=form, approximate=made_of["approximate"])
    place.mkdir(parents=True, exist_ok=True)
    with held(place, alone=True) as alone:
        if not alone or path.is_file():
            raise UnusableModel(f"{place} has got a model from another process: start again")
        write_atomically(known, json.dumps(origin, indent=1))
        save(defender, path)


def _trained(data, model: str, regime: str, seed: int):
    from rvdlib.data import leave_one_out
    from rvdlib.lab.experiment.hyperparameters import victim_hyperparameters
    from rvdlib.models import VICTIMS
    from rvdlib.seeding import stream

    split = leave_one_out(data, stream(seed, "split"))
    victim = VICTIMS[model](**victim_hyperparameters(data.name, regime, model))
    return victim.fit(split.train, split.validation, data.levels, stream(seed, "model", model))


def _check_port(host: str, port: int) -> None:
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise OSError(f"--host {host} --port {port}: {error.strerror}") from None
