"""The conditions ScalingActive, what the queues say of the size, and ScalingLimited, what keeps it from following them.

Both speak of causes and of bounds in the spec, never of counts: so they change when something happens, and else not.
"""

from smtpfleet.api.reasons import ConditionType, Reason
from smtpfleet.domain.autoscaling import Sizing
from smtpfleet.domain.conditions import Verdict, Verdicts, said_before
from smtpfleet.domain.facts import Pool
from smtpfleet.domain.figures import listing

_DISABLED = Verdict("False", Reason.SCALING_DISABLED, "spec.replicas sets the size")
_DELETING = Verdict("False", Reason.DELETING, "the pool is being deleted: its relays leave")
_PENDING = Verdict("Unknown", Reason.QUEUE_UNKNOWN, "no relay has told of its queue yet")
_WHY = {
    Reason.LOAD_CARRIED: "mail leaves in time",
    Reason.RELAYS_ARE_THE_LIMIT: "mail waits for the relays themselves, not for receivers",
    Reason.FEWER_RELAYS_NEEDED: "the load needs fewer relays",
    Reason.RECEIVER_SLOW: "mail waits for receivers that are slow: more relays would not help",
    Reason.RECEIVER_REFUSES: "mail waits because receivers put it off: more relays would not help",
    Reason.PAUSED_BY_ANNOTATION: "the size stays as it is",
}


def scaling_conditions(pool: Pool, sizing: Sizing | None) -> Verdicts:
    """Both conditions of a pool."""
    if pool.deleted_at is not None:
        return {ConditionType.SCALING_ACTIVE: _DELETING, ConditionType.SCALING_LIMITED: _DELETING}
    if sizing is None:
        return {ConditionType.SCALING_ACTIVE: _DISABLED, ConditionType.SCALING_LIMITED: _DISABLED}
    if sizing.why is Reason.QUEUE_UNKNOWN:
        return _unknown(pool, sizing)
    if sizing.why is Reason.PAUSED_BY_ANNOTATION:
        paused = Verdict("False", sizing.why, _WHY[sizing.why])
        return {ConditionType.SCALING_ACTIVE: paused, ConditionType.SCALING_LIMITED: paused}
    why = _why(pool, sizing)
    return {
        ConditionType.SCALING_ACTIVE: Verdict("True", sizing.why, why),
        ConditionType.SCALING_LIMITED: _limited(pool, sizing, why),
    }


def _why(pool: Pool, sizing: Sizing) -> str:
    """With one word of why: that which was told, as long as it is still one of the reasons or none has taken its place.

    The most frequent one changes with every retry, and each change would be a write.
    """
    plain = _WHY[sizing.why]
    before = pool.previous.condition(ConditionType.SCALING_ACTIVE)
    told = before.message if before else ""
    words = [f"{plain} ({trouble})" for trouble in sizing.troubles]
    if told in words or (not words and told.startswith(plain)):
        return told
    return words[0] if words else plain


def _limited(pool: Pool, sizing: Sizing, why: str) -> Verdict:
    spec = pool.spec.autoscaling
    assert spec is not None
    match sizing.bound:
        case None:
            return Verdict("False", Reason.WITHIN_BOUNDS)
        case Reason.MAX_REPLICAS_REACHED:
            text = f"the load needs more relays than maxReplicas ({spec.max_replicas})"
        case Reason.STEP_LIMITED:
            text = "more is to change than maxStep lets change in a period"
        case Reason.STABILIZING:
            text = "the size changes if this stays so for the stabilization window"
        case _:
            text = why
    return Verdict("True", sizing.bound, text)


def _unknown(pool: Pool, sizing: Sizing) -> Verdicts:
    """Only agents that are silent are news: an operator that has just started knows as little for some seconds."""
    kinds = (ConditionType.SCALING_ACTIVE, ConditionType.SCALING_LIMITED)
    if sizing.troubles:
        silent = Verdict(
            "Unknown",
            Reason.QUEUE_UNKNOWN,
            f"no report of {listing(sizing.troubles)}: the size stays as it is",
        )
        return dict.fromkeys(kinds, silent)
    before = {kind: said_before(pool.previous, kind) for kind in kinds}
    return {
        kind: _PENDING if said is None or said.reason is Reason.SCALING_DISABLED else said
        for kind, said in before.items()
    }
