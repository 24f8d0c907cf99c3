"""The bounds hold wherever their assumptions do, and a step that breaks these is found out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvdlib.seeding import stream
from rvdlib.theory import unlearning
from rvdlib.theory.ridge import VicinalRidge
from rvdlib.theory.unlearning import BY_ITEM, OURS, PAPER, PAPER_CLEAN, QUADRATIC, THEOREMS

EPOCHS = [1, 2, 5, 20, 100, 1000]
FEW = EPOCHS[:-1]  # of descent that diverges


@st.composite
def vicinities(draw, regularised=True):
    """A vicinity with some fakes, a start and a trained decoder that may be anything."""
    k, p, items = draw(st.integers(2, 8)), draw(st.integers(1, 5)), draw(st.integers(1, 6))
    n_fakes = draw(st.integers(0, k - 1))
    omega = draw(st.sampled_from([0.0, 1e-3, 0.1, 1.0]))
    reg = draw(st.sampled_from([1e-2, 0.1, 1.0])) if regularised else 0.0
    rng = stream(draw(st.integers(0, 10**6)), "vicinity")
    observed = rng.random((k, items)) < draw(st.sampled_from([0.2, 0.6]))
    observed[-1, 0] = True  # an honest row says something
    weight = np.where(observed, 1.0, omega)
    penalty = reg * (weight if draw(st.booleans()) else np.ones((k, items)))
    target = rng.standard_normal((k, items))
    fakes = np.arange(k) < n_fakes
    target[fakes] += draw(st.sampled_from([0.0, 5.0]))
    loss = VicinalRidge(rng.standard_normal((k, p)), target, weight, penalty)
    start = rng.standard_normal((items, p))
    trained = start + 0.3 * rng.standard_normal((items, p))
    return loss, fakes, start, trained


def exceeded(found):
    return {form for form in found.bound if form in THEOREMS and found.exceeded(form).any()}


@given(vicinities())
@settings(max_examples=150, deadline=None)
def test_no_distance_exceeds_its_bound(vicinity):
    found = unlearning.strongly_convex(*vicinity, EPOCHS)
    assert set(found.bound) == {PAPER, PAPER_CLEAN, OURS, BY_ITEM}
    assert exceeded(found) == set()
    assert (found.bound[BY_ITEM] <= found.bound[OURS] * (1 + 1e-9) + 1e-9).all()


@given(vicinities() | vicinities(regularised=False))
@settings(max_examples=150, deadline=None)
def test_no_excess_of_the_loss_exceeds_its_bound(vicinity):
    found = unlearning.convex(*vicinity, EPOCHS)
    assert set(found.bound) == {PAPER, OURS, QUADRATIC}
    assert exceeded(found) == set()


@given(vicinities(), st.sampled_from([1.5 * 3, 2.5 * 2]))
@settings(max_examples=60, deadline=None)
def test_a_step_that_is_too_long_is_found_out(vicinity, numerator):
    least, most = vicinity[0].curvature
    step = numerator / (least[most > 0].min() + most.max())
    found = unlearning.strongly_convex(*vicinity, FEW, step=step)
    assert PAPER in exceeded(found)


@given(vicinities() | vicinities(regularised=False))
@settings(max_examples=60, deadline=None)
def test_so_is_one_beyond_twice_the_inverse_of_the_largest_curvature(vicinity):
    step = 2.1 / vicinity[0].curvature[1].max()
    found = unlearning.convex(*vicinity, FEW, step=step)
    assert {PAPER, QUADRATIC} <= exceeded(found)


@given(vicinities())
@settings(max_examples=30, deadline=None)
def test_a_step_that_is_too_short_is_found_out_unless_nothing_moves_at_all(vicinity):
    found = unlearning.strongly_convex(*vicinity, EPOCHS, step=1e-9)
    moving = np.linalg.norm(vicinity[0].gradient(vicinity[2])) > 1e-6
    assert not moving or found.exceeded(PAPER).any() or found.bound[PAPER][-1] >= found.start


def one_item(k, n_fakes):
    """p = 1, everybody rated the item: all can be worked out by hand."""
    latent = np.ones((k, 1))
    target = np.where(np.arange(k) < n_fakes, 1.0, 0.0)[:, None]
    ones = np.ones((k, 1))
    return VicinalRidge(latent, target, ones, 0.5 * ones), np.arange(k) < n_fakes


def test_with_fakes_descent_does_not_come_to_the_clean_optimum_and_the_papers_form_says_it_does():
    loss, fakes = one_item(4, 1)
    start = np.array([[2.0]])
    found = unlearning.strongly_convex(loss, fakes, start, start, [1, 50])
    # θ*_S = (1/4) / (1 + 1/2), θ*_c = 0, m = M = 3: one step of 1/3 arrives.
    assert found.measured[OURS] == pytest.approx([1 / 6, 1 / 6])
    assert found.measured[PAPER] == pytest.approx([0, 0], abs=1e-12)
    assert found.exceeded(PAPER_CLEAN).tolist() == [True, True]
    # G = |2 (1/6 − 1) + 1/6| = 3/2, m_c = 3: k_f G / (m_c (k − k_f)) = 1/6. The bound is reached.
    assert found.bound[OURS] == pytest.approx([1 / 6, 1 / 6])
    assert found.bound[BY_ITEM] == pytest.approx([1 / 6, 1 / 6])
    assert found.start == pytest.approx(2.0)


def test_without_fakes_both_forms_speak_of_one_optimum():
    loss, fakes = one_item(4, 0)
    found = unlearning.strongly_convex(loss, fakes, np.array([[2.0]]), np.array([[1.0]]), [1, 50])
    np.testing.assert_array_equal(found.measured[PAPER], found.measured[OURS])
    np.testing.assert_array_equal(found.bound[PAPER], found.bound[PAPER_CLEAN])


@pytest.mark.parametrize("T", [1, 3])
def test_every_bound_is_what_its_theorem_says_of_two_items(T):
    """A fake's row that says 1 of both, an honest one's that says 0; curvatures 3 and 2, γ = 1/5."""
    ones = np.ones((2, 2))
    loss = VicinalRidge(ones[:, :1], np.array([[1.0, 1.0], [0.0, 0.0]]), ones * [1, 0.5], ones / 2)
    start, trained = np.array([[2.0], [2.0]]), np.array([[1.0], [0.0]])
    problem = loss, np.array([True, False]), start, trained, [T]
    end = np.array([1 / 3, 1 / 4])  # θ*_S; θ*_c is 0
    apart, radius = np.hypot(*(2 - end)), np.hypot(1, 2)
    paper = radius + np.hypot(*(end - [1, 0]))
    found = unlearning.strongly_convex(*problem).bound
    assert found[PAPER] == pytest.approx([0.2**T * paper])
    assert found[PAPER_CLEAN] == pytest.approx([0.2**T * (radius + 1)])
    # G: at θ*_S the fake's ∇ℓ is (−1, −1/2); ∇F_c is its negative, which item by item is m_ci θ*_S.
    assert found[OURS] == pytest.approx([0.2**T * apart + np.hypot(1, 0.5) / 2])
    assert found[BY_ITEM] == pytest.approx([np.hypot(*(0.2**T * (2 - end) + end))])
    found = unlearning.convex(*problem).bound
    assert found[PAPER] == pytest.approx([3 * paper**2 / (2 * T)])
    assert found[OURS] == pytest.approx([2 * 3 * apart**2 / (2 * T) + 1.5])  # ℓ of the fake at 0
    share = (2 * T / (2 * T + 1)) ** (2 * T)
    assert found[QUADRATIC] == pytest.approx([3 * apart**2 / (2 * (2 * T + 1)) * share])


def test_the_quadratic_form_is_reached_where_its_proof_says():
    """Two items, M by the first; the second's curvature is M/(2T + 1), where s (1 − s)^2T is largest."""
    T = 3
    latent = np.ones((1, 1))
    weight = np.array([[1.0, 1 / (2 * T + 1)]])
    loss = VicinalRidge(latent, np.zeros((1, 2)), weight, np.zeros((1, 2)))
    start = np.array([[0.0], [1.0]])
    found = unlearning.convex(loss, np.array([False]), start, start, [T])
    assert found.measured[QUADRATIC] == pytest.approx(found.bound[QUADRATIC])
    assert found.bound[QUADRATIC][0] < found.bound[PAPER][0]


def test_what_only_fakes_rated_is_unlearned_by_definition_without_a_regulariser():
    loss = VicinalRidge(
        latent=np.ones((2, 1)),
        target=np.array([[1.0, 1.0], [0.0, 0.0]]),
        weight=np.array([[1.0, 0.0], [0.0, 1.0]]),
        penalty=np.zeros((2, 2)),
    )
    promoted = np.array([[1.0], [0.0]])
    clean = loss.take([1])
    assert unlearning.distances(clean, promoted).tolist() == [0, 0]
    np.testing.assert_allclose(unlearning.distances(clean, promoted + 5), [0, 5])


@pytest.mark.parametrize("bad", [[True] * 4, [False] * 3])
def test_a_mask_of_everybody_or_of_others_is_refused(bad):
    loss, _ = one_item(4, 0)
    start = np.zeros((1, 1))
    for bound in (unlearning.strongly_convex, unlearning.convex):
        with pytest.raises(ValueError, match="fakes must mask some of 4 rows"):
            bound(loss, np.array(bad), start, start, [1])


def test_a_loss_that_is_not_strongly_convex_is_refused_with_the_remedy():
    start, fakes = np.zeros((1, 2)), np.array([False, False])
    flat = VicinalRidge(np.ones((2, 2)), np.ones((2, 1)), np.ones((2, 1)), np.zeros((2, 1)))
    with pytest.raises(ValueError, match="it needs a regularizer"):
        unlearning.strongly_convex(flat, fakes, start, start, [1])
    silent = VicinalRidge(np.ones((2, 2)), np.ones((2, 1)), np.zeros((2, 1)), np.zeros((2, 1)))
    with pytest.raises(ValueError, match="nobody in the vicinity rated anything"):
        unlearning.convex(silent, fakes, start, start, [1])
