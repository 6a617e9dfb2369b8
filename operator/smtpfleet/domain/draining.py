"""How far a relay that has to go has come, and when it may be removed: one state machine, read off from what is seen.

Nothing is remembered between cycles, so whatever crashes (relay, agent, operator, balancer), the next look finds the
same step again. The order of the steps is that of :class:`Step`:

=============  ======================================================================================
step           until
=============  ======================================================================================
MARKED         the routing table that agents read drains it, and the balancers give it no connection
CLOSING        its sessions have ended (421 to those that do not end) and no listener for clients is open
DELIVERING     what is on its way has gone, by the ordinary ways
HANDING_OFF    its siblings have taken the rest
BLOCKED        a sibling can take it; until then it goes the ordinary ways
HELD           a person has released or deleted what is on hold
UNKNOWN        its agent answers
EMPTY          its claim and then its Deployment are gone: the only step that may remove anything
=============  ======================================================================================

Guarantees: EMPTY is said only on one answer of its only pod's agent, given a moment ago, that the intake is closed (a
promise that no listener is open) under the table that agents read now, and that a scan of the queue found nothing;
or of a relay of which nothing ever ran.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from smtpfleet.api.agent_status import HandOffStage, HandOffStatus, Intake, QueueCounts, RelayStatus
from smtpfleet.api.routing import RouteState, RoutingTable
from smtpfleet.domain.facts import Relay

FRESH_S: Final = 15.0
"""How old an agent's answer may be: three rounds of asking."""


class Step(StrEnum):
    """Where a leaving relay is between serving and gone."""

    MARKED = "Marked"
    CLOSING = "Closing"
    DELIVERING = "Delivering"
    HANDING_OFF = "HandingOff"
    BLOCKED = "Blocked"
    HELD = "Held"
    UNKNOWN = "Unknown"
    EMPTY = "Empty"


@dataclass(frozen=True, slots=True)
class Departure:
    """How far a leaving relay has come, and what it waits for (or, at the end, why it may go).

    ``hands_over``: what is there goes to its siblings, or went. Its agent says so for as long as the relay leaves, so a
    hand-off that ends between two looks is known as well.
    """

    step: Step
    why: str
    hands_over: bool = False

    @property
    def removable(self) -> bool:
        """Whether nothing that was acknowledged can be lost with it."""
        return self.step is Step.EMPTY


def departure(relay: Relay, table: RoutingTable | None) -> Departure:
    """Judge a relay that has to go. ``table`` is the one that agents read now, not the one planned."""
    route = table.relay(relay.name) if table else None
    if route is not None and route.state is not RouteState.DRAINING:
        return Departure(Step.MARKED, "the routing table does not drain it yet")
    if _never_ran(relay):
        return Departure(Step.EMPTY, "nothing of it ever ran")
    status = _answer(relay)
    if status is None:
        return Departure(Step.UNKNOWN, "its agent has not told how much mail is left")
    if status.intake is not Intake.CLOSED:
        return Departure(Step.CLOSING, "it has not closed its listeners yet")
    left = status.queue.total + status.queue.receiving
    judged = _with_mail(status.queue, status.hand_off) if left else _empty(status, table)
    return replace(judged, hands_over=_hands_over(status.hand_off))


def _hands_over(hand_off: HandOffStatus | None) -> bool:
    return hand_off is not None and hand_off.stage is HandOffStage.HANDING_OFF


def _empty(status: RelayStatus, table: RoutingTable | None) -> Departure:
    """Only an agent that has followed the present table will not open its listeners again."""
    # A table with a parameter that Postfix refuses is never applied, and drains a relay nevertheless.
    followed = status.intake_revision or status.table_revision
    if table and followed != table.revision:
        return Departure(Step.CLOSING, "it has not followed the last routing table yet")
    return Departure(Step.EMPTY, "its queue was scanned and found empty")


def _with_mail(queue: QueueCounts, hand_off: HandOffStatus | None) -> Departure:
    if queue.backlog + queue.deferred + queue.receiving == 0:
        return Departure(Step.HELD, "only mail on hold is left: release or delete it (postsuper -H, -d)")
    if _hands_over(hand_off):
        return Departure(Step.HANDING_OFF, "its siblings take over its queue")
    if hand_off is not None and hand_off.stage is HandOffStage.BLOCKED:
        return Departure(Step.BLOCKED, f"{hand_off.why}; it delivers by itself meanwhile")
    return Departure(Step.DELIVERING, "mail is left in its queue")


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
