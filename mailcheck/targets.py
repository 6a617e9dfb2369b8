"""Where mail is handed in: ``host:port``, resolved once before a run so that no look-up falls into the measurement."""

import asyncio
import random
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mailcheck.errors import MailcheckError


class Choice(StrEnum):
    """How one of several targets is chosen for each connection."""

    ROUND_ROBIN = "round-robin"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Target:
    """A name for reports and the numeric address behind it."""

    name: str
    address: tuple[str, int]


def parse_host_port(text: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port``; raises MailcheckError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not 0 <= int(port) < 65536:
        raise MailcheckError(f"{text!r} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


async def resolve(names: Sequence[str]) -> tuple[Target, ...]:
    """The first address of each name. Raises MailcheckError for a name without any."""
    loop = asyncio.get_running_loop()
    targets = []
    for name in names:
        host, port = parse_host_port(name)
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise MailcheckError(f"cannot resolve {host}: {error}") from error
        address = found[0][4]
        targets.append(Target(name, (str(address[0]), int(address[1]))))
    if not targets:
        raise MailcheckError("no target given")
    return tuple(targets)


def chooser(targets: Sequence[Target], choice: Choice, rng: random.Random) -> Callable[[], Target]:
    """A function that names the target of the next connection."""
    if choice is Choice.RANDOM:
        return lambda: rng.choice(targets)
    counter = iter(range(2**63))
    return lambda: targets[next(counter) % len(targets)]
