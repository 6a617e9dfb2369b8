"""The relays' entries in the status: what each of them does for the pool now, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from smtpfleet.api.pool import MAX_RELAYS
from smtpfleet.api.reasons import Reason, RelayState
from smtpfleet.api.routing import RelayRoute, RouteState, RoutingTable
from smtpfleet.api.status import RelayEntry
from smtpfleet.domain.facts import Pool, Relay, Wish
from smtpfleet.domain.figures import two_digits
from smtpfleet.domain.plan import Plan

SILENT_S: Final = 30.0
"""After how long without an answer an agent counts as silent."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A relay's state and the reason for it."""

    state: RelayState
    reason: Reason
    message: str = ""


def entries(pool: Pool, plan: Plan, table: RoutingTable, now: str) -> tuple[RelayEntry, ...]:
    """One entry a relay that exists, by number; ``now`` stands where a state is new."""
    before = {entry.name: entry for entry in pool.previous.relays}
    shown = sorted((relay for relay in pool.relays if relay.exists), key=lambda relay: relay.number)
    return tuple(_entry(relay, plan, table.relay(relay.name), before, now) for relay in shown[:MAX_RELAYS])


def silent(relay: Relay) -> bool:
    """Whether nothing is known of its queue now."""
    return relay.agent is None or relay.agent.age_s > SILENT_S


def takes_mail(entry: RelayEntry) -> bool:
    """Whether the relay is among those that clients' mail goes to."""
    return entry.state is RelayState.SERVING and entry.weight > 0


def _entry(
    relay: Relay, plan: Plan, route: RelayRoute | None, before: Mapping[str, RelayEntry], now: str
) -> RelayEntry:
    old = before.get(relay.name)
    finding = _finding(relay, plan, route, old)
    queue = relay.agent.status.queue if relay.agent else None
    return RelayEntry(
        name=relay.name,
        node=relay.pod.node if relay.pod else "",
        state=finding.state,
        weight=route.weight if route else 0,
        backlog=two_digits(queue.backlog) if queue else (old.backlog if old else 0),
        deferred=two_digits(queue.deferred) if queue else (old.deferred if old else 0),
        since=old.since if old and old.state is finding.state else now,
        reason=finding.reason,
        message=_clipped(finding.message, paused=relay.paused),
    )


def _clipped(message: str, *, paused: bool) -> str:
    parts = [part for part in (message, "paused by annotation" if paused else "") if part]
    return "; ".join(parts)[:1024]


def _finding(relay: Relay, plan: Plan, route: RelayRoute | None, old: RelayEntry | None) -> Finding:
    if relay.name in plan.scale.leaving:
        reason = Reason.CLAIM_DELETED if relay.name in plan.scale.doomed else Reason.SURPLUS
        return Finding(_leaving_state(relay), reason, _leaving_message(relay, plan))
    if relay.wish is Wish.DRAIN or (route and route.state is RouteState.DRAINING):
        return Finding(RelayState.DRAINING, Reason.DRAIN_REQUESTED, "takes no mail, delivers what it has")
    if relay.ready:
        return _serving(relay)
    return _not_ready(relay, old)


def _leaving_state(relay: Relay) -> RelayState:
    unreachable = silent(relay) and not any(pod.running for pod in relay.pods)
    may_hold_mail = relay.claim is not None and relay.claim.bound
    return RelayState.STRANDED if unreachable and may_hold_mail else RelayState.DRAINING


def _leaving_message(relay: Relay, plan: Plan) -> str:
    judged = plan.verdicts.get(relay.name)
    why = judged.why if judged else ""
    return f"its claim is being deleted: {why}" if relay.name in plan.scale.doomed else why


def _serving(relay: Relay) -> Finding:
    if relay.agent and relay.agent.status.table_error:
        error = relay.agent.status.table_error
        return Finding(
            RelayState.SERVING, Reason.TABLE_REFUSED, f"works on with its last good routing table: {error}"
        )
    if silent(relay):
        return Finding(
            RelayState.SERVING, Reason.AGENT_SILENT, "its pod is ready, but its agent does not answer"
        )
    return Finding(RelayState.SERVING, Reason.POD_READY)


def _not_ready(relay: Relay, old: RelayEntry | None) -> Finding:
    pod = relay.pod
    if pod is None:
        return Finding(RelayState.STARTING, Reason.POD_MISSING, "no pod of it exists yet")
    if not pod.node:
        return Finding(RelayState.STARTING, Reason.POD_UNSCHEDULABLE, pod.trouble or "waits for a node")
    if pod.running and old and old.state in {RelayState.SERVING, RelayState.DEGRADED}:
        return Finding(RelayState.DEGRADED, Reason.POD_NOT_READY, pod.trouble or "its pod is not ready")
    return Finding(RelayState.STARTING, Reason.POD_STARTING, pod.trouble or "its pod is starting")
