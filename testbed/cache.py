"""Things that are expensive to make, kept by the hash of what they are made from, for all checkouts of a user.

A thing is a directory that appears at once (rename) when it is complete. A lock on its name makes a second builder
wait for the first instead of building, too. An unfinished build is never mistaken for a thing; the next removes it.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from testbed.progress import say


def root(environ: Mapping[str, str] = os.environ) -> Path:
    """The cache directory of this user."""
    base = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "/root")) / ".cache"
    return Path(base) / "smtpfleet"


def digest(parts: Iterable[bytes | str]) -> str:
    """Hash of a list of inputs: 16 hexadecimal digits; moving a byte between inputs changes it."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:16]


def digest_of_files(base: Path, files: Iterable[Path]) -> str:
    """Hash of files' names below `base`, whether they are executable, and their contents."""
    parts: list[bytes | str] = []
    for file in sorted(files):
        mode = "x" if os.access(file, os.X_OK) else "-"
        parts += [str(file.relative_to(base)), mode, file.read_bytes()]
    return digest(parts)


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the machine-wide lock of that name; says so when it has to wait."""
    directory = root() / "locks"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / name).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"   waiting for another process that holds {name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def obtain(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """The directory of the thing `name` made from inputs with hash `key`; calls `make(directory)` if it is absent."""
    place = root() / f"{name}-{key}"
    if place.is_dir():
        return place
    with locked(name):
        if place.is_dir():
            return place
        unfinished = root() / f".{name}-{key}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)  # absent in the normal case
        unfinished.mkdir(parents=True)
        make(unfinished)
        unfinished.rename(place)
    return place
