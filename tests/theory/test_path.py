"""Constants measured along a path: right where they are known, and the bound that follows."""

import numpy as np
import pytest
import torch

from rvdlib.data import leave_one_out, synthetic_ratings
from rvdlib.models import VICTIMS
from rvdlib.seeding import stream
from rvdlib.theory.path import Path, extreme_curvatures, measure

ROWS = np.array([3, 8, 21, 30])


def quadratic(values, rng):
    turned = np.linalg.qr(rng.standard_normal((len(values), len(values))))[0]
    hessian = turned @ np.diag(values) @ turned.T
    return lambda point: (point @ hessian @ point / 2, hessian @ point)


@pytest.mark.parametrize(
    "values", [[3.0], [-2.0, 0.0, 5.0], [1.0, 1.0, 1.0], [0.0, 0.5, 1.0, 40.0]]
)
def test_ritz_values_of_as_many_steps_as_dimensions_are_the_extreme_eigenvalues(values):
    rng = stream(0, "curvature")
    gradient, point = quadratic(values, rng), rng.standard_normal(len(values))
    found = extreme_curvatures(gradient, point, rng.standard_normal(len(values)))
    assert found == pytest.approx((min(values), max(values)), abs=1e-6)


def test_ritz_values_of_few_steps_lie_within_the_eigenvalues_and_near_the_largest():
    rng = stream(1, "curvature")
    values = np.append(rng.uniform(-1, 1, 60), 8.0)
    gradient, point = quadratic(values, rng), rng.standard_normal(61)
    low, high = extreme_curvatures(gradient, point, rng.standard_normal(61), steps=8)
    assert values.min() - 1e-6 <= low < high <= 8 + 1e-6
    assert high > 7.9


@pytest.fixture(scope="module", params=[(v, r) for v in VICTIMS for r in ("rating", "ranking")])
def victim(request):
    name, regime = request.param
    ratings = synthetic_ratings(40, 50, 700, rng=stream(0, "ratings"))
    split = leave_one_out(ratings, stream(0, "split"))
    omega = 0.1 if regime == "ranking" else 0.0
    model = VICTIMS[name](embedding_size=4, epochs=2, unobserved_weight=omega, reg=0.01)
    return model.fit(split.train, split.validation, ratings.levels, stream(0, "model"))


def test_the_loss_falls_within_its_bound_and_a_step_that_is_too_long_is_not_covered(victim):
    path = measure(victim, ROWS, 8, stream(0, "lanczos"), lowest_after=20)
    assert path.excess.shape == path.bound.shape == (9,)
    assert (np.diff(path.excess) < 0).all()
    assert path.excess[-1] > 0  # F* is what L-BFGS reaches, which is lower
    assert path.covered
    assert not path.exceeded
    assert 0 < path.mu <= path.curvature[1]
    assert 0 < path.promised <= 1
    long = Path(path.excess, path.mu, 2 / path.curvature[1], path.curvature)
    assert not long.covered


def test_mu_and_the_excess_are_those_of_a_loop_down_the_objective(victim):
    path = measure(victim, ROWS, 4, stream(0, "lanczos"), lowest_after=5)
    objective = victim.objective(ROWS)
    at = {name: value.double() for name, value in victim.parameters.items()}
    moving = [name for name in at if name not in victim.constants]
    values, slopes = [], []
    for _ in range(5):
        at |= {name: at[name].detach().requires_grad_() for name in moving}
        value = objective(at)
        gradients = torch.autograd.grad(value, [at[name] for name in moving])
        values.append(value.item())
        slopes.append(sum((each**2).sum().item() for each in gradients))
        at |= {n: at[n] - path.step * g for n, g in zip(moving, gradients, strict=True)}
    assert path.excess - path.excess[0] == pytest.approx(np.array(values) - values[0], rel=1e-6)
    shares = np.array(slopes[:-1]) / (2 * path.excess[:-1])
    assert path.mu == pytest.approx(shares.min(), rel=1e-6)


def test_it_is_measured_the_same_again_and_leaves_the_victim_as_it_was(victim):
    before = {name: value.clone() for name, value in victim.parameters.items()}
    one, two = (measure(victim, ROWS, 2, stream(0, "lanczos"), lowest_after=5) for _ in "ab")
    np.testing.assert_array_equal(one.excess, two.excess)
    assert one.curvature == two.curvature
    assert all((before[name] == value).all() for name, value in victim.parameters.items())


def test_the_bound_is_the_power_of_one_rate_and_what_lies_above_it_is_seen():
    path = Path(np.array([8.0, 4.0, 2.0]), mu=1.0, step=0.5, curvature=(-1.0, 2.0))
    np.testing.assert_allclose(path.bound, [8, 4, 2])
    assert (path.exceeded, path.covered, path.promised) == (False, True, 1.0)
    slower = Path(np.array([8.0, 4.5, 2.0]), mu=1.0, step=0.5, curvature=(-1.0, 2.1))
    assert (slower.exceeded, slower.covered) == (True, False)
    half = Path(np.array([8.0, 5.0, 2.0]), mu=0.2679491924311227, step=0.5, curvature=(0.0, 1.0))
    assert half.promised == pytest.approx((8 - 8 * (1 - 0.13397459621556135) ** 2) / 6)
    assert np.isnan(Path(np.zeros(3), 0.0, 1.0, (0.0, 1.0)).promised)
