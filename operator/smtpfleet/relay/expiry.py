"""Mail that a sibling handed over is given up when it would have been given up there.

Postfix counts maximal_queue_lifetime from the moment when a message came into *this* queue, and SMTP has no way to say
when it came into the first one. But XFORWARD carries the id that it had there, through any number of hand-offs
(``log_ident`` in the queue file), and a long queue id holds its time. So the queue is looked through now and then,
and what is deferred and overdue is marked with ``postsuper -e``: its next attempt returns it to its sender, with the
reason why it waited.

Guarantees: a message lives no longer than queueLifetime, a fiftieth of it (an hour at most) and Postfix's own pause
between two attempts; nothing is remembered, so a restart changes nothing; where nothing was handed over, nothing is
read. A bounce is no client's message and has no such id: its life begins with a hand-off.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smtpfleet.relay.children import Children
from smtpfleet.relay.queuescan import arrival_s, files

logger = logging.getLogger(__name__)

_ROUNDS: Final = 50
_LEAST_S, _MOST_S = 60.0, 3600.0
_FIRST_S: Final = 10.0
"""A fresh agent looks after so long: what was handed over before may be overdue already."""
_ELSEWHERE: Final = ("incoming", "active", "hold", "deferred")
_HEAD_BYTES: Final = 4096
_IDENT: Final = b"log_ident="
_ATTRIBUTE, _MESSAGE = ord("A"), ord("M")
_BATCH: Final = 200
_LIMIT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Found:
    """One look: whether there is mail of siblings at all, and the ids of what is overdue."""

    foreign: bool = False
    overdue: tuple[str, ...] = ()


def first_id(head: bytes) -> str:
    """The id that a message had where a client handed it in, from the first bytes of its queue file; empty: unknown.

    A record is a type, a length in groups of seven bits, the lowest first, and so many bytes (Postfix, record.c).
    """
    for kind, data in _records(head):
        if kind == _MESSAGE:
            break
        if kind == _ATTRIBUTE and data.startswith(_IDENT):
            return data.removeprefix(_IDENT).decode("ascii", errors="replace")
    return ""


def look(queue: Path, *, now: float, lifetime_s: float) -> Found:
    """Look through a queue: what is overdue is only that which is deferred. ``now``: seconds since 1970."""
    deferred = list(_foreign(queue / "deferred"))
    overdue = []
    for name, first in deferred:
        born = arrival_s(first)
        if born is not None and born + lifetime_s < now:
            overdue.append(name)
    # Files move meanwhile: in the order in which they mostly do so, and the first place once more at the end.
    elsewhere = (each for name in _ELSEWHERE for each in _foreign(queue / name))
    return Found(bool(deferred) or next(elsewhere, None) is not None, tuple(overdue))


def _foreign(directory: Path) -> Iterator[tuple[str, str]]:
    """Id here and first id of each message that siblings handed over."""
    for path in files(directory):
        try:
            with open(path, "rb") as stream:
                first = first_id(stream.read(_HEAD_BYTES))
        except FileNotFoundError:
            continue  # Postfix took it meanwhile
        name = path.rpartition("/")[2]
        if first and first != name:
            yield name, first


class Expiry:
    """Use :meth:`tend` each time the agent looks around; it seldom does anything.

    Args:
        queue: Postfix's queue_directory.
        configuration: its config_directory.
        taken: how many messages siblings have handed over until now.
        clock: seconds that only ever grow.
    """

    def __init__(
        self,
        *,
        queue: Path,
        configuration: Path,
        children: Children,
        taken: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue, self._configuration = queue, configuration
        self._children, self._taken, self._clock = children, taken, clock
        self._foreign, self._seen = True, 0
        self._looked, self._looked_s = False, clock()
        self._task: asyncio.Task[None] | None = None

    def tend(self, *, lifetime_s: float) -> None:
        """Look whether something is overdue, if it is time and there may be something."""
        pause_s = min(max(lifetime_s / _ROUNDS, _LEAST_S), _MOST_S) if self._looked else _FIRST_S
        busy = self._task is not None and not self._task.done()
        if busy or self._clock() - self._looked_s < pause_s:
            return
        self._looked, self._looked_s = True, self._clock()
        if self._foreign or self._taken() != self._seen:
            self._task = asyncio.create_task(self._expire(lifetime_s), name="expiry")

    async def _expire(self, lifetime_s: float) -> None:
        self._seen = self._taken()
        found = await asyncio.to_thread(look, self._queue, now=time.time(), lifetime_s=lifetime_s)
        self._foreign = found.foreign
        for start in range(0, len(found.overdue), _BATCH):
            ids = found.overdue[start : start + _BATCH]
            options = [word for queue_id in ids for word in ("-e", queue_id)]
            command = ["/usr/sbin/postsuper", "-c", str(self._configuration), *options, "deferred"]
            result = await self._children.run(command, limit_s=_LIMIT_S)
            logger.info(
                "messages that siblings handed over are given up",
                extra={"count": len(ids), "code": result.code},
            )


def _records(head: bytes) -> Iterator[tuple[int, bytes]]:
    at, end = 0, len(head)
    while at < end:
        kind, at = head[at], at + 1
        length = shift = 0
        while at < end:
            octet, at = head[at], at + 1
            length |= (octet & 0x7F) << shift
            shift += 7
            if not octet & 0x80:
                break
        if at + length > end:
            return
        yield kind, head[at : at + length]
        at += length
