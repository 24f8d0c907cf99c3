"""The check that attacked cells are held to: silent where the defence is right, loud where it is not."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp

from rvdlib.theory.certificate import exposure
from rvdlib.theory.violations import Violations, check

PLACES = np.array([0.0, 1.0, 2.0, 4.0, 5.0])
N_REAL, K = len(PLACES), 3
RATED = np.zeros((N_REAL, 2), dtype=bool)
RATED[2, 1] = True  # target 0 has no rater, target 1 has one


def nearest(places, k, cap):
    """Pairs of users, nearest first, while the list is short and, under a cap, the other has room."""
    n = len(places)
    pairs = sorted((abs(places[u] - places[v]), u, v) for u in range(n) for v in range(n) if u != v)
    lists, room = [[] for _ in range(n)], [n if cap is None else cap] * n
    for _, u, v in pairs:
        if len(lists[u]) < k and room[v]:
            lists[u].append(v)
            room[v] -= 1
    return np.array([one + [-1] * (k - len(one)) for one in lists])


def attacked(fakes, quorum, cap):
    """A defence that serves whatever has a quorum: ranks of the targets, vicinities, ratings."""
    rated = np.vstack([RATED, np.ones((len(fakes), 2), dtype=bool)])
    table = nearest([*PLACES, *fakes], K, cap)[:N_REAL]
    counts = (rated[table] & (table >= 0)[:, :, None]).sum(axis=1)
    ranks = np.where((counts >= quorum) & ~RATED, 1.0, np.inf)
    return ranks, np.arange(2), table, sp.csr_matrix(rated)


def placements():
    grid = [-1.0, 0.5, 1.0, 3.0, 4.5]
    for n_fakes in range(4):
        yield from itertools.combinations_with_replacement(grid, n_fakes)


def found(*, promised, rule):
    """Violations over every placement, of promises (q, B) that a defence with this rule makes."""
    quorum, cap = promised
    made = [
        check(*attacked(fakes, *rule), n_real=N_REAL, quorum=quorum, max_in_degree=cap)
        for fakes in placements()
    ]
    return Violations(*np.sum(made, axis=0))


RULES = [(quorum, cap) for quorum in (1, 2, 3) for cap in (2, 3)]


@pytest.mark.parametrize("rule", RULES)
def test_no_placement_of_fakes_violates_a_certificate(rule):
    assert sum(found(promised=rule, rule=rule)) == 0


@pytest.mark.parametrize("rule", [(1, 2), (1, 3), (2, 3)])
def test_some_placement_of_fakes_reaches_the_exposure(rule):
    """On a line, where fakes also take places from each other; among all tables it always is."""
    quorum, cap = rule
    reached = []
    for fakes in placements():
        served = np.isfinite(attacked(fakes, quorum, cap)[0][:, 0]).sum()
        bound = exposure(0, len(fakes), quorum=quorum, max_in_degree=cap, n_users=N_REAL)
        reached.append(0 < served == bound)
    assert any(reached)


@pytest.mark.parametrize(("quorum", "cap"), [rule for rule in RULES if rule[0] > 1])
def test_a_quorum_of_one_vote_too_few_is_caught(quorum, cap):
    caught = found(promised=(quorum, cap), rule=(quorum - 1, cap))
    assert caught.list > 0
    assert caught.total_support > 0
    assert caught.exposure > 0
    assert caught.in_degree == 0


@pytest.mark.parametrize(("quorum", "cap"), RULES)
def test_a_missing_cap_is_caught(quorum, cap):
    caught = found(promised=(quorum, cap), rule=(quorum, None))
    assert caught.in_degree > 0
    assert caught.total_support == caught.list == 0
    if (quorum, cap) in [(1, 2), (2, 2)]:  # more users near to all fakes than E
        assert caught.exposure > 0


def test_where_no_cap_is_promised_none_is_asked_for():
    assert sum(found(promised=(2, None), rule=(2, None))) == 0


ONE = np.array([[5, 6], [0, 5]])  # the vicinities of users 0 and 1, of five real users


def made_up(ranks, table=ONE, votes=((5, 0), (6, 0)), **limits):
    """Violations by users 0 and 1, the others have no neighbours; the two fakes rate target 0."""
    ratings = np.zeros((7, 3), dtype=np.float32)
    ratings[tuple(np.transpose(votes))] = 1
    given = {"n_real": 5, "quorum": 2, "max_in_degree": 2} | limits
    others = ((0, given["n_real"] - len(table)), (0, 0))
    table = np.pad(table, others, constant_values=-1)
    ranks = np.pad(ranks, others, constant_values=np.inf)
    return check(ranks, [0, 2], table, sp.csr_matrix(ratings), **given)


NOBODY = np.full((2, 2), np.inf)


def ranked(*pairs):
    ranks = NOBODY.copy()
    ranks[tuple(np.transpose(pairs))] = 60  # behind any list counts, too: it is eligible
    return ranks


@pytest.mark.parametrize(
    ("violations", "expected"),
    [
        (made_up(NOBODY), Violations(0, 0, 0, 0)),
        (made_up(ranked((0, 0))), Violations(0, 0, 0, 0)),
        # User 1 has one fake and no rater near.
        (made_up(ranked((1, 0))), Violations(0, 1, 0, 0)),
        (made_up(ranked((1, 0)), votes=((5, 0), (0, 0))), Violations(0, 0, 0, 0)),
        # Two fakes do not make three.
        (made_up(ranked((0, 0)), quorum=3), Violations(1, 1, 1, 0)),
        (
            made_up(ranked((0, 0), (1, 0)), table=ONE[[0, 0]], max_in_degree=1),
            Violations(0, 0, 1, 2),
        ),
        (made_up(ranked((0, 0)), n_real=7), Violations(0, 0, 0, 0)),
        # What the fakes rated is theirs to say: both targets may be shown to user 0.
        (made_up(ranked((0, 0), (0, 1))), Violations(0, 0, 0, 0)),
    ],
)
def test_a_made_up_violation_is_counted(violations, expected):
    assert violations == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target_ranks": np.ones((2, 1))}, "target_ranks must be .users, targets., got .2, 1."),
        ({"targets": [0, 3]}, "targets must be item indices from 0 to 2"),
        ({"n_real": 8}, "n_real at most 7, got 8"),
        ({"neighbors": ONE + 1}, "row numbers below 7"),
        ({"ratings": sp.csc_matrix((7, 3))}, "ratings must be a CSR matrix"),
        ({"max_in_degree": 2}, "about all 5 real users, got the vicinities of 2"),
    ],
)
def test_arrays_that_do_not_go_together_are_refused(change, message):
    given = {
        "target_ranks": NOBODY,
        "targets": [0, 2],
        "neighbors": ONE,
        "ratings": sp.csr_matrix((7, 3)),
        "n_real": 5,
    }
    with pytest.raises(ValueError, match=message):
        check(**given | change, quorum=2)
