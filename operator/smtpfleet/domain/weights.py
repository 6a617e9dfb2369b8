"""How much mail a relay gets, as a number from 0 to 100: a pure function of its state.

Guarantees: the worse a relay is found, the lower its weight; a ramp changes it a few times only, for each change is a
write of the routing table.
"""

from typing import Final

from smtpfleet.api.reasons import Reason, RelayState
from smtpfleet.domain import findings, passive

FULL: Final = 100
SLOW: Final = 50
"""Of a relay that is much slower than its siblings, or fails more often. More would not be felt, less would overload
them."""
SLOW_REASONS: Final = findings.SLOW_REASONS | passive.SLOW_REASONS
_UNWEIGHED: Final = frozenset({Reason.POD_NOT_READY, Reason.FALLS_BEHIND})
"""Of one that falls behind, its share says how much it gets (:mod:`smtpfleet.domain.share`)."""
RAMP: Final = (25, 50, 75)
"""Of a slow start, each for an equal part of it."""


def ramp(elapsed_s: float, slow_start_s: float) -> int:
    """The weight so long after a slow start began."""
    if elapsed_s >= slow_start_s:
        return FULL
    return RAMP[max(0, int(elapsed_s / slow_start_s * len(RAMP)))]


def next_step_s(elapsed_s: float, slow_start_s: float) -> float:
    """Seconds until the ramp's next step, which may be its end."""
    step_s = slow_start_s / len(RAMP)
    return max(0.0, (int(elapsed_s / step_s) + 1) * step_s - elapsed_s)


def weight(
    state: RelayState, reason: Reason, *, elapsed_s: float, slow_start_s: float, others_serve: bool
) -> int:
    """The weight of a relay that has been in a state for ``elapsed_s``.

    A relay that is not ready keeps its weight, because balancers judge sooner whether it takes connections; one that
    starts beside others that serve gets what its slow start will begin with.
    """
    match state:
        case RelayState.EJECTED:
            return 0
        case RelayState.SLOW_START:
            share = SLOW if reason in SLOW_REASONS else FULL
            return ramp(elapsed_s, slow_start_s) * share // FULL
        case RelayState.STARTING:
            return RAMP[0] if others_serve and slow_start_s else FULL
        case RelayState.DEGRADED:
            return FULL if reason in _UNWEIGHED else SLOW
        case _:
            return FULL
