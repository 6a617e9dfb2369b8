"""Sockets that only Postfix can open."""

import os
import socket
from pathlib import Path


def bind(path: Path, owner: tuple[int, int]) -> socket.socket:
    """A UNIX socket at ``path`` that only ``owner`` (user, group) may connect to.

    Raises:
        OSError: it cannot be made.
    """
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound.bind(str(path))
    path.chmod(0o600)
    os.chown(path, *owner)
    return bound
