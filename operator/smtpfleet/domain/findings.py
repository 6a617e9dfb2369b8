"""What is wrong with a relay: an ordered chain of checks over its probes, its agent's words and its pod.

Each check is pure and gives one reason, which is the same in status, Event, metric and log. The first finding of the
chain counts, so the chain goes from the worst to the least. Messages contain nothing that changes from one probe to
the next, for each change of a message is a write of the status.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from smtpfleet.api.probes import ProbeResult, ProbeStage, ProbeTrouble
from smtpfleet.api.reasons import Reason
from smtpfleet.domain.facts import Relay
from smtpfleet.domain.others import OthersMedian

FATAL: Final = 0
SLOW_FACTOR: Final = 50
NOTICE: Final = 100
SILENT_S: Final = 30.0
"""After how long without an answer an agent counts as silent."""
SOON: Final = timedelta(days=14)
SLOW_S: Final = 1.0
"""Faster than this is never slow. Clients wait for minutes (RFC 5321, 4.5.3.2), people for a second."""
SLOW_RATIO: Final = 3.0
"""Only a relay that takes so many times as long as its siblings is slow: what slows all is no relay's fault."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong. ``factor``: the percentage of its weight that the relay keeps; 0 is fatal, 100 only told."""

    reason: Reason
    message: str
    factor: int

    @property
    def fatal(self) -> bool:
        """Whether a relay of which this is certain must not get mail."""
        return self.factor == FATAL


@dataclass(frozen=True, slots=True)
class Seen:
    """One probe, with what it is to be compared with: how long siblings took (None: there are none), and the time."""

    result: ProbeResult
    siblings_s: float | None
    now: datetime


Check = Callable[[Seen], Finding | None]

_FAILED: Final = {
    ProbeStage.CONNECT: Reason.CONNECT_FAILED,
    ProbeStage.BANNER: Reason.BANNER_FAILED,
    ProbeStage.EHLO: Reason.EHLO_FAILED,
    ProbeStage.STARTTLS: Reason.START_TLS_FAILED,
    ProbeStage.AUTH: Reason.AUTH_FAILED,
    ProbeStage.MAIL: Reason.SENDER_REFUSED,
    ProbeStage.RCPT: Reason.RECIPIENT_REFUSED,
    ProbeStage.RSET: Reason.RESET_FAILED,
    ProbeStage.DATA: Reason.CONTENT_REFUSED,
}
_DOING: Final = {
    ProbeStage.CONNECT: "the connection",
    ProbeStage.BANNER: "the banner",
    ProbeStage.EHLO: "EHLO",
    ProbeStage.STARTTLS: "STARTTLS",
    ProbeStage.AUTH: "AUTH",
    ProbeStage.MAIL: "MAIL",
    ProbeStage.RCPT: "RCPT",
    ProbeStage.RSET: "RSET",
    ProbeStage.DATA: "a whole message",
}
FATAL_REASONS: Final = frozenset({*_FAILED.values(), Reason.CERTIFICATE_EXPIRED})
"""Reasons that a probe can give and that eject a relay."""
SLOW_REASONS: Final = frozenset({Reason.PROBE_SLOW})
"""Those that only lower its weight."""
REASONS: Final = FATAL_REASONS | SLOW_REASONS
"""Every reason that a probe can give."""


def _failed(seen: Seen) -> Finding | None:
    """A step that was not done. One check for all steps, as a probe ends with the first that fails."""
    result = seen.result
    if result.ok or result.stage not in _FAILED:
        return None
    return Finding(_FAILED[result.stage], _words(result), FATAL)


def _certificate_expired(seen: Seen) -> Finding | None:
    """Clients that verify refuse it, so a sibling with a good one is better."""
    if not seen.result.expired(seen.now):
        return None
    message = f"serves a certificate that expired, {seen.result.not_after:%Y-%m-%d}"
    return Finding(Reason.CERTIFICATE_EXPIRED, message, FATAL)


def _slow(seen: Seen) -> Finding | None:
    if seen.siblings_s is None or seen.result.took_s <= max(SLOW_S, SLOW_RATIO * seen.siblings_s):
        return None
    stage = max(seen.result.latency_s, key=seen.result.latency_s.__getitem__)
    doing = _DOING.get(stage, str(stage))
    message = (
        f"takes more than {SLOW_S:g} s and {SLOW_RATIO:g} times as long as the others, mostly for {doing}"
    )
    return Finding(Reason.PROBE_SLOW, message, SLOW_FACTOR)


CHAIN: Final[Sequence[Check]] = (_failed, _certificate_expired, _slow)
"""The checks of one probe, in their order."""


def of_probe(seen: Seen) -> Finding | None:
    """The first finding of the chain."""
    for check in CHAIN:
        if finding := check(seen):
            return finding
    return None


class Usual:
    """How long the last good probes of a pool's relays took, each compared with the others."""

    def __init__(self, relays: Iterable[Relay]) -> None:
        self._took_s = OthersMedian(
            {
                relay.name: relay.probes[0].result.took_s
                for relay in relays
                if relay.ready and relay.probes and relay.probes[0].result.ok
            }
        )

    def of_others_s(self, name: str) -> float | None:
        """The median of all relays but one; None if there is no other."""
        return self._took_s.without(name)


def notices(relay: Relay, now: datetime) -> Finding | None:
    """What is worth telling of a relay that serves, though its weight stays."""
    if relay.agent and relay.agent.status.table_error:
        error = relay.agent.status.table_error
        message = f"works on with its last good routing table: {error}"
        return Finding(Reason.TABLE_REFUSED, message, NOTICE)
    if silent(relay):
        return Finding(Reason.AGENT_SILENT, "its pod is ready, but its agent does not answer", NOTICE)
    if storage_low(relay):
        message = "its volume is nearly full: it gets no new connection while a sibling has more room"
        return Finding(Reason.STORAGE_LOW, message, NOTICE)
    seen = relay.probes[0].result if relay.probes else None
    if seen and seen.not_after and expires_soon(seen.not_before, seen.not_after, now):
        message = f"serves a certificate that expires soon, {seen.not_after:%Y-%m-%d}"
        return Finding(Reason.CERTIFICATE_EXPIRES_SOON, message, NOTICE)
    return None


def expires_soon(begin: datetime | None, end: datetime, now: datetime) -> bool:
    """Whether whoever renews in time would have done so; a short-lived certificate has a quarter of its life."""
    return end - now < min(SOON, (end - begin) / 4 if begin else SOON)


def silent(relay: Relay) -> bool:
    """Whether nothing is known of its queue now."""
    return relay.agent is None or relay.agent.age_s > SILENT_S


def storage_low(relay: Relay) -> bool:
    """Whether its agent sends clients to siblings because the volume is nearly full. Balancers hear it at once."""
    return relay.agent is not None and not silent(relay) and relay.agent.status.storage_low


def _words(result: ProbeResult) -> str:
    """What happened, in the words of the relay where it had any."""
    doing = _DOING[result.stage]
    match result.trouble:
        case ProbeTrouble.UNREACHABLE:
            return f"no connection: {result.text}"
        case ProbeTrouble.TIMEOUT:
            return f"{doing} took too long"
        case ProbeTrouble.CLOSED:
            return f"the connection was closed at {doing}"
        case ProbeTrouble.TLS:
            return f"no TLS: {result.text}"
        case _:
            codes = " ".join(filter(None, (str(result.code), result.enhanced)))
            return f"answer to {doing}: {codes} {result.text}".replace(
                "answer to the banner", "banner"
            ).rstrip()
