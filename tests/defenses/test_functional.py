"""RVD of any torch model: the plain loop over deep copies is the oracle, and so is our own RVD."""

import copy
import itertools

import numpy as np
import pytest
import scipy.spatial.distance
import torch
from conformance import (
    EACH_VICTIM,
    KINDS,
    LONELY_USER,
    N_USERS,
    DefenseConformance,
    in_double,
    trained,
    unchanged,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rvdlib.data import leave_one_out, synthetic_ratings
from rvdlib.defenses import RVD, FunctionalRVD, FunctionalRVDConfig, RVDConfig, VictimModule
from rvdlib.evaluation import evaluate
from rvdlib.models import MF
from rvdlib.models.base import DECODER
from rvdlib.neighbors import NeighborSearch
from rvdlib.seeding import stream

N_ROWS, N_COLUMNS, SIZE = 24, 13, 4
everyone = torch.arange(N_USERS)


class Net(torch.nn.Module):
    """Somebody's model, with what modules are made of: layers by name, a tied weight, buffers with
    running statistics, dropout that training switches, a weight in another memory layout, a frozen
    parameter, one without a use."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.register_buffer("profiles", torch.randint(0, 2, (N_ROWS, N_COLUMNS), generator=rng))
        self.own = torch.nn.Embedding(N_ROWS, SIZE)
        self.body = torch.nn.Sequential(
            torch.nn.Linear(N_COLUMNS, SIZE), torch.nn.BatchNorm1d(SIZE), torch.nn.Dropout(0.5)
        )
        self.body[0].weight = torch.nn.Parameter(torch.empty(N_COLUMNS, SIZE).T)
        self.bodyguard = torch.nn.Parameter(torch.empty(N_COLUMNS))  # not in body
        self.decoder = torch.nn.Linear(SIZE, N_COLUMNS, bias=False)
        self.own_items = torch.nn.Linear(SIZE, N_COLUMNS, bias=False)
        self.own_items.weight = self.decoder.weight
        self.frozen = torch.nn.Parameter(torch.empty(N_COLUMNS), requires_grad=False)
        self.unused = torch.nn.Parameter(torch.empty(3))
        self.to(dtype)
        with torch.no_grad():
            for value in itertools.chain(self.parameters(), self.body[1].buffers()):
                if value.is_floating_point():
                    value.copy_(torch.rand(value.shape, generator=rng) + 0.1)

    def latent(self, users):
        profiles = self.profiles[users].to(self.frozen.dtype)
        return torch.tanh(self.body(profiles) * 0.3 - self.own(users))

    def forward(self, users):
        latent = self.latent(users)
        return self.decoder(latent) + self.own_items(latent**2) + self.bodyguard + self.frozen

    def row_loss(self, users):
        observed = self.profiles[users] > 0
        return (torch.where(observed, 1.0, 0.2) * (observed * 1.0 - self(users)) ** 2).sum(1)


def neighbours(model, user, k, distance):
    """(k,) by brute force."""
    latent = copy.deepcopy(model).eval().latent(torch.arange(N_ROWS)).detach().numpy()
    if distance == "inner_product":
        distances = -latent @ latent[user]
    else:
        distances = scipy.spatial.distance.cdist(latent[[user]], latent, distance)[0]
    return [v for v in np.argsort(distances, kind="stable") if v != user][:k]


def plain_loop(model, users, *, k=10, steps=20, learning_rate=0.01, optimizer="adam",
               weight_decay=0.0, regularizer="coupled", moves=None, distance="euclidean",
               include_user=False, proximal_weight=0.0):  # fmt: skip
    """Copy the model, fine-tune the copy by torch.optim, score, throw it away: user by user."""
    scores = []
    for user in users:
        rows = neighbours(model, user, k, distance) + [user] * include_user
        tuned = copy.deepcopy(model).eval()
        trained = [value.detach().clone() for value in tuned.parameters()]
        if moves is not None:
            for name, value in tuned.named_parameters():
                value.requires_grad_(name in moves)
        arguments = {"lr": learning_rate, "fused": False, "foreach": False}
        arguments["weight_decay"] = weight_decay * (regularizer != "none")
        kind = torch.optim.AdamW if regularizer == "decoupled" else torch.optim.Adam
        descent = (kind if optimizer == "adam" else torch.optim.SGD)(
            tuned.parameters(), **arguments
        )
        for _ in range(steps):
            descent.zero_grad()
            total = sum(tuned.row_loss(torch.tensor([row]))[0] for row in rows)
            for value, before in zip(tuned.parameters(), trained, strict=True):
                if value.requires_grad:
                    total = total + proximal_weight * ((value - before) ** 2).sum()
            (total / len(rows)).backward()
            descent.step()
        scores.append(tuned(torch.tensor([user]))[0].detach().numpy())
    return np.stack(scores)


OPTIMIZERS = [
    {"optimizer": "sgd", "learning_rate": 0.02},
    {"optimizer": "adam", "learning_rate": 0.02, "weight_decay": 0.1},
    {"optimizer": "adam", "learning_rate": 0.02, "weight_decay": 0.1, "regularizer": "decoupled"},
    {"optimizer": "sgd", "learning_rate": 0.02, "weight_decay": 0.1},
    {"optimizer": "sgd", "learning_rate": 0.02, "weight_decay": 0.1, "regularizer": "none"},
    {"optimizer": "adam", "learning_rate": 0.05},
]
# What is asked for, and what it means.
PARAMETERS = [
    (None, None),
    (["decoder"], ["decoder.weight"]),
    (["body"], ["body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias"]),
    (["frozen", "body.0.bias"], ["frozen", "body.0.bias"]),
]


@settings(max_examples=30, deadline=None)
@given(
    optimizer=st.sampled_from(OPTIMIZERS),
    parameters=st.sampled_from(PARAMETERS),
    k=st.integers(1, 12),
    steps=st.integers(0, 3),
    distance=st.sampled_from(["euclidean", "cosine", "inner_product"]),
    include_user=st.booleans(),
    proximal_weight=st.sampled_from([0.0, 0.5]),
    chunk_size=st.sampled_from([None, 1, 2, 3]),
    users=st.lists(st.integers(0, N_ROWS - 1), min_size=1, max_size=3),
)
def test_it_is_the_plain_loop(optimizer, parameters, chunk_size, users, **choices):
    model, (asked, moves) = Net(), parameters
    choices |= optimizer
    defense = FunctionalRVD(model, N_ROWS, parameters=asked, chunk_size=chunk_size, **choices)
    scores = defense.score(np.array(users))
    assert scores.dtype == np.float64
    assert np.abs(scores - plain_loop(model, users, moves=moves, **choices)).max() < 1e-6


def test_by_default_it_does_what_rvd_does():
    """Whatever both have is called the same, means the same and starts from the same."""
    ours, plain = FunctionalRVDConfig.model_fields, RVDConfig.model_fields
    shared = ours.keys() & plain.keys()
    # Whose own a model has in its code, or has none of.
    assert shared == ours.keys() - {"parameters", "chunk_size", "weight_decay"}
    for name in shared - {"optimizer"}:
        assert ours[name].default == plain[name].default, name
        assert ours[name].metadata == plain[name].metadata, name


@pytest.mark.parametrize("kind", EACH_VICTIM, ids="-".join)
@pytest.mark.parametrize("scope", ["all", "decoder"])
def test_it_is_rvd_on_our_own_victims(kind, scope):
    victim = in_double(trained(*kind))
    decoder = [name for name in DECODER if name not in victim.constants]
    users = np.arange(0, N_USERS, 13)
    # A module does not say who has rated nothing, and so comes last among a victim's neighbours.
    nearest = NeighborSearch(victim.user_factors(), 6)(users)
    users = users[(nearest != LONELY_USER).all(axis=1)]
    assert len(users) > 2
    regularizers = ["coupled", "none", "coupled"]
    if not victim.loss.per_cell:
        regularizers.append("decoupled")
    for regularizer, omega, optimizer in zip(
        regularizers, (None, 0.0, 0.1, None), ("adam", "sgd", "sgd", "adam"), strict=False
    ):
        choices = {
            "optimizer": optimizer,
            "learning_rate": 0.1,
            "k": 6,
            "steps": 3,
            "proximal_weight": 0.3,
            "include_user": True,
            "regularizer": regularizer,
        }
        plain = RVD(victim, scope=scope, unobserved_weight=omega, **choices).score(users)
        inside = "none" if regularizer == "none" else "coupled"
        module = VictimModule(victim, omega, inside).double()
        for chunk_size in (1, 4):
            scores = FunctionalRVD(
                module,
                N_USERS,
                parameters=None if scope == "all" else decoder,
                chunk_size=chunk_size,
                weight_decay=module.weight_decay,
                **choices,
            ).score(users)
            assert np.abs(scores - plain).max() < 1e-6
        assert np.abs(plain - victim.score(users)).max() > 1e-4


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_a_victim_module_is_the_victim(kind):
    victim = in_double(trained(*kind))
    for omega in (None, 0, 0.3):
        module = VictimModule(victim, omega).double()
        assert dict(module.named_parameters()).keys() == victim.parameters.keys()
        loss = victim.loss.variant(omega)
        assert module.weight_decay == loss.weight_decay
        decay = sum((value**2).sum() for value in victim.parameters.values())
        objective = victim.objective(everyone.numpy(), loss)(victim.parameters)
        objective = objective - loss.weight_decay / 2 * decay
        with torch.no_grad():
            assert module(everyone).numpy() == pytest.approx(victim.score(everyone.numpy()))
            assert module.latent(everyone).numpy() == pytest.approx(victim.user_factors())
            assert module.row_loss(everyone).mean().item() == pytest.approx(objective.item())


def test_a_victim_module_can_be_trained_without_the_victim():
    victim = trained("CDAE", "ranking")
    with unchanged(victim):
        module = VictimModule(victim)
        module.row_loss(everyone).sum().backward()
        torch.optim.SGD(module.parameters(), lr=0.1).step()
    with torch.no_grad():
        assert np.abs(module(everyone).numpy() - victim.score(everyone.numpy())).max() > 0.1


def places_and_loss(module, vicinity):
    """What it says a vicinity touches, and ℓ (k,) of nothing but these rows."""
    places, data = module.touched(vicinity[None])
    rows = {name: getattr(module, name)[at[0]].detach() for name, at in places.items()}
    data = {name: tensor[0] for name, tensor in data.items()}
    parameters = dict(module.named_parameters()) | rows
    module = copy.copy(module)
    module._parameters = parameters
    return places, module.row_loss(data)


@pytest.mark.parametrize("kind", EACH_VICTIM, ids="-".join)
@pytest.mark.parametrize("omega", [0, 0.1])
def test_a_vicinitys_loss_depends_on_what_is_touched_and_on_nothing_else(kind, omega):
    module = VictimModule(in_double(trained(*kind)), omega).double()
    for vicinity in torch.randperm(N_USERS, generator=torch.Generator().manual_seed(0)).split(9):
        places, loss = places_and_loss(module, vicinity)
        expected = module.row_loss(vicinity)
        assert loss.detach().numpy() == pytest.approx(expected.detach().numpy(), abs=1e-12)
        moving = [(n, value) for n, value in module.named_parameters() if value.requires_grad]
        names, values = zip(*moving, strict=True)
        for name, gradient in zip(names, torch.autograd.grad(expected.sum(), values), strict=True):
            elsewhere = torch.ones(len(gradient), dtype=torch.bool)
            if name in places:
                (at,) = places[name]
                assert len(at.unique()) == len(at)
                elsewhere[at] = False
                assert not gradient[elsewhere].any()


def test_only_what_is_touched_is_copied_and_moved(monkeypatch):
    victim, sizes = trained("AutoRec", "rating"), []
    few = np.argsort(np.diff(victim.train.indptr))[:3]  # with the fewest ratings
    n_rated = len(np.unique(victim.train[few].indices))
    step = torch.optim.SGD.step

    def watched(self, *arguments):
        sizes.extend(len(value[0]) for value in self.param_groups[0]["params"])
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.SGD, "step", watched)
    monkeypatch.setattr(FunctionalRVD, "vicinity", lambda self, users: few[None])
    FunctionalRVD(VictimModule(victim), N_USERS, k=3, steps=1, optimizer="sgd").score(np.arange(1))
    assert 0 < n_rated < victim.train.shape[1]
    assert sorted(sizes) == sorted([n_rated] * 3 + [victim.config.embedding_size])


def test_a_vicinity_without_a_rating_teaches_nothing(monkeypatch):
    victim = trained("NSVD", "rating")
    lonely = np.flatnonzero(np.diff(victim.train.indptr) == 0)
    monkeypatch.setattr(FunctionalRVD, "vicinity", lambda self, users: lonely[None])
    scores = FunctionalRVD(VictimModule(victim), N_USERS, k=1, steps=3).score(np.array([4]))
    assert len(lonely)
    assert scores == pytest.approx(victim.score(np.array([4])), abs=1e-6)


def test_victims_that_it_does_not_know_and_impossible_weights_are_refused():
    class Another(MF):
        pass

    victim = trained("MF", "rating")
    with pytest.raises(ValueError, match="unobserved_weight must be between 0 and 1, got 2"):
        VictimModule(victim, 2)
    another = Another()
    with pytest.raises(ValueError, match=r"encoder of Another is not described.*latent, row_loss"):
        VictimModule(another)


def test_only_a_model_that_says_it_predicts_stars_has_an_rmse():
    split = leave_one_out(synthetic_ratings(N_ROWS, N_COLUMNS, 120, rng=stream(0)), stream(1))
    _, no_stars, stars = models = Net(), Net(), Net()
    no_stars.predicts_stars, stars.predicts_stars = False, True
    found = [evaluate(FunctionalRVD(each, N_ROWS, steps=1), split, [], k=3) for each in models]
    assert np.isnan([found[0].rmse, found[1].rmse]).all()
    assert found[2].rmse > 0
    assert found[0].ndcg == found[1].ndcg == found[2].ndcg > 0
    assert VictimModule(trained("MF", "rating")).predicts_stars


class OfAVictim(FunctionalRVD):
    def __init__(self, victim, **choices):
        super().__init__(VictimModule(victim), len(victim.user_factors()), **choices)


class TestInOneChunk(DefenseConformance):
    tolerance = 1e-5

    def defend(self, victim):
        return OfAVictim(victim, k=8, steps=4)


class TestOneByOne(DefenseConformance):
    def defend(self, victim):
        return OfAVictim(victim, k=5, steps=3, optimizer="sgd", weight_decay=0.1, chunk_size=1)


def state(model):
    tensors = dict(itertools.chain(model.named_parameters(), model.named_buffers()))
    return (
        {n: (id(v), v._version, v.numpy(force=True).tobytes()) for n, v in tensors.items()},
        {n: (v.requires_grad, v.grad) for n, v in tensors.items()},
        {name: module.training for name, module in model.named_modules()},
    )


@pytest.mark.parametrize("chunk_size", [1, 3])
def test_the_model_never_changes_even_in_training_mode(chunk_size):
    """Dropout and running statistics are switched off in a copy; gradients stay away."""
    model = Net()
    model.body.eval()
    before = state(model)
    defense = FunctionalRVD(model, N_ROWS, steps=3, chunk_size=chunk_size)
    scores = defense.score(np.arange(4))
    assert state(model) == before
    assert model.training
    model.train()
    before = state(model)
    again = FunctionalRVD(model, N_ROWS, steps=3, chunk_size=chunk_size).score(np.arange(4))
    assert state(model) == before
    assert np.array_equal(again, scores)


def test_its_data_are_not_copied():
    model, seen = Net(), set()

    class Watched(Net):
        def row_loss(self, users):
            seen.add(self.profiles.data_ptr())
            return super().row_loss(users)

    model.__class__ = Watched
    FunctionalRVD(model, N_ROWS, steps=1).score(np.arange(4))
    assert seen == {model.profiles.data_ptr()}


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("chunk_size", [1, 3])
def test_an_interrupt_in_the_middle_leaves_no_trace(chunk_size, monkeypatch):
    model, calls = Net(), itertools.count()
    defense = FunctionalRVD(model, N_ROWS, steps=5, chunk_size=chunk_size)
    expected, before, row_loss = defense.score(np.arange(3)), state(model), Net.row_loss

    def interrupted(self, users):
        if next(calls) == 3:
            raise Interrupted
        return row_loss(self, users)

    with monkeypatch.context() as patch:
        patch.setattr(Net, "row_loss", interrupted)
        with pytest.raises(Interrupted):
            defense.score(np.arange(3))
    assert state(model) == before
    assert np.array_equal(defense.score(np.arange(3)), expected)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_may_be_called_where_gradients_are_off(mode):
    defense = FunctionalRVD(Net(), N_ROWS, steps=2)
    expected = defense.score(np.arange(3))
    with mode():
        scores = defense.score(np.arange(3))
        assert FunctionalRVD(Net(), N_ROWS, steps=2).score(np.arange(3)).tobytes() == (
            expected.tobytes()
        )
    assert scores.tobytes() == expected.tobytes()


def test_single_precision_stays_single():
    users = np.arange(5)
    single, double = (
        FunctionalRVD(Net(dtype), N_ROWS, steps=3, optimizer="sgd").score(users)
        for dtype in (torch.float32, torch.float64)
    )
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert single == pytest.approx(double, abs=1e-4)
    assert FunctionalRVD(Net(torch.float32), N_ROWS).score(users[:0]).shape == (0, N_COLUMNS)


@pytest.mark.parametrize("chunk_size", [1, 2])
def test_fine_tuning_that_diverges_is_an_error_that_names_the_choice(chunk_size):
    choices = {"optimizer": "sgd", "learning_rate": 1e6, "steps": 30, "chunk_size": chunk_size}
    users = np.array([5, 3, 4])
    defense = FunctionalRVD(Net(), N_ROWS, **choices)
    message = r"user 5 are not finite.*lower learning_rate \(now 1000000.0\) or steps \(30\)"
    with pytest.raises(ValueError, match=message):
        defense.score(users)
    lower = {**choices, "learning_rate": 0.01}
    assert np.isfinite(FunctionalRVD(Net(), N_ROWS, **lower).score(users)).all()


def test_hooks_of_the_model_are_heard():
    model = Net()
    model.register_forward_hook(lambda module, arguments, scores: 2 * scores)
    scores = FunctionalRVD(model, N_ROWS, steps=2).score(np.arange(3))
    assert np.abs(scores - plain_loop(model, range(3), steps=2)).max() < 1e-6


class Sized(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.factors = torch.nn.Parameter(torch.ones(12, size))
        self.still = torch.nn.Parameter(torch.ones(2**21))

    def latent(self, users):
        return self.factors[users]


@pytest.mark.parametrize(("size", "chunk_size"), [(1, 64), (10_000, 17), (100_000, 1)])
def test_chunks_are_as_large_as_what_moves_is_small(size, chunk_size):
    defense = FunctionalRVD(Sized(size), 12, parameters=["factors"])
    assert defense.chunk_size == chunk_size
    assert FunctionalRVD(Sized(size), 12).chunk_size == 1
    assert FunctionalRVD(Sized(size), 12, chunk_size=5).chunk_size == 5


def test_what_says_what_it_touches_is_served_several_at_once_however_large(monkeypatch):
    monkeypatch.setattr(Sized, "touched", None, raising=False)
    assert FunctionalRVD(Sized(100_000), 12).chunk_size > 1
    assert FunctionalRVD(Sized(100_000), 12, chunk_size=5).chunk_size == 5


def test_what_cannot_be_mapped_is_served_one_by_one():
    class Deciding(Net):
        def row_loss(self, users):
            return super().row_loss(users) * min(self.decoder.weight.sum().item(), 1)

    choices = {"k": 4, "steps": 3}
    with pytest.raises(RuntimeError, match="item"):
        FunctionalRVD(Deciding(), N_ROWS, chunk_size=2, **choices).score(np.arange(2))
    scores = FunctionalRVD(Deciding(), N_ROWS, chunk_size=1, **choices).score(np.arange(2))
    assert np.abs(scores - plain_loop(Deciding(), range(2), **choices)).max() < 1e-6


def test_fakes_who_reach_everybody_can_be_reduced_as_in_the_search():
    model = Net()
    plain, scaled = (
        FunctionalRVD(model, N_ROWS, k=3, hubness_reduction=reduction).vicinity(np.arange(N_ROWS))
        for reduction in ("none", "local_scaling")
    )
    assert plain.shape == scaled.shape == (N_ROWS, 3)
    assert not np.array_equal(plain, scaled)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            ["decoder", "encoder", "bod"],
            r"must name some of bodyguard, .*decoder.weight; got \['encoder', 'bod'\]",
        ),
        ([], "must name some of .*; none is named"),
    ],
)
def test_parameters_that_the_model_lacks_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        FunctionalRVD(Net(), N_ROWS, parameters=parameters)


def test_a_model_without_a_gradient_is_refused_unless_told_what_moves():
    frozen = Net().requires_grad_(False)
    with pytest.raises(ValueError, match="none is named and none requires a gradient"):
        FunctionalRVD(frozen, N_ROWS)
    names = [name for name, _ in Net().named_parameters() if name not in ("frozen", "unused")]
    told = FunctionalRVD(frozen, N_ROWS, parameters=names, steps=2).score(np.arange(2))
    assert told == pytest.approx(FunctionalRVD(Net(), N_ROWS, steps=2).score(np.arange(2)))


@pytest.mark.parametrize(
    ("choice", "value"),
    [
        ("k", 0),
        ("steps", -1),
        ("learning_rate", 0),
        ("optimizer", "lbfgs"),
        ("weight_decay", -1),
        ("regularizer", "weak"),
        ("parameters", "decoder"),  # a list of names
        ("distance", "profile_overlap"),
        ("hubness_reduction", "some"),
        ("proximal_weight", -1),
        ("chunk_size", 0),
        ("scope", "decoder"),
    ],
)
def test_impossible_choices_are_refused_by_name(choice, value):
    with pytest.raises(ValidationError, match=choice):
        FunctionalRVD(Net(), N_ROWS, **{choice: value})
