"""How many relays there are to be, which are new, and which have to go.

Guarantees: a relay that was chosen to go stays chosen until the number wanted rises again, also over a
restart of the operator (the choice stands in the status); a paused relay is never chosen; a relay whose
volume is being deleted goes in any case, and another takes its place at once.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from smtpfleet.api.reasons import LEAVING_REASONS
from smtpfleet.api.status import SmtpPoolStatus
from smtpfleet.domain.facts import Relay, Wish


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers of relays to create, and names of those to drain and remove."""

    new: tuple[int, ...]
    surplus: frozenset[str]
    doomed: frozenset[str]

    @property
    def leaving(self) -> frozenset[str]:
        """Every relay that has to go, for whatever reason."""
        return self.surplus | self.doomed


def scale(
    *, desired: int, relays: Sequence[Relay], marked: Collection[str], ejected: Collection[str] = ()
) -> Scale:
    """Compare what exists with the number ``desired``; ``marked`` were chosen to go before.

    An ejected relay serves nobody, so it goes before one that does.
    """
    doomed = frozenset(relay.name for relay in relays if relay.doomed)
    members = [relay for relay in relays if relay.exists and not relay.doomed]
    excess = max(0, len(members) - desired)
    candidates = sorted(
        (relay for relay in members if not relay.paused),
        key=lambda relay: _least_missed_first(relay, marked, ejected),
    )
    return Scale(
        new=_lowest_free(relays, desired - len(members)),
        surplus=frozenset(relay.name for relay in candidates[:excess]),
        doomed=doomed,
    )


def marked_before(status: SmtpPoolStatus) -> frozenset[str]:
    """Names of the relays that the status says were chosen to go."""
    return frozenset(entry.name for entry in status.relays if entry.reason in LEAVING_REASONS)


def _least_missed_first(
    relay: Relay, marked: Collection[str], ejected: Collection[str]
) -> tuple[bool, bool, bool, bool, int, int]:
    queue = relay.agent.status.queue if relay.agent else None
    return (
        relay.name not in marked,
        relay.wish is not Wish.DRAIN,
        relay.ready and relay.name not in ejected,
        queue is None,
        queue.total + queue.receiving if queue else 0,
        -relay.number,
    )


def _lowest_free(relays: Sequence[Relay], count: int) -> tuple[int, ...]:
    """The lowest numbers of which no Deployment and no claim is left, not even one that is going."""
    taken = {relay.number for relay in relays if relay.exists or relay.doomed}
    free: list[int] = []
    number = 0
    while len(free) < count:
        if number not in taken:
            free.append(number)
        number += 1
    return tuple(free)
