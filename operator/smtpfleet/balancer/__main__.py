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
    # HAProxy waits for the other command, which should not wait for this one's libraries.
    import asyncio  # noqa: PLC0415

    from smtpfleet.balancer.running import run  # noqa: PLC0415

    asyncio.run(run(read_settings(os.environ)))


if __name__ == "__main__":
    sys.exit(main())
