"""A relay's share of a pool's connections: all parts together are the limit, while that is possible."""

from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.relay.share import share

LIMITS, COUNTS = st.integers(1, 10_000), st.integers(1, 200)


def relays(count: int) -> list[str]:
    return [f"outbound-relay-{number}" for number in range(count)]


@given(LIMITS, COUNTS)
def test_the_parts_of_all_are_the_limit_or_one_each(limit: int, count: int) -> None:
    names = relays(count)
    assert sum(share(limit, names, name) for name in names) == max(limit, count)


@given(LIMITS, COUNTS)
def test_parts_differ_by_one_at_most(limit: int, count: int) -> None:
    names = relays(count)
    parts = {share(limit, names, name) for name in names}
    assert max(parts) - min(parts) <= 1


@given(LIMITS, COUNTS)
def test_one_relay_more_makes_no_part_larger(limit: int, count: int) -> None:
    names = relays(count)
    assert all(share(limit, [*names, "new"], name) <= share(limit, names, name) for name in names)


@given(LIMITS, COUNTS)
def test_a_relay_that_is_not_listed_yet_takes_no_more_than_it_will_get(limit: int, count: int) -> None:
    names = relays(count)
    assert share(limit, names, "new") <= share(limit, [*names, "new"], "new")
