"""What the sizing of a pool must not forget when the operator does: it stands in the status, so it is kept small.

What was recommended is a step function: an entry holds until the next one, so a load that does not change writes
nothing, and the time when no operator ran is covered as well. Entries that would follow each other closely become one,
with the value that is nearer to staying; so do the oldest of too many, as a window that was made longer leaves them.
Times are rounded up to whole seconds, so that no window ends too soon.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from smtpfleet.api.autoscaling import MAX_RECOMMENDATIONS, AutoscalingStatus, Recommendation, ScalingMemory
from smtpfleet.domain.figures import timestamp

PARTS: Final = 16
"""A window is remembered in so many parts."""
_NEVER: Final = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Advised:
    """A size that was asked for from ``at`` on."""

    at: datetime
    relays: int


@dataclass(frozen=True, slots=True)
class Side:
    """One direction: what was asked for, and what was done.

    Attributes:
        advised: the sizes asked for within the stabilization window, the oldest first.
        changed: relays added (or removed) with less than a period between two changes.
        changed_at: the last of these changes.
    """

    advised: tuple[Advised, ...] = ()
    changed: int = 0
    changed_at: datetime = _NEVER

    def changed_within(self, period_s: float, now: datetime) -> int:
        """Relays that count against ``maxStep`` now: all, or none once a period has passed since the last."""
        return self.changed if (now - self.changed_at).total_seconds() < period_s else 0

    def change(self, relays: int, period_s: float, now: datetime) -> "Side":
        """With so many relays changed now."""
        before = self.changed_within(period_s, now)
        return replace(self, changed=before + relays, changed_at=_up_to_seconds(now))

    def advise(
        self,
        relays: int,
        *,
        window_s: float,
        staying: Callable[[Iterable[int]], int],
        size: int,
        now: datetime,
    ) -> "Side":
        """With what is asked for now; what the window does not reach any more is forgotten.

        ``staying`` is ``min`` when growing and ``max`` when shrinking: what of two sizes is nearer to staying as it is.
        A pool that is sized for the first time begins with its ``size``, for a whole window.
        """
        if not window_s:
            return replace(self, advised=())
        at = _up_to_seconds(now)
        advised = self.advised or (Advised(at, size),)
        last = advised[-1]
        if last.relays != relays:
            if (at - last.at).total_seconds() >= window_s / PARTS:
                advised = (*_steps(advised), Advised(at, relays))
            else:
                advised = (*advised[:-1], replace(last, relays=staying([last.relays, relays])))
        return replace(self, advised=_folded(_within(advised, window_s, at), staying))

    def stabilized(
        self, relays: int, *, window_s: float, staying: Callable[[Iterable[int]], int], now: datetime
    ) -> int:
        """What is asked for now, or within the window, whichever is nearer to staying."""
        return staying([relays, *(entry.relays for entry in _within(self.advised, window_s, now))])


@dataclass(frozen=True, slots=True)
class Memory:
    """See :class:`smtpfleet.api.autoscaling.AutoscalingStatus`. ``rate`` is in messages a second, 0: unknown."""

    rate: int = 0
    measured: datetime | None = None
    up: Side = Side()
    down: Side = Side()

    @classmethod
    def of(cls, status: AutoscalingStatus | None) -> "Memory":
        """What a status says."""
        if status is None:
            return cls()
        return cls(
            rate=status.relay_rate,
            measured=datetime.fromisoformat(status.measured) if status.measured else None,
            up=_side(status.scale_up),
            down=_side(status.scale_down),
        )

    def status(self) -> AutoscalingStatus:
        """The form in which it is stored."""
        return AutoscalingStatus(
            relay_rate=self.rate,
            measured=timestamp(self.measured) if self.measured else "",
            scale_up=_stored(self.up),
            scale_down=_stored(self.down),
        )


def _within(advised: Sequence[Advised], window_s: float, now: datetime) -> Sequence[Advised]:
    """The entries that held at some time of the window that ends now."""
    since = now - timedelta(seconds=window_s)
    over = sum(entry.at <= since for entry in advised)
    return advised[max(0, over - 1) :]


def _steps(advised: tuple[Advised, ...]) -> tuple[Advised, ...]:
    """Without a last entry that says what the one before it says."""
    return advised[:-1] if len(advised) > 1 and advised[-2].relays == advised[-1].relays else advised


def _folded(advised: Sequence[Advised], staying: Callable[[Iterable[int]], int]) -> tuple[Advised, ...]:
    """As many entries as the status takes: the oldest become one, which holds from the first of them on."""
    over = max(0, len(advised) - MAX_RECOMMENDATIONS) + 1
    first = Advised(advised[0].at, staying(entry.relays for entry in advised[:over]))
    return (first, *advised[over:])


def _side(stored: ScalingMemory) -> Side:
    return Side(
        advised=tuple(
            Advised(datetime.fromisoformat(entry.at), entry.relays) for entry in stored.recommendations
        ),
        changed=stored.changed,
        changed_at=datetime.fromisoformat(stored.changed_at) if stored.changed_at else _NEVER,
    )


def _stored(side: Side) -> ScalingMemory:
    return ScalingMemory(
        changed=side.changed,
        changed_at=timestamp(side.changed_at) if side.changed else "",
        recommendations=tuple(
            Recommendation(at=timestamp(entry.at), relays=entry.relays) for entry in side.advised
        ),
    )


def _up_to_seconds(moment: datetime) -> datetime:
    whole = moment.replace(microsecond=0)
    return whole if whole == moment else whole + timedelta(seconds=1)
