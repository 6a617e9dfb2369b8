"""How many relays there are to be, which are new, and which have to go.

Guarantees: a relay that was chosen to go stays chosen until the number wanted rises again, also over a
restart of the operator (the choice stands in the status); a paused relay is never chosen; a relay whose
volume is being deleted goes in any case, and another takes its place at once; one that is replaced goes when another
serves in its place, and does not come back.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
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
    replaced: frozenset[str] = frozenset()
    succeeded: bool = True
    """No relay waits for a new one to serve in its place."""

    @property
    def leaving(self) -> frozenset[str]:
        """Every relay that has to go, for whatever reason."""
        return self.surplus | self.doomed | self.replaced


def scale(
    *,
    desired: int,
    relays: Sequence[Relay],
    marked: Collection[str],
    ejected: Collection[str] = (),
    replaced: Collection[str] = (),
    out: Collection[str] = (),
) -> Scale:
    """Compare what exists with the number ``desired``.

    An ejected relay serves nobody, so it goes before one that does. Of those that serve one goes that has an earlier
    pod template, and would be restarted otherwise; then one that shares its zone, then its node, with most others, so
    that what is left stays spread; then the one with the shortest queue.

    Args:
        desired: how many there are to be.
        relays: all there are.
        marked: names of those that were chosen to go before.
        ejected: of those that get no mail because they are bad.
        replaced: of those that count no more. They go once as many others as are wanted exist and none of them is new.
        out: of those that served before, and do not now.
    """
    doomed = frozenset(relay.name for relay in relays if relay.doomed)
    present = [relay for relay in relays if relay.exists and not relay.doomed]
    members = [relay for relay in present if relay.name not in replaced]
    surplus = _surplus(members, max(0, len(members) - desired), marked, ejected)
    serve = all(relay.ready or relay.name in out for relay in members)
    succeeded = desired == 0 or (len(members) >= desired and serve)
    going = [relay for relay in present if relay.name in replaced and not relay.paused]
    return Scale(
        new=_lowest_free(relays, desired - len(members)),
        surplus=frozenset(relay.name for relay in surplus),
        doomed=doomed,
        replaced=frozenset(relay.name for relay in going if succeeded or relay.name in marked),
        succeeded=succeeded or all(relay.name in marked for relay in going),
    )


def marked_before(status: SmtpPoolStatus) -> frozenset[str]:
    """Names of the relays that the status says were chosen to go."""
    return frozenset(entry.name for entry in status.relays if entry.reason in LEAVING_REASONS)


def replaced_before(status: SmtpPoolStatus) -> frozenset[str]:
    """Names of the relays of which the status says that a new one takes their place."""
    return frozenset(entry.name for entry in status.relays if entry.outage and entry.outage.replaced)


def _surplus(
    members: Sequence[Relay], excess: int, marked: Collection[str], ejected: Collection[str]
) -> Iterator[Relay]:
    """One after the other, for each that goes leaves its place to the others."""
    candidates = [relay for relay in members if not relay.paused]
    crowds = Counter(place for relay in members for place in _places(relay))
    for _ in range(min(excess, len(candidates))):
        chosen = min(candidates, key=lambda relay: _least_missed_first(relay, marked, ejected, crowds))
        candidates.remove(chosen)
        crowds.subtract(_places(chosen))
        yield chosen


def _places(relay: Relay) -> tuple[tuple[str, str], tuple[str, str]]:
    """Zone and node. Where zones are not known all are of the same, so nodes alone decide."""
    pod = relay.pod
    return ("zone", pod.zone if pod else ""), ("node", pod.node if pod else "")


def _least_missed_first(
    relay: Relay, marked: Collection[str], ejected: Collection[str], crowds: Mapping[tuple[str, str], int]
) -> tuple[bool, bool, bool, bool, int, int, bool, int, int]:
    zone, node = _places(relay)
    queue = relay.agent.status.queue if relay.agent else None
    return (
        relay.name not in marked,
        relay.wish is not Wish.DRAIN,
        relay.ready and relay.name not in ejected,
        relay.deployment is None or not relay.deployment.outdated,
        -crowds[zone],
        -crowds[node],
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
