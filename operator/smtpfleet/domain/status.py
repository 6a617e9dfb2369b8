"""Builds the status of a pool, and says whether it is worth a write.

Guarantees: the same observations give the same status, so an idle pool causes no write; numbers of messages
alone, and what sizing remembers of them, change it at most every 15 seconds.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from smtpfleet.api import names
from smtpfleet.api.reasons import ConditionType, Reason
from smtpfleet.api.status import SmtpPoolStatus
from smtpfleet.domain.certificates import certificate_valid
from smtpfleet.domain.conditions import Problem, Verdict, dated, judge
from smtpfleet.domain.deliveries import delivery_ready
from smtpfleet.domain.facts import Pool
from smtpfleet.domain.figures import timestamp, two_digits
from smtpfleet.domain.plan import Plan
from smtpfleet.domain.probes_healthy import probes_healthy
from smtpfleet.domain.relay_entries import entries, takes_mail
from smtpfleet.domain.scaling_conditions import scaling_conditions
from smtpfleet.domain.signing import dkim_entries, signing_ready
from smtpfleet.domain.users import users_valid

NUMBERS_S: Final = 15.0
"""The least time between two writes that only change numbers of messages."""


def report(pool: Pool, plan: Plan, *, problems: Sequence[Problem], now: datetime) -> SmtpPoolStatus:
    """The status after a cycle. ``problems`` are those that only applying the plan showed."""
    moment = timestamp(now)
    table = pool.table if pool.paused and pool.table else plan.table
    relays = entries(pool, plan, table, moment)
    verdicts = judge(pool, plan, relays, problems)
    verdicts[ConditionType.CERTIFICATE_VALID] = certificate_valid(pool, now)
    verdicts[ConditionType.USERS_VALID] = users_valid(pool)
    verdicts[ConditionType.DELIVERY_READY] = delivery_ready(pool, plan.health)
    verdicts[ConditionType.SIGNING_READY] = signing_ready(pool)
    verdicts[ConditionType.PROBES_HEALTHY] = probes_healthy(pool, plan.health)
    verdicts |= scaling_conditions(pool, plan.sizing)
    conditions = dated(
        verdicts,
        pool.previous.conditions,
        generation=pool.generation,
        now=moment,
    )
    ready = sum(map(takes_mail, relays))
    return SmtpPoolStatus(
        observed_generation=pool.generation,
        desired_replicas=plan.desired,
        replicas=sum(relay.exists for relay in pool.relays),
        ready_replicas=ready,
        ready_of_desired=f"{ready}/{plan.desired}",
        selector=f"{names.POOL_LABEL}={pool.name},{names.COMPONENT_LABEL}={names.COMPONENT_RELAY}",
        backlog=two_digits(sum(entry.backlog for entry in relays)),
        deferred=two_digits(sum(entry.deferred for entry in relays)),
        endpoint=names.endpoint(pool.name, pool.namespace),
        autoscaling=plan.sizing.memory.status() if plan.sizing else None,
        conditions=conditions,
        dkim=dkim_entries(pool),
        relays=relays,
    )


def unreadable(
    previous: SmtpPoolStatus, error: ValidationError, *, generation: int, now: datetime
) -> SmtpPoolStatus:
    """The status of a pool whose stored spec does not follow the schema: what runs is left as it is."""
    why = "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors())
    message = f"the spec cannot be acted on, what runs stays as it is: {why}"
    verdicts = {
        ConditionType.READY: Verdict("False", Reason.INVALID_SPEC, message),
        ConditionType.RECONCILING: Verdict("False", Reason.INVALID_SPEC),
        ConditionType.STALLED: Verdict("True", Reason.INVALID_SPEC, message),
    }
    new = dated(verdicts, previous.conditions, generation=generation, now=timestamp(now))
    kept = tuple(condition for condition in previous.conditions if condition.type not in verdicts)
    return previous.model_copy(update={"observed_generation": generation, "conditions": (*new, *kept)})


def without_numbers(status: SmtpPoolStatus) -> SmtpPoolStatus:
    """The status as far as a change of it is worth a write at once."""
    relays = tuple(entry.model_copy(update={"backlog": 0, "deferred": 0}) for entry in status.relays)
    return status.model_copy(update={"backlog": 0, "deferred": 0, "autoscaling": None, "relays": relays})


def write_delay_s(old: SmtpPoolStatus, new: SmtpPoolStatus, *, since_numbers_s: float) -> float | None:
    """How long to wait before writing ``new`` over ``old``: 0 at once, None not at all.

    Args:
        old: the status in the cluster.
        new: the status that was built.
        since_numbers_s: seconds since numbers were written last.
    """
    if old == new:
        return None
    if without_numbers(old) != without_numbers(new):
        return 0.0
    return max(0.0, NUMBERS_S - since_numbers_s)
