"""``python -m smtpfleet.balancer render`` before HAProxy starts, ``… run`` beside it."""

import logging
import os
import sys

from smtpfleet import logs
from smtpfleet.api.routing import TableError
from smtpfleet.balancer.rendering import render_first
from smtpfleet.balancer.settings import SettingsError, read_settings

logger = logging.getLogger(__name__)


def main() -> int:
    """Run the command that the container names."""
    logs.configure("balancer")
    try:
        match sys.argv[1:]:
            case ["render"]:
                render_first(read_settings(os.environ))
            case ["run"]:
                _run()
            case _:
                sys.exit("usage: python -m smtpfleet.balancer render|run")
    except (SettingsError, TableError, OSError):
        logger.exception("cannot start")
        return 1
    return 0


def _run() -> None:
    import asyncio  # noqa: PLC0415 - HAProxy waits for `render`, which needs neither of them

    from smtpfleet.balancer.running import run  # noqa: PLC0415 - loads all libraries of the agent

    asyncio.run(run(read_settings(os.environ)))


if __name__ == "__main__":
    sys.exit(main())
