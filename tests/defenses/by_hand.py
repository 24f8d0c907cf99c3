"""RVD written out in NumPy, in float64: every formula and gradient by hand, for each victim.

Of the library it takes what training has left, the trained arrays and the training rows, and nothing
else: no loss, no encoder, no optimiser.
"""

import numpy as np

PER_CELL = ("MF", "PlainMF")  # whose regulariser counts cells
NAMES = {  # of E, P, c and β in h = f(Σ_j x_j E_j + P_u + c), a = α + β
    "MF": (None, "user_factors", None, "user_bias"),
    "PlainMF": (None, "user_factors", None, None),
    "NSVD": ("implicit_factors", None, None, "user_bias"),
    "PlainNSVD": ("implicit_factors", None, None, "user_bias"),
    "AutoRec": ("encoder_factors", None, "encoder_bias", None),
    "CDAE": ("encoder_factors", "user_embeddings", "encoder_bias", None),
}


class ByHand:
    def __init__(self, victim):
        self.name, self.ranking, self.reg = victim.name, victim.ranking, victim.config.reg
        self.own_omega = victim.config.unobserved_weight
        self.trained = {n: v.double().numpy().copy() for n, v in victim.parameters.items()}
        self.ratings = victim.train.toarray().astype(np.float64)
        self.rated = self.ratings > 0
        counts, mean = self.rated.sum(1), self.ratings[self.rated].mean()
        self.inputs, self.alpha = self.rated.astype(float), np.zeros(len(counts))
        if self.name in ("MF", "NSVD") and not self.ranking:
            self.alpha[:] = mean
        if self.name == "NSVD":
            self.inputs /= np.sqrt(np.maximum(counts, 1))[:, None]
        if self.name in ("AutoRec", "CDAE") and self.ranking:
            norms = np.sqrt((self.ratings**2).sum(1))
            self.inputs = self.ratings / np.maximum(norms, 1e-12)[:, None]
        elif self.name in ("AutoRec", "CDAE"):
            left = np.where(self.rated, self.ratings - mean, 0)  # b_i, then b_u: damped by 5 zeros
            left -= self.rated * (left.sum(0) / (self.rated.sum(0) + 5))
            by_user = left.sum(1) / (counts + 5)
            self.alpha = mean + by_user
            self.inputs = left - self.rated * by_user[:, None]

    def encode(self, at, users):
        e, p, c, beta = NAMES[self.name]
        hidden = np.zeros((len(users), at["item_factors"].shape[1]))
        if e:
            hidden += self.inputs[users] @ at[e]
        if p:
            hidden += at[p][users]
        if c:
            hidden += at[c]
        offset = self.alpha[users] + (at[beta][users] if beta in at else 0)
        return offset, 1 / (1 + np.exp(-hidden)) if c else hidden

    def score(self, at, user):
        offset, latent = self.encode(at, [user])
        return 5 * (offset[0] + at["item_factors"] @ latent[0] + at["item_bias"])

    def gradients(self, at, rows, omega):
        """Of (1/k) Σ_v Σ_i c_vi (s_vi − y_vi)²."""
        e, p, c, beta = NAMES[self.name]
        offset, latent = self.encode(at, rows)
        scores = offset[:, None] + latent @ at["item_factors"].T + at["item_bias"]
        silence = 0 if self.ranking else self.encode(self.trained, rows)[0][:, None]
        target = np.where(self.rated[rows], self.ratings[rows], silence)
        slopes = 2 / len(rows) * np.where(self.rated[rows], 1, omega) * (scores - target)
        found = {n: np.zeros_like(value) for n, value in at.items()}
        found["item_factors"], found["item_bias"] = slopes.T @ latent, slopes.sum(0)
        delta = slopes @ at["item_factors"] * (latent * (1 - latent) if c else 1)
        if e:
            found[e] = self.inputs[rows].T @ delta
        if p:
            np.add.at(found[p], rows, delta)
        if c:
            found[c] = delta.sum(0)
        if beta in at:
            np.add.at(found[beta], rows, slopes.sum(1))
        return found

    def decays(self, rows, omega):
        """D of every parameter, where the regulariser is Σ D θ²."""
        if self.name not in PER_CELL:
            return dict.fromkeys(self.trained, self.reg)
        n_users, n_items = self.rated.shape
        users = np.zeros(n_users)
        for row in rows:
            users[row] += self.reg / len(rows) * (self.rated[row].sum() + omega * n_items)
        items = self.reg / len(rows) * (self.rated[rows].sum(0) + omega * len(rows))
        return {
            "user_factors": users[:, None],
            "user_bias": users,
            "item_factors": items[:, None],
            "item_bias": items,
        }

    def fine_tune(self, rows, *, steps, learning_rate=0.01, optimizer="adam", scope="all",
                  regularizer="coupled", unobserved_weight=None, proximal_weight=0.0):  # fmt: skip
        """Descent, or Adam (Kingma and Ba 2015, algorithm 1; decoupled: Loshchilov and Hutter)."""
        omega = self.own_omega if unobserved_weight is None else unobserved_weight
        at = {n: value.copy() for n, value in self.trained.items()}
        first, second = ({n: np.zeros_like(v) for n, v in at.items()} for _ in range(2))
        for t in range(1, steps + 1):
            gradients, decays = self.gradients(at, rows, omega), self.decays(rows, omega)
            for n, value in at.items():
                decoder = n in ("item_factors", "item_bias")
                if (scope == "decoder" and not decoder) or (self.name, n) == (
                    "PlainMF",
                    "item_bias",
                ):
                    continue
                g = gradients[n] + 2 * proximal_weight / len(rows) * (value - self.trained[n])
                if regularizer == "coupled":
                    g = g + 2 * decays[n] * value
                if regularizer == "decoupled":
                    value = value - learning_rate * 2 * decays[n] * value
                move = g
                if optimizer == "adam":
                    first[n] = 0.9 * first[n] + 0.1 * g
                    second[n] = 0.999 * second[n] + 0.001 * g**2
                    move = first[n] / (1 - 0.9**t)
                    move = move / (np.sqrt(second[n] / (1 - 0.999**t)) + 1e-8)
                at[n] = value - learning_rate * move
        return at
