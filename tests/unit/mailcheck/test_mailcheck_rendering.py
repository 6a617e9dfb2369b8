"""Tables, charts and reports are plain text that fits, and never hide an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcheck.chart import bars, render_chart
from mailcheck.checker import check
from mailcheck.model import Outcome
from mailcheck.report import render_run, render_verdict
from mailcheck.table import format_number, render_table
from mailcheck.timeline import Fault
from tests.unit.mailcheck.records import arrival, attempt

FAILED = Outcome.FAILED_BEFORE


def test_a_table_aligns_numbers_to_the_right_and_words_to_the_left() -> None:
    assert render_table(("case", "n"), [("kill", 5), ("hang", 120)]).splitlines() == [
        "case    n",
        "────  ───",
        "kill    5",
        "hang  120",
    ]


def test_what_was_not_measured_is_a_dash() -> None:
    assert render_table(("case", "s"), [("kill", None), ("hang", 0.5)]).splitlines()[2:] == [
        "kill    -",
        "hang  0.5",
    ]


def test_a_row_of_another_length_than_the_header_is_refused() -> None:
    with pytest.raises(ValueError, match="as many cells"):
        render_table(("a", "b"), [(1,)])


@given(
    st.lists(
        st.lists(st.text(st.characters(categories=("L", "N")), max_size=150), min_size=3, max_size=3),
        max_size=4,
    )
)
def test_no_table_is_wider_than_asked(rows: list[list[str]]) -> None:
    assert all(len(line) <= 100 for line in render_table(("one", "two", "three"), rows).splitlines())


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (3.0, "3"), (0.12345, "0.123"), (12.345, "12.3"), (1234.56, "1235"), (0.00012, "1.2e-04")],
)
def test_numbers_have_three_significant_digits(value: float, text: str) -> None:
    assert format_number(value) == text


def test_bars_fill_the_height_at_the_peak_and_nothing_at_zero() -> None:
    assert bars([0, 4, 8]) == [" ▄█"]
    assert bars([0, 8, 16], height=2) == ["  █", " ██"]
    assert bars([0, 0]) == ["  "]


@given(st.lists(st.integers(0, 10**6), min_size=1), st.integers(1, 5))
def test_a_value_above_zero_is_never_invisible(values: list[int], height: int) -> None:
    rows = bars(values, height=height)
    assert len(rows) == height
    assert [cell != " " for cell in rows[-1]] == [value > 0 for value in values]


def test_a_chart_shows_one_error_among_thousands_and_the_moment_of_the_fault() -> None:
    attempts = [attempt(f"m{i}", planned=i / 1000) for i in range(2000)] + [
        attempt("bad", FAILED, planned=1.05)
    ]
    lines = render_chart(attempts, [Fault(name="relay-1 killed", time=1.0)]).splitlines()
    assert lines[0].startswith("per 0.1 s: at most 10")
    assert lines[0].endswith("at most 1 errors")
    errors, fault = (next(line for line in lines if line.startswith(word)) for word in ("errors", "fault"))
    assert errors.index("█") == fault.index("▲")
    assert "relay-1 killed (1.0 s)" in fault


@given(st.floats(0, 10_000), st.integers(70, 100), st.floats(-10, 20_000))
def test_no_chart_is_wider_than_asked(span: float, width: int, moment: float) -> None:
    attempts = [attempt("a", planned=0.0), attempt("b", FAILED, planned=span)]
    chart = render_chart(attempts, [Fault(name="relay killed " * 5, time=moment)], width=width)
    assert max(map(len, chart.splitlines())) <= width


def test_a_run_of_twenty_seconds_fits_with_larger_slices() -> None:
    chart = render_chart([attempt(f"m{i}", planned=i / 10) for i in range(200)])
    assert chart.startswith("per 0.25 s")
    assert max(map(len, chart.splitlines())) <= 100


def test_a_chart_of_nothing_says_so() -> None:
    assert render_chart([]) == "(no attempts)"


def test_a_clean_run_reads_ok_and_a_lost_message_is_named() -> None:
    attempts = [attempt("m1"), attempt("m2")]
    whole, part = [arrival("m1"), arrival("m2")], [arrival("m1")]
    assert "OK" in render_verdict(check(attempts, whole), attempts, whole)
    text = render_verdict(check(attempts, part), attempts, part)
    assert text.endswith("FAILED")
    assert "lost: m2 for r@example.net" in text


def test_a_whole_report_names_errors_and_what_each_fault_cost() -> None:
    attempts = [attempt("m1"), attempt("m2", FAILED, planned=1.0, end=1.25)]
    arrivals = [arrival("m1")]
    text = render_run(check(attempts, arrivals), attempts, arrivals, [Fault(name="kill", time=1.0)])
    assert "failed-before end-of-data reset" in text
    assert "0.25 s" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_a_report_of_nothing_is_possible() -> None:
    assert "attempted" in render_run(check([], []), [], [])
