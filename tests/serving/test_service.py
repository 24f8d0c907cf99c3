"""The service: what it answers, what it refuses, what it keeps, and what its page shows."""

import bisect
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings

import httpx
import numpy as np
import pytest
import uvicorn

from rvdlib.data import Ratings
from rvdlib.paths import PROJECT
from rvdlib.serving import RealTimeDefender, guard, load, save
from rvdlib.serving.follower import LOG, MODEL
from rvdlib.serving.service import Settings, application
from rvdlib.serving.state import State
from tests.serving.conftest import FORM, victim

with warnings.catch_warnings():  # it would rather have another client
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

HOSTILE = "<img src=x onerror=\"document.title='run'\">"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--virtual-time-budget=8000",
]
JSON = {"content-type": "application/json"}


@pytest.fixture
def folder(tmp_path, ratings):
    """A service's: users are numbers as text, and one is markup; so is an item."""
    users, items = list(map(str, range(40))), list(map(str, range(30)))
    users[7], items[2] = HOSTILE, HOSTILE + "2"
    named = Ratings("named", ratings.matrix, *map(np.array, (users, items)), ratings.levels, "")
    save(RealTimeDefender(victim(), named, form=FORM), tmp_path / MODEL)
    return tmp_path


@pytest.fixture
def client(folder):
    settings = Settings(str(folder), most_bytes=2000, hosts=("testserver",))
    with TestClient(application(settings)) as client:
        yield client


def test_a_list_is_as_documented_and_its_evidence_is_asked_for(client, folder):
    answer = client.get("/recommend/3?n=4").json()
    expected = load(folder / MODEL).recommend("3", 4, evidence=True)
    assert answer == {
        "user": "3",
        "items": [
            {"item": item, "score": score}
            for item, score in zip(expected.items, expected.scores, strict=True)
        ],
        "defense": "closed_form + quorum",
        "fallback": None,
        "short": 4 - len(expected.items),
        "version": 0,
    }
    evidence = client.get("/recommend/3?n=4&evidence=1").json()["evidence"]
    assert evidence == json.loads(json.dumps(vars(expected.evidence)))


@pytest.mark.parametrize(
    ("address", "status", "sentence"),
    [
        ("/recommend/99", 404, "there is no user '99'"),
        ("/recommend/" + "9" * 5000, 404, "there is no user '9999"),
        ("/recommend/3?n=0", 400, "n must be a whole number from 1 to 30, got '0'"),
        ("/recommend/3?n=1e1", 400, "got '1e1'"),
        ("/recommend/3?n=%D9%A3", 400, "got '٣'"),
        ("/recommend/3?evidence=yes", 400, "evidence must be 0 or 1"),
        ("/recommend/3?fallback=none", 400, "fallback must be undefended or popularity"),
        ("/recommend/%00%ff..%2f", 404, "there is no user"),
        ("/ratings", 405, "another method"),
        ("/etc/passwd", 404, "no such address"),
    ],
)
def test_a_request_that_cannot_be_answered_is_told_why_in_a_sentence(
    client, address, status, sentence
):
    answer = client.get(address)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert sentence in answer.json()["error"]
    assert len(answer.text) < 300


def rating(user="3", item="1", stars=5):
    return {"ratings": [{"user": user, "item": item, "rating": stars}]}


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ("{", 400, "not valid JSON"),
        (b"\xff\xfe", 400, "not valid JSON"),
        ("[" * 1900, 400, "not valid JSON"),
        ('{"ratings": [], "ratings": []}', 400, "a key stands there twice"),
        (json.dumps(rating(stars=float("nan"))), 400, "NaN is no number"),
        (json.dumps(rating(stars=1e999)), 400, "Infinity is no number"),
        ('{"ratings": [{"user": "3", "item": "1", "rating": 1e999}]}', 400, "from 1 to 5"),
        (json.dumps(rating(user="\ud800")), 400, "surrogates"),
        (json.dumps(rating(user=3)), 400, "must be of the type str"),
        (json.dumps(rating(user={"$ne": 1})), 400, "must be of the type str"),
        (json.dumps(rating(item="99")), 400, "there is no item '99'"),
        (json.dumps(rating(item=[1])), 400, "there is no item [1]"),
        (json.dumps(rating(stars=7)), 400, "from 1 to 5, got 7"),
        (json.dumps(rating(stars=True)), 400, "must be a number"),
        (json.dumps(rating(stars=10**400)), 400, "from 1 to 5, got 1000"),
        (json.dumps(rating(user="")), 400, "must have 1 to 256 characters"),
        (json.dumps(rating(user="é" * 257)), 400, "must have 1 to 256 characters"),
        (json.dumps(rating(user="a\0b")), 400, "got 'a\\\\x00b'"),
        (
            json.dumps({"ratings": [["3", "1", 5]]}),
            400,
            "ratings[0] must have user, item and rating",
        ),
        (json.dumps({"ratings": "3"}), 400, "must be lists"),
        (json.dumps({"remove": ["99"]}), 404, "there is no user '99'"),
        (json.dumps({"remove": [str(n) for n in range(8, 40)]}), 200, ""),
        (json.dumps({"remove": [*map(str, range(7)), *map(str, range(8, 40))]}), 409, "k = 5"),
        (json.dumps({"deleted": []}), 400, "the body must be"),
        ("[]", 400, "the body must be"),
        ("x" * 2001, 413, "2000 bytes at most"),
    ],
)
def test_ratings_that_cannot_be_taken_leave_no_trace(client, folder, body, status, sentence):
    before = (folder / LOG).read_bytes()
    answer = client.post("/ratings", content=body, headers=JSON)
    assert (answer.status_code, sentence in answer.text) == (status, True), answer.text
    assert status == 200 or (folder / LOG).read_bytes() == before
    assert client.get("/recommend/3?n=1").json()["version"] == (status == 200)


def test_somebody_elses_page_can_neither_write_nor_read(client):
    assert client.post("/ratings", content=json.dumps(rating())).status_code == 415
    assert client.get("/", headers={"host": "evil.example"}).status_code == 421
    page = client.get("/")
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert not re.findall(r"https?://|\son\w+=|<script>", page.text)


def test_no_request_names_a_file(client):
    page = client.get("/").text
    names = ("name", "path", "file", "filename", "user")
    asked = dict.fromkeys(names, __file__)
    assert client.get("/", params=asked).text == page
    assert "use strict" in client.get("/page.js", params=asked).text
    assert client.get("/../tests/conftest.py").status_code == 404


def test_ratings_are_seen_at_once_by_who_sent_them_and_soon_by_other_workers(folder):
    settings = Settings(str(folder))
    with TestClient(application(settings)) as one, TestClient(application(settings)) as other:
        first = one.get("/recommend/3?n=1").json()["items"][0]["item"]
        said = one.post("/ratings", json=rating(item=first) | {"remove": ["5"]})
        assert said.json() == {"ratings": 1, "removed": 1, "version": 1}
        listed = one.get("/recommend/3?n=30").json()
        assert first not in [each["item"] for each in listed["items"]]
        assert one.get("/recommend/5").status_code == 404
        deadline = time.monotonic() + 20
        while other.get("/recommend/3?n=30").json() != listed:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert other.post("/ratings", json=rating("new", "4", 3)).status_code == 200
    with TestClient(application(settings)) as after:
        assert after.get("/recommend/new").status_code == 200
        assert after.get("/recommend/5").status_code == 404


def test_what_the_disk_refuses_is_not_acknowledged(client, folder, monkeypatch):
    before = (folder / LOG).read_bytes()
    monkeypatch.setattr(
        os, "fsync", lambda file: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    answer = client.post("/ratings", json=rating())
    assert answer.status_code == 503
    assert answer.json() == {"error": "the ratings could not be kept: No space left"}
    assert (folder / LOG).read_bytes() == before
    monkeypatch.undo()
    assert client.post("/ratings", json=rating()).json()["version"] == 1


def test_what_nobody_foresaw_is_an_error_in_json_with_its_headers(client, monkeypatch, caplog):
    monkeypatch.setattr(RealTimeDefender, "recommend", lambda *_, **__: 1 / 0)
    answer = client.get("/recommend/3")
    assert (answer.status_code, answer.json()) == (
        500,
        {"error": "the service failed: ZeroDivisionError"},
    )
    assert answer.headers["content-security-policy"]
    assert "ZeroDivisionError" in caplog.text
    monkeypatch.setattr(guard, "AT_ONCE", 0)
    assert client.get("/recommend/3").status_code == 503
    monkeypatch.undo()
    assert client.get("/recommend/3").status_code == 200


@pytest.mark.parametrize(
    "body", ['{"remove":[%s]}', '{"ratings":[{"user":"3","rating":5,"item":%s}]}']
)
def test_no_depth_of_a_body_is_too_much(folder, body):
    def refused(depth):
        """As too deep to be read; what can be read and written is refused as no id."""
        content = body % ("[" * depth + "]" * depth)
        answer = client.post("/ratings", content=content, headers=JSON)
        assert answer.status_code in (400, 404), answer.text
        return "not valid JSON" in answer.text

    with TestClient(application(Settings(str(folder)))) as client:
        deepest = bisect.bisect(range(400_000), 0, key=refused)
        assert 100 < deepest < 400_000
        # The reader's last level is about the writer's, and those of whatever comes after.
        assert [refused(deepest + n) for n in range(-25, 25)] == [False] * 25 + [True] * 25


def test_lists_are_served_while_ratings_wait(client, monkeypatch):
    gate, update, answers = threading.Event(), RealTimeDefender.update, []

    def slow(*given, **named):
        gate.wait(60)
        return update(*given, **named)

    monkeypatch.setattr(RealTimeDefender, "update", slow)
    waiting = [
        threading.Thread(target=lambda: client.post("/ratings", json=rating())) for _ in range(50)
    ]
    asks = threading.Thread(target=lambda: answers.append(client.get("/recommend/3").status_code))
    for thread in waiting:
        thread.start()
    time.sleep(1)
    asks.start()
    asks.join(20)
    found = list(answers)
    gate.set()
    for thread in (*waiting, asks):
        thread.join()
    assert found == [200]
    assert client.get("/recommend/3?n=1").json()["version"] == 50


def test_what_ratings_change_is_computed_once(client, monkeypatch):
    calls, changed = [], State.changed
    monkeypatch.setattr(State, "changed", lambda *given: calls.append(1) or changed(*given))
    assert client.post("/ratings", json=rating()).json()["version"] == 1
    assert len(calls) == 1


def test_users_who_are_numbers_can_be_asked_for_whatever_their_size(tmp_path, ratings):
    save(RealTimeDefender(victim(), ratings, form=FORM), tmp_path / MODEL)
    with TestClient(application(Settings(str(tmp_path)))) as client:
        for user in (10**30, -4):
            assert client.post("/ratings", json=rating(user, 1)).status_code == 200
            assert client.get(f"/recommend/{user}?n=2").json()["user"] == user
        for text in ("03", "--4", "3.0", " 3", "9" * 5000):
            assert client.get(f"/recommend/{text}").status_code == 404


def test_two_removals_that_are_possible_only_one_at_a_time_are_not_both_acknowledged(folder):
    settings, gone = Settings(str(folder)), [list(map(str, range(n, n + 18))) for n in (0, 18)]
    gone[0][7] = HOSTILE
    with TestClient(application(settings)) as one, TestClient(application(settings)) as other:
        clients, codes = (one, other), []

        def send(client, users):
            codes.append(client.post("/ratings", json={"remove": users}).status_code)

        threads = [
            threading.Thread(target=send, args=each) for each in zip(clients, gone, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(codes) == [200, 409]
        assert "rvd_skipped_records_total" not in one.get("/metrics").text


def test_metrics_are_in_prometheus_format_without_any_id(client):
    for user in ("3", "4", "3", "99"):
        client.get(f"/recommend/{user}")
    client.post("/ratings", json=rating())
    text = client.get("/metrics").text
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    for sample in samples:
        name = re.fullmatch(r'(\w+)(\{\w+="[\w. -]+"\})? (NaN|-?[\d.e+-]+)', sample)[1]
        assert kinds.get(name) or kinds[re.sub("_(sum|count)$", "", name)] == "summary"
    assert {"rvd_requests_total 3", 'rvd_http_responses_total{status="404"} 1'} <= set(samples)
    assert {"rvd_ratings_total 1", "rvd_cache_hits_total 1"} & set(samples)
    assert "<img" not in text


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A process of its own."""

    def __init__(self, folder, port):
        program = (
            "from pathlib import Path\n"
            "from rvdlib.serving.follower import taken_up\n"
            "from rvdlib.serving.service import Settings, run\n"
            f"with taken_up(Path({str(folder)!r})) as defender:\n"
            f"    run(Settings({str(folder)!r}), defender, '127.0.0.1', {port}, 1)"
        )
        self.process = subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT)
        self.address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while not self.ready():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def ready(self) -> bool:
        try:
            return httpx.get(self.address + "/v2/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def end(self, with_signal) -> int:
        self.process.send_signal(with_signal)
        return self.process.wait(60)


def test_what_was_acknowledged_outlives_kill_9_and_what_has_begun_is_answered_after_sigterm(folder):
    port, acknowledged, answers = free_port(), [], []
    server = Server(folder, port)

    def rate(first):
        with httpx.Client(timeout=60) as client:
            for number in range(first, 10_000, 4):
                try:
                    answer = client.post(server.address + "/ratings", json=rating(f"u{number}"))
                except httpx.TransportError:
                    return
                if answer.status_code == 200:
                    acknowledged.append(f"u{number}")

    threads = [threading.Thread(target=rate, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    while len(acknowledged) < 20:
        time.sleep(0.01)
    server.end(signal.SIGKILL)
    for thread in threads:
        thread.join()

    server = Server(folder, port)
    assert acknowledged[0].encode() not in (folder / LOG).read_bytes()  # it is in the model's file
    with httpx.Client(timeout=60) as client:
        for user in acknowledged:
            assert client.get(f"{server.address}/recommend/{user}?n=1").status_code == 200
    # A client that goes away in the middle of its body harms nobody.
    with socket.create_connection(("127.0.0.1", port)) as gone:
        gone.sendall(
            b"POST /ratings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 500\r\n\r\n{"
        )
    assert server.ready()

    def ask():
        while True:
            try:
                answers.append(
                    httpx.get(server.address + "/recommend/3?n=9", timeout=60).status_code
                )
            except httpx.TransportError:
                return  # nobody listens any more

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    body = json.dumps(rating("last")).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as begun:
        head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        begun.sendall(b"POST /ratings HTTP/1.1\r\nHost: x\r\n" + head.encode() + body[:9])
        while len(answers) < 8:
            time.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        begun.sendall(body[9:])
        assert begun.recv(4096).startswith(b"HTTP/1.1 200 OK")
    assert server.process.wait(60) in (0, -signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert set(answers) == {200}
    assert b'"last"' in (folder / LOG).read_bytes()


@pytest.fixture
def server(folder):
    """In a thread of this process: its address."""
    port = free_port()
    made = uvicorn.Server(
        uvicorn.Config(application(Settings(str(folder))), port=port, log_level="error")
    )
    thread = threading.Thread(target=made.run)
    thread.start()
    while not made.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    made.should_exit = True
    thread.join()


@pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine: nobody looks at the page")
def test_the_page_shows_both_lists_and_runs_no_id(server, folder):
    def shown(user):
        address = str(httpx.URL(server + "/", params={"user": user, "n": "30"}))
        return subprocess.run(
            [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'browser'}", "--dump-dom", address],
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout

    dom = shown(HOSTILE)
    answer = httpx.get(
        httpx.URL(server).copy_with(path="/recommend/" + HOSTILE),
        params={"n": "30", "evidence": "1"},
    ).json()
    defended = re.search(r'<ol id="defended">(.*?)</ol>', dom, re.DOTALL)[1]
    listed = re.findall(r"<li[^>]*>(.*?)(?:<small|</li>)", defended)
    assert [item.replace("&lt;", "<").replace("&gt;", ">") for item in listed] == [
        each["item"] for each in answer["items"]
    ]
    assert "<title>A list, without and with the defence</title>" in dom
    assert "<img" not in dom
    assert "rated by" in defended
    assert f'nearest first: <span id="neighbors">{answer["evidence"]["neighbors"][0]}' in dom
    assert "there is no user &#39;nobody&#39;" in shown("nobody") or "no user 'nobody'" in shown(
        "nobody"
    )
