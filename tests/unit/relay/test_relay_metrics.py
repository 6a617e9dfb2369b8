"""What Prometheus reads of a relay."""

from datetime import UTC, datetime

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from smtpfleet.api.agent_status import (
    CertificateStatus,
    DeferralReason,
    DeferralStage,
    Delays,
    Deliveries,
    Intake,
    PostfixState,
    QueueCounts,
    QueueVolume,
    RelayStatus,
)
from smtpfleet.relay.metrics import Snapshot, registry

STATUS = RelayStatus(
    relay="outbound-relay-0",
    incarnation="ab" * 16,
    table_revision="0123456789ab",
    table_error="no such parameter",
    intake=Intake.DRAINING,
    postfix=PostfixState.RUNNING,
    queue=QueueCounts(incoming=3, deferred=7),
    sessions=4,
    oldest_active_s=1.5,
    volume=QueueVolume(free_bytes=1024, free_inodes=7),
    deliveries=Deliveries(seconds=60, delays=Delays(b=2.5)),
)


def _samples(status: RelayStatus) -> dict[tuple[str, str], float]:
    snapshot = Snapshot(
        status=status,
        restarts=2,
        refused_tables=1,
        deliveries={"sent": 5, "bounced": 1},
        deferrals={(DeferralReason.CONNECT_FAILED, DeferralStage.CONNECT): 3},
        finished=6,
        logins={"accepted": 9, "rejected": 2},
        unlogged=8,
    )
    text = generate_latest(registry(lambda: snapshot)).decode()
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_number_of_the_status_is_a_metric() -> None:
    samples = _samples(STATUS)
    assert samples["smtpfleet_relay_queue_messages", "deferred"] == 7
    assert samples["smtpfleet_relay_queue_messages", "incoming"] == 3
    assert samples["smtpfleet_relay_oldest_active_seconds", ""] == 1.5
    assert samples["smtpfleet_relay_sessions", ""] == 4
    assert samples["smtpfleet_relay_postfix_restarts_total", ""] == 2
    assert samples["smtpfleet_relay_deliveries_total", "sent"] == 5
    assert samples["smtpfleet_relay_logins_total", "rejected"] == 2
    assert samples["smtpfleet_relay_deferrals_total", "ConnectFailed"] == 3
    assert samples["smtpfleet_relay_messages_finished_total", ""] == 6
    assert samples["smtpfleet_relay_log_lines_dropped_total", ""] == 8
    assert samples["smtpfleet_relay_delivery_delay_seconds", "b"] == 2.5
    assert samples["smtpfleet_relay_queue_free_bytes", ""] == 1024
    assert samples["smtpfleet_relay_queue_free_inodes", ""] == 7
    assert samples["smtpfleet_relay_table_info", "0123456789ab"] == 1
    assert samples["smtpfleet_relay_table_refused", ""] == 1


def test_one_state_is_the_present_one() -> None:
    samples = _samples(STATUS)
    assert {intake: samples["smtpfleet_relay_intake", intake] for intake in Intake} == {
        Intake.OPEN: 0,
        Intake.DRAINING: 1,
        Intake.CLOSED: 0,
    }
    assert sum(samples["smtpfleet_relay_postfix", state] for state in PostfixState) == 1


def test_nothing_is_shown_that_does_not_begin_with_our_name() -> None:
    assert all(name.startswith("smtpfleet_relay_") for name, _ in _samples(STATUS))


def test_the_end_of_the_certificate_that_is_served_is_a_time_stamp() -> None:
    served = CertificateStatus(fingerprint="ab", not_after=datetime(2027, 1, 1, tzinfo=UTC))
    name = "smtpfleet_relay_certificate_expiry_timestamp_seconds"
    assert _samples(STATUS.model_copy(update={"certificate": served}))[name, ""] == 1798761600
    for none in (None, CertificateStatus(error="Secret mail/cert is missing")):
        assert (name, "") not in _samples(STATUS.model_copy(update={"certificate": none}))
