"""The size that a pool is to have: what its spec says, or what its queues ask for."""

from collections.abc import Collection

from smtpfleet.api.reasons import ConditionType, Reason, RelayState
from smtpfleet.domain.autoscaling import Rules, Sight, Sizing, sizing
from smtpfleet.domain.capacity import loads_of
from smtpfleet.domain.facts import Pool, Wish
from smtpfleet.domain.findings import silent
from smtpfleet.domain.scaling import marked_before, replaced_before
from smtpfleet.domain.scaling_memory import Memory


def pool_sizing(pool: Pool, ejected: Collection[str]) -> Sizing | None:
    """What sizing by the queues decides now; None: ``spec.replicas`` is the size.

    A paused pool keeps its size.
    """
    if pool.spec.autoscaling is None:
        return None
    memory = Memory.of(pool.previous.autoscaling)
    if pool.paused:
        return Sizing(_size(pool), memory, Reason.PAUSED_BY_ANNOTATION)
    return sizing(Rules.of(pool.spec.autoscaling), memory, _sight(pool, ejected), pool.seen_at)


def _size(pool: Pool) -> int:
    """What was aimed at; of a pool without a status, what there is."""
    return pool.previous.desired_replicas or sum(relay.exists and not relay.doomed for relay in pool.relays)


def _sight(pool: Pool, ejected: Collection[str]) -> Sight:
    marked, replaced = marked_before(pool.previous), replaced_before(pool.previous)
    existing = [relay for relay in pool.relays if relay.exists]
    # A relay that drains by hand counts for the size, but what waits there is on its way out.
    present = [relay for relay in existing if not relay.doomed and relay.name not in marked | replaced]
    members = [relay for relay in present if relay.wish is not Wish.DRAIN]
    loads = loads_of(members)
    serving = [relay for relay in members if relay.ready]
    # One that cannot be reached may stay for days.
    stranded = {entry.name for entry in pool.previous.relays if entry.state is RelayState.STRANDED}
    active = pool.previous.condition(ConditionType.SCALING_ACTIVE)
    return Sight(
        size=_size(pool),
        loads={name: load for name, load in loads.items() if name not in ejected},
        ejected={name: load for name, load in loads.items() if name in ejected},
        silent=tuple(relay.name for relay in serving if silent(relay)),
        partial=any(relay.name not in loads for relay in serving),
        out=sum(relay.name in ejected or relay.wish is Wish.DRAIN for relay in present),
        refused=active is not None and active.reason == Reason.RECEIVER_REFUSES,
        leaving=any(relay.doomed or relay.name in marked for relay in existing if relay.name not in stranded),
    )
