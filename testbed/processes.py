"""Finding and ending processes without ever hitting a wrong one.

A process is known by its command line, not by a remembered number. It is pinned by a pidfd before it is looked at, so a
number that the kernel gives to somebody else in between cannot be mistaken.
"""

import contextlib
import os
import select
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

Predicate = Callable[[tuple[str, ...]], bool]


@dataclass(frozen=True)
class Process:
    """A running process, pinned: `signal` reaches this one or nobody."""

    pid: int
    pidfd: int
    argv: tuple[str, ...]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; a process that has ended meanwhile is no error."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end; False when it has not come in time."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def close(self) -> None:
        """Unpin."""
        os.close(self.pidfd)


def command_line(pid: int, *, proc: Path = Path("/proc")) -> tuple[str, ...]:
    """Arguments of a process; empty for kernel threads, zombies and processes that are gone."""
    try:
        raw = (proc / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(os.fsdecode(part) for part in raw.removesuffix(b"\0").split(b"\0")) if raw else ()


def matching_pids(matches: Predicate, *, proc: Path = Path("/proc")) -> list[int]:
    """Numbers of the processes whose command line matches, lowest first."""
    numbers = sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdecimal())
    return [pid for pid in numbers if (argv := command_line(pid, proc=proc)) and matches(argv)]


def descendants(pid: int) -> list[int]:
    """Numbers of a process's children, their children and so on."""
    found: list[int] = []
    queue = [pid]
    while queue:
        current = queue.pop()
        for task in _tasks(current):
            with contextlib.suppress(OSError):
                children = [int(child) for child in (task / "children").read_text().split()]
                found += children
                queue += children
    return found


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


@contextlib.contextmanager
def pinned(matches: Predicate, *, among: list[int] | None = None) -> Iterator[list[Process]]:
    """The processes that match, each pinned and checked again after it was pinned."""
    found: list[Process] = []
    candidates = matching_pids(matches) if among is None else among
    try:
        for pid in candidates:
            with contextlib.suppress(ProcessLookupError):
                pidfd = os.pidfd_open(pid)
                argv = command_line(pid)
                if argv and matches(argv):
                    found.append(Process(pid, pidfd, argv))
                else:
                    os.close(pidfd)
        yield found
    finally:
        for process in found:
            process.close()
