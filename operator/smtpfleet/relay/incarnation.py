"""Which life of a queue this is.

A queue that was lost and made anew has another incarnation, so that what others keep for the old one is never
mistaken for the new one's. The id lies beside the queue, on the same file system, and shares its fate.
"""

import os
import re
import secrets
from pathlib import Path
from typing import Final

_FORM: Final = re.compile(r"[0-9a-f]{32}")


class IncarnationError(Exception):
    """The file that names the incarnation is not readable as one; a person must look at the volume."""


def read_or_create(file: Path) -> str:
    """The id of this queue, 32 hexadecimal digits, made durable if it is new.

    Raises:
        IncarnationError: the file holds something else.
        OSError: the volume cannot be read or written.
    """
    try:
        incarnation = file.read_text().strip()
    except FileNotFoundError:
        incarnation = secrets.token_hex(16)
        write_durably(file, incarnation + "\n")
    if not _FORM.fullmatch(incarnation):
        raise IncarnationError(f"{file} holds no incarnation id")
    return incarnation


def write_durably(file: Path, text: str) -> None:
    """Replace a file so that after a crash it is the old or the new one, never half of it.

    Raises:
        OSError: the file system refuses.
    """
    new = file.with_name(f".{file.name}.new")
    with new.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
