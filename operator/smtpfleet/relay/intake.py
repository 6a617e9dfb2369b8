"""Whether a relay takes mail: from serving through draining to closed and back, and how it stops.

A pure state machine. It advances only on what was observed, never because something was ordered: the listeners are
closed when no listening socket is left, Postfix is gone when its process is. So it can be interrupted anywhere.

The order of a stop (by anyone: operator, kubectl, node drain) is what makes it unnoticed and free of duplicates:
1. LEAVING: the agent check says ``drain``; new connections that still come are served; sessions that stay are
   sent away with 421 between two messages. Until every balancer has heard it and no session is left.
2. FREEZING: no new delivery starts, listeners close. Until no delivery is under way.
3. TERMINATING: SIGTERM to Postfix. 4. GONE.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from smtpfleet.api.agent_status import Intake
from smtpfleet.relay.mainconf import Phase

HEARD_S: Final = 0.8
"""The least time between the first ``drain`` and closing: three polls of the balancers, 250 ms apart."""
QUIET_S: Final = 0.3
"""How long no session may have been seen: a balancer that connects just before it hears ``drain`` shows up."""
DRAIN_LIMIT_S: Final = 60.0
"""Draining by the table: sessions that stay longer are cut."""
LEAVE_LIMIT_S: Final = 20.0
"""Stopping: the same, shorter, for the pod has 45 s in all."""
FREEZE_S: Final = 0.2
"""The least time of a freeze: Postfix's master has to tell its queue manager."""
FREEZE_LIMIT_S: Final = 6.0
"""Stopping: deliveries that take longer are cut, and may then be repeated by the next Postfix."""
TERMINATE_LIMIT_S: Final = 5.0
"""Postfix had its SIGTERM; then it gets SIGKILL."""


class Stage(StrEnum):
    """Where the relay is between serving and gone."""

    SERVING = "Serving"
    DRAINING = "Draining"
    CLOSING = "Closing"
    CLOSED = "Closed"
    REOPENING = "Reopening"
    LEAVING = "Leaving"
    FREEZING = "Freezing"
    TERMINATING = "Terminating"
    GONE = "Gone"


class Effect(StrEnum):
    """What the agent must do besides rendering the stage's phase."""

    NONE = "none"
    TERMINATE = "terminate"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Observation:
    """What is, at one moment.

    Attributes:
        stopping: the agent was told to end.
        draining: the routing table wants no intake here.
        applied: phase that Postfix was last told (by its configuration); None before it ran.
        listening: a port for clients is open.
        told: every balancer that polls has heard ``drain``.
        quiet_s: for how long no session of a client has been seen.
        delivering: messages that are, or may be, under way to their next hop.
        running: Postfix's master process lives.
        elapsed_s: since the stage began.
    """

    stopping: bool
    draining: bool
    applied: Phase | None
    listening: bool
    told: bool
    quiet_s: float
    delivering: int
    running: bool
    elapsed_s: float


Step = tuple[Stage, Effect]

EDGES: Final[Mapping[Stage, frozenset[Stage]]] = {
    Stage.SERVING: frozenset({Stage.DRAINING, Stage.LEAVING}),
    Stage.DRAINING: frozenset({Stage.SERVING, Stage.CLOSING, Stage.LEAVING}),
    Stage.CLOSING: frozenset({Stage.CLOSED, Stage.REOPENING, Stage.FREEZING}),
    Stage.CLOSED: frozenset({Stage.CLOSING, Stage.REOPENING, Stage.FREEZING}),
    Stage.REOPENING: frozenset({Stage.SERVING, Stage.CLOSING, Stage.LEAVING}),
    Stage.LEAVING: frozenset({Stage.FREEZING}),
    Stage.FREEZING: frozenset({Stage.TERMINATING}),
    Stage.TERMINATING: frozenset({Stage.GONE}),
    Stage.GONE: frozenset(),
}
"""Every change of stage there is."""

_PHASES: Final = {
    Stage.CLOSING: Phase.CLOSED,
    Stage.CLOSED: Phase.CLOSED,
    Stage.FREEZING: Phase.FROZEN,
    Stage.TERMINATING: Phase.FROZEN,
    Stage.GONE: Phase.FROZEN,
}


def first_stage(*, draining: bool) -> Stage:
    """Where an agent starts: a relay that is to be closed does not open for a moment first."""
    return Stage.CLOSING if draining else Stage.SERVING


def phase_of(stage: Stage) -> Phase:
    """What Postfix is configured to do in a stage."""
    return _PHASES.get(stage, Phase.OPEN)


def intake_of(stage: Stage) -> Intake:
    """What the status says. Closed is a promise, so only the stage that observed it says so."""
    if stage is Stage.SERVING:
        return Intake.OPEN
    return Intake.CLOSED if stage is Stage.CLOSED else Intake.DRAINING


def transition(stage: Stage, seen: Observation) -> Step:
    """The next stage (perhaps the same) and what to do now."""
    return _RULES[stage](seen)


def _serving(seen: Observation) -> Step:
    if seen.stopping:
        return Stage.LEAVING, Effect.NONE
    return (Stage.DRAINING if seen.draining else Stage.SERVING), Effect.NONE


def _draining(seen: Observation) -> Step:
    if seen.stopping:
        return Stage.LEAVING, Effect.NONE
    if not seen.draining:
        return Stage.SERVING, Effect.NONE
    left = _everybody_left(seen) or seen.elapsed_s >= DRAIN_LIMIT_S
    return (Stage.CLOSING if left else Stage.DRAINING), Effect.NONE


def _closing(seen: Observation) -> Step:
    """Of a closed one as well: it stays closed only as long as that is seen."""
    if seen.stopping:
        return Stage.FREEZING, Effect.NONE
    if not seen.draining:
        return Stage.REOPENING, Effect.NONE
    return (Stage.CLOSED if _is_closed(seen) else Stage.CLOSING), Effect.NONE


def _reopening(seen: Observation) -> Step:
    if seen.stopping:
        return Stage.LEAVING, Effect.NONE
    if seen.draining:
        return Stage.CLOSING, Effect.NONE
    opened = seen.listening and seen.applied is Phase.OPEN
    return (Stage.SERVING if opened else Stage.REOPENING), Effect.NONE


def _leaving(seen: Observation) -> Step:
    left = _everybody_left(seen) or seen.elapsed_s >= LEAVE_LIMIT_S or not seen.running
    return (Stage.FREEZING if left else Stage.LEAVING), Effect.NONE


def _freezing(seen: Observation) -> Step:
    frozen = seen.applied is Phase.FROZEN and not seen.listening and seen.elapsed_s >= FREEZE_S
    still = frozen and not seen.delivering
    if still or not seen.running or seen.elapsed_s >= FREEZE_LIMIT_S:
        return Stage.TERMINATING, Effect.TERMINATE
    return Stage.FREEZING, Effect.NONE


def _terminating(seen: Observation) -> Step:
    if not seen.running:
        return Stage.GONE, Effect.NONE
    return Stage.TERMINATING, Effect.KILL if seen.elapsed_s >= TERMINATE_LIMIT_S else Effect.NONE


def _gone(_: Observation) -> Step:
    return Stage.GONE, Effect.NONE


def _everybody_left(seen: Observation) -> bool:
    return seen.told and seen.quiet_s >= QUIET_S and seen.elapsed_s >= HEARD_S


def _is_closed(seen: Observation) -> bool:
    return seen.applied is Phase.CLOSED and not seen.listening and seen.quiet_s > 0


_RULES: Final = {
    Stage.SERVING: _serving,
    Stage.DRAINING: _draining,
    Stage.CLOSING: _closing,
    Stage.CLOSED: _closing,
    Stage.REOPENING: _reopening,
    Stage.LEAVING: _leaving,
    Stage.FREEZING: _freezing,
    Stage.TERMINATING: _terminating,
    Stage.GONE: _gone,
}
