"""Files in memory that Postfix may still open, though its newest configuration names them no more.

Postfix starts processes with options it read before, and a reload may be put off. So a file goes some minutes after it
was named last.
"""

import shutil
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Final

UNUSED_S: Final = 300.0
"""A file stays at least so long after its last use."""
SWEEP_S: Final = 60.0


class Leftovers:
    """Use :meth:`sweep` each time it is decided what is in use. ``clock``: seconds that only ever grow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._used_s: dict[Path, float] = {}
        self._swept_s = 0.0

    def sweep(self, used: Collection[Path], found: Callable[[], Iterable[Path]]) -> None:
        """Note what is in use; now and then, remove what is ``found`` and was not in use for long.

        Raises:
            OSError: something cannot be removed.
        """
        now_s = self._clock()
        self._used_s |= dict.fromkeys(used, now_s)
        if now_s - self._swept_s < SWEEP_S:
            return
        self._swept_s = now_s
        for path in found():
            if now_s - self._used_s.setdefault(path, now_s) > UNUSED_S:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                del self._used_s[path]
