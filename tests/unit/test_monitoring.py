"""The metrics that the documentation names are those that exist."""

import re
from pathlib import Path

from smtpfleet.controller.metrics import Metrics

PAGE = Path(__file__).resolve().parents[2] / "docs" / "monitoring.md"
RELAY = Path(__file__).resolve().parents[2] / "operator" / "smtpfleet" / "relay" / "metrics.py"
_METRIC = re.compile(r"\b(Counter|Gauge|Histogram|Info)MetricFamily\(\s*f\"\{_PREFIX\}_(\w+)\"")
_ENDINGS = {"counter": "_total", "info": "_info"}


def _named() -> set[str]:
    return set(re.findall(r"smtpfleet_(?:relay|balancer|operator)_[a-z_]+", PAGE.read_text()))


def _existing() -> set[str]:
    """Each with the ending that its kind gets in the text format. Some of a relay's are there only at times, so they
    are read from its source.
    """
    relay = [(kind.lower(), f"smtpfleet_relay_{name}") for kind, name in _METRIC.findall(RELAY.read_text())]
    operator = [(family.type, family.name) for family in Metrics().registry.collect()]
    return {f"{name}{_ENDINGS.get(kind, '')}" for kind, name in (*relay, *operator)}


def test_every_documented_metric_of_relay_and_operator_exists() -> None:
    documented = {name for name in _named() if not name.startswith("smtpfleet_balancer")}
    assert documented - _existing() == set()


def test_every_metric_of_relay_and_operator_is_documented() -> None:
    existing = {name for name in _existing() if not name.startswith("smtpfleet_balancer")}
    assert len(existing) > 20
    assert existing - _named() == set()
