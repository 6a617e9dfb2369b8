"""What a relay shows to Prometheus, computed from one snapshot when it is asked for."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from smtpfleet.api.agent_status import DeferralReason, DeferralStage, Intake, PostfixState, RelayStatus

_PREFIX = "smtpfleet_relay"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that is shown. ``deliveries`` counts recipients by Postfix's word, ``deferrals`` those deferred by
    reason and step, ``finished`` messages that left the queue, ``logins`` attempts by verdict, ``unlogged`` lines of
    Postfix's log.
    """

    status: RelayStatus
    restarts: int
    refused_tables: int
    deliveries: Mapping[str, int]
    deferrals: Mapping[tuple[DeferralReason, DeferralStage], int]
    finished: int
    logins: Mapping[str, int]
    signed: int = 0
    sign_failures: int = 0
    handed_over: int = 0
    taken_over: int = 0
    unlogged: int = 0


class RelayCollector(Collector):
    """Turns snapshots into metric families."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        """All families, from one snapshot."""
        shown = self._snapshot()
        yield from _states(shown.status)
        yield from _queue(shown.status)
        yield from _totals(shown)


def registry(snapshot: Callable[[], Snapshot]) -> CollectorRegistry:
    """A registry with nothing but this relay's metrics."""
    result = CollectorRegistry(auto_describe=False)
    result.register(RelayCollector(snapshot))
    return result


def _queue(status: RelayStatus) -> Iterable[Metric]:
    messages = GaugeMetricFamily(
        f"{_PREFIX}_queue_messages", "Messages by queue directory of Postfix.", labels=["queue"]
    )
    for queue, count in status.queue.model_dump().items():
        messages.add_metric([queue], count)
    yield messages
    yield GaugeMetricFamily(
        f"{_PREFIX}_oldest_active_seconds", "Age of the oldest message being sent.", status.oldest_active_s
    )
    yield GaugeMetricFamily(
        f"{_PREFIX}_oldest_incoming_seconds",
        "How long the queue manager has left a complete message alone.",
        status.oldest_incoming_s,
    )
    if status.volume is not None:
        yield GaugeMetricFamily(
            f"{_PREFIX}_queue_free_bytes", "Room on the queue's volume.", status.volume.free_bytes
        )
        yield GaugeMetricFamily(
            f"{_PREFIX}_queue_free_inodes", "Files that it can still hold.", status.volume.free_inodes
        )
    if status.deliveries is not None:
        delays = GaugeMetricFamily(
            f"{_PREFIX}_delivery_delay_seconds",
            "Medians of Postfix's delays a, b, c and d over the last minute.",
            labels=["part"],
        )
        for part, delay_s in status.deliveries.delays.model_dump().items():
            delays.add_metric([part], delay_s)
        yield delays
    yield GaugeMetricFamily(f"{_PREFIX}_sessions", "Sessions of clients that are open.", status.sessions)
    served = status.certificate
    if served and served.not_after:
        yield GaugeMetricFamily(
            f"{_PREFIX}_certificate_expiry_timestamp_seconds",
            "When the certificate that is served expires.",
            served.not_after.timestamp(),
        )


def _states(status: RelayStatus) -> Iterable[Metric]:
    yield InfoMetricFamily(
        f"{_PREFIX}_table", "Routing table that Postfix runs with.", {"revision": status.table_revision}
    )
    yield InfoMetricFamily(
        f"{_PREFIX}_incarnation", "Life of the queue on this volume.", {"incarnation": status.incarnation}
    )
    yield GaugeMetricFamily(
        f"{_PREFIX}_table_refused",
        "1 while the newest routing table is not in use.",
        float(bool(status.table_error)),
    )
    intake = GaugeMetricFamily(
        f"{_PREFIX}_intake", "1 for the present state of the intake.", labels=["state"]
    )
    for known_intake in Intake:
        intake.add_metric([known_intake], float(known_intake is status.intake))
    yield intake
    if status.signing is not None:
        yield GaugeMetricFamily(
            f"{_PREFIX}_dkim_ready", "1 while the DKIM signers answer.", float(not status.signing.trouble)
        )
    postfix = GaugeMetricFamily(f"{_PREFIX}_postfix", "1 for the present state of Postfix.", labels=["state"])
    for known_state in PostfixState:
        postfix.add_metric([known_state], float(known_state is status.postfix))
    yield postfix


def _totals(shown: Snapshot) -> Iterable[Metric]:
    yield CounterMetricFamily(f"{_PREFIX}_postfix_restarts", "Starts after an end unasked.", shown.restarts)
    yield CounterMetricFamily(f"{_PREFIX}_tables_refused", "Routing tables refused.", shown.refused_tables)
    yield CounterMetricFamily(f"{_PREFIX}_dkim_signatures", "DKIM signatures made.", shown.signed)
    yield CounterMetricFamily(
        f"{_PREFIX}_dkim_refusals",
        "Messages refused for now, as they could not be signed.",
        shown.sign_failures,
    )
    yield CounterMetricFamily(
        f"{_PREFIX}_handed_over", "Recipients whose message a sibling took over.", shown.handed_over
    )
    yield CounterMetricFamily(
        f"{_PREFIX}_taken_over", "Messages that siblings handed over.", shown.taken_over
    )
    yield CounterMetricFamily(
        f"{_PREFIX}_log_lines_dropped",
        "Lines of Postfix's log that nobody took in time, or that could not be read.",
        shown.unlogged,
    )
    deliveries = CounterMetricFamily(
        f"{_PREFIX}_deliveries", "Outcomes of delivery attempts, by recipient.", labels=["status"]
    )
    for status, count in sorted(shown.deliveries.items()):
        deliveries.add_metric([status], count)
    yield deliveries
    deferrals = CounterMetricFamily(
        f"{_PREFIX}_deferrals", "Recipients deferred, by reason and step.", labels=["reason", "stage"]
    )
    for (reason, stage), count in sorted(shown.deferrals.items()):
        deferrals.add_metric([reason, stage], count)
    yield deferrals
    yield CounterMetricFamily(
        f"{_PREFIX}_messages_finished",
        "Messages that left the queue: delivered, or returned to their senders.",
        shown.finished,
    )
    logins = CounterMetricFamily(
        f"{_PREFIX}_logins", "Attempts of users to log in, by what they were told.", labels=["verdict"]
    )
    for verdict, count in sorted(shown.logins.items()):
        logins.add_metric([verdict], count)
    yield logins
