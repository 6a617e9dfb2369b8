"""Whether the network of this relay was away for a while and is back: mail that failed meanwhile need not sleep.

Postfix remembers for minimal_backoff_time that a next hop is dead, and lets a message sleep for as long as it has
waited already. After the network of a whole node was away that tells nothing of any next hop.

Two signs must come together. Somebody who speaks to this relay all the time (each balancer, four times a second; the
API server, while its watch is up) was silent and is heard again; and mail failed on its way, none got through for a
while, until a moment ago at most. A balancer that was restarted gives only the first sign, a next hop that was down
gives only the second, and its back-off is left alone. So mail must have failed since the silence began: what failed
before tells nothing of it. And who stood still itself, for want of a processor, has heard no silence.

Guarantees: an end is told of once for each silence; constant memory. Outcomes may be told of in another thread.
"""

import math
from collections.abc import Callable
from typing import Final

from smtpfleet.api.agent_status import DeferralReason
from smtpfleet.relay.outcomes import Outcome

SILENCE_S: Final = 5.0
"""Twenty polls: a HAProxy that is late on a busy node is no silence."""
FAILING_S: Final = 5.0
"""No attempt reached anybody for so long."""
LATELY_S: Final = 15.0
"""The API server may be heard so long after mail gets through again: its watch is tried again after a pause."""
CONNECTING_S: Final = 30.0
"""An attempt that began without network may fail so long after its return (smtp_connect_timeout)."""
STOOD_S: Final = 3.0
"""Looks come every second: when one is so late, nobody was heard because this process stood still."""
_NETWORK: Final = frozenset(
    {DeferralReason.CONNECT_FAILED, DeferralReason.CONNECTION_LOST, DeferralReason.DNS_FAILED}
)
_KNOWN_MOST: Final = 64


class Isolation:
    """Feed it by :meth:`heard` and :meth:`add`, ask by :meth:`is_over` every second.

    ``clock``: seconds that only ever grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heard_s: dict[str, float] = {}
        self._broken_s: float | None = None
        """When a silence was broken; None: that is long ago, or was told of."""
        self._silent_from_s = -math.inf
        self._reached_s = self._looked_s = clock()
        self._failing = False
        self._failed_s = -math.inf
        self._failed_until_s = -math.inf
        """When the last time ended in which mail failed and none got through."""

    def heard(self, who: str) -> None:
        """Somebody spoke to this relay who does so all the time."""
        now_s = self._clock()
        before_s = self._heard_s.pop(who, now_s)
        self._heard_s[who] = now_s
        if len(self._heard_s) > _KNOWN_MOST:
            del self._heard_s[next(iter(self._heard_s))]
        if now_s - before_s >= SILENCE_S and now_s - self._looked_s <= STOOD_S:
            self._broken_s, self._silent_from_s = now_s, before_s

    def add(self, outcome: Outcome) -> None:
        """What came of an attempt to deliver."""
        if not outcome.tried:
            return
        if outcome.reason in _NETWORK:
            self._failing, self._failed_s = True, self._clock()
            return
        now_s = self._clock()
        if self._failing and now_s - self._reached_s >= FAILING_S:
            self._failed_until_s = now_s
        self._failing, self._reached_s = False, now_s

    def is_over(self) -> bool:
        """Whether the network came back, and nobody was told so yet."""
        now_s = self._clock()
        if now_s - self._looked_s > STOOD_S:
            self._heard_s.clear()
        self._looked_s = now_s
        if (
            self._broken_s is None
            or self._failed_s < self._silent_from_s
            or now_s - self._broken_s > CONNECTING_S
        ):
            return False
        fails = self._failing and now_s - self._reached_s >= FAILING_S
        if not fails and self._broken_s - self._failed_until_s > LATELY_S:
            return False
        self._broken_s, self._failed_until_s = None, -math.inf
        return True
