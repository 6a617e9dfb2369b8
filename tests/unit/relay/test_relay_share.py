"""A relay's share of a pool's connections: all parts together are the limit, while that is possible."""

from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.relay.share import HELD_S, HeldShare, share

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


class _Pool:
    """A relay in a pool whose size changes."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self._held = HeldShare(lambda: self.now_s)

    def part(self, size: int, *, limit: int = 20, after_s: float = 0.0) -> int:
        self.now_s += after_s
        return self._held.of(limit, [f"relay-{number}" for number in range(size)], "relay-0")


def test_a_part_that_falls_holds_at_once() -> None:
    pool = _Pool()
    assert [pool.part(size) for size in (2, 5, 10)] == [10, 4, 2]


def test_a_part_that_rises_holds_after_a_while_and_not_at_all_if_the_pool_grows_again() -> None:
    pool = _Pool()
    assert (pool.part(5), pool.part(2), pool.part(2, after_s=HELD_S - 1)) == (4, 4, 4)
    assert (pool.part(5), pool.part(2, after_s=HELD_S - 1)) == (4, 4)
    assert pool.part(2, after_s=1) == 10
    assert pool.part(2, after_s=HELD_S) == 10


def test_another_limit_holds_at_once() -> None:
    pool = _Pool()
    assert (pool.part(5), pool.part(5, limit=40), pool.part(5, limit=0), pool.part(5)) == (4, 8, 0, 4)
