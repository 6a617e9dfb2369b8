"""How much mail waits in a Postfix queue, read from its directories alone.

``postqueue -j`` opens every queue file and is about ninety times dearer (measured), so it is never used.

Guarantees: only complete files (mode u=rwx) count as messages; a half-received file counts as ``receiving``
while it can still become one, and never after its writer is certainly gone; a queue is called empty only after a
second look in the opposite order, because a message that Postfix moves during a scan can be missed by one.
"""

import fcntl
import functools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smtpfleet.api.agent_status import QueueCounts

_COMPLETE: Final = 0o700
_ALPHABET: Final = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)}
_ORPHAN_S: Final = 3600.0
"""ipc_timeout of Postfix: a reception that wrote nothing for so long has no writer any more."""
_DIRECTORIES: Final = ("maildrop", "deferred", "incoming", "active", "hold", "corrupt")


@dataclass(frozen=True, slots=True)
class QueueScan:
    """What one look into the queue found. ``oldest_active_s`` is 0 when nothing is active."""

    counts: QueueCounts
    oldest_active_s: float = 0.0


def scan(queue: Path, *, since: float = 0.0, clock: Callable[[], float] = time.time) -> QueueScan:
    """Count the messages of a queue_directory; directories that are missing are empty.

    Args:
        since: when Postfix started (seconds since 1970): no half-received file older than that has a writer.
    """
    now = clock()
    first = _look(queue, _DIRECTORIES, now=now, since=since)
    if first.counts.total:
        return first
    return _look(queue, reversed(_DIRECTORIES), now=now, since=since)


def arrival_s(queue_id: str) -> float | None:
    """When a message arrived (seconds since 1970), from its long queue id; None for other names.

    The first six characters are seconds, the next four microseconds, both to the base 52.
    """
    if len(queue_id) < 11 or any(character not in _VALUES for character in queue_id[:10]):
        return None
    return _number(queue_id[:6]) + _number(queue_id[6:10]) / 1e6


def deliveries(queue: Path) -> int:
    """Messages that are being delivered, or may be at any moment: the files of ``active``, and those that a
    delivery process still holds although the queue manager was restarted meanwhile and put them back into
    ``incoming`` ("skipped, still being delivered").
    """
    active = sum(1 for _ in _entries(queue / "active"))
    return active or sum(1 for entry in _entries(queue / "incoming") if _is_locked(entry.path))


def _look(queue: Path, directories: Iterable[str], *, now: float, since: float) -> QueueScan:
    found = dict.fromkeys((*_DIRECTORIES, "receiving"), 0)
    oldest_active_s = 0.0
    for directory in directories:
        if directory == "incoming":
            found["incoming"], found["receiving"] = _incoming(queue / directory, max(since, now - _ORPHAN_S))
        elif directory == "active":
            names = [entry.name for entry in _entries(queue / directory)]
            found["active"] = len(names)
            arrivals = [arrived for name in names if (arrived := arrival_s(name)) is not None]
            oldest_active_s = max(0.0, now - min(arrivals)) if arrivals else 0.0
        else:
            found[directory] = _count(queue / directory)
    return QueueScan(QueueCounts(**found), oldest_active_s)


def _number(digits: str) -> int:
    return functools.reduce(lambda value, digit: value * len(_ALPHABET) + _VALUES[digit], digits, 0)


def files(directory: Path) -> Iterator[str]:
    """Paths of the files in a directory that Postfix may have hashed into subdirectories of one character."""
    waiting = [directory]
    while waiting:
        for entry in _entries(waiting.pop()):
            if len(entry.name) == 1 and entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            else:
                yield entry.path


def _count(directory: Path) -> int:
    return sum(1 for _ in files(directory))


def _incoming(directory: Path, writable_since: float) -> tuple[int, int]:
    complete = receiving = 0
    for entry in _entries(directory):
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # Postfix took it meanwhile
        if status.st_mode & _COMPLETE == _COMPLETE:
            complete += 1
        elif status.st_mtime >= writable_since:
            receiving += 1
    return complete, receiving


def _is_locked(path: str) -> bool:
    """Whether a delivery process holds the file: it keeps a shared lock for as long as it works."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _entries(directory: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            yield from entries
    except FileNotFoundError:
        return  # before Postfix has ever run here
