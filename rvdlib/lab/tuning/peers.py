"""Other people's recommenders on the very splits of 02_victims: ``make peers``.

    python -m rvdlib.lab.tuning.peers [--dataset ml-100k ...] [--seeds 3]

Surprise's SVD and SVD++ stand beside the rating regime, implicit's ALS beside the ranking regime.
SVD is measured as it comes and tuned, ALS tuned: on a random validation share and on the validation
item, over what ``params/peers.yml`` lists, on a seed that no table reports. In ``results/peers.csv``
the rows of the data sets measured are replaced; the others stay.
"""

import functools
from dataclasses import dataclass
from importlib.metadata import version

import click
import implicit
import numpy as np
import pandas as pd
import scipy.sparse as sp
import surprise
from sklearn.model_selection import ParameterGrid
from tqdm import tqdm

from rvdlib import evaluation, paths
from rvdlib.data import Split, leave_one_out, load_dataset, random_holdout
from rvdlib.lab.experiment.quality import judge
from rvdlib.lab.tuning.records import one_line
from rvdlib.seeding import stream
from rvdlib.strict_yaml import read_yaml
from rvdlib.threads import single_thread

PEERS_FILE = paths.RESULTS / "peers.csv"
SPACES = read_yaml(paths.PARAMS / "peers.yml")
TUNING_SEED = 1001  # stands in no table


@dataclass(frozen=True, eq=False)
class Factors:
    """A peer's result as a recommender: s_ui = a_u + h_u · w_i + b_i, all arrays in stars."""

    offset: np.ndarray
    user_factors: np.ndarray
    item_factors: np.ndarray
    item_bias: np.ndarray
    predicts_stars: bool

    def score(self, users: np.ndarray) -> np.ndarray:
        """Scores (B, items), float32."""
        scores = self.user_factors[users] @ self.item_factors.T + self.item_bias
        return (scores + self.offset[users, None]).astype(np.float32)


def fit_surprise(split: Split, *, seed: int, algorithm: str = "SVD", **hyperparameters) -> Factors:
    """Train Surprise's ``SVD`` or ``SVDpp``; who and what has no rating in training gets zeros."""
    train, levels = split.train.tocoo(), split.ratings.levels
    frame = pd.DataFrame({"user": train.row, "item": train.col, "stars": train.data})
    reader = surprise.Reader(rating_scale=(float(levels[0]), float(levels[-1])))
    known = surprise.Dataset.load_from_df(frame, reader).build_full_trainset()
    model = getattr(surprise, algorithm)(random_state=_random_state(seed), **hyperparameters)
    model.fit(known)
    users = [known.to_raw_uid(inner) for inner in known.all_users()]
    items = [known.to_raw_iid(inner) for inner in known.all_items()]
    user_factors = model.pu
    if algorithm == "SVDpp":  # adds |I_u|^(-1/2) Σ y_j over the user's items
        rated = sp.csr_matrix(
            (np.ones(train.nnz), (train.row, pd.Index(items).get_indexer(train.col))),
            shape=(train.shape[0], known.n_items),
        )[users]
        sizes = np.sqrt(rated.getnnz(axis=1))[:, None]
        user_factors = user_factors + (rated @ model.yj) / sizes
    n_users, n_items = train.shape
    return Factors(
        known.global_mean + _placed(model.bu, users, n_users),
        _placed(user_factors, users, n_users),
        _placed(model.qi, items, n_items),
        _placed(model.bi, items, n_items),
        predicts_stars=True,
    )


def fit_als(split: Split, *, seed: int, **hyperparameters) -> Factors:
    """Train implicit's ALS on who rated what."""
    model = implicit.als.AlternatingLeastSquares(
        num_threads=1, random_state=_random_state(seed), **hyperparameters
    )
    model.fit((split.train > 0).astype(np.float32), show_progress=False)
    n_users, n_items = split.train.shape
    return Factors(
        np.zeros(n_users),
        model.user_factors,
        model.item_factors,
        np.zeros(n_items),
        predicts_stars=False,
    )


def tune(ratings, regime: str, fit, space: dict[str, list]) -> dict:
    """The combination that does best on validation data, by RMSE or by NDCG@50."""
    split_by = {"rating": random_holdout, "ranking": leave_one_out}[regime]
    split = split_by(ratings, stream(TUNING_SEED, "split"))

    def error(hyperparameters: dict) -> float:
        model = fit(split, seed=TUNING_SEED, **hyperparameters)
        if regime == "rating":
            return evaluation.rmse(model, split.validation, ratings.levels)
        validated = Split(ratings, split.train, split.validation, test=split.validation)
        return -evaluation.evaluate(model, validated, []).ndcg

    return min(tqdm(ParameterGrid(space), desc=f"{ratings.name} {fit.__name__}"), key=error)


def measure(dataset: str, seeds: int) -> pd.DataFrame:
    """One row a peer and seed: those of :func:`rvdlib.lab.experiment.quality.judge`, and how it was set."""
    ratings = load_dataset(dataset)
    svd = tune(ratings, "rating", fit_surprise, SPACES[dataset]["SVD"])
    als = tune(ratings, "ranking", fit_als, SPACES[dataset]["ALS"])
    peers = [
        ("Surprise SVD, tuned", "rating", fit_surprise, svd),
        ("Surprise SVD, default", "rating", fit_surprise, {}),
        ("Surprise SVD++, default", "rating", fit_surprise, {"algorithm": "SVDpp"}),
        ("implicit ALS, tuned", "ranking", fit_als, als),
    ]
    packages = {"rating": "scikit-surprise", "ranking": "implicit"}
    rows = []
    for system, regime, fit, chosen in peers:
        package = f"{packages[regime]} {version(packages[regime])}"
        for seed in tqdm(range(seeds), desc=f"{dataset} {system}"):
            train = functools.partial(fit, seed=seed, **chosen)
            rows.append(
                {"dataset": dataset, "system": system, "regime": regime, "seed": seed}
                | judge(train, ratings, regime, seed)
                | {"package": package, "hyperparameters": one_line(chosen), "data": ratings.sha256}
            )
    return pd.DataFrame(rows)


def _placed(values: np.ndarray, rows: list[int], n_rows: int) -> np.ndarray:
    result = np.zeros((n_rows, *values.shape[1:]))
    result[rows] = values
    return result


def _random_state(seed: int) -> int:
    return int(stream(seed, "model", "peer").integers(2**31))


@click.command(help=__doc__.split("\n\n")[0])
@click.option(
    "--dataset",
    "datasets",
    type=click.Choice(list(SPACES)),
    multiple=True,
    default=["ml-100k"],
    show_default=True,
)
@click.option("--seeds", default=3, show_default=True, help="Splits measured, from seed 0 on.")
def main(datasets, seeds):
    paths.require_clone()
    for dataset in datasets:
        with single_thread():
            rows = measure(dataset, seeds)
        if PEERS_FILE.exists():
            kept = pd.read_csv(PEERS_FILE)
            rows = pd.concat([kept[kept["dataset"] != dataset], rows])
        paths.write_atomically(PEERS_FILE, rows.to_csv(index=False, float_format="%.6g"))


if __name__ == "__main__":
    main()
