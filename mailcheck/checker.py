"""The verdict: which acknowledged mail never arrived, what arrived twice, unasked or altered.

After Jepsen's ``total-queue``: what goes in must come out. Valid means that nothing is lost, unexpected or corrupted;
duplicates are counted, for SMTP promises at-least-once. It is meaningful only once every queue is empty
(``fully_drained``).

Everything is counted by pair of message and recipient, since a relay may deliver one message in several transactions.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from mailcheck.errors import MailcheckError
from mailcheck.model import Arrival, Attempt, Outcome

Pair = tuple[str, str]
"""A message and one of its recipients: (Message-ID, recipient)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the comparison found. Pairs are (Message-ID, recipient)."""

    attempted: int
    """Messages."""
    outcomes: Mapping[Outcome, int]
    """Messages by outcome; every outcome is there."""
    delivered: int
    """Pairs that arrived at least once."""
    lost: tuple[Pair, ...]
    """Acknowledged and never arrived."""
    duplicated: Mapping[Pair, int]
    """Arrived more than once, with the number of arrivals."""
    unexpected: tuple[Arrival, ...]
    """Arrivals of messages that were never attempted, or for a recipient that was never named."""
    recovered: tuple[Pair, ...]
    """Indeterminate, and arrived after all."""
    corrupted: tuple[Arrival, ...]
    """Arrivals of attempted messages with another body."""
    contradicted: tuple[Pair, ...]
    """Arrived although the client was told no, or had not finished: the client will send it again."""

    @property
    def ok(self) -> bool:
        """Whether the fleet kept its promise."""
        return not (self.lost or self.unexpected or self.corrupted)

    @property
    def errors(self) -> int:
        """Messages that were not acknowledged."""
        return self.attempted - self.outcomes[Outcome.ACKNOWLEDGED]

    @property
    def extra_copies(self) -> int:
        """Arrivals beyond the first, over all duplicated pairs."""
        return sum(self.duplicated.values()) - len(self.duplicated)


def check(attempts: Iterable[Attempt], arrivals: Iterable[Arrival]) -> Verdict:
    """Compare what was handed in with what came out.

    Raises:
        MailcheckError: two attempts have the same Message-ID, so nothing can be told apart.
    """
    by_id = _by_id(attempts)
    copies: Counter[Pair] = Counter()
    unexpected: list[Arrival] = []
    corrupted: list[Arrival] = []
    for arrival in arrivals:
        attempt = by_id.get(arrival.id)
        if attempt is None:
            unexpected.append(arrival)
            continue
        named = [(arrival.id, r) for r in arrival.recipients if r in attempt.recipients]
        copies.update(named)
        if len(named) < len(arrival.recipients):
            unexpected.append(arrival)
        if arrival.digest != attempt.digest:
            corrupted.append(arrival)
    return Verdict(
        attempted=len(by_id),
        outcomes=_outcomes(by_id.values()),
        delivered=len(copies),
        lost=_outstanding(by_id.values(), copies),
        duplicated={pair: n for pair, n in copies.items() if n > 1},
        unexpected=tuple(unexpected),
        recovered=tuple(p for p in copies if by_id[p[0]].outcome is Outcome.INDETERMINATE),
        corrupted=tuple(corrupted),
        contradicted=tuple(p for p in copies if _was_told_no(by_id[p[0]], p[1])),
    )


def outstanding(attempts: Iterable[Attempt], arrivals: Iterable[Arrival]) -> tuple[Pair, ...]:
    """What was acknowledged and has not arrived yet."""
    return _outstanding(attempts, {(a.id, r) for a in arrivals for r in a.recipients})


def fully_drained(attempts: Iterable[Attempt], arrivals: Iterable[Arrival], *, queued: int) -> bool:
    """Whether the verdict is final: nothing acknowledged is on its way and every queue is empty.

    Args:
        attempts: everything that was handed in.
        arrivals: everything that came out so far.
        queued: messages in all queues, unreachable volumes included; a copy there may still become a duplicate.

    Mail that is really lost never drains: the caller bounds its waiting and lets ``check`` say so.
    """
    return queued == 0 and not outstanding(attempts, arrivals)


def _by_id(attempts: Iterable[Attempt]) -> dict[str, Attempt]:
    by_id: dict[str, Attempt] = {}
    for attempt in attempts:
        if attempt.id in by_id:
            raise MailcheckError(f"two attempts with Message-ID {attempt.id}: give each run an id of its own")
        by_id[attempt.id] = attempt
    return by_id


def _outcomes(attempts: Iterable[Attempt]) -> dict[Outcome, int]:
    counts = Counter(a.outcome for a in attempts)
    return {outcome: counts[outcome] for outcome in Outcome}


def _outstanding(attempts: Iterable[Attempt], arrived: Collection[Pair]) -> tuple[Pair, ...]:
    return tuple((a.id, r) for a in attempts for r in a.owed if (a.id, r) not in arrived)


def _was_told_no(attempt: Attempt, recipient: str) -> bool:
    match attempt.outcome:
        case Outcome.ACKNOWLEDGED:
            return recipient in attempt.refused
        case Outcome.REJECTED | Outcome.FAILED_BEFORE:
            return True
        case Outcome.INDETERMINATE:
            return False
