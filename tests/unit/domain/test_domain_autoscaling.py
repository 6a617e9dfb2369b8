"""The size of a pool by what its queues say: every rule by itself."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from smtpfleet.api.autoscaling import MAX_RECOMMENDATIONS, Autoscaling
from smtpfleet.api.reasons import Reason
from smtpfleet.domain.autoscaling import Rules
from smtpfleet.domain.load import Load
from smtpfleet.domain.scaling_memory import Advised, Memory, Side
from tests.unit.domain.sized import NOW, Sized, carrying, limited, named, spread

RULES = Rules.of(Autoscaling(min_replicas=2, max_replicas=10))
SWIFT = Rules.of(
    Autoscaling.model_validate(
        {
            "minReplicas": 1,
            "maxReplicas": 20,
            "scaleUp": {"maxStep": 20},
            "scaleDown": {"stabilizationWindow": "0s", "maxStep": 20, "period": "1s"},
        }
    )
)
KNOWN = Memory(rate=100, measured=NOW)
SLOW = Load(backlog=5000, taken=6000, taken_per_s=100.0, per_s=66.0, busy=True, queued_s=20.0, receiver_s=0.3)
REFUSING = Load(backlog=900, taken=6000, put_off=6000, troubles=("RemoteTemporary",))


# What the load needs.


@pytest.mark.parametrize(
    ("loads", "size"),
    [
        ([limited(6000)], 1),  # gone in 60 s
        ([limited(6001)], 2),
        ([limited(30000)], 5),
        ([limited(15000), limited(15000)], 5),
        ([limited(6000, taken=6000)], 2),  # 100/s arrive as well
        ([limited(6000, taken=6060)], 3),
        ([limited(6000), carrying(100)], 2),  # arrivals of all relays count
        ([limited(6000), Load(backlog=6000, queued_s=0.5)], 1),  # what does not wait is no backlog
        ([limited(6000), SLOW], 2),  # what waits for a receiver neither; what arrives does
        ([limited(90000, taken=6000)], 2),  # of what an outage left, no more than arrives counts
        ([limited(90000, taken=0)], 1),
        # Relays that have their hands full are left to what they have: others carry what arrives.
        ([limited(90000, taken=3000)] * 2, 3),
        ([limited(90000, taken=6000)] * 2, 4),
        ([limited(90000, taken=3000), carrying(50)], 2),
        ([limited(90000, taken=3000), carrying(80)], 3),
    ],
)
def test_the_backlog_of_limited_relays_is_to_be_gone_in_the_target_time(loads: list[Load], size: int) -> None:
    pool = Sized(SWIFT, size=1)
    assert pool.look(named(*loads)).size == size


def test_it_grows_at_once_and_says_that_the_relays_are_the_limit() -> None:
    result = Sized(RULES, size=2).look(named(limited(), limited(12000)))
    assert (result.size, result.why, result.bound) == (3, Reason.RELAYS_ARE_THE_LIMIT, None)


def test_it_does_not_grow_before_it_is_known_what_a_relay_sends() -> None:
    result = Sized(RULES, size=2).look(named(limited(90000, busy=False)))
    assert (result.size, result.why) == (2, Reason.RELAYS_ARE_THE_LIMIT)


def test_a_rate_that_was_measured_before_serves() -> None:
    assert Sized(RULES, 2, KNOWN).look(named(limited(18001, busy=False))).size == 4


def test_an_ejected_relay_is_one_more_that_is_needed() -> None:
    assert Sized(RULES, 3, KNOWN).look(named(limited(18000)), out=1).size == 4


# Receivers.


@pytest.mark.parametrize(
    ("load", "reason", "troubles"),
    [
        (SLOW, Reason.RECEIVER_SLOW, ()),
        (REFUSING, Reason.RECEIVER_REFUSES, ("RemoteTemporary",)),
    ],
)
def test_mail_that_waits_for_receivers_adds_no_relay_and_removes_none(
    load: Load, reason: Reason, troubles: tuple[str, ...]
) -> None:
    pool = Sized(RULES, 4, KNOWN)
    result = pool.last(named(load, load), 3600)
    assert (result.size, result.why, result.bound, result.troubles) == (4, reason, reason, troubles)


def test_relays_that_are_the_limit_are_told_of_before_receivers() -> None:
    result = Sized(RULES, 2, KNOWN).look(named(limited(30000), SLOW, REFUSING))
    assert (result.size, result.why) == (6, Reason.RELAYS_ARE_THE_LIMIT)


def test_receivers_of_one_relay_do_not_speak_for_those_of_the_pool() -> None:
    taking = replace(carrying(20), reached=1200)
    result = Sized(RULES, 4, KNOWN).look(named(taking, taking, taking, replace(REFUSING, put_off=900)))
    assert (result.why, result.bound) == (Reason.FEWER_RELAYS_NEEDED, Reason.STABILIZING)


def test_as_many_put_off_as_taken_do_not_change_the_word_each_time() -> None:
    pool = Sized(RULES, 2, KNOWN)
    said = [
        pool.look(named(Load(reached=100, put_off=put_off))).why for put_off in (99, 101, 99, 102, 51, 50, 99)
    ]
    assert said == [Reason.LOAD_CARRIED, *[Reason.RECEIVER_REFUSES] * 4, *[Reason.LOAD_CARRIED] * 2]
    said = [pool.look(named(Load(put_off=put_off))).why for put_off in (9, 10, 9, 5, 4, 9)]
    assert said == [Reason.LOAD_CARRIED, *[Reason.RECEIVER_REFUSES] * 3, *[Reason.LOAD_CARRIED] * 2]


def test_the_reasons_of_all_relays_are_told_those_of_the_one_with_most_first() -> None:
    one = Load(put_off=40, troubles=("ConnectFailed", "TlsFailed"))
    other = Load(put_off=90, troubles=("RemoteTemporary", "ConnectFailed"))
    result = Sized(RULES, 2, KNOWN).look(named(one, other))
    assert result.troubles == ("RemoteTemporary", "ConnectFailed", "TlsFailed")


def test_mail_that_is_only_tried_again_and_again_does_not_keep_relays() -> None:
    dead = replace(carrying(1), backlog=2, reached=10, put_off=40, troubles=("ConnectFailed",))
    pool = Sized(RULES, 4, KNOWN)
    result = pool.last(named(dead, dead, dead, dead), 900)
    assert (result.size, result.why, result.bound) == (2, Reason.RECEIVER_REFUSES, Reason.RECEIVER_REFUSES)
    assert result.again_s == 5.0


# Shrinking.


def test_it_shrinks_by_one_a_period_after_the_window() -> None:
    pool = Sized(RULES, size=5)
    sizes = [(pool.look(named(carrying())).size, pool.now) for _ in range(60)]
    changes = [
        (size, (now - NOW).total_seconds())
        for (size, now), (before, _) in zip(sizes[1:], sizes, strict=False)
        if size != before
    ]
    assert [size for size, _ in changes] == [4, 3, 2]
    moments = [seconds for _, seconds in changes]
    assert moments[0] >= 300
    assert all(later - earlier >= 60 for earlier, later in pairwise(moments))


def test_it_says_what_it_waits_for_before_it_shrinks() -> None:
    pool = Sized(RULES, size=5)
    first = pool.look(named(carrying()))
    assert (first.size, first.why, first.bound) == (5, Reason.FEWER_RELAYS_NEEDED, Reason.STABILIZING)
    pool.last(named(carrying()), 315)
    step = pool.look(named(carrying()))
    assert (step.size, step.bound) == (4, Reason.STEP_LIMITED)
    end = pool.last(named(carrying()), 300)
    assert (end.size, end.why, end.bound) == (2, Reason.LOAD_CARRIED, None)


@pytest.mark.parametrize(
    ("taken_per_s", "size"), [(0, 1), (49, 1), (50, 2), (100, 2), (110, 2), (111, 3), (390, 5), (900, 8)]
)
def test_it_does_not_shrink_below_what_the_load_needs_if_a_relay_fails(taken_per_s: float, size: int) -> None:
    pool = Sized(replace(SWIFT, most=8), 8, KNOWN)
    assert pool.last(spread(taken_per_s), 120).size == size


def test_a_burst_within_the_window_keeps_it() -> None:
    pool = Sized(RULES, 6, KNOWN)
    pool.last(named(carrying()), 150)
    pool.look(spread(450))
    assert pool.last(named(carrying()), 285).size == 6
    assert pool.last(named(carrying()), 60).size == 5


@pytest.mark.parametrize("seen", [{"leaving": True}, {"partial": True}])
def test_it_does_not_shrink_while_a_relay_leaves_or_says_nothing(seen: dict[str, Any]) -> None:
    pool = Sized(RULES, 4, KNOWN)
    assert pool.last(named(carrying()), 900, **seen).size == 4


def test_it_grows_by_what_the_others_say_while_a_relay_is_silent() -> None:
    assert Sized(RULES, 2, KNOWN).look(named(limited(18001)), partial=True).size == 4


def test_without_any_fact_the_size_stays_and_it_says_so() -> None:
    pool = Sized(RULES, 5, KNOWN)
    before = pool.memory
    result = pool.last({}, 3600, silent=("outbound-relay-0", "outbound-relay-1"))
    assert (result.size, result.why) == (5, Reason.QUEUE_UNKNOWN)
    assert result.troubles == ("outbound-relay-0", "outbound-relay-1")
    assert pool.memory == before


# Bounds, steps and windows.


@pytest.mark.parametrize(("size", "bounded"), [(0, 2), (1, 2), (2, 2), (10, 10), (11, 10), (200, 10)])
def test_new_bounds_hold_at_once(size: int, bounded: int) -> None:
    assert Sized(RULES, size).look({}).size == bounded


def test_no_more_than_a_step_is_added_in_a_period() -> None:
    pool = Sized(RULES, 2, KNOWN)
    heavy = named(limited(90000))
    first = pool.look(heavy)
    assert (first.size, first.bound) == (6, Reason.STEP_LIMITED)
    assert pool.look(heavy, after_s=29).size == 6
    second = pool.look(heavy, after_s=2)
    assert (second.size, second.bound) == (10, Reason.MAX_REPLICAS_REACHED)


def test_a_part_of_a_step_leaves_the_rest_of_it() -> None:
    pool = Sized(RULES, 2, KNOWN)
    assert pool.look(named(limited(17000))).size == 3
    assert pool.look(named(limited(90000)), after_s=5).size == 6
    assert pool.look(named(limited(90000)), after_s=20).size == 6
    assert pool.look(named(limited(90000)), after_s=11).size == 10


def test_with_a_window_it_grows_only_by_what_was_needed_all_the_time() -> None:
    rules = Rules.of(
        Autoscaling.model_validate(
            {"minReplicas": 2, "maxReplicas": 10, "scaleUp": {"stabilizationWindow": "60s"}}
        )
    )
    pool = Sized(rules, 2, KNOWN)
    first = pool.look(named(limited(30000)))
    assert (first.size, first.bound) == (2, Reason.STABILIZING)
    assert pool.last(named(limited(24000)), 45).size == 2
    assert pool.last(named(limited(36000)), 30).size == 4


def test_another_operator_goes_on_where_the_last_one_stopped() -> None:
    """An hour without one neither starts the window anew nor skips it."""
    pool = Sized(RULES, 5, KNOWN)
    pool.last(named(carrying()), 150)
    assert pool.look(named(carrying()), after_s=3600).size == 4
    pool = Sized(RULES, 5, KNOWN)
    pool.last(spread(390), 150)
    assert pool.look(named(carrying()), after_s=3600).size == 5


def test_a_window_that_is_made_longer_keeps_what_the_status_has_room_for() -> None:
    pool = Sized(RULES, 10, KNOWN)
    for number in range(32):
        pool.look(spread(100 * (1 + number % 2)), after_s=20)
    pool.rules = replace(RULES, down=replace(RULES.down, window_s=3600))
    for number in range(32):
        pool.look(spread(100 * (1 + number % 2)), after_s=230)
    assert len(pool.memory.down.advised) <= MAX_RECOMMENDATIONS


def test_a_size_that_is_asked_for_again_is_not_remembered_twice() -> None:
    side = Side((Advised(NOW, 5),))
    for after_s, relays in ((60, 3), (62, 5), (120, 4)):
        now = NOW + timedelta(seconds=after_s)
        side = side.advise(relays, window_s=300, staying=max, size=5, now=now)
    assert [entry.relays for entry in side.advised] == [5, 4]


def test_a_measured_rate_is_believed_for_a_day() -> None:
    pool = Sized(RULES, 6, KNOWN)
    assert pool.last(spread(390), 900).size == 5
    pool.look(spread(390), after_s=86401)
    assert pool.memory.rate == 0
    assert pool.last(spread(390), 900).size < 5


@pytest.mark.parametrize(
    ("load", "rate"),
    [
        (limited(per_s=110.0), 100),
        (limited(per_s=80.0), 100),
        (limited(per_s=115.0), 120),
        (limited(per_s=140.0), 140),
        (limited(per_s=70.0), 70),
        (limited(per_s=0.2), 1),
        (limited(per_s=12345.0), 12000),
        (carrying(115.0), 100),
        (carrying(140.0), 140),
        (carrying(20.0), 100),
    ],
)
def test_a_rate_is_remembered_in_two_digits_when_it_is_another(load: Load, rate: int) -> None:
    pool = Sized(RULES, 2, KNOWN)
    pool.look(named(load))
    assert pool.memory.rate == rate


@pytest.mark.parametrize("memory", [Memory(), KNOWN])
@pytest.mark.parametrize("others", [1, 2, 5])
def test_relays_that_are_slow_themselves_do_not_tell_what_one_relay_sends(
    memory: Memory, others: int
) -> None:
    """Else the pool would grow to its largest size for one slow disk, and stay there: each relay sends little then."""
    pool = Sized(RULES, size=others + 1, memory=memory)
    slow = limited(700, per_s=5.0, taken=1020)
    pool.last(named(slow, *[carrying(17)] * others), 900)
    assert (pool.memory.rate, pool.size) == (memory.rate, 2 if memory.rate else others + 1)


@pytest.mark.parametrize(
    ("loads", "rate"),
    [
        ([limited(per_s=60.0), limited(per_s=60.0), carrying(70)], 60),  # most of the relays
        ([limited(per_s=60.0), carrying(60)], 60),  # nobody is faster
        ([limited(per_s=100.0), limited(per_s=60.0)], 80),
        ([limited(per_s=60.0), carrying(70)], 0),
    ],
)
def test_what_relays_at_their_limit_send_is_a_measure_unless_they_are_the_slow_ones(
    loads: list[Load], rate: int
) -> None:
    pool = Sized(RULES, size=len(loads))
    pool.look(named(*loads))
    assert pool.memory.rate == rate


def test_a_rate_that_a_slow_receiver_lowered_a_moment_ago_keeps_no_relay() -> None:
    pool = Sized(RULES, 2)
    pool.look(named(limited(per_s=84.0, taken=2910), limited(per_s=84.0, taken=2910)))
    assert (pool.memory.rate, pool.size) == (84, 4)
    pool.look(named(limited(per_s=100.0, taken=2910), limited(per_s=100.0, taken=2910)))
    assert pool.memory.rate == 100
    assert pool.last(spread(97), 900).size == 2


def test_a_pool_is_looked_at_until_what_came_in_the_last_minute_can_keep_it_large_no_more() -> None:
    """When no mail comes any more, nothing else would cause a look."""
    loads = named(*[carrying(75)] * 4)
    assert Sized(RULES, 4, KNOWN).look(loads).again_s == 15.0
    assert Sized(RULES, 2, KNOWN).look(loads).again_s is None
    assert Sized(RULES, 4, Memory()).look(named(*[carrying(0)] * 4)).again_s == 5.0  # it shrinks
