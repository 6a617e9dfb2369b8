"""What is done about a relay that stays bad: it is restarted, then replaced. Pure.

The algorithm, over the outage of each relay (:class:`smtpfleet.domain.health.Outage`):

1. A relay that is out for ``replaceAfter`` is **restarted**, once: its pod is deleted.
2. If it is not well ``replaceAfter`` later, it is **replaced**: it does not count for the size of the pool any more, so
   a new one is made first. When that one serves, the old one leaves as any other does (:mod:`.scaling`,
   :mod:`.draining`): what its queue holds is handed over, and it goes when that is empty.
3. A relay that cannot be reached, because its node is lost or its pod does not run, cannot be restarted, and is
   replaced at once. So is one whose queue is in its pod, for a restart would lose it. While it cannot be reached it
   stays, with its volume.

Guarantees: a decision stands in the status before anything is done, and what is done follows from the status alone, so
a crash in between neither loses a step nor does it twice; at most one pod is deleted in a cycle, and none in a cycle
that removes or changes another relay; only one relay at a time has a replacement that does not serve yet, so whatever
makes relays bad makes one more of them at most; nothing begins while more look bad than may be out, while receivers
fail for all, on old news, or on what is paused.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from smtpfleet.api.reasons import ConditionType, Reason
from smtpfleet.api.values import duration_seconds
from smtpfleet.domain.assessment import Assessment
from smtpfleet.domain.facts import Pod, Pool, Relay
from smtpfleet.domain.findings import silent
from smtpfleet.domain.health import Outage

AT_ONCE_S: Final = 0.5
"""What was decided is done in the next cycle."""


@dataclass(frozen=True, slots=True)
class Restart:
    """A pod to be deleted, so that its Deployment makes another."""

    relay: str
    pod_uid: str
    why: str


@dataclass(frozen=True, slots=True)
class Remedies:
    """What is done now (``restart``), what is to be remembered of each relay, and when to look again."""

    outages: Mapping[str, Outage] = field(default_factory=dict)
    restart: Restart | None = None
    again_s: float | None = None


def remedies(pool: Pool, health: Assessment, *, successors: bool, busy: bool) -> Remedies:
    """Decide what is done about the relays of a pool that are out.

    Args:
        pool: as it is seen now.
        health: of its relays.
        successors: a new relay that takes the place of another does not serve yet.
        busy: another relay is removed, or restarted for a change, in this cycle.
    """
    outages = {name: standing.outage for name, standing in health.standings.items() if standing.outage}
    if pool.paused or pool.deleted_at is not None:
        return Remedies(outages)
    restart = None if busy else next(_restarts(pool, outages), None)
    if restart is not None:
        return Remedies(outages, restart)
    after = timedelta(seconds=duration_seconds(pool.spec.health.replace_after))
    sick = [(relay, outages[relay.name]) for relay in pool.relays if _may_be_treated(relay, health, outages)]
    waits_s = [(_due(outage, after) - pool.seen_at).total_seconds() for _, outage in sick]
    again_s = min((wait_s for wait_s in waits_s if wait_s > 0), default=None)
    if health.held or _receivers_fail(pool):
        return Remedies(outages, again_s=again_s)
    for relay, outage in sorted(sick, key=lambda pair: pair[1].since):
        if _due(outage, after) > pool.seen_at:
            continue
        if outage.restarted is None and _can_be_restarted(relay):
            decided = replace(outage, restarted=pool.seen_at, pod_uid=relay.pod.uid if relay.pod else "")
        elif not successors:
            decided = replace(outage, replaced=pool.seen_at)
        else:
            continue
        return Remedies(outages | {relay.name: decided}, again_s=AT_ONCE_S)
    return Remedies(outages, again_s=again_s)


def _restarts(pool: Pool, outages: Mapping[str, Outage]) -> Iterator[Restart]:
    """Pods that a decision to restart their relay was made about; one that goes already needs nothing."""
    for relay in pool.relays:
        outage, pod = outages.get(relay.name), relay.pod
        if outage is None or outage.restarted is None or outage.replaced is not None or relay.paused:
            continue
        if pod is not None and not pod.leaving and _is_meant(pod, outage.pod_uid, outage.restarted):
            yield Restart(relay.name, pod.uid, _why(outage, outage.restarted))


def _is_meant(pod: Pod, pod_uid: str, restarted: datetime) -> bool:
    """Whether this is the pod to be restarted. ``pod_uid`` is empty in the status of a release that did not note it."""
    # pod.created is of the API server's clock, which may be behind: then each new pod looks older than the decision.
    return pod.uid == pod_uid if pod_uid else pod.created < restarted


def _why(outage: Outage, now: datetime) -> str:
    return f"it does not serve for {(now - outage.since).total_seconds():.0f} s"


def _may_be_treated(relay: Relay, health: Assessment, outages: Mapping[str, Outage]) -> bool:
    outage = outages.get(relay.name)
    untreated = outage is not None and outage.replaced is None
    return untreated and relay.name in health.sick and relay.exists and not relay.paused


def _due(outage: Outage, after: timedelta) -> datetime:
    return (outage.restarted or outage.since) + after


def _can_be_restarted(relay: Relay) -> bool:
    """Whether somebody can be told to end its pod, and nothing is lost with it."""
    pod: Pod | None = relay.pod
    if pod is None or pod.leaving or not pod.running or relay.ephemeral:
        return False
    return pod.ready or not silent(relay)


def _receivers_fail(pool: Pool) -> bool:
    delivery = pool.previous.condition(ConditionType.DELIVERY_READY)
    return delivery is not None and delivery.reason == Reason.RECEIVERS_FAIL
