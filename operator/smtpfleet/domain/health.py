"""The health of one relay: a pure state machine over what its probes and its pod show.

Guarantees: only the edges of :data:`EDGES` exist; nothing changes but on as many probes in a row as the thresholds ask
for, or with its pod; a relay whose pod comes and goes is ejected as one whose probes fail; an ejection lasts for its
time, which grows with the number of ejections in a row; without any new observation everything stays as it is. All that
a decision needs later is in the :class:`Standing`, and so in the pool's status: an operator that takes over goes on
where the last one was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from smtpfleet.api.health import Health
from smtpfleet.api.reasons import Reason, RelayState
from smtpfleet.api.values import duration_seconds
from smtpfleet.domain import passive
from smtpfleet.domain.findings import FATAL, FATAL_REASONS, NOTICE, SLOW_FACTOR, SLOW_REASONS, Finding
from smtpfleet.domain.share import Share

LONGEST_S: Final = 600.0
"""The longest ejection."""

_WANTED_OUT: Final = (RelayState.DRAINING, RelayState.HANDING_OFF, RelayState.STRANDED)
EDGES: Final[Mapping[RelayState, frozenset[RelayState]]] = {
    RelayState.STARTING: frozenset({RelayState.SLOW_START, RelayState.SERVING, RelayState.DEGRADED}),
    RelayState.SLOW_START: frozenset(
        {RelayState.SERVING, RelayState.DEGRADED, RelayState.EJECTED, RelayState.STARTING}
    ),
    RelayState.SERVING: frozenset({RelayState.DEGRADED, RelayState.EJECTED, RelayState.STARTING}),
    RelayState.DEGRADED: frozenset({RelayState.SERVING, RelayState.EJECTED, RelayState.STARTING}),
    RelayState.EJECTED: frozenset({RelayState.SLOW_START, RelayState.SERVING, RelayState.DEGRADED}),
    # What a person or a scale-down asked for ends: it was warm all the time, but had it been ejected it starts slowly.
    **dict.fromkeys(
        _WANTED_OUT,
        frozenset({RelayState.SLOW_START, RelayState.SERVING, RelayState.DEGRADED, RelayState.STARTING}),
    ),
}
"""Every change of state there is, but those to Draining, HandingOff and Stranded, which people and scaling decide."""
SERVED: Final = frozenset({RelayState.SLOW_START, RelayState.SERVING, RelayState.DEGRADED})
"""States of a relay that gets mail, or did until its pod was not ready for a moment."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers of ``spec.health``, in seconds and probes."""

    unhealthy: int
    healthy: int
    ejection_s: float
    slow_start_s: float

    @classmethod
    def of(cls, health: Health) -> "Rules":
        """From the spec."""
        return cls(
            unhealthy=health.unhealthy_threshold,
            healthy=health.healthy_threshold,
            ejection_s=duration_seconds(health.ejection_time),
            slow_start_s=duration_seconds(health.slow_start),
        )

    def out_s(self, ejections: int) -> float:
        """How long the last of so many ejections in a row lasts at least."""
        return min(self.ejection_s * max(1, ejections), LONGEST_S)

    def row_s(self, ejections: int) -> float:
        """How long a relay must serve after so many ejections until a further one is no more of the same row."""
        return self.out_s(ejections) + self.slow_start_s


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which a relay does not serve, though it did before: it is ejected, or its pod is not ready.

    It ends only when the relay has served for a while, so one that comes and goes is one outage. ``restarted`` and
    ``replaced`` are when that was decided, ``pod_uid`` which pod is to go; see :mod:`smtpfleet.domain.remedies`.
    """

    since: datetime
    restarted: datetime | None = None
    pod_uid: str = ""
    replaced: datetime | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What a relay does for the pool and why; ``readmitted``: when it returned from the last ejection of a row."""

    state: RelayState
    reason: Reason
    since: datetime
    message: str = ""
    ejections: int = 0
    readmitted: datetime | None = None
    outage: Outage | None = None
    share: Share | None = None

    def due(self, rules: Rules) -> datetime | None:
        """When time alone may change it next."""
        moments = []
        if self.state is RelayState.EJECTED:
            moments.append(self.since + timedelta(seconds=rules.out_s(self.ejections)))
        if self.state is RelayState.SLOW_START:
            moments.append(self.since + timedelta(seconds=rules.slow_start_s))
        if self.readmitted is not None:
            moments.append(self.readmitted + timedelta(seconds=rules.row_s(self.ejections)))
        if self.outage is not None and not self.ejections and self.state in SERVED:
            moments.append(self.since + timedelta(seconds=rules.out_s(1)))
        return min(moments, default=None)


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen of a relay.

    Attributes:
        ready: its pod takes mail.
        absent: state, reason and message while it is not ready.
        factor: what is certain of it: 0 (bad), 50 (slow) or 100; see :func:`certain`.
        finding: that belongs to the factor, or a notice.
        heard: there are enough probes to say that it is well.
        may_eject: the siblings allow it.
        company: siblings have served for long enough that this one need not take a full share at once.
    """

    ready: bool
    absent: tuple[RelayState, Reason, str] = (RelayState.STARTING, Reason.POD_STARTING, "")
    factor: int = NOTICE
    finding: Finding | None = None
    heard: bool = False
    may_eject: bool = False
    company: bool = False


def certain(before: int, factors: Sequence[int], rules: Rules) -> int:
    """The factor that is certain, with hysteresis.

    Args:
        before: what was certain until now.
        factors: of the last probes, the newest first; 100 where there was no finding.
        rules: how many of them in a row make it worse, and how many better.
    """
    last_bad, last_good = factors[: rules.unhealthy], factors[: rules.healthy]
    if len(last_bad) == rules.unhealthy and max(last_bad) < before:
        return max(last_bad)
    if len(last_good) == rules.healthy and min(last_good) > before:
        return min(last_good)
    return before


def certain_before(standing: Standing | None) -> int:
    """What a standing says was certain."""
    if standing is None:
        return NOTICE
    if standing.reason in FATAL_REASONS | passive.FATAL_REASONS:
        return FATAL
    return SLOW_FACTOR if standing.reason in SLOW_REASONS | passive.SLOW_REASONS else NOTICE


def step(old: Standing | None, seen: Sight, rules: Rules, now: datetime) -> Standing:
    """The next standing of a relay that nobody drains."""
    after = _step(old, seen, rules, now)
    return replace(after, outage=_outage(old, after, seen, rules, now))


def _outage(old: Standing | None, after: Standing, seen: Sight, rules: Rules, now: datetime) -> Outage | None:
    """One that never served has none: nothing of it would be lost by waiting."""
    before = old.outage if old else None
    if after.state is RelayState.EJECTED or not seen.ready:
        served = old is not None and (old.state in SERVED or old.state is RelayState.EJECTED)
        return before or (Outage(now) if served else None)
    return None if not after.ejections and _served(after, rules, now) else before


def _step(old: Standing | None, seen: Sight, rules: Rules, now: datetime) -> Standing:
    state = transition(old, seen, rules, now)
    reason, message = _why(state, old, seen)
    if old is None:
        return Standing(state, reason, now, message)
    after = replace(old, state=state, reason=reason, message=message)
    if state is not old.state:
        after = replace(after, since=now)
    if state is RelayState.EJECTED:
        if old.state is not RelayState.EJECTED:
            after = replace(after, ejections=row(old, rules, now) + 1, readmitted=None)
        return after
    if state not in SERVED or not seen.ready:
        # It serves nobody: what is left of the row stands still.
        return replace(after, ejections=row(old, rules, now), readmitted=None)
    if old.ejections and old.readmitted is None:
        return replace(after, readmitted=now)
    return replace(after, ejections=0, readmitted=None) if row(after, rules, now) == 0 else after


def transition(old: Standing | None, seen: Sight, rules: Rules, now: datetime) -> RelayState:
    """The next state."""
    before = old.state if old else RelayState.STARTING
    if before is RelayState.EJECTED:
        assert old is not None
        out = now - old.since < timedelta(seconds=rules.out_s(old.ejections))
        return (
            RelayState.EJECTED if out or not seen.ready or seen.factor == FATAL else _returning(seen, rules)
        )
    if not seen.ready:
        return RelayState.EJECTED if seen.may_eject and was_back(old, rules, now) else seen.absent[0]
    if seen.factor == FATAL and before in SERVED:
        return RelayState.EJECTED if seen.may_eject else before
    was_ejected = before in _WANTED_OUT and old is not None and row(old, rules, now) > 0
    if before is RelayState.STARTING or was_ejected:
        return _returning(seen, rules)
    if before is RelayState.SLOW_START:
        assert old is not None
        if now - old.since < timedelta(seconds=rules.slow_start_s):
            return RelayState.SLOW_START
    return _by_factor(seen)


def was_back(old: Standing | None, rules: Rules, now: datetime) -> bool:
    """Whether it got mail again, but not for long enough to end its outage: if it is away now, it comes and goes."""
    if old is None or old.outage is None or old.state not in SERVED or old.reason is Reason.POD_NOT_READY:
        return False
    return row(old, rules, now) > 0 or not _served(old, rules, now)


def _served(standing: Standing, rules: Rules, now: datetime) -> bool:
    """Whether it has served for long enough since its state changed last."""
    return now - standing.since >= timedelta(seconds=rules.out_s(1))


def _returning(seen: Sight, rules: Rules) -> RelayState:
    return RelayState.SLOW_START if seen.company and rules.slow_start_s else _by_factor(seen)


def _by_factor(seen: Sight) -> RelayState:
    return RelayState.DEGRADED if FATAL < seen.factor < NOTICE else RelayState.SERVING


def row(standing: Standing, rules: Rules, now: datetime) -> int:
    """Ejections that count as a row at this moment."""
    served = standing.readmitted is not None and now - standing.readmitted >= timedelta(
        seconds=rules.row_s(standing.ejections)
    )
    return 0 if served else standing.ejections


def _why(state: RelayState, old: Standing | None, seen: Sight) -> tuple[Reason, str]:
    """Reason and message: the certain finding's, else what was said before for the same state."""
    said = (old.reason, old.message) if old is not None and old.state is state else None
    found = (seen.finding.reason, seen.finding.message) if seen.finding is not None else None
    if state is RelayState.EJECTED:
        fatal = found if seen.finding is not None and seen.finding.fatal else None
        return fatal or said or (Reason.POD_FLAPS, "its pod was not ready again soon after it was back")
    if not seen.ready:
        return seen.absent[1], seen.absent[2]
    if seen.factor < NOTICE and (found or said):
        return found or said or (Reason.POD_READY, "")
    if state is RelayState.SLOW_START:
        return _of_slow_start(old, said)
    passed = seen.heard or (said is not None and said[0] is Reason.PROBES_PASSED)
    return found or (Reason.PROBES_PASSED if passed else Reason.POD_READY, "")


def _of_slow_start(old: Standing | None, said: tuple[Reason, str] | None) -> tuple[Reason, str]:
    if said and said[0] in {Reason.JOINED, Reason.READMITTED}:
        return said
    reason = Reason.READMITTED if old is not None and old.ejections else Reason.JOINED
    return reason, "its weight rises in steps"
