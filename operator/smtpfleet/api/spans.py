"""Durations between two bounds, such as an interval from one second to five minutes."""

import re
from collections.abc import Callable
from typing import Any, Final

from pydantic import AfterValidator, Field, StringConstraints

from smtpfleet.api.values import duration_seconds, rule, rules

# Without days, so that CEL's duration() reads the same text.
_SPAN: Final = "([0-9]{1,4}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?"
_NO_SPAN: Final = "not a duration: write a number and a unit, such as 5s or 1m30s"


def span(least: str, most: str) -> tuple[Any, ...]:
    """What makes a text field a duration from ``least`` to ``most``: ``Annotated[str, *span("1s", "5m")]``."""
    return (
        StringConstraints(max_length=16),
        AfterValidator(_check(least, most)),
        Field(json_schema_extra=_rules(least, most)),
    )


def _rules(least: str, most: str) -> dict[str, Any]:
    within = f"duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"
    return rules(
        rule(f"self != '' && self.matches('^{_SPAN}$')", _NO_SPAN),
        rule(
            f"self == '' || !self.matches('^{_SPAN}$') || ({within})",
            f"must be from {least} to {most}",
        ),
    )


def _check(least: str, most: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not value or not re.fullmatch(_SPAN, value):
            raise ValueError(f"{value!r} is {_NO_SPAN}")
        if not duration_seconds(least) <= duration_seconds(value) <= duration_seconds(most):
            raise ValueError(f"{value!r} must be from {least} to {most}")
        return value

    return check
