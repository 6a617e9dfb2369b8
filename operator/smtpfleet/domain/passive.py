"""What is wrong with a relay by its agent's words, compared with its siblings': an ordered chain of checks. Pure.

Guarantees: what all relays have alike is found at none of them; without a sibling, or without enough data, nothing is
found; what was found once takes less to be found again than to be found first, so that figures near a threshold do
not make a relay come and go; the worse the figures, the worse the finding.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from smtpfleet.api.agent_status import Deliveries, RelayStatus
from smtpfleet.api.health import Health
from smtpfleet.api.pool import SmtpPoolSpec
from smtpfleet.api.postfix_parameters import LEADS_ELSEWHERE
from smtpfleet.api.probes import CANARY_BYTES, CanaryReport, canary_clients
from smtpfleet.api.reasons import Reason
from smtpfleet.api.values import duration_seconds, size_bytes
from smtpfleet.domain.comparison import Difference, Tally, difference, together
from smtpfleet.domain.facts import Relay
from smtpfleet.domain.findings import FATAL, SLOW_FACTOR, Finding, silent
from smtpfleet.domain.others import OthersMedian

LEAST_TRIED: Final = 30
"""Attempts that relay and siblings must have had, each, at receivers that both have."""
LEAST_FAILED: Final = 10
SURE: Final = 5.0
"""Standard deviations beyond chance that a first finding takes."""
STILL_SURE: Final = 2.5
WORSE_BY: Final = 0.2
"""Share of attempts by which a relay must fail more often than its siblings."""
STILL_WORSE_BY: Final = 0.1
NEARLY_ALL: Final = 0.9
"""Of the attempts of a relay that is as good as cut off."""
STILL_NEARLY_ALL: Final = 0.7
FEW: Final = 0.3
"""At most so many of the siblings' attempts may fail meanwhile."""
LATE_LEAST_S: Final = 5.0
"""A canary is back at once, unless its relay is very busy."""
CANARY_RATIO: Final = 5.0
"""It must be away for so many times as long as those that siblings were sent later."""
CROWDED: Final = 10_000
"""So many active messages keep the queue manager from taking up more: not its fault while deliveries go on."""
STUCK_S: Final = 30.0
"""The queue manager takes a complete message at once."""
STALE_S: Final = 120.0
"""A message may well be under way for a while: servers that are slow on purpose take a minute."""
STALE_LEAST: Final = 5
"""Messages that must wait: a few may have the same receiver."""
WAIT_RATIO: Final = 5.0
"""A relay's messages must have waited so many times as long as its siblings' do."""

FATAL_REASONS: Final = frozenset(
    {Reason.CANARY_ALTERED, Reason.CANARY_LATE, Reason.QUEUE_STUCK, Reason.DELIVERIES_FAIL}
)
SLOW_REASONS: Final = frozenset({Reason.DELIVERIES_WORSE, Reason.QUEUE_STALE})
CANARY_REASONS: Final = frozenset({Reason.CANARY_ALTERED, Reason.CANARY_LATE})
REASONS: Final = FATAL_REASONS | SLOW_REASONS
"""Every reason that a comparison can give."""


class Siblings:
    """The relays of a pool that can be compared: their agents answer, and they get mail. ``late_s``: :func:`late_s`."""

    def __init__(self, relays: Iterable[Relay], late_s: float) -> None:
        relays = tuple(relays)
        self.late_s = late_s
        self._canaries = {relay.name: relay.canaries for relay in relays}
        known = {
            relay.name: relay.agent.status
            for relay in relays
            if relay.agent is not None and not silent(relay)
        }
        self._tallies = {name: tally(status) for name, status in known.items()}
        self._all = together(self._tallies.values())
        self._incoming_s = OthersMedian({name: status.oldest_incoming_s for name, status in known.items()})
        self._active_s = OthersMedian({name: status.oldest_active_s for name, status in known.items()})

    def canaries_s(self, relay: str, sent_s: float) -> float | None:
        """How long the canaries took that others were sent later than ``sent_s`` seconds ago, as far as they are back:
        the median over the relays; None: there is none.
        """
        took = [
            back[0]
            for name, canaries in self._canaries.items()
            if name != relay
            and (
                back := [each.took_s for each in canaries if each.took_s is not None and each.sent_s < sent_s]
            )
        ]
        return median(took) if took else None

    def differs(self, relay: str, status: RelayStatus) -> Difference | None:
        """How a relay's deliveries go, compared with those of all others."""
        own = self._tallies.get(relay) or tally(status)
        if sum(own.failed.values()) < LEAST_FAILED:
            return None  # as nearly always, and to compare is dear
        return difference(own, self._all.without(own) if relay in self._tallies else self._all)

    def incoming_s(self, relay: str) -> float | None:
        """For how long messages wait for the queue manager elsewhere."""
        return self._incoming_s.without(relay)

    def active_s(self, relay: str) -> float | None:
        """For how long they are under way elsewhere."""
        return self._active_s.without(relay)


@dataclass(frozen=True, slots=True)
class Compared:
    """A relay's figures beside its siblings'. ``before``: the reason that its entry in the status had."""

    relay: str
    status: RelayStatus
    deliveries: Deliveries
    siblings: Siblings
    canaries: tuple[CanaryReport, ...] = ()
    before: Reason | None = None


Check = Callable[[Compared], Finding | None]


def _altered(seen: Compared) -> Finding | None:
    back = next((each for each in seen.canaries if each.took_s is not None), None)
    if back is None or back.intact:
        return None
    return Finding(
        Reason.CANARY_ALTERED, "changed the content of a message that went through its queue", FATAL
    )


def _late(seen: Compared) -> Finding | None:
    if seen.status.queue.active >= CROWDED and seen.deliveries.idle_s < STUCK_S:
        return None
    for late in _away(seen.canaries, seen.siblings.late_s):
        usual_s = seen.siblings.canaries_s(seen.relay, late.sent_s)
        if usual_s is not None and _away_s(late) >= CANARY_RATIO * usual_s:
            message = "a message that it took has not come through its queue in time, as its siblings' have"
            return Finding(Reason.CANARY_LATE, message, FATAL)
    return None


def _away(canaries: Sequence[CanaryReport], late_s: float) -> Iterator[CanaryReport]:
    """Those that are missing for too long, and the last that is back, if it was."""
    yield from (each for each in canaries if each.took_s is None and each.waited_s >= late_s)
    back = next((each for each in canaries if each.took_s is not None), None)
    if back is not None and _away_s(back) >= late_s:
        yield back


def _away_s(canary: CanaryReport) -> float:
    return canary.waited_s if canary.took_s is None else canary.took_s


def canary_interval_s(spec: SmtpPoolSpec) -> float:
    """How often relays get a canary; 0: never.

    Only an address that no client can have may send them, one must not be too large for the pool, and nothing may copy
    it or give it another recipient.
    """
    possible = (
        canary_clients(spec.submission.trusted_networks)
        and size_bytes(spec.submission.message_size_limit) >= CANARY_BYTES
        and LEADS_ELSEWHERE.isdisjoint(spec.relay.postfix)
    )
    return duration_seconds(spec.health.canary_interval) if possible else 0.0


def late_s(health: Health) -> float:
    """After how many seconds a canary is late: when as many probes would have failed as eject a relay."""
    return max(LATE_LEAST_S, health.unhealthy_threshold * duration_seconds(health.interval))


def suspicious(canaries: Sequence[CanaryReport], late_s: float) -> bool:
    """Whether they are worth a comparison with the siblings'."""
    return any(True for _ in _away(canaries, late_s)) or not all(each.intact for each in canaries)


def _stuck(seen: Compared) -> Finding | None:
    """The queue manager does nothing: it takes no message, and no delivery ends."""
    usual_s = seen.siblings.incoming_s(seen.relay)
    if usual_s is None or not _stands(seen.status) or seen.status.oldest_incoming_s < WAIT_RATIO * usual_s:
        return None
    return Finding(
        Reason.QUEUE_STUCK, "takes mail and does not send it: its queue manager leaves messages alone", FATAL
    )


def _deliveries(seen: Compared) -> Finding | None:
    found = seen.siblings.differs(seen.relay, seen.status)
    if found is None or min(found.tried, found.siblings_tried) < LEAST_TRIED or found.failed < LEAST_FAILED:
        return None
    again = seen.before in {Reason.DELIVERIES_WORSE, Reason.DELIVERIES_FAIL}
    if found.deviations < (STILL_SURE if again else SURE):
        return None
    nearly_all = STILL_NEARLY_ALL if seen.before is Reason.DELIVERIES_FAIL else NEARLY_ALL
    if found.share >= nearly_all and found.expected_share <= FEW:
        message = f"nearly all its deliveries fail, and not those of its siblings{_mostly(seen.deliveries)}"
        return Finding(Reason.DELIVERIES_FAIL, message, FATAL)
    if found.excess >= (STILL_WORSE_BY if again else WORSE_BY):
        message = f"deliveries fail more often than at its siblings{_mostly(seen.deliveries)}"
        return Finding(Reason.DELIVERIES_WORSE, message, SLOW_FACTOR)
    return None


def _stale(seen: Compared) -> Finding | None:
    """Messages are under way for ever, and nothing comes of any of them."""
    usual_s = seen.siblings.active_s(seen.relay)
    if usual_s is None or not _waits(seen.status) or seen.status.oldest_active_s < WAIT_RATIO * usual_s:
        return None
    return Finding(Reason.QUEUE_STALE, "none of the messages that it is sending has arrived", SLOW_FACTOR)


CHAIN: Final[Sequence[Check]] = (_altered, _late, _stuck, _deliveries, _stale)
"""The checks in their order, from the worst to the least."""


def of_comparison(relay: Relay, siblings: Siblings, before: Reason | None) -> Finding | None:
    """The first finding of the chain. ``before``: the reason that the relay's entry in the status had."""
    if relay.agent is None or silent(relay) or relay.agent.status.deliveries is None:
        return None
    status = relay.agent.status
    seen = Compared(relay.name, status, relay.agent.status.deliveries, siblings, relay.canaries, before)
    return next((finding for check in CHAIN if (finding := check(seen))), None)


def undecided(relay: Relay) -> bool:
    """Whether its agent takes canaries, and none has come back yet: what was found before is not refuted."""
    takes = relay.agent is not None and relay.agent.status.canary is not None
    return takes and all(each.took_s is None for each in relay.canaries)


def alarm(status: RelayStatus) -> tuple[bool, bool, bool]:
    """What of a relay's figures is worth a comparison with its siblings: failing deliveries, a queue manager that
    stands, messages that wait. While any of it is true, the comparison is to be made again and again.
    """
    attempts = tally(status)
    fails = sum(attempts.tried.values()) >= LEAST_TRIED and attempts.share >= WORSE_BY
    return fails, _stands(status), _waits(status)


def _stands(status: RelayStatus) -> bool:
    """Whether the queue manager leaves messages alone, and no delivery ends."""
    return status.oldest_incoming_s >= STUCK_S and _idle_s(status) >= STUCK_S


def _waits(status: RelayStatus) -> bool:
    """Whether several messages are being sent for long, and no delivery ends."""
    return (
        status.queue.active >= STALE_LEAST
        and status.oldest_active_s >= STALE_S
        and _idle_s(status) >= STALE_S
    )


def _idle_s(status: RelayStatus) -> float:
    return status.deliveries.idle_s if status.deliveries else 0.0


def tally(status: RelayStatus) -> Tally:
    """Its attempts of the last minute."""
    return Tally.of(status.deliveries.receivers if status.deliveries else ())


def _mostly(deliveries: Deliveries) -> str:
    """The reason of most failures, if there is one."""
    failed = deliveries.deferred + deliveries.bounced
    if 2 * deliveries.bounced > failed:
        return ": most are bounced"
    most = next((each for each in deliveries.deferrals if 2 * each.recipients > failed), None)
    return f": mostly {most.reason}{f' ({most.stage})' if most.stage else ''}" if most else ""
