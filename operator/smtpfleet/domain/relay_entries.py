"""The relays' entries in the status: what each of them does for the pool now, and why."""

from collections.abc import Mapping
from dataclasses import dataclass

from smtpfleet.api.autoscaling import MAX_RELAYS
from smtpfleet.api.reasons import Reason, RelayState
from smtpfleet.api.routing import RelayRoute, RouteState, RoutingTable
from smtpfleet.api.status import RelayEntry
from smtpfleet.domain.draining import Departure, Step
from smtpfleet.domain.facts import Pool, Relay, Wish
from smtpfleet.domain.figures import two_digits
from smtpfleet.domain.findings import silent
from smtpfleet.domain.health import SERVED
from smtpfleet.domain.plan import Plan
from smtpfleet.domain.standings import PAUSED_WORDS, stored_moment, stored_outage, stored_share


@dataclass(frozen=True, slots=True)
class _Shown:
    """A relay's state and the reason for it."""

    state: RelayState
    reason: Reason
    message: str = ""


def entries(pool: Pool, plan: Plan, table: RoutingTable, now: str) -> tuple[RelayEntry, ...]:
    """One entry a relay that exists, by number; ``now`` stands where a state is new."""
    before = {entry.name: entry for entry in pool.previous.relays}
    shown = sorted((relay for relay in pool.relays if relay.exists), key=lambda relay: relay.number)
    return tuple(_entry(relay, plan, table.relay(relay.name), before, now) for relay in shown[:MAX_RELAYS])


def takes_mail(entry: RelayEntry) -> bool:
    """Whether the relay is among those that clients' mail goes to."""
    gets = entry.state in SERVED and entry.reason != Reason.POD_NOT_READY
    return gets and entry.weight > 0


def _entry(
    relay: Relay, plan: Plan, route: RelayRoute | None, before: Mapping[str, RelayEntry], now: str
) -> RelayEntry:
    old = before.get(relay.name)
    standing = plan.health.standings[relay.name]
    shown = _draining(relay, plan, route) or _Shown(standing.state, standing.reason, standing.message)
    queue = relay.agent.status.queue if relay.agent else None
    return RelayEntry(
        name=relay.name,
        node=relay.pod.node if relay.pod else "",
        state=shown.state,
        weight=route.weight if route else 0,
        backlog=two_digits(queue.backlog) if queue else (old.backlog if old else 0),
        deferred=two_digits(queue.deferred) if queue else (old.deferred if old else 0),
        since=old.since if old and old.state is shown.state else now,
        reason=shown.reason,
        message=_clipped(shown.message, paused=relay.paused),
        ejections=standing.ejections,
        readmitted=stored_moment(standing.readmitted),
        outage=stored_outage(plan.remedies.outages.get(relay.name)),
        share=stored_share(standing.share),
    )


def _clipped(message: str, *, paused: bool) -> str:
    parts = [part for part in (message, PAUSED_WORDS if paused else "") if part]
    return "; ".join(parts)[:1024]


def _draining(relay: Relay, plan: Plan, route: RelayRoute | None) -> _Shown | None:
    """Of a relay that is to take no mail because somebody wants it so: its health does not matter then."""
    if relay.name in plan.scale.leaving:
        return _leaving(relay, plan)
    if relay.wish is Wish.DRAIN or (route and route.state is RouteState.DRAINING):
        return _Shown(RelayState.DRAINING, Reason.DRAIN_REQUESTED, "takes no mail, delivers what it has")
    return None


def _leaving(relay: Relay, plan: Plan) -> _Shown:
    """The reasons are those by which the choice is remembered; a claim that goes is remembered by itself."""
    seen = plan.departures.get(relay.name) or Departure(Step.MARKED, "")
    state = _leaving_state(relay, seen)
    if relay.name in plan.scale.doomed:
        return _Shown(state, Reason.CLAIM_DELETED, f"its claim is being deleted: {seen.why}")
    return _Shown(state, _leaving_reason(relay, plan, seen), seen.why)


def _leaving_reason(relay: Relay, plan: Plan, seen: Departure) -> Reason:
    if seen.hands_over:
        return Reason.HANDING_OFF
    if seen.step is Step.BLOCKED:
        return Reason.HAND_OFF_BLOCKED
    return Reason.REPLACED if relay.name in plan.scale.replaced else Reason.SURPLUS


def _leaving_state(relay: Relay, seen: Departure) -> RelayState:
    if seen.hands_over:
        return RelayState.HANDING_OFF
    # What the API server says of the containers of a node that is lost is what its kubelet said last.
    unreachable = silent(relay) and not relay.ready
    may_hold_mail = relay.claim is not None and relay.claim.bound
    return RelayState.STRANDED if unreachable and may_hold_mail else RelayState.DRAINING
