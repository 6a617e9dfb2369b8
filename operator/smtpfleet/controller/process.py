"""The life of the operator's process: settings, credentials, Lease, work, and an orderly end.

Guarantees: on SIGTERM it stops within seconds, gives its Lease back and exits with 0; if it loses the Lease,
or its work ends in an unexpected way, it exits with 1 and the kubelet starts it anew.
"""

import asyncio
import dataclasses
import logging
import random
import resource
import signal
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from smtpfleet import logs
from smtpfleet.cluster import credentials
from smtpfleet.cluster.client import Cluster
from smtpfleet.cluster.leases import LeaseStore
from smtpfleet.controller.election import Elector, LeaseLostError, Timing
from smtpfleet.controller.garbage import collect_seldom
from smtpfleet.controller.health import Health
from smtpfleet.controller.leader import Leader
from smtpfleet.controller.metrics import Metrics
from smtpfleet.controller.settings import Settings, SettingsError, from_environment
from smtpfleet.feed.web import WebServer, serve

logger = logging.getLogger(__name__)

_END_S: Final = 8.0
"""For the orderly end; what is not done then is left."""


def main(environment: Mapping[str, str]) -> int:
    """Run the operator; returns the exit code."""
    logs.configure("operator")
    # kopf tells about each handler, and about signals that are none of its business here.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    try:
        settings = from_environment(environment)
    except SettingsError as error:
        logger.critical("the operator cannot start", extra={"reason": str(error)})
        return 2
    allow_open_files()
    collect_seldom()
    logger.info("starting", extra={"settings": dataclasses.asdict(settings)})
    return asyncio.run(_run(settings))


def allow_open_files() -> None:
    """Let this process open as many files as it may: it keeps a connection to every agent, and what container runtimes
    give to begin with (1,024) is too few for 1,000 relays.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # the kernel's own limit may be lower than that of the container
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _run(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        configuration = await credentials.load()
    except credentials.CredentialsError as error:
        logger.critical("the operator cannot start", extra={"reason": str(error)})
        return 2
    connection = Cluster(configuration)
    # All lists of a few pools take every connection for as long as they last, and a renewal must not wait for one.
    lease_connection = Cluster(configuration)
    elector = Elector(
        LeaseStore(lease_connection, namespace=settings.pod_namespace, name=settings.lease_name),
        identity=f"{settings.pod_name}_{uuid.uuid4()}",
        timing=Timing(),
        jitter=random.random,
    )
    metrics = Metrics()
    leader = Leader(
        settings=settings,
        cluster=connection.fenced(elector.fence),
        login=lambda: credentials.login(configuration),
        metrics=metrics,
    )
    health = Health(
        elector=elector, ledger=leader.ledger, metrics=metrics,
        stuck_s=leader.queue.stuck_s, pools=lambda: len(leader.queue.known()), depth=lambda: leader.queue.depth,
    )  # fmt: skip
    try:
        web = await serve(
            port=settings.http_port, status=health.status, registry=metrics.registry,
            healthy=health.healthy, ready=health.ready,
        )  # fmt: skip
    except OSError as error:
        logger.critical("the operator cannot start", extra={"reason": f"HTTP_PORT: {error}"})
        return 2
    try:
        return await _live(stop, elector, leader, health)
    finally:
        await _end(elector, web, lease_connection, connection)


async def _end(elector: Elector, web: WebServer, *connections: Cluster) -> None:
    """Give everything back, the Lease first, but not for ever."""
    try:
        async with asyncio.timeout(_END_S / 2):
            await elector.release()
            await web.close()
            for connection in connections:
                await connection.close()
    except TimeoutError:
        logger.warning("ending without having closed everything")


async def _live(stop: asyncio.Event, elector: Elector, leader: Leader, health: Health) -> int:
    """Stand by, then lead, until told to stop (0) or until something ends that must not (1)."""
    stopping = asyncio.create_task(stop.wait(), name="stop")
    measuring = asyncio.create_task(health.measure(), name="measure")
    tasks: list[asyncio.Task[Any]] = [
        stopping,
        measuring,
        asyncio.create_task(elector.acquire(), name="acquire"),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if stopping.done() or measuring.done():
            return _verdict(stopping, tasks)
        tasks.append(asyncio.create_task(elector.hold(), name="hold"))
        tasks.append(asyncio.create_task(leader.run(), name="lead"))
        await asyncio.wait([stopping, measuring, *tasks[-2:]], return_when=asyncio.FIRST_COMPLETED)
        return _verdict(stopping, tasks)
    finally:
        for task in tasks:
            task.cancel()
        _, pending = await asyncio.wait(tasks, timeout=_END_S / 2)
        if pending:
            logger.warning(
                "ending with work under way", extra={"tasks": [task.get_name() for task in pending]}
            )


def _verdict(stopping: asyncio.Task[Any], tasks: list[asyncio.Task[Any]]) -> int:
    if stopping.done():
        logger.info("stopping")
        return 0
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()):
            if isinstance(error, LeaseLostError):
                logger.error("the lease is lost, this process ends", extra={"reason": str(error)})
            else:
                logger.error("the work ended", exc_info=error, extra={"task": task.get_name()})
    return 1
