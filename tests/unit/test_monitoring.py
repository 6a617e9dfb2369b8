"""The metrics that the documentation names are those that exist."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "monitoring.md"
SOURCES = Path(__file__).resolve().parents[2] / "operator" / "smtpfleet"
_METRIC = re.compile(r"\b(Counter|Gauge|Histogram|Info)(?:MetricFamily)?\(\s*f\"\{_PREFIX\}_(\w+)\"")


def _named() -> set[str]:
    return set(re.findall(r"smtpfleet_(?:relay|balancer|operator)_[a-z_]+", PAGE.read_text()))


def _existing() -> set[str]:
    """Names in the sources of relay and operator, each with the ending that its kind gets in the text format."""
    found = set()
    for part, prefix in (("relay", "smtpfleet_relay"), ("controller", "smtpfleet_operator")):
        text = "".join(file.read_text() for file in sorted((SOURCES / part).glob("*metrics.py")))
        for kind, name in _METRIC.findall(text):
            ending = {"Counter": "_total", "Info": "_info"}.get(kind, "")
            found.add(f"{prefix}_{name}{ending}")
    return found


def test_every_documented_metric_of_relay_and_operator_exists() -> None:
    documented = {name for name in _named() if not name.startswith("smtpfleet_balancer")}
    assert documented - _existing() == set()


def test_every_metric_of_relay_and_operator_is_documented() -> None:
    existing = {name for name in _existing() if not name.startswith("smtpfleet_balancer")}
    assert len(existing) > 20
    assert existing - _named() == set()
