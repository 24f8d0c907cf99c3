"""Every check has a model that breaks exactly it, and good models pass all of them."""

import inspect
import re

import numpy as np
import pytest
import torch
from conformance import EACH_VICTIM, trained
from pydantic import ValidationError

from rvdlib.defenses import FunctionalRVD, VictimModule, check_defender
from rvdlib.defenses.any_model.checks import registry, subject

N_USERS, N_ITEMS, SIZE = 12, 9, 3


class Good(torch.nn.Module):
    """An autoencoder with a vector per user."""

    def __init__(self):
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.register_buffer("ratings", torch.randint(1, 6, (N_USERS, N_ITEMS), generator=rng) / 5)
        self.own = torch.nn.Parameter(torch.randn(N_USERS, SIZE, generator=rng))
        self.encoder = torch.nn.Parameter(torch.randn(N_ITEMS, SIZE, generator=rng))
        self.decoder = torch.nn.Parameter(torch.randn(SIZE, N_ITEMS, generator=rng))

    def latent(self, users):
        return torch.tanh(self.ratings[users] @ self.encoder + self.own[users])

    def forward(self, users):
        return self.latent(users) @ self.decoder

    def row_loss(self, users):
        return ((self.ratings[users] - self(users)) ** 2).sum(1)


BROKEN = {}  # name of the check → [(model, choices, what the message must say)]


def breaks(check, message, **choices):
    def register(model):
        BROKEN.setdefault(check, []).append((model, choices, message))
        return model

    return register


@breaks("has_the_methods", r"lacks row_loss\(users\) -> \(B,\); users is a LongTensor")
class NoLoss(Good):
    row_loss = None


@breaks(
    "has_parameters_to_move",
    "name some of own, encoder, decoder; none is named and none requires a gradient",
)
class Frozen(Good):
    def __init__(self):
        super().__init__()
        self.requires_grad_(False)


@breaks("can_be_copied", r"tensors kept between calls detached.*graph leaves")
class KeepsAGraph(Good):
    def __init__(self):
        super().__init__()
        self.norms = self.decoder.norm(dim=0)


@breaks("runs", r"latent fails for the users 0 to 7, given as a LongTensor.*AttributeError")
class TakesArrays(Good):
    def latent(self, users):
        return super().latent(users.astype(int))


@breaks("runs", r"forward must return a torch.Tensor, got ndarray")
class GivesArrays(Good):
    def forward(self, users):
        return super().forward(users).detach().numpy()

    def row_loss(self, users):
        return ((self.ratings[users] - Good.forward(self, users)) ** 2).sum(1)


@breaks("shapes_fit", r"row_loss must have the shape \(B,\): the loss of each row, not their sum")
class MeanLoss(Good):
    def row_loss(self, users):
        return super().row_loss(users).mean()


@breaks("shapes_fit", "latent must be floating, got torch.int64")
class Codes(Good):
    def latent(self, users):
        return (super().latent(users) > 0).long()

    def forward(self, users):
        return super().latent(users) @ self.decoder


@breaks("shapes_fit", r"forward must be \(B, items\) for every B, the second number changes")
class ScoresTheBatch(Good):
    def forward(self, users):
        return super().forward(users)[:, : len(users)]

    def row_loss(self, users):
        return ((self.ratings[users] - Good.forward(self, users)) ** 2).sum(1)


@breaks("values_are_finite", "latent is not finite for user 7: mind empty profiles")
class EmptyProfile(Good):
    """A mean of nothing, out of the gradient's way."""

    def __init__(self):
        super().__init__()
        self.ratings[7] = 0

    def latent(self, users):
        observed = self.ratings[users] > 0
        return super().latent(users) + (0 / observed.sum(1, keepdim=True))

    def forward(self, users):
        return super().latent(users) @ self.decoder


@breaks("nothing_is_written", "calls write to model._buffers.calls: work on copies")
class Counts(Good):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def latent(self, users):
        with torch.no_grad():
            self.calls += 1
        return super().latent(users)

    def forward(self, users):
        return super().latent(users) @ self.decoder


@breaks("nothing_is_written", "keep nothing from call to call")
class Caches(Good):
    norms = None

    def row_loss(self, users):
        if self.norms is None:
            self.norms = self.decoder.detach().norm(dim=0)
        return super().row_loss(users) + self.norms.sum()


@breaks(
    "answers_repeat", "latent differs from call to call in evaluation mode: give functional.drop"
)
class DropsAlways(Good):
    def latent(self, users):
        return torch.nn.functional.dropout(super().latent(users))


@breaks("rows_stand_alone", "forward depends on the order of the users")
class Sorts(Good):
    def forward(self, users):
        return super().forward(users.sort().values)

    def row_loss(self, users):
        return ((self.ratings[users] - Good.forward(self, users)) ** 2).sum(1)


@breaks("rows_stand_alone", "latent depends on .* who else is in the batch.*batch norm")
class NormalisesByBatch(Good):
    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(SIZE, affine=False, track_running_stats=False)

    def latent(self, users):
        latent = super().latent(users)
        return self.norm(latent) if len(latent) > 1 else latent


@breaks("rows_stand_alone", "row_loss depends on .* who else.*no loss divided by its size")
class DividesByBatch(Good):
    def row_loss(self, users):
        return super().row_loss(users) / len(users)


@breaks("last_user_is_known", "latent fails for user 39, the last of n_users = 40", n_users=40)
class FewerThanSaid(Good):
    """Those that are asked for first are there."""

    def __init__(self):
        super().__init__()
        self.ratings = self.ratings.repeat(3, 1)
        self.own = torch.nn.Parameter(self.own.detach().repeat(3, 1))


@breaks("gradient_reaches_what_moves", "no gradient of row_loss reaches a parameter: no detach")
class Detaches(Good):
    def row_loss(self, users):
        return super().row_loss(users).detach()


@breaks(
    "gradient_reaches_what_moves", "no gradient of row_loss reaches", parameters=["temperature"]
)
@breaks("gradient_reaches_what_moves", "no gradient to temperature: they would stay as trained")
class OnlyForScores(Good):
    def __init__(self):
        super().__init__()
        self.temperature = torch.nn.Parameter(torch.ones(()))

    def forward(self, users):
        return super().forward(users) * self.temperature

    def row_loss(self, users):
        return ((self.ratings[users] - Good.forward(self, users)) ** 2).sum(1)


@breaks(
    "gradient_reaches_what_moves", "gradient of row_loss for own is not finite.*sqrt, norm and log"
)
class RootOfZero(Good):
    def row_loss(self, users):
        return super().row_loss(users) + ((self.own[users] * 0) ** 2).sum(1).sqrt()


@breaks("can_be_fine_tuned", "keep no tensors from call to call.*does not support sparse")
class SparseEmbedding(Good):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(N_USERS, N_ITEMS, sparse=True)
        torch.nn.init.ones_(self.embedding.weight)

    def forward(self, users):
        return super().forward(users) + self.embedding(users)


@breaks("can_be_mapped", "no Python numbers.*or serve one user at a time.*item")
class Clamps(Good):
    def row_loss(self, users):
        return super().row_loss(users) * min(self.decoder.norm().item(), 1)


@breaks("can_be_mapped", "no boolean masks but torch.where.*dynamic shape")
class Masks(Good):
    def row_loss(self, users):
        ratings, errors = self.ratings[users], torch.zeros(len(users), N_ITEMS)
        seen = ratings > 0.5
        errors[seen] = ((ratings - self(users)) ** 2)[seen]
        return errors.sum(1)


class MappedWrongly(torch.autograd.Function):
    @staticmethod
    def forward(value):
        return value.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):
        return gradient

    @staticmethod
    def vmap(info, in_dims, value):
        return 2 * value, in_dims[0]


@breaks("can_be_mapped", "vmap changes its scores: serve it with chunk_size=1")
class WrongRule(Good):
    def forward(self, users):
        return MappedWrongly.apply(super().forward(users))


@breaks("fine_tuning_moves_the_scores", "forward must use the parameters that move")
class ScoresFromATable(Good):
    def __init__(self):
        super().__init__()
        with torch.no_grad():
            self.register_buffer("table", Good.forward(self, torch.arange(N_USERS)))

    def forward(self, users):
        return self.table[users]

    def row_loss(self, users):
        return ((self.ratings[users] - Good.forward(self, users)) ** 2).sum(1)


@breaks("fine_tuning_moves_the_scores", "row_loss must not be flat", parameters=["own"])
class OthersVectors(Good):
    """What moves are the neighbours' vectors: not the user's."""


@breaks("no_user_leaves_a_trace", "no state outside the module", chunk_size=1)
class Remembers(Good):
    """Losses that were asked for with gradients raise all later scores."""

    log = None

    def __init__(self):
        super().__init__()
        type(self).log = []

    def row_loss(self, users):
        if torch.is_grad_enabled():
            self.log.append(len(users))
        return super().row_loss(users)

    def forward(self, users):
        return super().forward(users) * (1 + len(self.log))


class Touched(Good):
    """Its loss knows a vector per user, and of the decoder's rows those that were rated."""

    def __init__(self):
        super().__init__()
        self.decoder = torch.nn.Parameter(self.decoder.detach().T.contiguous())
        self.ratings[:, 5:] = 0
        self.ratings[3, 7] = 0.4

    def forward(self, users):
        return self.latent(users) @ self.decoder.T

    def row_loss(self, users):
        if isinstance(users, dict):
            ratings, inputs, users = users["ratings"], users["inputs"], users["own"]
        else:
            ratings = inputs = self.ratings[users]
        scores = torch.tanh(inputs @ self.encoder + self.own[users]) @ self.decoder.T
        return ((ratings > 0) * (ratings - scores) ** 2).sum(1)

    def touched(self, vicinities):
        rated = (self.ratings[vicinities] > 0).any(1)
        items = rated.byte().topk(int(rated.sum(1).max())).indices
        data = {
            "ratings": self.ratings[vicinities[:, :, None], items[:, None]],
            "inputs": self.ratings[vicinities],
            "own": torch.arange(vicinities.shape[1]).expand_as(vicinities),
        }
        return {"own": vicinities, "decoder": items}, data


def places_as(change):
    """A class of models whose places are changed."""

    class Changed(Touched):
        def touched(self, vicinities):
            places, data = super().touched(vicinities)
            return change(places), data

    return Changed


@breaks("touched_changes_no_score", r"touched must take .* two dicts.*AttributeError")
class TouchesOneByOne(Touched):
    def touched(self, vicinities):
        return super().touched(vicinities)[0], None


for case, change, message in [
    ("Misnamed", lambda p: p | {"users": p["own"]}, "parameters by name.*KeyError"),
    ("Negative", lambda p: p | {"own": p["own"] - N_USERS}, r"int64 rows \(B, R\).*IndexError"),
    ("Twice", lambda p: p | {"own": p["own"][:, [0, 0]]}, "every row that the vicinity's loss"),
]:
    model = places_as(change)
    model.__name__ = case
    breaks("touched_changes_no_score", message)(model)


@breaks("touched_changes_no_score", "touched changes the scores: it must name every row")
class OthersRows(Touched):
    def touched(self, vicinities):
        places, data = super().touched(vicinities)
        return places | {"own": (vicinities + 1) % N_USERS}, data


@breaks("touched_changes_no_score", "touched changes the scores: it must name every row")
class OnlyTheFirstItems(Touched):
    def touched(self, vicinities):
        places, data = super().touched(vicinities)
        items = torch.arange(5).expand(len(vicinities), 5)
        ratings = self.ratings[vicinities[:, :, None], items[:, None]]
        return places | {"decoder": items}, data | {"ratings": ratings}


@breaks("touched_changes_no_score", "row_loss of its data must be that loss")
class OthersRatings(Touched):
    def touched(self, vicinities):
        places, data = super().touched(vicinities)
        return places, data | {"ratings": data["ratings"].flip(1)}


@breaks("touched_changes_no_score", "which row_loss takes .*TypeError")
class KnowsNoDict(Touched):
    def row_loss(self, users):
        return super().row_loss(users + 0)


@breaks("serves_as_chosen", r"k must be between 1 and 4 \(the other users\), got 10", n_users=5)
@breaks("serves_as_chosen", "k must be between 1 and 11 .*got 12", k=12)
class FewUsers(Good):
    pass


STEEP = {"optimizer": "sgd", "learning_rate": 10.0}


@breaks(
    "can_be_fine_tuned",
    r"^the scores of user 7 .* lower learning_rate \(now 1e\+30\)",
    **{**STEEP, "learning_rate": 1e30},
)
@breaks(
    "serves_as_chosen",
    r"user 7 are not finite: .*lower learning_rate \(now 10.0\) or steps \(20\)",
    **STEEP,
)
@breaks("serves_as_chosen", "fine-tuning diverges", n_users=None, **STEEP)
class Diverges(Good):
    """Not in two steps."""


def failed(results):
    return [result.name for result in results if result.status == "failed"]


CASES = [(check, *case) for check, cases in BROKEN.items() for case in cases]


@pytest.mark.parametrize(
    ("check", "model", "choices", "message"), CASES, ids=[case[1].__name__ for case in CASES]
)
def test_a_broken_model_fails_exactly_its_check_and_is_told_why(check, model, choices, message):
    choices = {"n_users": N_USERS, **choices}
    results = check_defender(model(), raise_on_failure=False, **choices)
    assert failed(results) == [check], results
    (said,) = (result.message for result in results if result.status == "failed")
    assert re.search(message, said), said
    with pytest.raises(ValueError, match=f"{model.__name__} cannot be defended.*\n- {check}: "):
        check_defender(model(), **choices)


def test_every_check_is_broken_by_some_model():
    assert set(BROKEN) == {check.__name__ for check in registry.CHECKS}
    for check in registry.CHECKS:
        assert inspect.getdoc(check), check


def passed(results):
    return bool(results) and all(result.status == "passed" for result in results)


class WithModules(torch.nn.Module):
    """Layers, dropout and batch statistics that evaluation mode switches off, in training mode."""

    def __init__(self):
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.register_buffer("ratings", torch.rand(N_USERS, N_ITEMS, generator=rng))
        self.body = torch.nn.Sequential(
            torch.nn.Linear(N_ITEMS, SIZE), torch.nn.BatchNorm1d(SIZE), torch.nn.Dropout(0.5)
        )
        self.head = torch.nn.Linear(SIZE, N_ITEMS)
        with torch.no_grad():
            for value in self.parameters():
                value.copy_(torch.randn(value.shape, generator=rng))

    def latent(self, users):
        return self.body(self.ratings[users])

    def forward(self, users):
        return self.head(self.latent(users))

    def row_loss(self, users):
        scores = self(users)
        return torch.nn.functional.mse_loss(scores, self.ratings[users], reduction="none").sum(1)


@pytest.mark.parametrize("model", [Good, WithModules, Touched])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_good_model_passes_and_stays_as_it_was(model, dtype):
    model = model().to(dtype)
    before, generator = dict(subject.state_of(model)), torch.get_rng_state()
    assert passed(check_defender(model, N_USERS))
    assert passed(check_defender(model))
    assert dict(subject.state_of(model)) == before
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize("kind", EACH_VICTIM, ids="-".join)
def test_our_victims_pass_as_modules(kind):
    victim = trained(*kind)
    assert passed(check_defender(VictimModule(victim, 0.1), 64, optimizer="sgd", weight_decay=0.1))


@pytest.mark.parametrize("model", [Clamps, Masks])
def test_what_is_served_one_by_one_need_not_be_mappable(model):
    assert passed(check_defender(model(), N_USERS, chunk_size=1))


def test_a_model_that_says_what_it_touches_need_not_be_mappable():
    class Both(Touched):
        def row_loss(self, users):
            return super().row_loss(users) * min(self.encoder.norm().item(), 1)

    assert passed(check_defender(Both(), N_USERS, chunk_size=1, include_user=True))


def test_a_model_that_says_nothing_of_what_it_touches_is_told_that_it_could():
    said, unsaid = (
        {result.name: result.message for result in check_defender(model(), N_USERS)}
        for model in (Touched, Good)
    )
    assert re.search(r"no touched\(vicinities\).*slower", unsaid["touched_changes_no_score"])
    assert set(said.values()) == {""}


def test_parameters_that_stay_need_no_gradient():
    choices = {"parameters": ["own", "decoder"], "include_user": True}
    assert passed(check_defender(OnlyForScores(), N_USERS, **choices))


def test_what_needs_a_broken_part_is_skipped_and_says_so():
    results = {r.name: r for r in check_defender(MeanLoss(), N_USERS, raise_on_failure=False)}
    assert results["can_be_mapped"].status == "skipped"
    assert results["values_are_finite"].message == "needs shapes_fit"
    assert results["last_user_is_known"].status == "passed"


def test_independent_problems_are_told_at_once():
    class Both(FewerThanSaid, Detaches):
        pass

    with pytest.raises(ValueError, match=r"(?s)last_user_is_known.*gradient_reaches_what_moves"):
        check_defender(Both(), 40)


def test_spare_rows_do_no_harm_and_are_nobodys_neighbours():
    """As of a padding index, or of users yet to come."""
    model = Good()
    assert passed(check_defender(model, N_USERS - 2, k=N_USERS - 3))
    rows = FunctionalRVD(model, N_USERS - 2, k=3).vicinity(np.arange(N_USERS - 2))
    assert rows.max() == N_USERS - 3


def test_what_is_no_model_and_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="with latent, row_loss and forward, got dict"):
        check_defender({})
    with pytest.raises(ValueError, match="n_users must be at least 3, got 2"):
        check_defender(Good(), 2)
    with pytest.raises(ValidationError, match="learning_rte"):
        check_defender(Good(), N_USERS, learning_rte=1)


def test_states_tell_every_kind_of_change():
    model = Good()
    model.extra = {"arrays": [np.zeros(3)], "sparse": model.ratings.to_sparse()}
    model.extra["itself"] = model.extra
    state = dict(subject.state_of(model))
    assert state == dict(subject.state_of(model))
    changes = [
        lambda: model.extra["arrays"][0].__setitem__(2, 1),
        lambda: model.decoder.data[0].zero_(),  # behind autograd's back
        lambda: model.own.requires_grad_(False),
        lambda: model.own.detach().mul_(1),  # the same numbers, written
        lambda: model.eval(),
        lambda: model.extra["sparse"].mul_(2),
    ]
    for change in changes:
        change()
        now = dict(subject.state_of(model))
        assert now != state
        state = now
