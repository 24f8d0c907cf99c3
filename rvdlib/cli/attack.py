"""``rvd attack``. What it needs is imported when it runs, so that ``rvd --help`` is instant."""

import json
import os
import re
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

import click

from rvdlib.cli.errors import Share, in_one_line
from rvdlib.cli.layout_options import layout_options, read_with_shift

N_TARGETS = 5  # as many as freeze() draws
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]+")
_KINDS = {int: "whole number", float: "number", bool: "true or false"}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most"}


class _AttackCommand(click.Command):
    """Its help ends with the attacks or, where one is named, with that one's options."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.meta["rvdlib.arguments"] = list(args)
        return super().parse_args(context, args)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        from rvdlib.attacks import ATTACKS

        named = [each for each in context.meta.get("rvdlib.arguments", ()) if each in ATTACKS]
        if not named:
            with formatter.section("Attacks (rvd attack NAME --help shows the options of one)"):
                formatter.write_dl([(name, each.summary) for name, each in ATTACKS.items()])
            return
        attack = ATTACKS[named[0]]
        with formatter.section(f"The attack {named[0]}"):
            formatter.write_text(attack.summary)
        rows = option_rows(attack.Config.model_fields)
        with formatter.section(
            "Its options, for --option, and their defaults (--regime may set others)"
        ):
            formatter.write_dl(rows) if rows else formatter.write_text("None.")


@click.command(cls=_AttackCommand)
@click.argument("name")
@click.option("--dataset", required=True, help="ml-100k, ml-1m, filmtrust, yelp, or a file.")
@click.option("--out", required=True, metavar="FILE", help="Where to write: a name in .npz.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--attack-size", type=Share(), default="3%", show_default=True, help="Fakes per real user."
)
@click.option(
    "--filler-size",
    type=int,
    help="Ratings beside the targets; by default the mean, or all other items where those are fewer.",
)
@click.option(
    "--visible-share",
    type=Share(),
    default="40%",
    show_default=True,
    help="Of users, to the attacker.",
)
@click.option(
    "--target-set", default="unpopular", show_default=True, help="unpopular, middling or random."
)
@click.option(
    "--regime",
    type=click.Choice(["rating", "ranking"]),
    default="rating",
    show_default=True,
    help="Of the victims aimed at; sets options as params/attacks.yml has them for it.",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="Of the attack (NAME --help lists them), over what --regime sets; the value as in YAML; "
    "repeatable.",
)
@layout_options
def attack(
    name: str, dataset: str, layout: dict, out: str, regime: str, options: tuple[str, ...], **budget
) -> None:
    """Craft the fake profiles of attack NAME on DATASET and freeze them in FILE.

    FILE is an npz without pickles: the profiles as scipy.sparse.save_npz writes them, the raw ids of
    the items, and what made them, sealed by a hash. The attack from_file reads it again, as
    scipy.sparse.load_npz does. Where the ratings of DATASET reach 0 or below, all are shifted up: what
    made them then says "shifted_by", which is to be taken off the stars again for the file's own scale.
    """
    from rvdlib.attacks.frozen import check_frozen_name
    from rvdlib.lab.experiment.hyperparameters import attack_options
    from rvdlib.lab.experiment.poison import freeze
    from rvdlib.paths import check_writable

    out = os.path.expanduser(out)  # shells leave --out=~/f.npz as it is
    with in_one_line():
        given = _parse_options(options)
        check_writable(check_frozen_name(out))  # before work that would be lost
        ratings, shift = read_with_shift(dataset, layout)
        if budget["filler_size"] is None:
            most = max(0, ratings.n_items - N_TARGETS)
            budget["filler_size"] = min(ratings.mean_profile_size, most)
        poison = freeze(name, ratings, options=attack_options(regime, name) | given, **budget)
        if shift:
            poison = replace(poison, origin={**poison.origin, "shifted_by": shift})
        poison.save(out)
    origin = poison.origin
    click.echo(
        f"{out}: {poison.profiles.shape[0]} {name} profiles of {origin['filler_size']} fillers, "
        f"targets {poison.targets.tolist()}"
        + (f"; stars are the file's own, and {shift:g} more" if shift else "")
    )


def _parse_options(options: tuple[str, ...]) -> dict[str, object]:
    from rvdlib.strict_yaml import parse_yaml

    parsed = {}
    for text in options:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise ValueError(f"--option must be KEY=VALUE, got {text!r}")
        if key in parsed:
            raise ValueError(f"--option {key} is given twice")
        # 1e-4 is a text in YAML, which wants 1.0e-4.
        is_decimal = _DECIMAL.fullmatch(value)
        parsed[key] = float(value) if is_decimal else parse_yaml(value, f"--option {text}")
    return parsed


def option_rows(fields: dict[str, Any]) -> list[tuple[str, str]]:
    """Of an attack's ``Config``: ``name=default``, as in YAML, ``...`` for what must be given; what it is."""
    rows = []
    for name, field in fields.items():
        default = "..." if field.is_required() else _as_yaml(field.default)
        limits = f" [{', '.join(kind)}]" if (kind := _limits(field)) else ""
        rows.append((f"{name}={default}", f"{field.description}{limits}"))
    return rows


def _limits(field: Any) -> list[str]:
    if get_origin(field.annotation) is Literal:
        return ["one of " + ", ".join(get_args(field.annotation))]
    kind = [_KINDS[field.annotation]] if field.annotation in _KINDS else []
    return kind + [
        f"{words} {getattr(bound, name):g}"
        for bound in field.metadata
        for name, words in _BOUNDS.items()
        if hasattr(bound, name)
    ]


def _as_yaml(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
