"""Which defence serves: by regime, as the study found it, or as somebody chose it.

A form is a mapping, ``{method: closed_form, choices: {k: 30}}`` or ``{chain: [form, form]}``, as in
``params/hardened.yml`` and in the files of ``rvd tune``, which also say the ``regime``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rvdlib import paths
from rvdlib.arguments import did_you_mean
from rvdlib.defenses import DEFENSES, Chain, Served, forms
from rvdlib.defenses.vicinal_defense import VicinalDefense
from rvdlib.refusals import refusal
from rvdlib.serving.errors import UnusableForm, shortened
from rvdlib.strict_yaml import read_yaml

Form = Mapping[str, Any]
UNDEFENDED: Form = {"chain": []}
REGIMES = ("rating", "ranking")
NAMES = ("method", "choices", "chain")


def default_form(regime: str, model: str = "MF") -> Form:
    """What held best in the study: a quorum (rating regime), the closed form and a quorum (ranking)."""
    if regime not in REGIMES:
        raise UnusableForm(f"regime must be one of {', '.join(REGIMES)}, got {regime!r}")
    searched = read_yaml(paths.PARAMS / "hardened.yml")[regime]
    chosen = searched.get(model, searched["MF"])
    parts = ["quorum"] if regime == "rating" else ["closed form, hardened", "quorum"]
    return {"chain": [chosen[name] for name in parts]}


def read_form(given: Form | str | Path) -> Form:
    """A form as given, or of a YAML file.

    Raises:
        UnusableForm: for what is none; it names the file, method or choice.
    """
    if isinstance(given, Mapping):
        chain_of(given)
        return given
    if not isinstance(given, str | Path):
        raise UnusableForm(f"a form is a mapping or a YAML file of one, got {shortened(given)}")
    path = Path(given)
    try:
        read = read_yaml(path)
    except OSError as error:
        raise UnusableForm(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UnusableForm(str(error)) from None
    if not isinstance(read, dict):
        raise UnusableForm(f"{path} must hold a mapping with method and choices, or a chain")
    form = {name: given for name, given in read.items() if name != "regime"}
    try:
        return read_form(form)
    except UnusableForm as error:
        raise UnusableForm(f"{path}: {error}") from None


def chain_of(form: Form) -> Chain:
    """The defences of a form, which all serve a trained model; UnusableForm names what is none."""
    if unknown := sorted(set(form) - set(NAMES), key=repr):
        raise UnusableForm(f"a form has method and choices, or a chain, and no {unknown[0]!r}")
    if ("chain" in form) == ("method" in form):
        raise UnusableForm("a form has either a method or a chain")
    steps = form.get("chain", [])
    if not isinstance(steps, list | tuple) or not all(isinstance(s, Mapping) for s in steps):
        raise UnusableForm(f"a chain is a list of forms, got {steps!r}")
    method = form.get("method", "")
    if not isinstance(method, str):
        raise UnusableForm(f"a method is a name, got {shortened(method)}")
    if method and method not in DEFENSES:
        known = ", ".join(DEFENSES)
        raise UnusableForm(
            f"there is no method {method!r}, there are {known}{did_you_mean(method, DEFENSES)}"
        )
    own = dict(form) | {"choices": _choices_of(form, method)}
    try:
        found = Chain(*map(chain_of, steps)) if "chain" in form else forms.chain_of(own)
    except UnusableForm:
        raise
    except (TypeError, ValueError) as error:
        problem = refusal(error) if isinstance(error, ValidationError) else str(error)
        raise UnusableForm(f"choices of {method}: {problem}" if method else problem) from None
    if found.trains:
        raise UnusableForm(
            f"{method} acts before or in training, and what is served is trained: train the model "
            "under it first"
        )
    return found


def _choices_of(form: Form, method: str) -> Mapping[str, Any]:
    choices = {} if form.get("choices") is None else form["choices"]
    if not isinstance(choices, Mapping):
        raise UnusableForm(
            f"choices of {method or 'a form'} must map names to values, as {{k: 30}}, got "
            f"{shortened(choices)}"
        )
    if choices and not method:
        raise UnusableForm("a chain has no choices of its own: give them to the forms in it")
    known = DEFENSES[method].Config.model_fields if method else {}
    for name in choices:
        if name not in known:
            raise UnusableForm(
                f"choices of {method}: there is no {name!r}, there are {', '.join(known) or 'none'}"
                f"{did_you_mean(name, known)}"
            )
    return choices


def name_of(form: Form) -> str:
    """``closed_form + quorum``; ``none`` without a defence."""
    if "chain" in form:
        return " + ".join(map(name_of, form["chain"])) or "none"
    return form["method"]


def served(recommender: Any) -> list[Any]:
    """What is wrapped around a model, the outermost first."""
    if not isinstance(recommender, Served):
        return []
    return [recommender, *served(recommender.victim)]


def layers(recommender: Any) -> list[VicinalDefense]:
    """Those of them that look for neighbours."""
    return [each for each in served(recommender) if isinstance(each, VicinalDefense)]
