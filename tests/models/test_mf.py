import numpy as np
import pytest
import scipy.sparse as sp

from rvdlib.models import MF, PlainMF
from rvdlib.models.fitting import EarlyStopping
from rvdlib.models.least_squares import solve_rows
from rvdlib.models.mf import _sgd_epoch
from rvdlib.seeding import stream


@pytest.mark.parametrize("omega", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("size", [1, 3, 8])
def test_a_row_is_solved_as_the_weighted_ridge_regression_over_all_columns(omega, size):
    rng = np.random.default_rng(size)
    n_columns, reg = 11, np.float32(0.05)
    omega = np.float32(omega)
    dense = rng.choice([0, 0, 0.4, 1], (7, n_columns)).astype(np.float32)
    dense[0], dense[1] = 0, 0.6  # rated nothing, rated everything
    rows = sp.csr_matrix(dense)
    fixed = rng.standard_normal((n_columns, size), dtype=np.float32)
    bias = rng.standard_normal(n_columns, dtype=np.float32)
    solved = np.full((7, size), np.nan, dtype=np.float32)
    solve_rows(rows.indptr, rows.indices, rows.data, fixed, bias, omega, reg, solved)
    for row in range(7):
        weight = np.sqrt(np.where(dense[row] > 0, 1, omega))
        penalty = np.sqrt(reg * ((dense[row] > 0).sum() + omega * n_columns))
        design = np.vstack([weight[:, None] * fixed, penalty * np.eye(size)])
        target = np.concatenate([weight * (dense[row] - bias), np.zeros(size)])
        expected = np.linalg.lstsq(design, target, rcond=None)[0]
        assert solved[row] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_an_epoch_of_descent_takes_one_step_per_rating_in_the_given_order():
    rng = np.random.default_rng(0)
    rows = np.array([0, 0, 1, 2, 2, 2], dtype=np.int32)
    columns = np.array([1, 3, 0, 1, 2, 3], dtype=np.int32)
    values, order = rng.standard_normal(6, dtype=np.float32), np.array([4, 0, 5, 2, 1, 3])
    start = [rng.standard_normal(shape, dtype=np.float32) for shape in ((3, 2), (4, 2), 3, 4)]
    rate, reg = np.float32(0.1), np.float32(0.3)

    p, q, user_bias, item_bias = (array.copy() for array in start)
    for position in order:
        u, i = rows[position], columns[position]
        error = values[position] - (user_bias[u] + item_bias[i] + p[u] @ q[i])
        user_bias[u] += rate * (error - reg * user_bias[u])
        item_bias[i] += rate * (error - reg * item_bias[i])
        p[u], q[i] = (
            p[u] + rate * (error * q[i] - reg * p[u]),
            q[i] + rate * (error * p[u] - reg * q[i]),
        )

    compiled = [array.copy() for array in start]
    _sgd_epoch(rows, columns, values, order, *compiled, rate, reg)
    for ours, expected in zip(compiled, (p, q, user_bias, item_bias), strict=True):
        assert ours == pytest.approx(expected, rel=1e-4, abs=1e-6)


def _epochs(monkeypatch, victim, small):
    """The parameters after every epoch of a training that nothing stops."""
    seen = []

    def keep(self, parameters):
        self.best = parameters
        seen.append({name: value.double().numpy() for name, value in parameters.items()})

    monkeypatch.setattr(EarlyStopping, "update", keep)
    victim.fit(small.train, small.validation, small.levels, stream(0, "model"))
    return seen


@pytest.mark.parametrize("kind", [MF, PlainMF])
def test_least_squares_never_raise_what_they_minimise(monkeypatch, small, kind):
    """Σ_R (y − s)² + ω Σ_{not R} s² + reg Σ (cells of the row, weighted) · squared norm."""
    omega, reg = 0.2, 0.05
    victim = kind(embedding_size=4, unobserved_weight=omega, reg=reg, epochs=12)
    dense = small.train.toarray() / 5
    rated = dense > 0
    n_users, n_items = dense.shape

    def minimised(parameters):
        p, q, b = (parameters[name] for name in ("user_factors", "item_factors", "item_bias"))
        squares = (dense - p @ q.T - b) ** 2
        user_cells, item_cells = rated.sum(1) + omega * n_items, rated.sum(0) + omega * n_users
        return (
            squares[rated].sum()
            + omega * squares[~rated].sum()
            + reg * (user_cells @ (p**2).sum(1) + item_cells @ ((q**2).sum(1) + b**2))
        )

    epochs = _epochs(monkeypatch, victim, small)
    values = [minimised(each) for each in epochs]
    assert len(values) == 12
    assert values[-1] < 0.99 * values[0]
    assert max(np.diff(values)) < 1e-5 * values[0]
    # Items come last: they stand at the minimum for these users.
    p, q, b = (epochs[-1][name] for name in ("user_factors", "item_factors", "item_bias"))
    errors = np.where(rated, 1, omega) * (p @ q.T + b - dense)
    slope = errors.T @ p + reg * (rated.sum(0) + omega * n_users)[:, None] * q
    assert np.abs(slope).max() < 1e-4


@pytest.mark.parametrize("kind", [MF, PlainMF])
def test_the_step_size_of_descent_decays_by_epoch(monkeypatch, small, kind):
    """With a decay near nothing only the first epoch moves anything."""
    frozen = {"learning_rate": 0.1, "learning_rate_decay": 1e-9, "epochs": 3, "embedding_size": 4}
    first, _, last = _epochs(monkeypatch, kind(**frozen), small)
    assert last["item_factors"] == pytest.approx(first["item_factors"], abs=1e-6)
    steady = _epochs(monkeypatch, kind(**{**frozen, "learning_rate_decay": 1}), small)
    assert np.abs(steady[2]["item_factors"] - steady[0]["item_factors"]).max() > 1e-3
