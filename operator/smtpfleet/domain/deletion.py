"""What becomes of a pool that is being deleted: one pure judgement in each cycle, from what is seen alone.

Only a pool with ``deletionPolicy: Drain`` waits (by a finalizer): its relays take no mail any more and deliver what
they can, for at most ``drainTimeout`` from the moment of deletion. Then it goes, and what is left stays on its volumes.

Guarantees: a pool with another policy never waits for the operator, also if the policy is changed while the pool waits
(to ``Delete``: as soon as its claims have an owner); when the time is over it goes, whatever is or is not seen of its
relays.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from smtpfleet.api.pool import DeletionPolicy, SmtpPoolSpec
from smtpfleet.api.reasons import Reason
from smtpfleet.api.values import duration_seconds
from smtpfleet.domain.facts import Pool, Relay
from smtpfleet.domain.figures import listing
from smtpfleet.domain.transitions import Note, Severity


@dataclass(frozen=True, slots=True)
class Deletion:
    """Whether the pool is held back, and for how many seconds more that may last; None: nobody deletes it."""

    held: bool
    left_s: float | None = None


def deletion(pool: Pool) -> Deletion:
    """Judge a pool, deleted or not."""
    drains = pool.spec.deletion_policy is DeletionPolicy.DRAIN
    if pool.deleted_at is None:
        return Deletion(held=drains)
    left_s = _left_s(pool.spec, pool.deleted_at, pool.seen_at)
    return Deletion(held=drains and left_s > 0 and bool(_with_queue(pool)), left_s=left_s)


def goes_unseen(spec: SmtpPoolSpec, deleted_at: datetime, *, now: datetime) -> bool:
    """Whether a deleted pool goes at once, before anything is looked at or done for it that may fail.

    With ``Delete`` its claims get an owner first; the time bounds that, too.
    """
    return spec.deletion_policy is DeletionPolicy.RETAIN or _left_s(spec, deleted_at, now) == 0.0


def farewell(pool: Pool) -> Note:
    """What is told when a deleted pool goes: how much mail stays, and where."""
    kept = [relay for relay in _with_queue(pool) if not relay.ephemeral]
    if pool.spec.deletion_policy is DeletionPolicy.DELETE:
        return Note(Severity.WARNING, Reason.REMOVED, f"its queues go with it: {_amounts(kept)}", "Delete")
    if not kept:
        return Note(Severity.NORMAL, Reason.REMOVED, "all mail was delivered: nothing is kept", "Delete")
    message = f"mail stays on claims, and a pool of the same name delivers it: {_amounts(kept)}"
    return Note(Severity.WARNING, Reason.QUEUE_KEPT, message, "Delete")


def _left_s(spec: SmtpPoolSpec, deleted_at: datetime, now: datetime) -> float:
    timeout = timedelta(seconds=duration_seconds(spec.drain_timeout))
    return max(0.0, (deleted_at + timeout - now).total_seconds())


def _with_queue(pool: Pool) -> list[Relay]:
    return sorted((relay for relay in pool.relays if relay.exists), key=lambda relay: relay.number)


def _amounts(relays: list[Relay]) -> str:
    return listing(f"{relay.name} ({_amount(relay)})" for relay in relays) or "none"


def _amount(relay: Relay) -> str:
    return f"{relay.agent.status.queue.total} messages" if relay.agent else "nobody knows how many messages"
