"""When a leaving relay may be removed: only if nothing that was acknowledged can be lost with it.

The proof is one answer of its agent: the intake is closed (a promise that no listener for clients is open),
under a routing table that drains it, and a scan of the queue directories found nothing. Without that answer a
relay stays, unless nothing of it ever ran.
"""

from dataclasses import dataclass
from typing import Final

from smtpfleet.api.agent_status import Intake, RelayStatus
from smtpfleet.api.routing import RouteState, RoutingTable
from smtpfleet.domain.facts import Relay

FRESH_S: Final = 15.0
"""How old an agent's answer may be: three rounds of asking."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a relay may go, and if not, what it waits for."""

    removable: bool
    why: str


def verdict(relay: Relay, table: RoutingTable | None) -> Verdict:
    """Judge a relay that has to go. ``table`` is the one that agents read now, not the one planned."""
    route = table.relay(relay.name) if table else None
    if route is not None and route.state is not RouteState.DRAINING:
        return Verdict(removable=False, why="the routing table does not drain it yet")
    if _never_ran(relay):
        return Verdict(removable=True, why="nothing of it ever ran")
    status = _answer(relay)
    if status is None:
        return Verdict(removable=False, why="its agent has not told how much mail is left")
    if status.intake is not Intake.CLOSED or (table and status.table_revision != table.revision):
        return Verdict(removable=False, why="it has not closed its listeners yet")
    if status.queue.total + status.queue.receiving:
        return Verdict(removable=False, why="mail is left in its queue")
    return Verdict(removable=True, why="its queue was scanned and found empty")


def _answer(relay: Relay) -> RelayStatus | None:
    """What the agent of its only pod said a moment ago."""
    report, pod = relay.agent, relay.pod
    if report is None or pod is None or len(relay.pods) > 1:
        return None
    return report.status if report.pod_uid == pod.uid and report.age_s <= FRESH_S else None


def _never_ran(relay: Relay) -> bool:
    """No volume was ever bound and no pod was ever given a node, so no message can ever have arrived."""
    no_volume = relay.claim is None or not relay.claim.bound
    return no_volume and relay.exists and not any(pod.node for pod in relay.pods)
