"""The pools' metrics: as the status has them, and gone with the pool."""

from prometheus_client import generate_latest

from smtpfleet.api.autoscaling import AutoscalingStatus
from smtpfleet.api.reasons import ConditionType
from smtpfleet.api.status import Condition, SmtpPoolStatus
from smtpfleet.controller.metrics import Metrics
from tests.unit.domain.samples import entry

STATUS = SmtpPoolStatus(desired_replicas=3, ready_replicas=2, relays=(entry(0), entry(1)))
LABELS = {"namespace": "mail", "pool": "outbound"}


def test_a_pool_is_shown_as_its_status_has_it() -> None:
    metrics = Metrics()
    metrics.show("mail", "outbound", STATUS)
    sample = metrics.registry.get_sample_value
    assert sample("smtpfleet_operator_relays_desired", LABELS) == 3
    assert sample("smtpfleet_operator_relays_ready", LABELS) == 2
    assert sample("smtpfleet_operator_relays", LABELS | {"state": "Serving"}) == 2
    assert sample("smtpfleet_operator_relays", LABELS | {"state": "Stranded"}) == 0


def _scaled(active: str, limited: str, status: str) -> SmtpPoolStatus:
    time = "2026-01-01T00:00:00Z"
    conditions = tuple(
        Condition(type=kind, status=word, observed_generation=1, last_transition_time=time, reason=reason)
        for kind, word, reason in (
            (ConditionType.SCALING_ACTIVE, "True", active),
            (ConditionType.SCALING_LIMITED, status, limited),
        )
    )
    return STATUS.model_copy(
        update={"autoscaling": AutoscalingStatus(relay_rate=80), "conditions": conditions}
    )


def test_what_the_size_goes_by_is_shown_only_where_it_goes_by_queues() -> None:
    metrics = Metrics()
    sample = metrics.registry.get_sample_value
    slow = LABELS | {"reason": "ReceiverSlow"}
    metrics.show("mail", "outbound", _scaled("ReceiverSlow", "ReceiverSlow", "True"))
    assert sample("smtpfleet_operator_relay_messages_per_second", LABELS) == 80
    assert (
        sample("smtpfleet_operator_scaling", slow) == sample("smtpfleet_operator_scaling_limited", slow) == 1
    )
    metrics.show("mail", "outbound", _scaled("LoadCarried", "WithinBounds", "False"))
    assert sample("smtpfleet_operator_scaling", slow) is None
    assert sample("smtpfleet_operator_scaling", LABELS | {"reason": "LoadCarried"}) == 1
    text = generate_latest(metrics.registry).decode()
    assert "smtpfleet_operator_scaling_limited{" not in text
    metrics.show("mail", "outbound", STATUS)
    assert "smtpfleet_operator_scaling{" not in generate_latest(metrics.registry).decode()


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
