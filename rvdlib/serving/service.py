"""A defender over HTTP, thin: lists, ratings that are kept before they are acknowledged, health, metrics.

Every answer is JSON but the page and the metrics; every refusal is ``{"error": one sentence}``. A worker
has a defender of its own over the same mapped file, and follows the one log of ratings, so what one
worker has taken the others look for four times a second.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rvdlib.serving.defender import CACHE_BYTES, RealTimeDefender
from rvdlib.serving.errors import (
    CannotFoldIn,
    ServingError,
    TooFewUsers,
    UnknownUser,
    UnusableModel,
    UnusableRating,
    needed,
    shortened,
)
from rvdlib.serving.follower import LOG, MODEL, Follower
from rvdlib.serving.guard import Guard
from rvdlib.serving.log import RatingsLog, held
from rvdlib.serving.monitors import as_prometheus
from rvdlib.serving.storing import load, read_about

STATIC = Path(__file__).parent / "static"
VARIABLE = "RVD_SERVE"  # by which workers are told the settings
MOST_ITEMS, MOST_CHARACTERS = 1000, 256  # of a list; of a user's id
BODY_SECONDS, GRACE_SECONDS, START_SECONDS = 10, 10, 300
MOST_CONNECTIONS = 900  # idle ones too: below the 1,024 files that a process may have open
STATUS = {UnknownUser: 404, TooFewUsers: 409, CannotFoldIn: 422, UnusableModel: 503}
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Settings:
    """Of a service; ``hosts``: names that a request may be for, none: any."""

    folder: str
    cache_bytes: int = CACHE_BYTES
    most_bytes: int = 2**20
    hosts: tuple[str, ...] = ()


class Refused(ServingError):
    """A request that is not as it should be: status and sentence."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status = status


def application(settings: Settings, defender: RealTimeDefender | None = None) -> Any:
    """The ASGI application of one worker; what is given need not be loaded again."""
    fastapi, responses = needed("fastapi"), needed("fastapi.responses")
    pool = needed("fastapi.concurrency").run_in_threadpool
    disconnected = needed("starlette.requests").ClientDisconnect
    folder, followers, one_at_a_time = Path(settings.folder), [], asyncio.Lock()

    def begin() -> Follower:
        own = defender or load(folder / MODEL, cache_bytes=settings.cache_bytes)
        follower = Follower(own, RatingsLog(folder / LOG, read_about(folder / MODEL)["sha256"]))
        follower.start()
        return follower

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        with held(folder):  # nobody begins the log anew meanwhile
            followers.append(await pool(begin))
            yield
            await pool(followers[0].stop)

    app = fastapi.FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    def follower() -> Follower:
        if not followers or followers[0].problem:
            reason = followers[0].problem if followers else "it is starting"
            raise Refused(503, f"the service is not ready: {reason}")
        return followers[0]

    def answer(content: Any, status: int = 200) -> Any:
        return responses.JSONResponse(content, status)

    @app.exception_handler(ServingError)
    async def refused(request: Any, error: ServingError) -> Any:
        status = error.status if isinstance(error, Refused) else STATUS.get(type(error), 400)
        return answer({"error": str(error)}, status)

    @app.exception_handler(needed("starlette.exceptions").HTTPException)
    async def of_http(request: Any, error: Any) -> Any:
        what = {404: "there is no such address", 405: "this address takes another method"}
        return answer({"error": what.get(error.status_code, error.detail)}, error.status_code)

    @app.get("/recommend/{user:path}")
    def recommend(user: str, n: str = "10", evidence: str = "0", fallback: str = "") -> Any:
        own = follower().defender
        most = min(MOST_ITEMS, len(own.state.base.items.ids))
        if not (n.isascii() and n.isdecimal() and len(n) < 9 and 1 <= int(n) <= most):
            raise Refused(400, f"n must be a whole number from 1 to {most}, got {shortened(n)}")
        if evidence not in ("0", "1"):
            raise Refused(400, f"evidence must be 0 or 1, got {shortened(evidence)}")
        if fallback not in ("", "undefended", "popularity"):
            raise Refused(
                400, f"fallback must be undefended or popularity, got {shortened(fallback)}"
            )
        asked = own.state.base.users.parse(user)
        instead: Any = fallback or None
        found: Any = own.recommend(asked, int(n), evidence=evidence == "1", fallback=instead)
        return answer(found.as_json())

    def take(content: bytes) -> dict:
        own, record = follower(), _record(content)
        try:
            version = own.take(record)
        except OSError as error:
            raise Refused(
                503, f"the ratings could not be kept: {error.strerror or error}"
            ) from None
        return {
            "ratings": len(record["ratings"]),
            "removed": len(record["remove"]),
            "version": version,
        }

    @app.post("/ratings")
    async def ratings(request: fastapi.Request) -> Any:  # type: ignore[name-defined]
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # a form of somebody else's page cannot send this
            raise Refused(415, "ratings must be sent with Content-Type: application/json")
        content = b""
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for part in request.stream():
                    content += part
                    if len(content) > settings.most_bytes:
                        raise Refused(413, f"a body may have {settings.most_bytes} bytes at most")
        except TimeoutError:
            raise Refused(408, f"the body did not come within {BODY_SECONDS} seconds") from None
        except disconnected:
            raise Refused(400, "the client went away") from None
        async with one_at_a_time:  # or those that wait would have all threads, and lists none
            return answer(await pool(take, content))

    @app.get("/metrics")
    def metrics() -> Any:
        own = follower().defender
        text = as_prometheus(own.monitors.numbers(own))
        return responses.PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    @app.get("/v2/health/live")
    def live() -> Any:
        return answer({"live": True})

    @app.get("/v2/health/ready")
    def ready() -> Any:
        follower()
        return answer({"ready": True})

    def count(status: int) -> None:
        if followers:
            name = f'rvd_http_responses_total{{status="{status}"}}'
            followers[0].defender.monitors.add({name: 1})

    app.add_middleware(Guard, hosts=settings.hosts, count=count)
    # Without an argument, which a request could give: the only files that are ever sent.
    app.get("/")(lambda: responses.FileResponse(STATIC / "index.html"))
    app.get("/page.js")(lambda: responses.FileResponse(STATIC / "page.js"))
    app.get("/page.css")(lambda: responses.FileResponse(STATIC / "page.css"))
    return app


def of_environment() -> Any:
    """The application of a worker that was started by another process."""
    given = json.loads(os.environ[VARIABLE])
    return application(Settings(**given | {"hosts": tuple(given["hosts"])}))


def run(settings: Settings, defender: RealTimeDefender, host: str, port: int, workers: int) -> None:
    """Serve until SIGTERM or SIGINT; requests that have begun are answered first.

    ``defender``: the folder's, which is held (:func:`rvdlib.serving.follower.taken_up`).
    """
    app: Any = application(settings, defender)
    if workers > 1:
        os.environ[VARIABLE] = json.dumps(asdict(settings))
        app = "rvdlib.serving.service:of_environment"
    needed("uvicorn").run(
        app,
        factory=workers > 1,
        host=host,
        port=port,
        workers=workers,
        log_level="warning",
        access_log=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_worker_healthcheck=START_SECONDS,
        server_header=False,
    )


def _record(content: bytes) -> dict[str, list]:
    """Ratings and removals of a body, as the log has them."""
    try:
        given = json.loads(content.decode(), parse_constant=_refuse, object_pairs_hook=_distinct)
        json.dumps(given, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not valid JSON: {str(error)[:120]}") from None
    if not isinstance(given, dict) or not given or set(given) - {"ratings", "remove"}:
        raise Refused(
            400, 'the body must be {"ratings": [...], "remove": [...]}, or one of the two'
        )
    ratings, remove = given.get("ratings", []), given.get("remove", [])
    if not isinstance(ratings, list) or not isinstance(remove, list):
        raise Refused(400, "ratings and remove must be lists")
    found = []
    for number, each in enumerate(ratings):
        if not isinstance(each, dict) or set(each) != {"user", "item", "rating"}:
            raise UnusableRating(f"ratings[{number}] must have user, item and rating, and no more")
        user = each["user"]
        if isinstance(user, str) and (not 0 < len(user) <= MOST_CHARACTERS or CONTROL.search(user)):
            raise UnusableRating(
                f"ratings[{number}]: a user's id must have 1 to {MOST_CHARACTERS} characters, none of "
                f"them a control character, got {shortened(user)}"
            )
        found.append([user, each["item"], each["rating"]])
    return {"ratings": found, "remove": remove}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _distinct(pairs: list[tuple[str, Any]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands there twice")
    return found
