"""Progress for people: one line when a step begins, its time when it ends, a sign of life while it lasts."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

HEARTBEAT_S = 30.0


def say(text: str) -> None:
    """Print a line at once, to standard error: standard output is for results."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step that takes seconds to minutes, and its elapsed time when it is over."""
    started = time.monotonic()
    over = threading.Event()

    def beat() -> None:
        while not over.wait(HEARTBEAT_S):
            say(f"   … {title}: {time.monotonic() - started:.0f} s")

    say(f"-> {title}")
    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        yield
    except BaseException:
        say(f"   {title}: failed after {time.monotonic() - started:.1f} s")
        raise
    finally:
        over.set()
        heart.join()
    say(f"   {title}: done in {time.monotonic() - started:.1f} s")
