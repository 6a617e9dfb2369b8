"""Whether a relay's deliveries fail more often than its siblings', by the numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.api.agent_status import ReceiverGroup
from smtpfleet.domain.comparison import Tally, difference, together
from smtpfleet.domain.others import OthersMedian

counts = st.tuples(st.integers(0, 500), st.integers(0, 500)).map(lambda pair: (max(pair), min(pair)))
tallies = st.dictionaries(st.integers(0, 5), counts).map(
    lambda groups: tally(**{f"g{g}": v for g, v in groups.items()})
)


def tally(**groups: tuple[int, int]) -> Tally:
    """``g3=(tried, failed)``: of a group of receivers."""
    return Tally.of(
        ReceiverGroup(group=int(name[1:]), tried=tried, failed=failed)
        for name, (tried, failed) in groups.items()
    )


def test_one_group_is_a_hypergeometric_test_with_continuity_correction() -> None:
    found = difference(tally(g1=(40, 20)), tally(g1=(160, 20)))
    assert found is not None
    assert (found.tried, found.failed, found.siblings_tried) == (40, 20, 160)
    assert found.expected_share == pytest.approx(20 / 160)
    assert found.excess == pytest.approx(0.5 - 0.125)
    variance = 40 * 160 * 40 * 160 / (200**2 * 199)
    assert found.deviations == pytest.approx((20 - 8 - 0.5) / math.sqrt(variance))


def test_relays_with_nothing_in_common_cannot_be_compared() -> None:
    assert difference(tally(g1=(40, 40)), tally(g2=(400, 0))) is None
    assert difference(tally(), tally(g2=(400, 0))) is None


def test_a_receiver_that_only_one_relay_has_does_not_count_against_it() -> None:
    found = difference(tally(g1=(50, 0), g2=(900, 900)), tally(g1=(100, 0)))
    assert found is not None
    assert (found.tried, found.failed, found.deviations) == (50, 0, 0.0)


def test_a_relay_with_more_mail_to_a_bad_receiver_is_not_worse() -> None:
    """Of all its attempts 81 % fail, of its sibling's 19 %: by receiver, both have the same."""
    found = difference(tally(g1=(900, 900), g2=(100, 0)), tally(g1=(100, 100), g2=(400, 0)))
    assert found is not None
    assert found.deviations == 0.0
    assert found.excess == pytest.approx(0.0)


@given(tallies, st.integers(1, 5))
def test_equal_rates_are_never_a_difference(own: Tally, times: int) -> None:
    others = together([own] * times)
    found = difference(own, others)
    if found is not None:
        assert found.deviations == pytest.approx(0.0, abs=1e-6)
        assert found.excess == pytest.approx(0.0)


@given(counts, counts)
def test_more_failures_are_never_less_of_a_difference(own: tuple[int, int], others: tuple[int, int]) -> None:
    tried, failed = own
    if not tried or failed == tried or not others[0]:
        return
    less = difference(tally(g1=own), tally(g1=others))
    more = difference(tally(g1=(tried, failed + 1)), tally(g1=others))
    assert less is not None
    assert more is not None
    everything = failed + 1 + others[1] == tried + others[0]
    assert everything or more.deviations >= less.deviations - 1e-9
    assert more.excess > less.excess


@given(st.lists(tallies, min_size=1, max_size=5))
def test_a_part_taken_away_leaves_the_rest(parts: list[Tally]) -> None:
    rest, expected = together(parts).without(parts[0]), together(parts[1:])
    for group in range(6):
        assert rest.tried.get(group, 0) == expected.tried.get(group, 0)
        assert rest.failed.get(group, 0) == expected.failed.get(group, 0)


def test_numbers_that_contradict_each_other_are_bounded() -> None:
    found = tally(g1=(5, 9), g2=(-3, 4))
    assert (found.tried, found.failed) == ({1: 5, 2: 0}, {1: 5, 2: 0})
    assert found.share == 1.0
    assert tally().share == 0.0


def test_the_median_of_others_needs_others() -> None:
    assert OthersMedian({"a": 1.0}).without("a") is None
    assert OthersMedian({"a": 1.0, "b": 3.0}).without("a") == 3.0
    assert OthersMedian({"a": 1.0, "b": 3.0}).without("c") == 2.0
