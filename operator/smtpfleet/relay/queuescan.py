"""How much mail waits in a Postfix queue, read from its directories alone.

``postqueue -j`` opens every queue file and is about ninety times dearer (measured), so it is never used.

A directory that did not change since it was read is not read again, so a large queue that only waits costs nothing.

Guarantees: only complete files (mode u=rwx) count as messages; a half-received file counts as ``receiving``
while it can still become one, and never after its writer is certainly gone; a queue is called empty only after a
second look in the opposite order that reads every directory, because a message that Postfix moves during a scan can
be missed by one.
"""

import fcntl
import functools
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from smtpfleet.api.agent_status import QueueCounts

_COMPLETE: Final = 0o700
_ALPHABET: Final = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)}
_ORPHAN_S: Final = 3600.0
"""ipc_timeout of Postfix: a reception that wrote nothing for so long has no writer any more."""
_SETTLED_NS: Final = 1_000_000_000
"""A directory that was changed so shortly before it was read may be changed again without a new time of change."""
_SHARE: Final = 0.02
"""Of one core, the most that scans take."""
_PAUSE_S: Final = (1.0, 10.0)
_DIRECTORIES: Final = ("maildrop", "deferred", "incoming", "active", "hold", "corrupt")


@dataclass(frozen=True, slots=True)
class QueueScan:
    """What one look into the queue found.

    Attributes:
        oldest_active_s: age of the oldest message in ``active``; 0: there is none.
        oldest_incoming_s: for how long the oldest complete message has been in ``incoming``.
        cpu_s: processor time that it took. The time on the clock says nothing of its cost: on a busy machine most of it
            is waiting, and a pause after that would leave the counts untrue for a minute.
    """

    counts: QueueCounts
    oldest_active_s: float = 0.0
    oldest_incoming_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def pause_s(self) -> float:
        """From the begin of this scan to that of the next: a second, more in a huge queue."""
        least, most = _PAUSE_S
        return min(most, max(least, self.cpu_s / _SHARE))


@dataclass(frozen=True, slots=True)
class _Listing:
    """What a directory held. ``oldest``: the least name, which is that of the oldest message."""

    changed_ns: int
    files: int = 0
    folders: tuple[str, ...] = ()
    oldest: str = ""
    receiving: int = 0
    complete_since: float = math.inf
    """When the first of the complete files of ``incoming`` became so (seconds since 1970)."""


class Memory:
    """What earlier scans of one queue read, so that the next one need not. Not for two threads at a time."""

    def __init__(self) -> None:
        self._listings: dict[Path, _Listing] = {}

    def recall(self, directory: Path, changed_ns: int) -> _Listing | None:
        """What was read of a directory, if it has not changed since."""
        known = self._listings.get(directory)
        return known if known is not None and known.changed_ns == changed_ns else None

    def keep(self, directory: Path, listing: _Listing) -> None:
        """Remember a listing that stays true for as long as the directory's time of change."""
        self._listings[directory] = listing


def scan(
    queue: Path,
    *,
    since: float = 0.0,
    memory: Memory | None = None,
    clock: Callable[[], float] = time.time,
    cpu_clock: Callable[[], float] = time.thread_time,
) -> QueueScan:
    """Count the messages of a queue_directory; directories that are missing are empty.

    Args:
        since: when Postfix started (seconds since 1970): no half-received file older than that has a writer.
        memory: of the scans before.
        clock: seconds since 1970.
        cpu_clock: seconds that this thread has worked.
    """
    now, began_s = clock(), cpu_clock()
    found = _look(queue, _DIRECTORIES, memory or Memory(), now=now, since=since)
    if not found.counts.total:
        found = _look(queue, reversed(_DIRECTORIES), Memory(), now=now, since=since)
    return replace(found, cpu_s=cpu_clock() - began_s)


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


def _look(queue: Path, directories: Iterable[str], memory: Memory, *, now: float, since: float) -> QueueScan:
    found = dict.fromkeys((*_DIRECTORIES, "receiving"), 0)
    oldest_active_s = oldest_incoming_s = 0.0
    for directory in directories:
        if directory == "incoming":
            listing = _incoming(
                queue / directory, memory, now=now, writable_since=max(since, now - _ORPHAN_S)
            )
            found["incoming"], found["receiving"] = listing.files, listing.receiving
            oldest_incoming_s = max(0.0, now - listing.complete_since)
            continue
        found[directory] = _count(queue / directory, memory, now=now)
        if directory == "active" and found[directory]:
            oldest = _list(queue / directory, memory, now=now).oldest
            arrived = arrival_s(oldest)
            oldest_active_s = max(0.0, now - arrived) if arrived is not None else 0.0
    return QueueScan(QueueCounts(**found), oldest_active_s, oldest_incoming_s)


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


def _count(directory: Path, memory: Memory, *, now: float) -> int:
    """Files in a directory that Postfix may have hashed into subdirectories of one character."""
    listing = _list(directory, memory, now=now)
    return listing.files + sum(_count(directory / name, memory, now=now) for name in listing.folders)


def _list(directory: Path, memory: Memory, *, now: float) -> _Listing:
    try:
        changed_ns = directory.stat().st_mtime_ns
        if (known := memory.recall(directory, changed_ns)) is not None:
            return known
        names = os.listdir(directory)
    except FileNotFoundError:
        return _Listing(0)  # before Postfix has ever run here
    except NotADirectoryError:
        return _Listing(0, files=1)
    folders = tuple(name for name in names if len(name) == 1)
    listing = _Listing(changed_ns, len(names) - len(folders), folders, _oldest(names))
    if _is_settled(changed_ns, now):
        memory.keep(directory, listing)
    return listing


def _oldest(names: list[str]) -> str:
    """The long queue id that arrived first. To the base 52, the order of ids is that of their characters."""
    least = min(names, default="")
    if arrival_s(least) is not None:
        return least
    return min((name for name in names if arrival_s(name) is not None), default="")


def _incoming(directory: Path, memory: Memory, *, now: float, writable_since: float) -> _Listing:
    """Complete files stay complete, so what is remembered of a directory without others is true."""
    try:
        changed_ns = directory.stat().st_mtime_ns
    except FileNotFoundError:
        return _Listing(0)
    if (known := memory.recall(directory, changed_ns)) is not None:
        return known
    complete = receiving = others = 0
    complete_since = math.inf
    for entry in _entries(directory):
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # Postfix took it meanwhile
        if status.st_mode & _COMPLETE == _COMPLETE:
            complete += 1
            complete_since = min(complete_since, status.st_mtime)
        else:
            others += 1
            receiving += status.st_mtime >= writable_since
    listing = _Listing(changed_ns, complete, receiving=receiving, complete_since=complete_since)
    if not others and _is_settled(changed_ns, now):
        memory.keep(directory, listing)
    return listing


def _is_settled(changed_ns: int, now: float) -> bool:
    """Whether any further change of a directory that is read now gets another time."""
    return now * 1e9 - changed_ns > _SETTLED_NS


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
