"""Numbers in a status: two digits, so that they rest."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.domain.figures import timestamp, two_digits


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, 0), (7, 7), (99, 99), (100, 100), (104, 100), (105, 110), (994, 990), (995, 1000), (1234, 1200)],
)
def test_a_count_is_rounded_to_two_digits(count: int, shown: int) -> None:
    assert two_digits(count) == shown


@given(st.integers(1, 10**9))
def test_a_rounded_count_is_near_and_never_none_of_some(count: int) -> None:
    assert abs(two_digits(count) - count) <= count * 0.05
    assert two_digits(count) > 0
    assert two_digits(two_digits(count)) == two_digits(count)


def test_times_are_in_utc_with_whole_seconds() -> None:
    moment = datetime(2026, 3, 1, 12, 0, 5, 999_999, timezone(timedelta(hours=2)))
    assert timestamp(moment) == "2026-03-01T10:00:05Z"
    assert timestamp(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00Z"
