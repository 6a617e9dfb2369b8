"""When a relay that leaves gives its queue to its siblings, and when it delivers by itself: a pure state machine.

First what is on its way gets a short chance. Then all that is left goes to the siblings, and is tried again and again,
because whatever fails once would else sleep for minimal_backoff_time. If nothing moves, it is *blocked*: mail goes its
ordinary ways, and now and then the siblings are tried again.

Guarantees: the state follows from what is seen alone, so an agent that starts anew comes to the same; what is seen as
blocked stays blocked until messages really move, so the status does not flap; while it is blocked, the back-off of
receivers is cut short less and less often.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from smtpfleet.api.agent_status import HandOffStage

CHANCE_S: Final = 3.0
"""So long the ordinary ways have after the last session."""
PATIENCE_S: Final = 10.0
"""Without one message less for so long, a hand-off is blocked: three tries."""
TRY_S: Final = 7.0
"""While it is blocked, siblings are tried for so long: two tries."""
REST_S: Final = 10.0
"""And so long they are left alone in between."""
FLUSH_S: Final = 3.0
"""Between two tries of all mail at the siblings."""
OWN_FIRST_S: Final = 60.0
OWN_MOST_S: Final = 960.0
"""Between two tries of all mail by the ordinary ways while it is blocked: at first, and after doublings at most."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What is, at one moment.

    Attributes:
        now_s: seconds that only ever grow.
        wanted: the table hands this queue off, and the intake is closed.
        obstacle: why no sibling can be given anything; empty: nothing is known that is in the way.
        left: messages that could be given away.
    """

    now_s: float
    wanted: bool
    obstacle: str
    left: int


@dataclass(frozen=True, slots=True)
class HandOff:
    """Where it stands.

    Attributes:
        stage: as the status shows it; None: this relay keeps its queue.
        to_siblings: which way mail goes now.
        since_s: when stage or way changed last.
        fewest: messages left when they were fewest, since the hand-off began.
        moved_s: when that was.
        tried_s: when all mail was last tried at the siblings.
        own_s: when all mail was last tried by the ordinary ways after siblings had been tried.
        own_pause_s: the least time until the next such try.
        flush: whether all mail is to be tried now.
    """

    stage: HandOffStage | None = None
    to_siblings: bool = False
    since_s: float = 0.0
    fewest: int = 0
    moved_s: float = 0.0
    tried_s: float = -math.inf
    own_s: float = -math.inf
    own_pause_s: float = OWN_FIRST_S
    flush: bool = False


NONE: Final = HandOff()


def step(before: HandOff, seen: Sight) -> HandOff:
    """Where it stands now."""
    if not seen.wanted:
        # What failed at the siblings sleeps: it is tried at once by the ways that are its own again.
        return replace(NONE, flush=before.to_siblings)
    if before.stage is None:
        return HandOff(HandOffStage.DELIVERING, since_s=seen.now_s)
    now = replace(before, flush=False)
    if seen.left == 0:
        return now
    match before.stage:
        case HandOffStage.DELIVERING:
            return _delivering(now, seen)
        case HandOffStage.HANDING_OFF:
            return _handing_off(now, seen)
        case HandOffStage.BLOCKED:
            return _blocked(now, seen)


def _delivering(now: HandOff, seen: Sight) -> HandOff:
    if seen.now_s - now.since_s < CHANCE_S:
        return now
    return _block(now, seen) if seen.obstacle else _begin(now, seen)


def _handing_off(now: HandOff, seen: Sight) -> HandOff:
    if seen.left < now.fewest:
        now = replace(now, fewest=seen.left, moved_s=seen.now_s)
    if seen.obstacle or seen.now_s - now.moved_s >= PATIENCE_S:
        return _block(now, seen)
    return _tried(now, seen)


def _blocked(now: HandOff, seen: Sight) -> HandOff:
    if not now.to_siblings:
        rested = seen.now_s - now.since_s >= REST_S and not seen.obstacle
        return _to_siblings(now, seen) if rested else _tried_by_itself(now, seen)
    if seen.obstacle:
        return _rest(now, seen)
    if seen.left < now.fewest:
        return _begin(now, seen)
    if seen.now_s - now.since_s >= TRY_S:
        return _rest(now, seen)
    return _tried(now, seen)


def _begin(now: HandOff, seen: Sight) -> HandOff:
    again = now.to_siblings
    begun = HandOff(
        HandOffStage.HANDING_OFF, to_siblings=True, since_s=seen.now_s, fewest=seen.left, moved_s=seen.now_s
    )
    return replace(begun, tried_s=now.tried_s) if again else replace(begun, tried_s=seen.now_s, flush=True)


def _to_siblings(now: HandOff, seen: Sight) -> HandOff:
    return replace(
        now, to_siblings=True, since_s=seen.now_s, fewest=seen.left, tried_s=seen.now_s, flush=True
    )


def _block(now: HandOff, seen: Sight) -> HandOff:
    return _rest(HandOff(HandOffStage.BLOCKED, tried_s=now.tried_s), seen)


def _rest(now: HandOff, seen: Sight) -> HandOff:
    """Back to the ordinary ways."""
    return _tried_by_itself(replace(now, to_siblings=False, since_s=seen.now_s), seen)


def _tried_by_itself(now: HandOff, seen: Sight) -> HandOff:
    """What failed at the siblings sleeps for long: it is woken, but not each time."""
    asleep = now.tried_s > now.own_s
    if not asleep or seen.now_s - now.own_s < now.own_pause_s:
        return now
    pause_s = now.own_pause_s if now.own_s == -math.inf else min(2 * now.own_pause_s, OWN_MOST_S)
    return replace(now, own_s=seen.now_s, own_pause_s=pause_s, flush=True)


def _tried(now: HandOff, seen: Sight) -> HandOff:
    if seen.now_s - now.tried_s < FLUSH_S:
        return now
    return replace(now, tried_s=seen.now_s, flush=True)
