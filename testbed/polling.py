"""Waiting for something that becomes true by itself, within bounds."""

import time
from collections.abc import Callable

from testbed.errors import CommandError, NotReadyError

_TIMEOUT_S = 180.0
_PAUSE_S = 0.2


def until(attempt: Callable[[], object], what: str) -> None:
    """Repeat an attempt until it succeeds: the programs that it asks may not run yet.

    Raises NotReadyError with the last failure after three minutes.
    """
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            attempt()
        except (CommandError, NotReadyError) as error:
            if time.monotonic() > deadline:
                raise NotReadyError(f"Waited {_TIMEOUT_S:.0f} s in vain for {what}.\n{error}") from error
            time.sleep(_PAUSE_S)
        else:
            return
