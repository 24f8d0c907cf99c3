"""``rvd bench`` and ``rvd attack``. What they need is imported when they run: help is instant."""

import json
import math
import os
import re

import click
from click.core import ParameterSource

from rvdlib.runner.commands import BadInput
from rvdlib.runner.layout_options import layout_options, read_dataset

_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]+")
AT_LEAST_ONE = click.IntRange(min=1)


class _Finite(click.FloatRange):
    """A range of numbers; click takes NaN for being in any."""

    def convert(self, value, param, ctx):
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


@click.command()
@click.option("--dataset", required=True, help="ml-100k, ml-1m, filmtrust, yelp, or a file.")
@click.option("--model", required=True, help="MF, NSVD, AutoRec or CDAE.")
@click.option("--regime", type=click.Choice(["rating", "ranking"]), default="rating")
@click.option("--k", type=AT_LEAST_ONE, default=10, show_default=True, help="Neighbours.")
@click.option(
    "--unobserved-weight",
    type=_Finite(0, 1),
    default=0.1,
    show_default=True,
    help="ω of the closed form: what silence counts.",
)
@click.option(
    "--proximal-weight",
    type=_Finite(0, min_open=True),
    default=1.0,
    show_default=True,
    help="λ of the closed form: the pull back to the model.",
)
@click.option("--chosen", is_flag=True, help="Take all of these from params/defenses.yml instead.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--threads", type=AT_LEAST_ONE, help="As many as torch has unless said.")
@click.option("--pairs", type=AT_LEAST_ONE, default=5, show_default=True, help="Rounds.")
@click.option(
    "--sample", type=AT_LEAST_ONE, default=50, show_default=True, help="Users for the loops."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every measured round.")
@layout_options
@click.pass_context
def bench(
    context: click.Context, dataset: str, layout: dict, model: str, as_json: bool, **options
) -> None:
    """Time serving every user of DATASET by MODEL: undefended, and in every form of RVD.

    Trains the model first. Run it on a quiet machine; ratios stand a busy one better than times.
    """
    from rvdlib.study.bench import as_text, benchmark

    for name in ("k", "unobserved_weight", "proximal_weight"):
        if options["chosen"] and context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(f"--chosen brings a choice of its own: leave out {option}")
    try:
        report = benchmark(read_dataset(dataset, layout), model, **options)
    except ValueError as error:
        raise BadInput(str(error)) from None
    click.echo(json.dumps(report, indent=2) if as_json else as_text(report))


class _AttackCommand(click.Command):
    """Its help ends with the attacks or, where one is named, with that one's options."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.meta["rvdlib.arguments"] = list(args)
        return super().parse_args(context, args)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        from rvdlib.study.attack_help import described

        attacks = described()
        named = [each for each in context.meta.get("rvdlib.arguments", ()) if each in attacks]
        if not named:
            with formatter.section("Attacks (rvd attack NAME --help shows the options of one)"):
                formatter.write_dl([(name, each.summary) for name, each in attacks.items()])
            return
        attack = attacks[named[0]]
        with formatter.section(f"The attack {named[0]}"):
            formatter.write_text(attack.summary)
        rows = [
            (f"{name}={option.default or '...'}", f"{option.description} [{option.type}]")
            for name, option in attack.options.items()
        ]
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
    "--attack-size", type=float, default=0.03, show_default=True, help="Fakes per real user."
)
@click.option("--filler-size", type=int, help="Ratings beside the targets; by default the mean.")
@click.option(
    "--visible-share", type=float, default=0.4, show_default=True, help="Of users, to the attacker."
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
    scipy.sparse.load_npz does.
    """
    from rvdlib.attacks.frozen import check_frozen_name
    from rvdlib.paths import check_writable
    from rvdlib.study.hyperparameters import attack_options
    from rvdlib.study.poison import freeze

    out = os.path.expanduser(out)  # shells leave --out=~/f.npz as it is
    try:
        given = _parse_options(options)
        check_writable(check_frozen_name(out))  # before work that would be lost
        ratings = read_dataset(dataset, layout)
        poison = freeze(name, ratings, options=attack_options(regime, name) | given, **budget)
        poison.save(out)
    except (ValueError, OSError) as error:
        raise BadInput(str(error)) from None
    origin = poison.origin
    click.echo(
        f"{out}: {poison.profiles.shape[0]} {name} profiles of {origin['filler_size']} fillers, "
        f"targets {poison.targets.tolist()}"
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
