"""The condition DeliveryReady: what the relays say of the servers that mail is to go to.

Guarantees: the worst of the relays' troubles speaks for the pool; that most deliveries fail is said of the receivers
only if no relay stands out; the operator itself reads no user's Secret for this.
"""

from collections.abc import Sequence
from typing import Final

from smtpfleet.api.agent_status import DeliveryStatus, NextHopProblem, NextHopTrouble
from smtpfleet.api.reasons import ConditionType, Reason
from smtpfleet.domain.assessment import Assessment
from smtpfleet.domain.comparison import together
from smtpfleet.domain.conditions import Verdict
from smtpfleet.domain.facts import Pool
from smtpfleet.domain.figures import listing
from smtpfleet.domain.findings import silent
from smtpfleet.domain.neighbours import obstacle
from smtpfleet.domain.passive import LEAST_TRIED, REASONS, tally

_REASONS: Final = {
    NextHopProblem.MISSING: Reason.SECRET_MISSING,
    NextHopProblem.INVALID: Reason.CREDENTIALS_INVALID,
    NextHopProblem.REFUSED: Reason.CREDENTIALS_REFUSED,
}
"""The worst first."""

MOST: Final = 0.5
"""Share of the attempts of all relays in the last minute that must fail to be worth telling."""
STILL_MANY: Final = 0.3
"""Share at which it is told no longer."""


def delivery_ready(pool: Pool, health: Assessment) -> Verdict:
    """The verdict on the pool's next hops: other pools, and what relays say of hosts."""
    obstacles = [
        obstacle(pool.name, route, pool.neighbours) for route in pool.spec.delivery.routes if route.pool
    ]
    in_the_way = list(dict.fromkeys(found for found in obstacles if found))
    if in_the_way:
        told = "; ".join(found.message for found in in_the_way)
        return Verdict("False", in_the_way[0].reason, f"{told}; mail for it waits")
    reports = pool.told(lambda status: status.delivery)
    for problem, reason in _REASONS.items():
        having = {name: found for name, status in reports if (found := _first(status, problem))}
        if having:
            return Verdict("False", reason, _message(having))
    unknown = [name for name, status in reports if status.troubles]
    if unknown or not reports:
        names = listing(unknown or (relay.name for relay in pool.relays if relay.exists))
        return Verdict("Unknown", Reason.NEXT_HOPS_UNKNOWN, f"no report of {names or 'any relay'}")
    return _receivers_fail(pool, health) or Verdict("True", Reason.NEXT_HOPS_READY)


def _receivers_fail(pool: Pool, health: Assessment) -> Verdict | None:
    """That most deliveries fail although no relay is worse than its siblings."""
    if any(standing.reason in REASONS for standing in health.standings.values()):
        return None
    known = [
        tally(relay.agent.status)
        for relay in pool.relays
        if relay.exists and relay.ready and relay.agent and not silent(relay)
    ]
    whole = together(known)
    before = pool.previous.condition(ConditionType.DELIVERY_READY)
    failing = before is not None and before.reason == Reason.RECEIVERS_FAIL
    if sum(whole.tried.values()) < LEAST_TRIED:
        return None
    if whole.share < (STILL_MANY if failing else MOST):
        return None
    message = (
        "most deliveries of the last minute failed, at no relay more than at the others: it is the receivers"
    )
    return Verdict("False", Reason.RECEIVERS_FAIL, message)


def _first(status: DeliveryStatus, problem: NextHopProblem) -> NextHopTrouble | None:
    return next((trouble for trouble in status.troubles if trouble.problem is problem), None)


def _message(having: dict[str, NextHopTrouble]) -> str:
    first = next(iter(having.values()))
    return f"{listing(having)}: {first.next_hop}: {first.error}; {_meanwhile(list(having.values()))}"


def _meanwhile(troubles: Sequence[NextHopTrouble]) -> str:
    if any(trouble.waiting for trouble in troubles):
        return "mail for it waits"
    return "the last good credentials stay in use"
