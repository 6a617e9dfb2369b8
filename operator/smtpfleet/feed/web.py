"""The agents' read-only HTTP port: nobody can give an order here, so it needs no password.

``/healthz`` and ``/readyz`` answer 200 ``ok`` or 503 with the reason, ``/status`` the agent's status as JSON
(:mod:`smtpfleet.api.agent_status`), ``/metrics`` the Prometheus text format.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel

Handler = Callable[[web.Request], Awaitable[web.Response]]
Check = Callable[[], str]
"""Gives "" while all is well, else the reason."""

_IDLE_S: Final = 75.0
"""A connection without a question for so long is closed; the operator keeps its own for less."""


@dataclass(frozen=True, slots=True)
class WebServer:
    """A port that answers until :meth:`close`."""

    runner: web.AppRunner

    async def close(self) -> None:
        """Stop answering."""
        await self.runner.cleanup()


async def serve(
    *,
    port: int,
    status: Callable[[], BaseModel],
    registry: CollectorRegistry,
    healthy: Check,
    ready: Check,
    host: str | None = None,
) -> WebServer:
    """Answer on ``port`` of every address (or of ``host``).

    Raises:
        OSError: the port is taken.
    """
    runner = web.AppRunner(
        application(status=status, registry=registry, healthy=healthy, ready=ready),
        access_log=None,
        keepalive_timeout=_IDLE_S,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, shutdown_timeout=1.0).start()
    except OSError:
        await runner.cleanup()
        raise
    return WebServer(runner)


def application(
    *, status: Callable[[], BaseModel], registry: CollectorRegistry, healthy: Check, ready: Check
) -> web.Application:
    """The four paths, without a port."""

    async def show_status(_: web.Request) -> web.Response:
        return web.Response(text=status().model_dump_json(by_alias=True), content_type="application/json")

    async def show_metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application(client_max_size=1024)
    app.router.add_get("/healthz", _check(healthy))
    app.router.add_get("/readyz", _check(ready))
    app.router.add_get("/status", show_status)
    app.router.add_get("/metrics", show_metrics)
    return app


def _check(check: Check) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        reason = check()
        return web.Response(text=f"{reason or 'ok'}\n", status=503 if reason else 200)

    return handler
