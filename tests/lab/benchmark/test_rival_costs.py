"""What rivals cost in time: whose training is timed, and on whom they are served."""

import copy

import numpy as np
import pytest

from rvdlib.lab.benchmark import rivals
from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.experiment.hyperparameters import RVD_HARDENED, combinations, rival_defenses
from tests.lab.conftest import small_victims


@pytest.fixture
def served(monkeypatch):
    """Whom each form served: (recommender, users) by defence, for each call of ``in_turn``."""
    noted, in_turn = [], rivals.in_turn

    def noting(work, rounds, **known):
        noted.append({name: call.args[:2] for name, call in work.items()})
        return in_turn(work, rounds, **known)

    monkeypatch.setattr(rivals, "in_turn", noting)
    return noted


def of_fewer(*args, **known):
    """The choices of :func:`rival_defenses`, with neighbours that 120 users have."""
    forms = copy.deepcopy(rival_defenses(*args, **known))
    for form in forms.values():
        for step in form.get("chain", [form]):
            if "k" in step["choices"]:
                step["choices"]["k"] = min(step["choices"]["k"], 60)
    return forms


def test_the_faster_a_form_is_the_more_often_it_is_served(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(rivals.time, "process_time", lambda: now[0])
    users = np.array([3, 1, 2])

    def served(seconds):
        def lists(recommender, users, seen):
            now[0] += seconds * len(users)

        monkeypatch.setattr(rivals, "lists", lists)
        return rivals.often_enough(None, users, None)

    assert served(rivals.SECONDS).tolist() == [3, 1, 2]
    assert served(rivals.SECONDS / 10).tolist() == [3, 1, 2] * 4


def test_every_rival_alone_is_trained_and_serves_the_same_users(monkeypatch, served, dataset):
    small_victims(monkeypatch, embedding_size=4, epochs=1)
    monkeypatch.setattr(
        rivals, "victim_hyperparameters", lambda *of: {"embedding_size": 4, "epochs": 1}
    )
    monkeypatch.setattr(rivals, "rival_defenses", of_fewer)
    monkeypatch.setattr(rivals, "SECONDS", 0.001)
    monkeypatch.setattr(rivals, "ROUNDS", 2)
    trained = ["APT", "Huber loss", "profile detection"]
    found = rivals.costs(dataset, "MF", ["rating"], trained, 3).set_index("defense")
    known = rival_defenses("rating", "MF", dataset, trained, against=[RVD_HARDENED])
    alone = known.keys() - combinations("rating").keys()
    assert next(iter(found.index)) == UNDEFENDED
    assert set(found.index) == alone | {UNDEFENDED}
    assert (found[["train_seconds", "ms_per_user", "training", "serving"]] > 0).all(axis=None)
    assert found.loc[UNDEFENDED, ["training", "serving"]].tolist() == [1, 1]
    at_inference = found.loc[["RVD", "quorum", "popularity"], "train_seconds"]
    assert set(at_inference) == {found.loc[UNDEFENDED, "train_seconds"]}  # its training is theirs
    (by,) = served
    assert {tuple(dict.fromkeys(users)) for _, users in by.values()} == {
        tuple(dict.fromkeys(by[UNDEFENDED][1]))
    }
    victims = {name: by[name][0] for name in ("APT", "Huber loss", UNDEFENDED)}
    assert len(set(map(id, victims.values()))) == 3
