"""``rvd tune``: the choices of one remedy for somebody's model, without an audit around it."""

import warnings
from dataclasses import dataclass

from rvdlib.arguments import check_one_of
from rvdlib.audit.clock import Clock
from rvdlib.audit.findings import form_file
from rvdlib.audit.preparing import Audit, hyperparameters, prepare, subject_of
from rvdlib.audit.remedies import REMEDIES
from rvdlib.audit.tuning import BUDGET, EQUAL, Choice, tune
from rvdlib.data import Ratings


@dataclass(frozen=True)
class Chosen:
    """A form for a file of choices, and what it reached on validation.

    Attributes:
        form: ``regime``, and ``method`` with ``choices`` or a ``chain``.
        useful: whether it costs at most what it may, and no attack gains by it.
    """

    form: dict
    choice: Choice

    @property
    def useful(self) -> bool:
        return self.choice.loss <= BUDGET and self.choice.lift <= self.choice.undefended + EQUAL

    def __str__(self) -> str:
        c = self.choice
        return (
            f"of {c.trials} choices, on validation: under the worst of the defender's own attacks, "
            f"{100 * c.lift:.1f} % more users find a target in their list than without attack and defence "
            f"(undefended {100 * c.undefended:.1f} %), and accuracy changes by {-100 * c.loss:+.1f} %"
        )


def choose_form(
    ratings: Ratings,
    model: str = "MF",
    remedy: str = "closed form",
    *,
    regime: str = "ranking",
    budget: float = 0.03,
    minutes: float | None = 10,
    seed: int = 0,
    show: bool = False,
) -> Chosen:
    """Choose k, q, ω, λ, or whatever the remedy has, by the rule of :mod:`rvdlib.audit.tuning`.

    Arguments as of :func:`rvdlib.audit.run.audit`; ``remedy``: one of ``REMEDIES``.

    Raises:
        ValueError: as there, and for a remedy that the model cannot have.
        KeyboardInterrupt: if it is interrupted, or the minutes were over before anything was tried.
    """
    check_one_of("remedy", remedy, REMEDIES)
    found = Audit(ratings, subject_of(model, regime, ratings), budget, seed, minutes, ratings)
    clock = Clock(minutes, show)
    names = ["closed form", "hardened"] if remedy == "hardened" else [remedy]
    try:
        with clock.running(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            bench = prepare(found, clock, None, 0)
            ours = found.subject.ours
            omega = hyperparameters(ratings.name, found.subject.name, "ranking") if ours else []
            twice = 12 * bench.fit_seconds["none"] < 0.3 * clock.all
            tuned = tune(bench, clock, names, 2 if twice else 1, omega, share=0.95)
    finally:
        clock.close()
    if remedy not in tuned.chosen:
        raise ValueError(
            f"{remedy} cannot be had for {found.subject.name}: {tuned.left_out[remedy]}"
        )
    choice = tuned.chosen[remedy]
    return Chosen(form_file(regime, choice.form), choice)
