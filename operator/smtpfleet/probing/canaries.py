"""Canaries: small messages with a random body that relays are handed and must bring back to their own agents unchanged.

Guarantees: a relay gets one only if its agent says that it takes them, and only as often as the interval says, except
that its siblings' are due at once while one of a pool is missing, so that it can be compared with theirs; what was sent
to an earlier pod, or before its agent was started, is forgotten; memory is bounded.
"""

import base64
import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from smtpfleet.api.agent_status import CanaryStatus
from smtpfleet.api.names import PoolKey
from smtpfleet.api.probes import CANARY, CANARY_DOMAIN, CanaryReport

KEPT: Final = 4
"""Canaries of a relay that are remembered: fewer than agents remember."""
_LINES: Final = 30
_LINE_BYTES: Final = 54


@dataclass(frozen=True, slots=True)
class Canary:
    """A message. ``digest``: SHA-256 of its body, hexadecimal."""

    id: str
    digest: str
    message: bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """What a relay's agent said of canaries ``age_s`` ago; ``pod_uid``: which pod's."""

    status: CanaryStatus
    pod_uid: str
    age_s: float


@dataclass(frozen=True, slots=True)
class _Sent:
    id: str
    digest: str
    pod_uid: str
    at: float


@dataclass(slots=True)
class _Pool:
    interval_s: float
    hurry_s: float
    away: dict[str, float] = field(default_factory=dict)
    """By relay, when its last canary was sent of those that have been away for long."""
    sent: dict[str, deque[_Sent]] = field(default_factory=dict)


def made(random: Callable[[int], bytes], now: datetime) -> Canary:
    """A new canary. Some of its lines begin with a dot, which SMTP has to carry."""
    id_ = random(16).hex()
    lines = [b"." * (number % 3 == 0) + base64.b64encode(random(_LINE_BYTES)) for number in range(_LINES)]
    body = b"".join(line + b"\r\n" for line in lines)
    header = (
        f"From: <{CANARY}>\r\nTo: <{CANARY}>\r\nSubject: canary\r\nDate: {format_datetime(now)}\r\n"
        f"Message-ID: <{id_}@{CANARY_DOMAIN}>\r\nAuto-Submitted: auto-generated\r\n\r\n"
    )
    return Canary(id_, hashlib.sha256(body).hexdigest(), header.encode() + body)


class Canaries:
    """The canaries of one operator process.

    Args:
        heard: what a relay's agent said last; None: it takes no canaries.
        clock: seconds that only ever grow.
        now: the time of day.
        random: gives so many random bytes.
    """

    def __init__(
        self,
        heard: Callable[[PoolKey, str], Heard | None],
        *,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._heard, self._clock, self._random, self._now = heard, clock, random, now
        self._pools: dict[PoolKey, _Pool] = {}

    def follow(self, key: PoolKey, interval_s: float, *, late_s: float) -> None:
        """Set how often the relays of a pool get one (0: never), and after how long one that is away is late: at half
        of that, those of its siblings are due.
        """
        if interval_s <= 0:
            self.forget(key)
            return
        pool = self._pools.setdefault(key, _Pool(interval_s, late_s / 2))
        pool.interval_s, pool.hurry_s = interval_s, late_s / 2

    def forget(self, key: PoolKey) -> None:
        """The pool is gone, or wants none."""
        self._pools.pop(key, None)

    def next(self, key: PoolKey, relay: str, pod_uid: str) -> Canary | None:
        """The canary that the next probe of a relay's pod is to hand in; None: none is due."""
        pool, heard = self._pools.get(key), self._heard(key, relay)
        if pool is None or heard is None or heard.pod_uid != pod_uid:
            return None
        last = next(reversed(pool.sent.get(relay, ())), None)
        if last is None or last.pod_uid != pod_uid or self._is_due(pool, last):
            return made(self._random, self._now())
        return None

    def sent(self, key: PoolKey, relay: str, pod_uid: str, canary: Canary) -> None:
        """The relay took it."""
        pool = self._pools.get(key)
        if pool is not None:
            kept = pool.sent.setdefault(relay, deque(maxlen=KEPT))
            kept.append(_Sent(canary.id, canary.digest, pod_uid, self._clock()))

    def reports(self, key: PoolKey, relay: str) -> tuple[CanaryReport, ...]:
        """What became of a relay's canaries, the newest first."""
        pool, heard = self._pools.get(key), self._heard(key, relay)
        if pool is None or heard is None:
            return ()
        now, back = self._clock(), {each.id: each for each in heard.status.returned}
        known_s = heard.age_s + heard.status.up_s
        pool.away.pop(relay, None)
        found = []
        for sent in reversed(pool.sent.get(relay, ())):
            age_s = now - sent.at
            if sent.pod_uid != heard.pod_uid or age_s >= known_s:
                continue
            returned, waited_s = back.get(sent.id), max(0.0, age_s - heard.age_s)
            if returned is None and waited_s >= pool.hurry_s:
                pool.away[relay] = max(sent.at, pool.away.get(relay, sent.at))
            found.append(
                CanaryReport(
                    sent_s=age_s,
                    waited_s=waited_s,
                    took_s=returned.queue_s if returned else None,
                    intact=returned is None or returned.digest == sent.digest,
                )
            )
        return tuple(found)

    def _is_due(self, pool: _Pool, last: _Sent) -> bool:
        return self._clock() - last.at >= pool.interval_s or any(at > last.at for at in pool.away.values())
