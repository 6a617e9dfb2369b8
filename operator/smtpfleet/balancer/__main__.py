"""``python -m smtpfleet.balancer render`` before HAProxy starts, ``… run`` beside it."""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from smtpfleet import logs
from smtpfleet.api.names import HTTP_PORT, ROUTING_DIRECTORY, ROUTING_KEY, routing_name
from smtpfleet.api.routing import TableError, parse_table
from smtpfleet.balancer.agent import Agent
from smtpfleet.balancer.config import SCRIPTS, render
from smtpfleet.balancer.files import Files
from smtpfleet.balancer.metrics import registry
from smtpfleet.balancer.place import Place, cluster_domain
from smtpfleet.balancer.runtime import Haproxys
from smtpfleet.balancer.settings import Settings, SettingsError, read_settings
from smtpfleet.feed.access import in_cluster
from smtpfleet.feed.table import TableFollower
from smtpfleet.feed.web import serve

logger = logging.getLogger(__name__)
TABLE_FILE = Path(ROUTING_DIRECTORY) / ROUTING_KEY
RESOLV_CONF = Path("/etc/resolv.conf")


def place_of(settings: Settings) -> Place:
    """Where this pod is.

    Raises:
        OSError: the kubelet gave it no resolv.conf.
    """
    return Place(settings.pod, settings.address, cluster_domain(RESOLV_CONF.read_text()))


def render_first(settings: Settings) -> None:
    """Write the configuration that HAProxy starts with, from the mounted table.

    Raises:
        OSError: no table is mounted.
        TableError: it is not one.
    """
    files, text = Files(), render(parse_table(TABLE_FILE.read_text()), place_of(settings))
    files.write_scripts(SCRIPTS)
    files.write(text)
    files.note_loaded(text)


async def run(settings: Settings) -> None:
    """Follow table and HAProxy until SIGTERM."""
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


def main() -> int:
    """Run the command that the container names."""
    logs.configure("balancer")
    try:
        match sys.argv[1:]:
            case ["render"]:
                render_first(read_settings(os.environ))
            case ["run"]:
                asyncio.run(run(read_settings(os.environ)))
            case _:
                sys.exit("usage: python -m smtpfleet.balancer render|run")
    except (SettingsError, TableError, OSError):
        logger.exception("cannot start")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
