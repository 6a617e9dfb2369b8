"""The pools' metrics: as the status has them, and gone with the pool."""

from prometheus_client import generate_latest

from smtpfleet.api.reasons import RelayState
from smtpfleet.api.status import RelayEntry, SmtpPoolStatus
from smtpfleet.controller.metrics import Metrics

ENTRY = RelayEntry(
    name="r", state=RelayState.SERVING, weight=100, since="2026-01-01T00:00:00Z", reason="PodReady"
)
STATUS = SmtpPoolStatus(desired_replicas=3, ready_replicas=2, relays=(ENTRY, ENTRY))
LABELS = {"namespace": "mail", "pool": "outbound"}


def test_a_pool_is_shown_as_its_status_has_it() -> None:
    metrics = Metrics()
    metrics.show("mail", "outbound", STATUS)
    sample = metrics.registry.get_sample_value
    assert sample("smtpfleet_operator_relays_desired", LABELS) == 3
    assert sample("smtpfleet_operator_relays_ready", LABELS) == 2
    assert sample("smtpfleet_operator_relays", LABELS | {"state": "Serving"}) == 2
    assert sample("smtpfleet_operator_relays", LABELS | {"state": "Stranded"}) == 0


def test_a_pool_that_is_gone_is_shown_no_longer() -> None:
    metrics = Metrics()
    metrics.show("mail", "outbound", STATUS)
    metrics.show("mail", "other", STATUS)
    metrics.forget("mail", "outbound")
    text = generate_latest(metrics.registry).decode()
    assert "outbound" not in text
    assert 'pool="other"' in text
    metrics.forget_all([("mail", "other"), ("mail", "never-seen")])
    assert 'pool="' not in generate_latest(metrics.registry).decode()
