"""The conditions of a pool: observations, each with one reason of the common vocabulary.

Ready, Reconciling and Stalled follow kstatus, so that ``kubectl wait``, Flux and Argo CD understand them.
Messages name relays, never counts of messages, so that they only change when something happens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from smtpfleet.api.reasons import REASONS, ConditionType, Reason, RelayState
from smtpfleet.api.status import Condition, RelayEntry, SmtpPoolStatus
from smtpfleet.domain.facts import Pool
from smtpfleet.domain.figures import NAMED, listing
from smtpfleet.domain.findings import silent, storage_low
from smtpfleet.domain.plan import Plan
from smtpfleet.domain.relay_entries import takes_mail


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that only a person can put right."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A condition without its times: ``True``, ``False`` or ``Unknown``, and why."""

    status: str
    reason: Reason
    message: str = ""


Verdicts = dict[ConditionType, Verdict]


def said_before(status: SmtpPoolStatus, kind: ConditionType) -> Verdict | None:
    """What a status says; None: nothing yet, or something that only another release knows."""
    condition = status.condition(kind)
    if condition is None or condition.reason not in REASONS:
        return None
    return Verdict(condition.status, Reason(condition.reason), condition.message)


def judge(pool: Pool, plan: Plan, relays: Sequence[RelayEntry], problems: Sequence[Problem]) -> Verdicts:
    """All conditions of a pool whose spec could be read."""
    stalled = _stalled([*problems, *_refused_tables(pool)])
    return {
        ConditionType.READY: _ready(pool, plan, relays, stalled),
        ConditionType.RECONCILING: _reconciling(pool, plan, relays),
        ConditionType.STALLED: stalled,
        ConditionType.AVAILABLE: _available(pool, relays),
        ConditionType.QUEUE_HEALTHY: _queue_healthy(pool, relays),
        ConditionType.PAUSED: _paused(pool),
    }


def dated(
    verdicts: Verdicts, previous: Sequence[Condition], *, generation: int, now: str
) -> tuple[Condition, ...]:
    """Conditions with times: ``lastTransitionTime`` changes only with the status."""
    before = {condition.type: condition for condition in previous}
    return tuple(
        Condition(
            type=kind,
            status=verdict.status,
            observed_generation=generation,
            last_transition_time=(
                before[kind].last_transition_time
                if kind in before and before[kind].status == verdict.status
                else now
            ),
            reason=verdict.reason,
            message=verdict.message[:1024],
        )
        for kind, verdict in verdicts.items()
    )


def _stalled(problems: Sequence[Problem]) -> Verdict:
    if not problems:
        return Verdict("False", Reason.RECONCILED)
    return Verdict("True", problems[0].reason, "; ".join(problem.message for problem in problems))


def _refused_tables(pool: Pool) -> list[Problem]:
    refusing = [
        relay
        for relay in pool.relays
        if relay.exists and relay.ready and relay.agent and relay.agent.status.table_error
    ]
    if not refusing or refusing[0].agent is None:
        return []
    names, error = listing(relay.name for relay in refusing), refusing[0].agent.status.table_error
    return [Problem(Reason.TABLE_REFUSED, f"{names}: works on with its last good routing table: {error}")]


def _ready(pool: Pool, plan: Plan, relays: Sequence[RelayEntry], stalled: Verdict) -> Verdict:
    taking = sum(map(takes_mail, relays))
    if pool.deleted_at is not None:
        return Verdict("False", Reason.DELETING, "the pool is being deleted and takes no mail")
    if stalled.status == "True":
        return Verdict("False", stalled.reason, stalled.message)
    if taking < plan.desired:
        out = [f"{entry.name} is ejected: {entry.reason}" for entry in relays if _is_out(entry)]
        message = "; ".join([f"{taking} of {plan.desired} relays take mail", *out[:NAMED]])
        return Verdict("False", Reason.RELAYS_NOT_READY, message)
    balancer = pool.balancer
    if balancer is None or balancer.ready < pool.spec.balancing.replicas:
        ready = balancer.ready if balancer else 0
        message = f"{ready} of {pool.spec.balancing.replicas} balancers are ready"
        return Verdict("False", Reason.BALANCERS_NOT_READY, message)
    return Verdict("True", Reason.ALL_RELAYS_READY, f"{taking} relays take mail")


def _is_out(entry: RelayEntry) -> bool:
    return entry.state is RelayState.EJECTED


def _reconciling(pool: Pool, plan: Plan, relays: Sequence[RelayEntry]) -> Verdict:
    if pool.paused:
        return Verdict("False", Reason.PAUSED_BY_ANNOTATION)
    under_way = next(_under_way(pool, plan, relays), None)
    return under_way or Verdict("False", Reason.RECONCILED)


def _under_way(pool: Pool, plan: Plan, relays: Sequence[RelayEntry]) -> Iterator[Verdict]:
    """Everything that is not yet as the spec asks, the most telling first."""
    if pool.deleted_at is not None:
        names = listing(sorted(plan.scale.leaving)) or "nothing"
        yield Verdict("True", Reason.DELETING, f"{names} delivers what it has, then the pool goes")
    staying = [relay for relay in pool.relays if relay.exists and relay.name not in plan.scale.leaving]
    missing = len(plan.scale.new) + sum(relay.deployment is None for relay in staying)
    if missing:
        yield Verdict("True", Reason.SCALING_UP, f"{missing} relays are being created")
    if not plan.scale.succeeded:
        replaced = [entry.name for entry in relays if entry.outage and entry.outage.replaced]
        yield Verdict("True", Reason.REPLACING, f"a new relay takes the place of {listing(replaced)}")
    # Nothing is under way at one that cannot be reached: QueueHealthy tells of it, for as long as that lasts.
    stranded = {entry.name for entry in relays if entry.state is RelayState.STRANDED}
    if plan.scale.leaving - stranded:
        names = listing(sorted(plan.scale.leaving - stranded))
        yield Verdict("True", Reason.SCALING_DOWN, f"{names} deliver or hand over what they have, then go")
    outdated = [relay.name for relay in staying if relay.deployment and relay.deployment.outdated]
    if outdated:
        message = f"{listing(outdated)} still run with an earlier pod template"
        yield Verdict("True", Reason.ROLLING_OUT, message)
    starting = [relay.name for relay in staying if relay.deployment and not relay.deployment.current]
    if starting:
        yield Verdict("True", Reason.PROGRESSING, f"{listing(starting)} are being started")
    if pool.balancer is None or not pool.balancer.current:
        yield Verdict("True", Reason.PROGRESSING, "balancers are being started")


def _available(pool: Pool, relays: Sequence[RelayEntry]) -> Verdict:
    if pool.balancer is not None and pool.balancer.ready and pool.on_backups:
        return Verdict("True", Reason.BACKUPS_IN_USE, "no relay is available: backups take the connections")
    if not any(map(takes_mail, relays)):
        return Verdict("False", Reason.NO_RELAY_AVAILABLE, "no relay takes mail")
    if pool.balancer is None or pool.balancer.ready == 0:
        return Verdict("False", Reason.BALANCERS_NOT_READY, "no balancer is ready")
    return Verdict("True", Reason.RELAYS_AVAILABLE)


def _queue_healthy(pool: Pool, relays: Sequence[RelayEntry]) -> Verdict:
    stranded = [entry.name for entry in relays if entry.state is RelayState.STRANDED]
    if stranded:
        return Verdict(
            "False", Reason.QUEUE_KEPT, f"{listing(stranded)}: the queue is kept but cannot be reached now"
        )
    low = [relay.name for relay in pool.relays if relay.exists and storage_low(relay)]
    if low:
        return Verdict("False", Reason.STORAGE_LOW, f"{listing(low)}: the volume of the queue is nearly full")
    ephemeral = [relay.name for relay in pool.relays if relay.exists and relay.ephemeral]
    if ephemeral:
        return Verdict(
            "False",
            Reason.QUEUE_EPHEMERAL,
            f"{listing(ephemeral)}: acknowledged mail is lost with the pod (relay.storage.ephemeral)",
        )
    unknown = [relay.name for relay in pool.relays if relay.exists and silent(relay)]
    if unknown or not relays:
        return Verdict("Unknown", Reason.QUEUE_UNKNOWN, f"no report of {listing(unknown) or 'any relay'}")
    return Verdict("True", Reason.QUEUES_REPORTED)


def _paused(pool: Pool) -> Verdict:
    if pool.paused:
        return Verdict("True", Reason.PAUSED_BY_ANNOTATION, "nothing of the pool is changed")
    relays = [relay.name for relay in pool.relays if relay.exists and relay.paused]
    return Verdict("False", Reason.NOT_PAUSED, f"but by annotation: {listing(relays)}" if relays else "")
