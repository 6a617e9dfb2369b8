"""Short turns of the processor for what carries mail.

A message takes some twenty turns of five processes. While sessions of others keep the cores busy, each of them waits
until the turn of another process ends, and with Linux's own length (1 to 3 ms) that adds up. With short turns for all,
who has little to do is served between the turns of who has much. It takes no privilege. Linux before 6.12 does not know
of it, and nothing changes there.
"""

from typing import Final

SLICE_NS: Final = 200_000
"""Nanoseconds of a turn. Linux takes no less than 100,000; a change of turns costs it some 2,000."""


_CHRT: Final = ("chrt", "--other", "--sched-runtime", str(SLICE_NS))


def of_process(pid: int) -> tuple[str, ...]:
    """The command that makes a process take short turns, and what it starts from then on."""
    return (*_CHRT, "--pid", "0", str(pid))


def with_short_turns(*command: str) -> tuple[str, ...]:
    """A command that takes short turns, where it can be made to; it is the process that was started itself.

    Without ``$$``, of which Kubernetes makes ``$`` in a container's command.
    """
    chrt = " ".join((*_CHRT, "0"))
    return ("sh", "-c", f'{chrt} true 2>/dev/null && exec {chrt} "$@"; exec "$@"', "sh", *command)
