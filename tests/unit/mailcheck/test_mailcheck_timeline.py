"""What clients saw over time, at the edges where a careless measure flatters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcheck.model import Outcome
from mailcheck.timeline import (
    Fault,
    Percentiles,
    acknowledge_latency,
    buckets,
    delivery_latency,
    impacts,
    longest_gap,
    percentiles,
    reasons,
    schedule_lag,
)
from tests.unit.mailcheck.records import arrival, attempt

FAILED = Outcome.FAILED_BEFORE


def test_no_values_have_no_percentiles() -> None:
    assert percentiles([]) is None


def test_percentiles_of_one_to_a_hundred_are_their_ranks() -> None:
    assert percentiles(range(100, 0, -1)) == Percentiles(n=100, p50=50, p90=90, p99=99, max=100)


def test_the_median_of_three_is_the_second() -> None:
    p = percentiles([1.0, 3.0, 2.0])
    assert p is not None
    assert (p.p50, p.p90) == (2.0, 3.0)


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_every_percentile_is_a_value_that_occurred(values: list[float]) -> None:
    p = percentiles(values)
    assert p is not None
    assert {p.p50, p.p90, p.p99, p.max} <= set(values)
    assert p.p50 <= p.p90 <= p.p99 <= p.max == max(values)


def test_latency_counts_from_the_planned_moment_so_that_a_late_generator_hides_nothing() -> None:
    latency = acknowledge_latency([attempt(planned=1.0, start=3.0, end=3.5), attempt("m2", FAILED, end=9.0)])
    assert latency is not None
    assert (latency.n, latency.max) == (1, 2.5)


def test_lag_is_what_the_generator_itself_was_late() -> None:
    lag = schedule_lag([attempt(planned=1.0, start=1.25)])
    assert lag is not None
    assert lag.max == 0.25


def test_delivery_counts_to_the_first_arrival_of_what_arrived() -> None:
    attempts = [attempt("m1", start=1.0), attempt("m2", start=1.0)]
    latency = delivery_latency(attempts, [arrival("m1", time=5.0), arrival("m1", time=2.0)])
    assert latency is not None
    assert (latency.n, latency.max) == (1, 1.0)


def test_reasons_name_stage_and_cause_the_most_frequent_first() -> None:
    attempts = [
        attempt("a", FAILED),
        attempt("b", Outcome.REJECTED),
        attempt("c", Outcome.REJECTED),
        attempt("d"),
    ]
    assert list(reasons(attempts).items()) == [
        ("rejected rcpt 451", 2),
        ("failed-before end-of-data reset", 1),
    ]


def test_each_error_belongs_to_the_fault_that_struck_it() -> None:
    first, second = Fault(name="kill", time=10.0), Fault(name="hang", time=20.0)
    attempts = [
        attempt("before", FAILED, start=1.0, end=1.5),
        attempt("struck by the first", FAILED, start=9.9, end=10.1),
        attempt("after the first", FAILED, start=10.2, end=10.4),
        attempt("hanging since the first", FAILED, start=9.95, end=20.5),
        attempt("in flight at the second", FAILED, start=19.9, end=20.3),
        attempt("fine", start=19.9, end=20.4),
    ]
    kill, hang = impacts(attempts, [second, first])
    assert (kill.fault, kill.errors, kill.last_error_s) == (first, 3, 10.5)
    assert (hang.fault, hang.errors) == (second, 1)
    assert hang.last_error_s == pytest.approx(0.3)


def test_a_fault_without_errors_has_no_last_error() -> None:
    (impact,) = impacts([attempt()], [Fault(name="kill", time=10.0)])
    assert (impact.errors, impact.last_error_s) == (0, None)


def test_the_longest_gap_lies_between_two_acknowledgements() -> None:
    ends = [0.0, 0.1, 0.7, 0.8]
    attempts = [attempt(f"m{i}", planned=e) for i, e in enumerate(ends)] + [attempt("x", FAILED, planned=0.4)]
    gap = longest_gap(attempts)
    assert gap is not None
    assert gap.begin == 0.1
    assert gap.seconds == pytest.approx(0.6)


def test_an_outage_that_lasts_to_the_end_of_the_run_is_a_gap() -> None:
    gap = longest_gap([attempt("m1", planned=0.0), attempt("m2", FAILED, planned=5.0)])
    assert gap is not None
    assert (gap.begin, gap.seconds) == (0.0, 5.0)


def test_an_outage_from_the_beginning_is_a_gap() -> None:
    gap = longest_gap([attempt("m1", FAILED, planned=0.0), attempt("m2", planned=5.0)])
    assert gap is not None
    assert (gap.begin, gap.seconds) == (0.0, 5.0)


def test_no_attempts_have_no_gap_and_one_has_none_to_speak_of() -> None:
    assert longest_gap([]) is None
    gap = longest_gap([attempt()])
    assert gap is not None
    assert gap.seconds == 0


def test_slices_count_by_the_time_of_the_outcome() -> None:
    attempts = [
        attempt("a", end=0.05),
        attempt("b", end=0.25),
        attempt("c", FAILED, end=0.29),
        attempt("d", end=0.1),
    ]
    slices = buckets(attempts, width_s=0.1)
    assert slices.acknowledged == (1, 1, 1)
    assert slices.errors == (0, 0, 1)


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from(Outcome)), max_size=50), st.floats(0.01, 10))
def test_slices_lose_nothing(run: list[tuple[float, Outcome]], width_s: float) -> None:
    attempts = [attempt(f"m{i}", outcome, planned=t) for i, (t, outcome) in enumerate(run)]
    slices = buckets(attempts, width_s=width_s)
    acknowledged = sum(a.acknowledged for a in attempts)
    assert (sum(slices.acknowledged), sum(slices.errors)) == (acknowledged, len(attempts) - acknowledged)


def test_a_slice_without_width_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        buckets([attempt()], width_s=0)
