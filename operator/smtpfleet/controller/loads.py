"""What relays' agents said lately, put together: how much mail comes, leaves, and what it waits for.

Kept in memory: an operator that has just started knows a relay's load after the answers of four seconds, and until then
decides nothing by it.
"""

from collections import Counter, deque
from typing import Final

from smtpfleet.api.agent_status import DeferralReason, Deliveries, RelayStatus
from smtpfleet.domain.load import LEAST_S, MINUTE_S, Load, Sample, flow

_OWN: Final = DeferralReason.OTHER
"""What no receiver is behind, such as a delivery program of the relay that has no process left."""


class History:
    """The samples of one relay, of one life of its agent."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()
        self._pod_uid = ""

    def heard(self, status: RelayStatus, *, pod_uid: str, at_s: float) -> None:
        """An answer. Another pod, or an agent that counts from the beginning again, begins a new life."""
        if status.deliveries is None:
            return
        sample = Sample(
            at_s=at_s,
            backlog=_ready(status),
            queued=status.queue.total,
            finished=status.deliveries.finished,
        )
        if pod_uid != self._pod_uid or (self._samples and sample.finished < self._samples[-1].finished):
            self._samples.clear()
        self._pod_uid = pod_uid
        if len(self._samples) > 1 and self._samples[-1].at_s - self._samples[-2].at_s < LEAST_S:
            self._samples.pop()  # the newest counts, and between two others as much time as one rate takes
        self._samples.append(sample)
        while self._samples[-1].at_s - self._samples[0].at_s > MINUTE_S:
            self._samples.popleft()

    def load(self, status: RelayStatus) -> Load | None:
        """The load by these samples and the last answer; None: they are too few, or its agent is older."""
        said, seen = status.deliveries, flow(tuple(self._samples))
        if said is None or seen is None:
            return None
        counts = _put_off(said)
        return Load(
            backlog=_ready(status),
            taken=seen.taken,
            seconds=seen.seconds,
            taken_per_s=seen.taken_per_s,
            per_s=seen.per_s,
            busy=seen.busy,
            minute_per_s=said.messages_per_s,
            queued_s=said.delays.b,
            receiver_s=said.delays.c + said.delays.d,
            reached=said.sent + said.bounced,
            put_off=counts.total(),
            troubles=_troubles(counts),
        )


def _ready(status: RelayStatus) -> int:
    return status.queue.incoming + status.queue.active


def _put_off(said: Deliveries) -> Counter[DeferralReason]:
    """Recipients that were put off because of receivers, by reason."""
    counts: Counter[DeferralReason] = Counter()
    for deferral in said.deferrals:
        if deferral.reason is not _OWN:
            counts[deferral.reason] += deferral.recipients
    return counts


def _troubles(counts: Counter[DeferralReason]) -> tuple[str, ...]:
    """The reasons, the most frequent first; that of mail which was not tried is the same as of mail that was."""
    return tuple(reason for reason, _ in counts.most_common() if reason is not DeferralReason.SUSPENDED)
