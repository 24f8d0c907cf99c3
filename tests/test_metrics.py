import numpy as np
import pytest
import pytrec_eval
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from rvdlib import metrics

# Few values, so that ties are everywhere; negative ones, and −inf for "never recommend".
SCORES = st.sampled_from([-np.inf, -2.5, -1.0, -0.0, 0.0, 1.0, 3.5, np.inf])


@st.composite
def scored(draw):
    """(scores, seen): a block of users, some of whom have seen nothing or everything."""
    n_users, n_items = draw(st.integers(1, 5)), draw(st.integers(1, 12))
    shape = (n_users, n_items)
    cells = n_users * n_items
    scores = draw(st.lists(SCORES, min_size=cells, max_size=cells))
    mask = np.array(draw(st.lists(st.booleans(), min_size=cells, max_size=cells))).reshape(shape)
    users, items = np.nonzero(mask)
    stars = draw(st.sampled_from([0.0, 1.0]))
    seen = sp.csr_matrix((np.full(len(users), stars, np.float32), (users, items)), shape=shape)
    return np.array(scores, dtype=draw(st.sampled_from([np.float32, np.float64]))).reshape(
        shape
    ), seen


def brute_force_list(scores, seen_items):
    listed = [i for i in range(len(scores)) if i not in seen_items and scores[i] != -np.inf]
    return sorted(listed, key=lambda item: (-scores[item], item))


def seen_by(seen, user):
    return set(seen.indices[seen.indptr[user] : seen.indptr[user + 1]].tolist())


@settings(max_examples=300, deadline=None)
@given(scored())
def test_ranks_and_lists_agree_with_brute_force(block):
    scores, seen = block
    n_items = scores.shape[1]
    ranks = metrics.ranks(scores, seen, np.arange(n_items))
    for k in {1, (n_items + 1) // 2, n_items}:
        lists = metrics.top_k(scores, seen, k)
        for user in range(len(scores)):
            expected = brute_force_list(scores[user].tolist(), seen_by(seen, user))
            padding = [-1] * (k - len(expected))
            assert lists[user].tolist() == expected[:k] + padding
            positions = {item: place + 1 for place, item in enumerate(expected)}
            assert ranks[user].tolist() == [positions.get(i, np.inf) for i in range(n_items)]


@settings(max_examples=100, deadline=None)
@given(scored(), st.integers(0, 2**32 - 1))
def test_what_is_not_eligible_is_listed_as_little_as_what_is_scored_minus_infinity(block, seed):
    scores, seen = block
    eligible = np.random.default_rng(seed).random(scores.shape) < 0.5
    for k in {1, scores.shape[1]}:
        masked = metrics.top_k(np.where(eligible, scores, -np.inf), seen, k)
        assert np.array_equal(metrics.top_k(scores, seen, k, eligible), masked)
    with pytest.raises(ValueError, match="eligible has the shape"):
        metrics.top_k(scores, seen, 1, eligible[:, 1:])


def test_ties_at_the_border_of_a_real_sized_list_fall_to_the_lower_index():
    scores = np.round(np.random.default_rng(0).normal(size=(50, 2000)), 1).astype(np.float32)
    seen = sp.random_array((50, 2000), density=0.1, rng=np.random.default_rng(1), format="csr")
    lists = metrics.top_k(scores, seen, 50)
    for user in range(50):
        expected = brute_force_list(scores[user].tolist(), seen_by(seen, user))
        assert lists[user].tolist() == expected[:50]


def test_seen_items_with_negative_scores_stay_out_of_the_list():
    # Masked by multiplication, the seen item would score 0 and lead.
    scores = np.array([[-3.0, -1.0, -2.0]])
    seen = sp.csr_matrix(np.array([[0, 5, 0]]))
    assert metrics.top_k(scores, seen, 3).tolist() == [[2, 0, -1]]
    assert metrics.ranks(scores, seen, np.array([0, 1, 2])).tolist() == [[2, np.inf, 1]]


def test_ranks_of_different_items_per_user():
    scores = np.array([[1, 2, 3], [1, 2, 3]])
    seen = sp.csr_matrix((2, 3))
    assert metrics.ranks(scores, seen, np.array([[0, 2], [1, 1]])).tolist() == [[3, 1], [2, 2]]


@pytest.mark.parametrize("measure", [metrics.ranks, metrics.top_k])
def test_nan_and_wrong_shapes_raise(measure):
    argument = 2 if measure is metrics.top_k else np.array([0])
    scores = np.zeros((4, 3), dtype=np.float32)
    scores[2, 1] = np.nan
    with pytest.raises(ValueError, match="row 2 hold NaN"):
        measure(scores, sp.csr_matrix((4, 3)), argument)
    with pytest.raises(ValueError, match="shape"):
        measure(scores, sp.csr_matrix((3, 3)), argument)


def test_items_and_list_lengths_out_of_range_raise():
    scores, seen = np.zeros((2, 3)), sp.csr_matrix((2, 3))
    for items in ([3], [-1]):
        with pytest.raises(ValueError, match="items must be item indices from 0 to 2, got"):
            metrics.ranks(scores, seen, np.array(items))
    for k in (0, 4, 2.0, True, "2"):
        with pytest.raises(ValueError, match="k must be a whole number between 1 and 3"):
            metrics.top_k(scores, seen, k)


@pytest.fixture(scope="module")
def ranking():
    """Scores without ties, seen items, and one unseen test item for each of 300 users."""
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(300, 400))
    seen = sp.random_array((300, 400), density=0.1, rng=rng, format="csr")
    free = rng.random((300, 400)) * (seen.toarray() == 0)
    return scores, seen, free.argmax(axis=1)


@pytest.mark.parametrize("k", [5, 50])
def test_hit_ratio_and_ndcg_agree_with_pytrec_eval(ranking, k):
    scores, seen, tests = ranking
    unseen = seen.toarray() == 0
    run = {
        str(u): {str(i): float(scores[u, i]) for i in np.flatnonzero(unseen[u])} for u in range(300)
    }
    qrels = {str(u): {str(i): 1} for u, i in enumerate(tests)}
    names = {f"success_{k}", f"recall_{k}", f"ndcg_cut_{k}"}
    oracle = pytrec_eval.RelevanceEvaluator(
        qrels, {name.rsplit("_", 1)[0] + f".{k}" for name in names}
    ).evaluate(run)
    expected = {name: [oracle[str(u)][name] for u in range(300)] for name in names}
    ranks = metrics.ranks(scores, seen, tests[:, None])[:, 0]
    assert 0 < metrics.hits(ranks, k).mean() < 1
    assert metrics.hits(ranks, k).tolist() == expected[f"success_{k}"]
    assert metrics.hits(ranks, k).tolist() == expected[f"recall_{k}"]
    assert metrics.gains(ranks, k) == pytest.approx(expected[f"ndcg_cut_{k}"])


def test_ndcg_agrees_with_scikit_learn(ranking):
    scores, seen, tests = ranking
    relevance = np.zeros_like(scores)
    relevance[np.arange(300), tests] = 1
    masked = np.where(seen.toarray() == 0, scores, scores.min() - 1)
    ranks = metrics.ranks(scores, seen, tests[:, None])[:, 0]
    expected = ndcg_score(relevance, masked, k=50, ignore_ties=True)
    assert metrics.gains(ranks, 50).mean() == pytest.approx(expected)


def test_hits_and_gains_at_the_border_and_where_nothing_is_defined():
    ranks = np.array([1, 50, 51, np.inf, np.nan])
    assert metrics.hits(ranks, 50)[:4].tolist() == [1, 1, 0, 0]
    assert metrics.gains(ranks, 50)[:4] == pytest.approx([1, 1 / np.log2(51), 0, 0])
    assert np.isnan(metrics.hits(ranks, 50)[4])
    assert np.isnan(metrics.gains(ranks, 50)[4])


def test_target_hit_ratio_excludes_raters_and_averages_over_targets():
    # Target 0: rated by one of four, a miss whatever its rank; hits two of the others. Target 1: one.
    ranks = np.array([[1, 9], [1, 9], [2, 1], [9, 9]])
    raters = np.array([[True, False], [False, False], [False, False], [False, False]])
    assert metrics.target_hit_ratio(ranks, raters, 5) == pytest.approx((2 / 3 + 1 / 4) / 2)
    assert metrics.target_hit_ratio(ranks, raters, 5, count_raters=True) == pytest.approx(
        (2 / 4 + 1 / 4) / 2
    )


def test_hits_are_counted_by_target_without_its_raters():
    ranks = np.array([[np.inf, 9], [1, 9], [5, 1], [6, 9]])
    raters = np.array([[True, False], [False, False], [False, True], [False, False]])
    hits, users = metrics.target_hits(ranks, raters, 5)
    assert (hits.tolist(), users.tolist()) == ([2, 0], [3, 3])


def test_a_target_that_everybody_rated_is_left_out():
    ranks = np.array([[np.inf, 1], [np.inf, 9]])
    raters = np.isinf(ranks)
    assert metrics.target_hit_ratio(ranks, raters, 5) == 0.5
    assert np.isnan(metrics.target_hit_ratio(ranks[:, :1], raters[:, :1], 5))
    assert np.isnan(metrics.target_hit_ratio(ranks[:, :0], raters[:, :0], 5))


def test_squared_errors_clip_to_the_scale_and_refuse_nan():
    levels = np.array([1, 2, 3, 4, 5], dtype=np.float32)
    errors = metrics.squared_errors(np.array([9, -9, 3.5]), np.array([5, 2, 3]), levels)
    assert errors.tolist() == [0, 1, 0.25]
    with pytest.raises(ValueError, match="NaN"):
        metrics.squared_errors(np.array([np.nan]), np.array([5]), levels)


@pytest.mark.parametrize("scores", [[1.0, 1.0 + 1e-12], [2**24, 2**24 + 1]])
def test_scores_closer_than_float32_can_tell_are_not_tied(scores):
    seen = sp.csr_matrix((1, 2))
    assert metrics.ranks(np.array([scores]), seen, np.array([0])).tolist() == [[2]]
    assert metrics.top_k(np.array([scores]), seen, 1).tolist() == [[1]]


def test_lift_and_what_a_defence_removes_of_it():
    assert metrics.lift(0.8, 0.1) == pytest.approx(0.7)
    assert metrics.lift_removed(0.35, 0.7) == pytest.approx(0.5)
    assert metrics.lift_removed(-0.1, 0.5) == pytest.approx(1.2)
    assert np.isnan(metrics.lift_removed(0.0, 0.0099))
    assert metrics.lift_removed(0.0, 0.01) == 1
    assert np.isnan(metrics.lift_removed(0.0, -0.5))
    assert metrics.lift_removed([0.1, 0.1, np.nan], [0.2, 0.001, 0.2]) == pytest.approx(
        [0.5, np.nan, np.nan], nan_ok=True
    )
    assert metrics.reduction(0.2, 0.8) == pytest.approx(0.75)
    assert np.isnan(metrics.reduction(0.2, 0.0))
