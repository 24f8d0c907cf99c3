"""Recommenders of somebody else's, as small as they can be."""

import sys

import numpy as np
from scipy.sparse.linalg import svds


class SVD:
    """Singular vectors of who rated what: it learns whatever fakes repeat."""

    def fit(self, ratings):
        rows = (ratings > 0).astype(float)
        left, values, right = svds(rows, k=8, v0=np.ones(min(rows.shape)))
        self.user_factors, self.item_factors = left * values, right.T

    def score(self, users):
        return self.user_factors[users] @ self.item_factors.T


class ScoresAlone:
    """The same without its arrays."""

    def __init__(self):
        self._inner = SVD()

    def fit(self, ratings):
        self._inner.fit(ratings)

    def score(self, users):
        return self._inner.score(users)


class WrongArrays(SVD):
    def score(self, users):
        return np.square(super().score(users)) + users[:, None]


class WrongShape(SVD):
    def score(self, users):
        return super().score(users)[:, :-1]


class NaN(SVD):
    def score(self, users):
        return super().score(users) * np.nan


class Raises(SVD):
    def fit(self, ratings):
        raise RuntimeError("no \x1b[31mred\x1b[0m today")


class Exits(SVD):
    def fit(self, ratings):
        sys.exit("bye")


class Ends(SVD):
    """Something comes in the n-th training: Ctrl-C, or an error."""

    left, comes = 0, KeyboardInterrupt

    def fit(self, ratings):
        if Ends.left == 0:
            raise Ends.comes
        Ends.left -= 1
        super().fit(ratings)


class Infinite(SVD):
    def score(self, users):
        return super().score(users) + np.inf


class OneFactor(ScoresAlone):
    def fit(self, ratings):
        super().fit(ratings)
        self.user_factors = self._inner.user_factors[:, 0]


class Masked(SVD):
    """Not to be listed: what is rated, or what somebody may not be shown, too."""

    hidden = 0

    def fit(self, ratings):
        super().fit(ratings)
        self._out = ratings.toarray() > 0
        self._out[:, : self.hidden] = True

    def score(self, users):
        return np.where(self._out[users], -np.inf, super().score(users))


class MaskedMore(Masked):
    hidden = 5


class MaskedSquares(Masked):
    def score(self, users):
        scores = super().score(users)
        return np.where(np.isneginf(scores), scores, scores**2)


class Neither:
    pass


def not_called():
    raise AssertionError


class MeanStars:
    """Lists what has the best stars, damped: fakes that give five of them are believed at once."""

    def fit(self, ratings):
        raters = np.asarray((ratings > 0).sum(axis=0)).ravel()
        self.means = np.asarray(ratings.sum(axis=0)).ravel() / (raters + 2)

    def score(self, users):
        return np.tile(self.means, (len(users), 1))
