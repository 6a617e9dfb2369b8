"""Whether the queue's volume has so little room that clients had better go to a sibling, before Postfix refuses them.

Below queue_minfree Postfix refuses every message (452); without an inode it cannot make a queue file (451).

Guarantees: what Postfix refuses is always too little; what was too little stays so until there is a quarter more, so a
queue that shrinks by a message does not make its relay come and go; an empty volume, however small, has room.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smtpfleet.api.agent_status import QueueVolume

INODES: Final = 2000
"""A message takes one, two when it is deferred: those of half a minute of much mail."""


@dataclass(frozen=True, slots=True)
class Room:
    """A file system, as a process that is not root can use it. ``inodes`` is 0 where they are made as needed."""

    free_bytes: int
    bytes: int
    free_inodes: int
    inodes: int

    def volume(self) -> QueueVolume:
        """What ``/status`` says of it."""
        return QueueVolume(free_bytes=self.free_bytes, free_inodes=self.free_inodes)


def read(directory: Path) -> Room:
    """That of the file system on which a directory is.

    Raises:
        OSError: it cannot be read.
    """
    found = os.statvfs(directory)
    return Room(
        free_bytes=found.f_bavail * found.f_frsize,
        bytes=found.f_blocks * found.f_frsize,
        free_inodes=found.f_favail,
        inodes=found.f_files,
    )


def is_low(room: Room, *, minfree_bytes: int, before: bool) -> bool:
    """Whether it is too little. ``minfree_bytes``: queue_minfree; ``before``: whether it was."""
    margin = 1.25 if before else 1.0
    least_bytes = max(minfree_bytes, min(2 * minfree_bytes, room.bytes // 2) * margin)
    least_inodes = min(INODES, room.inodes // 10) * margin
    return room.free_bytes < least_bytes or room.free_inodes < least_inodes
