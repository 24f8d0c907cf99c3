"""What holds for every answer of the service, whatever it is about."""

import logging
from collections.abc import Callable
from typing import Any

from rvdlib.serving.errors import needed, shortened

AT_ONCE = 256  # requests; others are told to come again
HEADERS = {
    # Scripts and styles of this service alone: an id that holds markup cannot run, whatever shows it.
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Guard:
    """Around all answers: their headers, their number, whom they may be for, and what nobody foresaw."""

    def __init__(self, app: Any, hosts: tuple[str, ...], count: Callable[[int], None]):
        self.app, self.hosts, self.count = app, hosts, count
        self.headers = [(n.lower().encode(), value.encode()) for n, value in HEADERS.items()]
        self.running = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        begun = False

        async def sending(message: Any) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message["headers"], *self.headers]
                self.count(message["status"])
            await send(message)

        app, host = self.app, dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if self.hosts and name.strip("[]") not in self.hosts:
            app = _error(f"this service is not called {shortened(host)}", 421)
        elif self.running >= AT_ONCE:
            app = _error(f"{AT_ONCE} requests are being answered: come again", 503)
        self.running += 1
        try:
            await app(scope, receive, sending)
        except Exception as error:
            if begun:
                raise
            logging.getLogger(__name__).exception("a request failed")
            what = _error(f"the service failed: {type(error).__name__}", 500)
            await what(scope, receive, sending)
        finally:
            self.running -= 1


def _error(sentence: str, status: int) -> Any:
    return needed("fastapi.responses").JSONResponse({"error": sentence}, status)
