"""The agent's parts, put together, and how long they run."""

import asyncio
import os
import signal

from smtpfleet.api.names import HTTP_PORT, routing_name
from smtpfleet.balancer.agent import Agent
from smtpfleet.balancer.files import Files
from smtpfleet.balancer.metrics import registry
from smtpfleet.balancer.rendering import TABLE_FILE, place_of
from smtpfleet.balancer.runtime import Haproxys
from smtpfleet.balancer.settings import Settings
from smtpfleet.feed.access import in_cluster
from smtpfleet.feed.table import TableFollower
from smtpfleet.feed.web import serve


async def run(settings: Settings) -> None:
    """Follow table and HAProxy until SIGTERM.

    Raises:
        OSError: the kubelet gave the pod no resolv.conf, or the port of the agent is taken.
    """
    tables = TableFollower(
        namespace=settings.namespace,
        name=routing_name(settings.pool),
        file=TABLE_FILE,
        api=in_cluster(os.environ),
    )
    agent = Agent(place=place_of(settings), runtime=Haproxys.of_pod(), files=Files(), tables=tables)
    server = await serve(
        port=HTTP_PORT,
        status=agent.status,
        registry=registry(agent),
        healthy=agent.healthy,
        ready=agent.ready,
    )
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, ended.set)  # the image's stop signal
    async with asyncio.TaskGroup() as tasks:
        work = [tasks.create_task(job) for job in (tables.run(), agent.follow(), agent.watch())]
        await ended.wait()
        for task in work:
            task.cancel()
    await server.close()
