"""What 12 says, from timings that are known."""

import pandas as pd

from rvdlib.lab.study import timings


def test_the_answer_is_of_the_first_catalogue_and_names_the_slowest():
    times = pd.DataFrame(
        {
            "dial": dial,
            "items": items,
            "group": group,
            "form": form,
            "ms_per_user": ms * factor * slower,
        }
        for dial, items, factor in (("items", 1682, 1), ("k", 1682, 7), ("items", 9000, 5))
        for group, form, ms in (
            ("many", "undefended", 0.02),
            ("many", "closed_form", 0.1),
            ("many", "engine", 1.5),
            ("few", "closed_form", 0.3),
            ("few", "engine", 1.7),
            ("few", "plain_loop", 284.0),
        )
        for slower in (0.5, 1, 3)  # the median over rounds is shown
    )
    trials = pd.DataFrame(
        {
            "system": ["MF", "CDAE"],
            "dataset": "ml-100k",
            "regime": ["rating", "ranking"],
            "train_seconds": [2.0, 30.0],
            "peak_mib": [1500.0, 900.0],
        }
    )
    keys = pd.MultiIndex.from_tuples([("rating", "clone"), ("rating", "revadv")])
    crafting = pd.DataFrame({"mean": [0.1, 12.0]}, index=keys)
    serving, training, attack = timings.answer(times, trials, crafting).splitlines()[2:]
    assert "1,682 items cost 0.02 ms undefended, 0.1 ms in closed form, 1.5 ms under RVD" in serving
    assert serving.endswith("and 280 ms by the plain loop.")
    assert "longer than 30 CPU seconds (CDAE, ml-100k, ranking regime)" in training
    assert "more than 1,500 MiB" in training
    assert "is revadv, 12 CPU seconds on average (rating regime)" in attack
