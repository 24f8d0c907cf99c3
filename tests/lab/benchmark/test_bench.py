"""The benchmark: it reports what it measured, and cannot be fooled by a fast form that is wrong."""

import json
from platform import python_version

import numpy as np
import pytest
import scipy.stats
import torch
from click.testing import CliRunner

from rvdlib.cli import main
from rvdlib.data import Ratings, leave_one_out, load_dataset
from rvdlib.defenses import ClosedFormRVD
from rvdlib.lab.benchmark import bench, memory, serving
from rvdlib.lab.benchmark.agreement import closed_form_error
from rvdlib.lab.benchmark.bench import as_text, benchmark
from rvdlib.lab.experiment import cells, machine
from rvdlib.lab.experiment.cells import Scenario, carry_out
from rvdlib.models import VICTIMS
from rvdlib.neighbors import DISTANCES, NeighborSearch, k_occurrence
from rvdlib.seeding import stream
from rvdlib.serving import Arrays
from tests.lab.conftest import small_victims

RATIOS = {  # → rounds, the slow form, the fast one
    "closed_form_over_undefended": ("pairs", "closed_form", "undefended"),
    "closed_form_prepared_over_undefended": ("pairs", "closed_form_prepared", "undefended"),
    "quorum_over_undefended": ("pairs", "quorum", "undefended"),
    "plain_over_closed_form": ("loops", "plain_decoder_loop", "closed_form"),
    "plain_over_engine": ("loops", "plain_loop", "engine"),
    "plain_over_functional": ("loops", "plain_loop", "functional"),
}
N_USERS, N_ITEMS = 120, 150  # of the data set
COSTS = {  # microseconds a user
    "undefended": 2.0,
    "closed_form": 5.0,
    "closed_form_prepared": 5.0,  # the score of which is the closed form's
    "quorum": 3.0,
    "engine": 30.0,
    "functional": 300.0,
    "plain_loop": 900.0,
    "plain_decoder_loop": 700.0,
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Victims of four factors and two epochs, little to measure the machine by, no child process.

    Returns what was asked of the child process that is left out: tests/lab/benchmark/test_memory.py has it.
    """
    small_victims(monkeypatch, embedding_size=4, epochs=2)
    monkeypatch.setattr(machine, "_MATRIX_SIZE", 64)
    monkeypatch.setattr(machine, "_COPIED_NUMBERS", 2**12)
    monkeypatch.setattr(bench, "LEAST_VISITS", 200)
    monkeypatch.setattr(bench, "STEPS", 3)
    asked = []

    def of_one_call(victim, users, seen, **options):
        asked.append((victim, users, options))
        return {"before": 300.0, "peak": 300.0 + len(users)}

    monkeypatch.setattr(memory, "of_one_call", of_one_call)
    return asked


class Clock:
    """Stands still but for what it is moved by."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1e-9  # reading it takes time too: nothing is divided by zero
        return self.now


class Costly:
    """A form that takes exactly so long: a fixed cost for each user, and more in every call."""

    def __init__(self, form, clock, cost):
        self.form, self.clock, self.cost = form, clock, cost
        self.calls = 0

    def score(self, users):
        self.calls += 1
        self.clock.now += 1e-6 * self.cost * len(users) * (1 + 0.1 * self.calls)
        return self.form.score(users)


@pytest.fixture
def clock(monkeypatch):
    clock, forms = Clock(), bench.forms

    def costly(victim, closed_form, iterative):
        built = forms(victim, closed_form, iterative)
        return {
            name: (lambda n=name: Costly(built[n](), clock, COSTS[n]))
            if not name.startswith("closed_form")  # whose vicinities are asked for
            else built[name]
            for name in built
        }

    monkeypatch.setattr(bench, "forms", costly)
    score = ClosedFormRVD.score

    def costly_score(self, users):
        clock.now += 1e-6 * COSTS["closed_form"] * len(users)
        return score(self, users)

    monkeypatch.setattr(ClosedFormRVD, "score", costly_score)
    return clock


@pytest.fixture(scope="module", params=["MF", "AutoRec"])  # which serve in two ways
def victim(request, dataset):
    ratings = load_dataset(dataset)
    split = leave_one_out(ratings, stream(0, "split"))
    trained = VICTIMS[request.param](embedding_size=4, epochs=2)
    return trained.fit(split.train, split.validation, ratings.levels, stream(0, "model"))


def run(*arguments):
    return CliRunner().invoke(main, ["bench", *map(str, arguments)])


@pytest.fixture
def built(monkeypatch):
    """Form → the configurations that were measured."""
    noted, prepare = [], bench.prepare

    def noting(build, *rest):
        ready, seconds = prepare(build, *rest)
        noted.append(ready)
        return ready, seconds

    monkeypatch.setattr(bench, "prepare", noting)
    return noted


def test_json_has_all_that_is_asked_for(dataset, small, built):
    options = ("--k", 3, "--unobserved-weight", 0.7, "--proximal-weight", 2.5)
    result = run("--dataset", dataset, "--model", "MF", *options, "--sample", 5, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert RATIOS.keys() <= report.keys()
    assert (report["users"], report["items"], report["k"]) == (N_USERS, N_ITEMS, 3)
    assert report["threads"] == torch.get_num_threads()
    assert report["sample"] == 5
    assert report["served"] == {
        "undefended": 200,
        "closed_form": 200,
        "closed_form_prepared": 200,
        "quorum": 200,
        "engine": 100,
        "functional": 5,
        "plain_loop": 5,
        "plain_decoder_loop": 5,
    }
    assert min(report[f"{name}_us_per_user"] for name in COSTS) > 0
    assert report["plain_loop_us_per_user"] > report["undefended_us_per_user"]
    assert report["top50_identical"] is True
    assert report["max_abs_difference"] < 1e-6
    for form in ("engine", "functional"):
        served, exact = (report["agreement"][form][p] for p in ("float32", "float64"))
        assert exact["max_abs_difference"] < 1e-6
        assert served["max_abs_difference"] < 1e-3
        assert exact["identical_lists"] == 1
        assert served["identical_lists"] >= 0.8
    assert report["closed_form_error"] < 1e-4
    memory_of = [report[f"peak_rss_{name}"] for name in ("before_mib", "mib", "users")]
    assert memory_of == [300, 300 + N_USERS, N_USERS]
    ((_, users, options),) = small
    assert np.array_equal(users, np.arange(N_USERS))
    threads = {"threads": torch.get_num_threads()}
    asked = {"k": 3, "unobserved_weight": 0.7, "proximal_weight": 2.5}
    assert options == asked | threads
    assert report["hubness_skewness"].keys() == set(DISTANCES)
    made = {
        "closed_form": asked,
        "plain_decoder_loop": {"k": 3, "steps": 3, "learning_rate": 0.01, "scope": "decoder"}
        | {"regularizer": "none", "unobserved_weight": 0.7},
    }
    for name, choices in made.items():
        assert report["choices"][name].items() >= choices.items()
    closed = next(form.config for form in built if isinstance(form, ClosedFormRVD))
    assert closed.model_dump().items() >= asked.items()
    loops = [form.config.unobserved_weight for form in built if type(form) is serving.RVD]
    assert loops == [None, 0.7]  # the victim's own, and the closed form's
    for name in report["served"]:
        alone = report["single_user_ms"][name]
        assert 0 < alone["p50"] <= alone["p99"]
        assert alone["calls"] == (5 if "loop" in name or name == "functional" else 100)
        assert report["preparation_ms"][name] > 0
    assert report["cpu"]
    assert min(report["matmul_gflops"], report["copy_gigabytes"]) > 0
    assert {"numpy", "numba", "torch"} <= report["versions"].keys()
    assert report["versions"]["python"] == python_version()


def test_the_table_says_what_the_json_says(dataset):
    options = ("--dataset", dataset, "--model", "AutoRec", "--k", 3, "--sample", 5, "--pairs", 1)
    result = run(*options)
    assert result.exit_code == 0, result.output
    assert "AutoRec on own.csv, rating regime: 120 users, 150 items" in result.stdout
    assert "closed form: k = 3, λ = 1, ω = 0.1" in result.stdout
    for name in COSTS:
        assert name.replace("_", " ") in result.stdout
    for form in ("engine", "functional"):
        assert f"{form}, float64: at most " in result.stdout
    assert "first 50 items the same for 100% of users" in result.stdout
    assert "%" not in result.stderr.replace("%|", "")  # progress bars alone


def test_times_and_ratios_are_medians_of_what_was_measured(dataset, clock):
    report = benchmark(dataset, "MF", k=3, pairs=3, sample=5, clock=clock)
    pairs, loops = report["rounds_us_per_user"].values()
    assert set(pairs) == {"undefended", "closed_form", "closed_form_prepared", "quorum"}
    assert set(loops) == {*COSTS.keys() - pairs.keys(), "closed_form"}
    for rounds in (pairs, loops):
        assert {len(taken) for taken in rounds.values()} == {3}
        for name, taken in rounds.items():
            assert np.all(np.array(taken) >= COSTS[name] * 0.999), name
    for name, rounds in ((n, pairs if n in pairs else loops) for n in COSTS):
        assert report[f"{name}_us_per_user"] == pytest.approx(np.median(rounds[name]))
    for ratio, (group, slow, fast) in RATIOS.items():
        rounds = report["rounds_us_per_user"][group]
        each = np.divide(rounds[slow], rounds[fast])
        assert len(set(each.tolist())) > 1, ratio
        assert report[ratio] == pytest.approx(np.median(each))
    # The closed form costs the same in every call, so its time is known outright.
    assert report["closed_form_us_per_user"] == pytest.approx(COSTS["closed_form"], rel=1e-3)
    assert report["single_user_ms"]["closed_form"]["p50"] == pytest.approx(0.005, rel=1e-3)
    # Five calls of the loop, each a tenth of 0.9 ms longer than the one before.
    alone = report["single_user_ms"]["plain_loop"]
    assert alone["p99"] - alone["p50"] == pytest.approx(0.09 * (3.96 - 2), rel=1e-3)


def test_work_is_done_in_turn_and_every_other_round_backwards():
    clock, done = Clock(), []

    def work(name, seconds):
        def take():
            done.append(name)
            clock.now += seconds * len(done)

        return take

    taken = serving.in_turn({"a": work("a", 1), "b": work("b", 10)}, 3, clock=clock)
    assert "".join(done) == "abbaab"
    assert taken["a"] == pytest.approx([1, 4, 5])
    assert taken["b"] == pytest.approx([20, 30, 60])


def test_preparation_is_outside_of_what_is_timed(dataset):
    clock = Clock()
    seen = carry_out(Scenario(dataset=dataset, victim="MF", regime="rating")).split.train

    class Slow:
        def __init__(self):
            clock.now += 100

        def score(self, users):
            clock.now += len(users)
            return np.zeros((len(users), N_ITEMS))

    ready, seconds = serving.prepare(Slow, seen, clock)
    assert seconds == pytest.approx(101)
    serve = serving.each_in_turn(
        lambda users: serving.lists(ready, users, seen), np.arange(4)[:, None]
    )
    alone = serving.in_turn({"slow": serve}, 4, clock=clock)
    assert alone["slow"] == pytest.approx(np.ones(4))


@pytest.fixture
def served(monkeypatch):
    """Rounds → form → the users that it served in each of them."""
    noted, in_turn = [], bench.in_turn

    def noting(work, rounds, **options):
        if rounds == 1:  # the others serve one user at a time
            noted.append({name: call.args[1] for name, call in work.items()})
        return in_turn(work, rounds, **options)

    monkeypatch.setattr(bench, "in_turn", noting)
    return noted


def test_both_sides_of_a_ratio_serve_the_same_users_each_equally_often(dataset, served):
    benchmark(dataset, "MF", k=3, pairs=1, sample=7)
    pairs, loops = served
    assert all(np.array_equal(users, pairs["undefended"]) for users in pairs.values())
    assert set(pairs["undefended"]) == set(range(N_USERS))
    sample = cells.sample_users(N_USERS, 7, 0)
    assert loops.keys() == {*COSTS.keys() - pairs.keys(), "closed_form"}
    for name, users in loops.items():
        found, visits = np.unique(users, return_counts=True)
        assert np.array_equal(found, sample), name
        assert set(visits) == {20 if name in ("closed_form", "engine") else 1}, name


def test_what_the_defender_chose_is_measured_form_by_form(dataset, built, monkeypatch):
    closed = {"k": 7, "proximal_weight": 0.3, "unobserved_weight": 0.03}
    paper = {"k": 4, "steps": 2, "learning_rate": 0.003}

    def chosen_defenses(regime, victim, name):
        assert (regime, victim) == ("ranking", "MF")
        assert name == load_dataset(dataset).name
        return {
            "RVD": {"method": "rvd", "choices": paper},
            "closed form": {"method": "closed_form", "choices": closed},
        }

    monkeypatch.setattr(bench, "chosen_defenses", chosen_defenses)
    options = ("--regime", "ranking", "--chosen", "--sample", 3, "--pairs", 1, "--json")
    result = run("--dataset", dataset, "--model", "MF", *options)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["chosen"], report["k"], report["steps"]) == (True, 7, 2)
    for name, expected in (("closed_form", closed), ("plain_loop", paper)):
        assert report["choices"][name].items() >= expected.items()
    assert report["choices"]["quorum"].items() >= {"k": 7, "quorum": 1}.items()
    for form in built[4:]:  # the engine and the loops
        assert form.config.learning_rate == 0.003
    assert built[-1].config.k == 7  # the decoder's, of the closed form


@pytest.mark.parametrize("option", ["--k=3", "--unobserved-weight=0.1", "--proximal-weight=1"])
def test_the_defenders_choice_and_another_are_not_taken_together(dataset, option):
    result = run("--dataset", dataset, "--model", "MF", "--chosen", option)
    assert result.exit_code == 2
    assert f"leave out {option.partition('=')[0]}\n" in result.stderr


def test_hubs_are_told_by_the_skewness_of_everybodys_lists(victim):
    skewness = serving.hubs(victim, 5)
    for distance in DISTANCES:
        search = NeighborSearch(victim.user_factors(), 5, distance, ratings=victim.train)
        counts = k_occurrence(search(np.arange(N_USERS)), N_USERS)
        assert skewness[distance] == pytest.approx(scipy.stats.skew(counts))


def off_by(form, amount, users):
    """The form, with scores that are off for some of the users."""

    class Broken(form):
        def score(self, served):
            scores = super().score(served)
            wrong = np.isin(served, users)
            scores[wrong] += amount * np.random.default_rng(0).standard_normal(N_ITEMS)
            return scores

    return Broken


def test_forms_that_are_wrong_for_one_user_are_found_out(dataset, monkeypatch):
    one = cells.sample_users(N_USERS, 5, 0)[-1:]
    for form, amount in (("FastRVD", 0.5), ("ClosedFormRVD", 0.01)):
        monkeypatch.setattr(serving, form, off_by(getattr(serving, form), amount, one))
    report = benchmark(dataset, "MF", k=3, pairs=1, sample=5)
    noise = np.abs(0.5 * np.random.default_rng(0).standard_normal(N_ITEMS)).max()
    assert report["closed_form_error"] > 0.01
    assert report["top50_identical"] is False
    assert report["max_abs_difference"] == pytest.approx(noise, abs=1e-6)
    wrong, right = (report["agreement"][name] for name in ("engine", "functional"))
    for precision in ("float32", "float64"):
        assert wrong[precision]["identical_lists"] == 0.8
        assert wrong[precision]["max_abs_difference"] == pytest.approx(noise, abs=1e-3)
    assert right["float64"]["identical_lists"] == 1
    report["agreement"] = {"broken": wrong}
    assert "first 50 items the same for 80% of users" in as_text(report)


def test_undefended_is_served_with_the_scores_of_the_victim(victim):
    users = np.array([3, 89, 0])
    served = Arrays.of(victim).score(users)
    assert served.dtype == np.float32
    assert served == pytest.approx(victim.score(users), abs=1e-5)


def test_neighbours_found_beforehand_are_those_that_a_search_finds(victim):
    searched, users = ClosedFormRVD(victim, k=4), np.array([3, 89, 0])
    prepared = serving.prepared(victim, k=4)
    assert np.array_equal(prepared.vicinity(users), searched.vicinity(users))
    assert np.array_equal(prepared.score(users), searched.score(users))


@pytest.mark.parametrize(("k", "quorum"), [(1, 1), (4, 1), (10, 2), (30, 6)])
def test_a_quorum_of_a_fifth_of_the_neighbours_serves_in_the_order_of_the_victim(victim, k, quorum):
    served = serving.forms(victim, {"k": k, "unobserved_weight": 0.1}, {})["quorum"]()
    assert (served.config.k, served.config.quorum) == (k, quorum)
    users = np.array([3, 89, 0])
    assert np.array_equal(served.score(users), Arrays.of(victim).score(users))
    assert np.array_equal(served.eligible(users), served.votes(users) >= quorum)


def test_the_closed_form_is_near_the_solve_item_by_item_and_not_by_being_undefended(victim):
    defended, users = ClosedFormRVD(victim, k=4), np.array([7, 30])
    assert closed_form_error(defended, users) < 1e-5
    assert np.abs(defended.score(users) - victim.score(users)).max() > 1e-2


def test_the_machine_is_measured_by_what_it_did():
    clock = Clock()
    assert machine.matmul_gflops(clock) == pytest.approx(2 * 64**3, rel=1e-3)  # in a nanosecond
    assert machine.copy_gigabytes(clock) == pytest.approx(8 * 2**12, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"--dataset": "ml-100m"},
            "'ml-100m' is neither a file nor a data set; the data sets are "
            "ml-100k, ml-1m, filmtrust, yelp",
        ),
        (
            {"--model": "SVD"},
            f"model must be one of {', '.join(VICTIMS)}, got 'SVD'; did you mean 'NSVD'?",
        ),
        ({"--k": 120}, "k must be between 1 and 119 (the other users), got 120"),
    ],
)
def test_what_there_is_not_ends_with_one_message_and_exit_code_2(dataset, changes, message):
    options = {"--dataset": dataset, "--model": "MF"} | changes
    result = run(*(part for option in options.items() for part in option))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == f"Error: {message}\n"


def test_a_data_set_of_one_user_is_refused_by_what_it_lacks():
    lonely = Ratings.from_triples([1] * 6, range(6), [1, 2, 3] * 2, name="lonely")
    with pytest.raises(ValueError, match="lonely has one user only: there are no neighbours"):
        benchmark(lonely, "MF")


@pytest.mark.parametrize("threads", [0, -1, 10**8])
def test_threads_are_at_most_as_many_as_there_are_cores(dataset, threads):
    with pytest.raises(ValueError, match=rf"threads must be from 1 to \d+ .*, got {threads}"):
        benchmark(dataset, "MF", threads=threads)


def test_in_the_rating_regime_there_are_two_levels_at_least():
    clicks = Ratings.from_triples([1, 2] * 6, np.arange(12) // 2, np.ones(12), name="clicks")
    with pytest.raises(ValueError, match=r"clicks: every rating is 1.*take the ranking regime"):
        benchmark(clicks, "MF", k=1)


def test_a_data_set_without_unpopular_items_can_be_measured(monkeypatch):
    monkeypatch.setattr(bench, "_measure", lambda *_: {"measured": True})
    users, items = np.divmod(np.arange(20 * 12), 12)
    dense = Ratings.from_triples(users, items, 1.0 + (users + items) % 5, name="dense")
    assert benchmark(dense, "MF", k=3)["measured"]


@pytest.mark.parametrize(
    "option",
    [
        "--regime=both",
        "--k=0",
        "--pairs=0",
        "--sample=0",
        "--unobserved-weight=1.1",
        "--unobserved-weight=nan",
        "--proximal-weight=0",
        "--proximal-weight=nan",
        "--proximal-weight=inf",
    ],
)
def test_an_option_out_of_range_is_named(dataset, option):
    result = run("--dataset", dataset, "--model", "MF", option)
    assert result.exit_code == 2
    assert f"Invalid value for '{option.partition('=')[0]}'" in result.stderr
