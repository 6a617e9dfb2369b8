"""The size of a pool by what its queues say: every rule by itself, then what holds whatever happens."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpfleet.api.autoscaling import MAX_RECOMMENDATIONS, Autoscaling, AutoscalingStatus
from smtpfleet.api.reasons import Reason
from smtpfleet.domain.autoscaling import Rules, Sight, Sizing, sizing
from smtpfleet.domain.load import Load
from smtpfleet.domain.scaling_memory import Memory

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
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


def _limited(backlog: int = 6000, *, per_s: float = 100.0, taken: int | None = None, **fields: Any) -> Load:
    """A relay that mail waits for. ``taken`` arrived in the last minute, evenly; else what waits, and none lately."""
    came, lately = (backlog, 0.0) if taken is None else (taken, taken / 60)
    return replace(
        Load(
            backlog=backlog,
            taken=came,
            taken_per_s=lately,
            per_s=per_s,
            busy=True,
            queued_s=5.0,
            receiver_s=0.01,
        ),
        **fields,
    )


def _carrying(taken_per_s: float = 0.0) -> Load:
    """A relay that sends what arrives."""
    return Load(
        taken=round(taken_per_s * 60),
        taken_per_s=taken_per_s,
        per_s=taken_per_s,
        minute_per_s=taken_per_s,
        queued_s=0.1,
    )


SLOW = Load(backlog=5000, taken=6000, taken_per_s=100.0, per_s=66.0, busy=True, queued_s=20.0, receiver_s=0.3)
REFUSING = Load(taken=6000, put_off=6000, trouble="RemoteTemporary")


def _loads(*loads: Load) -> dict[str, Load]:
    return {f"outbound-relay-{number}": load for number, load in enumerate(loads)}


def _spread(taken_per_s: float) -> dict[str, Load]:
    """A load on so many relays that none of them sends more than is known that it can."""
    return _loads(*[_carrying(taken_per_s / 10)] * 10)


@dataclass
class _Pool:
    """A pool over time: what was decided becomes what is, and memory goes through the form in which it is stored."""

    rules: Rules
    size: int = 0
    memory: Memory = field(default_factory=Memory)
    now: datetime = NOW

    def look(self, loads: Mapping[str, Load], *, after_s: float = 15.0, **seen: Any) -> Sizing:
        self.now += timedelta(seconds=after_s)
        result = sizing(self.rules, self.memory, Sight(self.size, loads, **seen), self.now)
        stored = AutoscalingStatus.model_validate_json(result.memory.status().model_dump_json(by_alias=True))
        self.memory, self.size = Memory.of(stored), result.size
        return result

    def last(self, loads: Mapping[str, Load], seconds: float, **seen: Any) -> Sizing:
        """Look at the same loads for so long."""
        for _ in range(round(seconds / 15)):
            result = self.look(loads, **seen)
        return result


# What the load needs.


@pytest.mark.parametrize(
    ("loads", "size"),
    [
        ([_limited(6000)], 1),  # gone in 60 s
        ([_limited(6001)], 2),
        ([_limited(30000)], 5),
        ([_limited(15000), _limited(15000)], 5),
        ([_limited(6000, taken=6000)], 2),  # 100/s arrive as well
        ([_limited(6000, taken=6060)], 3),
        ([_limited(6000), _carrying(100)], 2),  # arrivals of all relays count
        ([_limited(6000), Load(backlog=6000, queued_s=0.5)], 1),  # what does not wait is no backlog
        ([_limited(6000), SLOW], 2),  # what waits for a receiver neither; what arrives does
        ([_limited(90000, taken=6000)], 4),  # of what an outage left, three times what arrives counts
        ([_limited(90000, taken=0)], 1),
    ],
)
def test_the_backlog_of_limited_relays_is_to_be_gone_in_the_target_time(loads: list[Load], size: int) -> None:
    pool = _Pool(SWIFT, size=1)
    assert pool.look(_loads(*loads)).size == size


def test_it_grows_at_once_and_says_that_the_relays_are_the_limit() -> None:
    result = _Pool(RULES, size=2).look(_loads(_limited(), _limited(12000)))
    assert (result.size, result.why, result.bound) == (3, Reason.RELAYS_ARE_THE_LIMIT, None)


def test_it_does_not_grow_before_it_is_known_what_a_relay_sends() -> None:
    result = _Pool(RULES, size=2).look(_loads(_limited(90000, busy=False)))
    assert (result.size, result.why) == (2, Reason.RELAYS_ARE_THE_LIMIT)


def test_a_rate_that_was_measured_before_serves() -> None:
    assert _Pool(RULES, 2, KNOWN).look(_loads(_limited(18001, busy=False))).size == 4


def test_an_ejected_relay_is_one_more_that_is_needed() -> None:
    assert _Pool(RULES, 3, KNOWN).look(_loads(_limited(18000)), out=1).size == 4


# Receivers.


@pytest.mark.parametrize(
    ("load", "reason", "trouble"),
    [
        (SLOW, Reason.RECEIVER_SLOW, ""),
        (REFUSING, Reason.RECEIVER_REFUSES, "RemoteTemporary"),
    ],
)
def test_mail_that_waits_for_receivers_adds_no_relay_and_removes_none(
    load: Load, reason: Reason, trouble: str
) -> None:
    pool = _Pool(RULES, 4, KNOWN)
    result = pool.last(_loads(load, load), 3600)
    assert (result.size, result.why, result.bound, result.trouble) == (4, reason, reason, trouble)


def test_relays_that_are_the_limit_are_told_of_before_receivers() -> None:
    result = _Pool(RULES, 2, KNOWN).look(_loads(_limited(30000), SLOW, REFUSING))
    assert (result.size, result.why) == (6, Reason.RELAYS_ARE_THE_LIMIT)


# Shrinking.


def test_it_shrinks_by_one_a_period_after_the_window() -> None:
    pool = _Pool(RULES, size=5)
    sizes = [(pool.look(_loads(_carrying())).size, pool.now) for _ in range(60)]
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
    pool = _Pool(RULES, size=5)
    first = pool.look(_loads(_carrying()))
    assert (first.size, first.why, first.bound) == (5, Reason.FEWER_RELAYS_NEEDED, Reason.STABILIZING)
    pool.last(_loads(_carrying()), 315)
    step = pool.look(_loads(_carrying()))
    assert (step.size, step.bound) == (4, Reason.STEP_LIMITED)
    end = pool.last(_loads(_carrying()), 300)
    assert (end.size, end.why, end.bound) == (2, Reason.LOAD_CARRIED, None)


@pytest.mark.parametrize(
    ("taken_per_s", "size"), [(0, 1), (49, 1), (50, 2), (100, 2), (110, 2), (111, 3), (390, 5), (900, 8)]
)
def test_it_does_not_shrink_below_what_the_load_needs_if_a_relay_fails(taken_per_s: float, size: int) -> None:
    pool = _Pool(replace(SWIFT, most=8), 8, KNOWN)
    assert pool.last(_spread(taken_per_s), 120).size == size


def test_a_burst_within_the_window_keeps_it() -> None:
    pool = _Pool(RULES, 6, KNOWN)
    pool.last(_loads(_carrying()), 150)
    pool.look(_spread(450))
    assert pool.last(_loads(_carrying()), 285).size == 6
    assert pool.last(_loads(_carrying()), 60).size == 5


@pytest.mark.parametrize("seen", [{"leaving": True}, {"partial": True}])
def test_it_does_not_shrink_while_a_relay_leaves_or_says_nothing(seen: dict[str, Any]) -> None:
    pool = _Pool(RULES, 4, KNOWN)
    assert pool.last(_loads(_carrying()), 900, **seen).size == 4


def test_it_grows_by_what_the_others_say_while_a_relay_is_silent() -> None:
    assert _Pool(RULES, 2, KNOWN).look(_loads(_limited(18001)), partial=True).size == 4


def test_without_any_fact_the_size_stays_and_it_says_so() -> None:
    pool = _Pool(RULES, 5, KNOWN)
    before = pool.memory
    result = pool.last({}, 3600, silent=("outbound-relay-0", "outbound-relay-1"))
    assert (result.size, result.why) == (5, Reason.QUEUE_UNKNOWN)
    assert result.trouble == "outbound-relay-0, outbound-relay-1"
    assert pool.memory == before


# Bounds, steps and windows.


@pytest.mark.parametrize(("size", "bounded"), [(0, 2), (1, 2), (2, 2), (10, 10), (11, 10), (200, 10)])
def test_new_bounds_hold_at_once(size: int, bounded: int) -> None:
    assert _Pool(RULES, size).look({}).size == bounded


def test_no_more_than_a_step_is_added_in_a_period() -> None:
    pool = _Pool(RULES, 2, KNOWN)
    heavy = _loads(_limited(90000))
    first = pool.look(heavy)
    assert (first.size, first.bound) == (6, Reason.STEP_LIMITED)
    assert pool.look(heavy, after_s=29).size == 6
    second = pool.look(heavy, after_s=2)
    assert (second.size, second.bound) == (10, Reason.MAX_REPLICAS_REACHED)


def test_a_part_of_a_step_leaves_the_rest_of_it() -> None:
    pool = _Pool(RULES, 2, KNOWN)
    assert pool.look(_loads(_limited(17000))).size == 3
    assert pool.look(_loads(_limited(90000)), after_s=5).size == 6
    assert pool.look(_loads(_limited(90000)), after_s=20).size == 6
    assert pool.look(_loads(_limited(90000)), after_s=11).size == 10


def test_with_a_window_it_grows_only_by_what_was_needed_all_the_time() -> None:
    rules = Rules.of(
        Autoscaling.model_validate(
            {"minReplicas": 2, "maxReplicas": 10, "scaleUp": {"stabilizationWindow": "60s"}}
        )
    )
    pool = _Pool(rules, 2, KNOWN)
    first = pool.look(_loads(_limited(30000)))
    assert (first.size, first.bound) == (2, Reason.STABILIZING)
    assert pool.last(_loads(_limited(24000)), 45).size == 2
    assert pool.last(_loads(_limited(36000)), 30).size == 4


def test_another_operator_goes_on_where_the_last_one_stopped() -> None:
    """An hour without one neither starts the window anew nor skips it."""
    pool = _Pool(RULES, 5, KNOWN)
    pool.last(_loads(_carrying()), 150)
    assert pool.look(_loads(_carrying()), after_s=3600).size == 4
    pool = _Pool(RULES, 5, KNOWN)
    pool.last(_spread(390), 150)
    assert pool.look(_loads(_carrying()), after_s=3600).size == 5


def test_a_measured_rate_is_believed_for_a_day() -> None:
    pool = _Pool(RULES, 6, KNOWN)
    assert pool.last(_spread(390), 900).size == 5
    pool.look(_spread(390), after_s=86401)
    assert pool.memory.rate == 0
    assert pool.last(_spread(390), 900).size < 5


@pytest.mark.parametrize(
    ("load", "rate"),
    [
        (_limited(per_s=110.0), 100),
        (_limited(per_s=80.0), 100),
        (_limited(per_s=140.0), 140),
        (_limited(per_s=70.0), 70),
        (_limited(per_s=0.2), 1),
        (_limited(per_s=12345.0), 12000),
        (_carrying(110.0), 100),
        (_carrying(140.0), 140),
        (_carrying(20.0), 100),
    ],
)
def test_a_rate_is_remembered_in_two_digits_when_it_is_another(load: Load, rate: int) -> None:
    pool = _Pool(RULES, 2, KNOWN)
    pool.look(_loads(load))
    assert pool.memory.rate == rate


# Whatever happens.

_RULES = st.builds(
    lambda least, more, drain, up, down: Rules.of(
        Autoscaling.model_validate(
            {
                "minReplicas": least,
                "maxReplicas": least + more,
                "targetDrainTime": f"{drain}s",
                "scaleUp": up,
                "scaleDown": down,
            }
        )
    ),
    st.integers(1, 6),
    st.integers(0, 30),
    st.integers(1, 300),
    *[
        st.builds(
            lambda window, step, period: {
                "stabilizationWindow": f"{window}s",
                "maxStep": step,
                "period": f"{period}s",
            },
            st.integers(0, 400),
            st.integers(1, 8),
            st.integers(1, 200),
        )
        for _ in range(2)
    ],
)
_LOAD = st.builds(
    Load,
    backlog=st.integers(0, 50_000),
    taken=st.integers(0, 60_000),
    taken_per_s=st.floats(0, 2000),
    seconds=st.floats(4, 60),
    per_s=st.floats(0, 2000),
    busy=st.booleans(),
    minute_per_s=st.floats(0, 2000),
    queued_s=st.floats(0, 100),
    receiver_s=st.sampled_from([0.0, 0.02, 0.3, 30.0]),
    reached=st.integers(0, 1000),
    put_off=st.integers(0, 1000),
)
_LOADS = st.lists(_LOAD, max_size=4).map(lambda loads: _loads(*loads))
_LOOK = st.tuples(_LOADS, st.floats(0.5, 200), st.booleans())


@dataclass(frozen=True)
class _Change:
    at: datetime
    by: int


def _changes(pool: _Pool, looks: list[tuple[dict[str, Load], float, bool]]) -> Iterator[_Change]:
    for loads, after_s, leaving in looks:
        before = pool.size
        pool.look(loads, after_s=after_s, leaving=leaving)
        assert pool.rules.least <= pool.size <= pool.rules.most
        for side in (pool.memory.up, pool.memory.down):
            assert len(side.advised) <= MAX_RECOMMENDATIONS
        if pool.size != before:
            yield _Change(pool.now, pool.size - before)


@given(rules=_RULES, start=st.integers(0, 36), looks=st.lists(_LOOK, max_size=40))
@settings(max_examples=150, deadline=None)
def test_bounds_hold_and_steps_are_kept(
    rules: Rules, start: int, looks: list[tuple[dict[str, Load], float, bool]]
) -> None:
    pool = _Pool(rules, min(max(start, rules.least), rules.most))
    changes = list(_changes(pool, looks))
    for pace, sign in ((rules.up, 1), (rules.down, -1)):
        steps = [change for change in changes if change.by * sign > 0]
        for last in steps:
            since = last.at - timedelta(seconds=pace.period_s)
            done = sum(abs(step.by) for step in steps if since < step.at <= last.at)
            assert done <= pace.max_step


@given(
    rules=_RULES,
    start=st.integers(1, 36),
    before=st.lists(_LOOK, max_size=5),
    outage=st.lists(
        st.tuples(
            st.lists(
                _LOAD.map(
                    lambda load: replace(
                        load, put_off=load.reached + 10 if load.taken % 2 else 0, receiver_s=30.0
                    )
                ),
                min_size=1,
                max_size=4,
            ).map(lambda loads: _loads(*loads)),
            st.floats(0.5, 200),
        ),
        max_size=20,
    ),
)
@settings(max_examples=150, deadline=None)
def test_an_outage_of_receivers_never_adds_a_relay(
    rules: Rules,
    start: int,
    before: list[tuple[dict[str, Load], float, bool]],
    outage: list[tuple[dict[str, Load], float]],
) -> None:
    pool = _Pool(rules, min(max(start, rules.least), rules.most))
    list(_changes(pool, before))
    size = pool.size
    for loads, after_s in outage:
        pool.look(loads, after_s=after_s)
        assert pool.size <= size
        size = pool.size


@given(
    rules=_RULES,
    rate=st.integers(1, 300),
    needed=st.floats(0, 12),
    noise=st.lists(st.floats(-0.1, 0.1), min_size=200, max_size=200),
)
@settings(max_examples=60, deadline=None)
def test_a_steady_load_never_flaps(rules: Rules, rate: int, needed: float, noise: list[float]) -> None:
    """With noise of a tenth, relays that are too few are the limit, and those that are enough send what arrives."""
    pool = _Pool(rules, rules.least, Memory(rate=rate, measured=NOW))
    changes = []
    for off in noise:
        before, taken_per_s = pool.size, needed * rate * (1 + off)
        each = taken_per_s / pool.size
        load = _limited(1, per_s=rate) if needed > pool.size else _carrying(each)
        pool.look(_loads(*[replace(load, taken=round(each * 60), taken_per_s=each)] * pool.size))
        changes += [pool.size - before] if pool.size != before else []
    assert not any(change < 0 for change in changes), changes


@given(
    rules=_RULES, size=st.integers(1, 36), rate=st.integers(1, 500), loads=_LOADS, more=st.integers(1, 50_000)
)
@settings(max_examples=200, deadline=None)
def test_more_backlog_never_gives_fewer_relays(
    rules: Rules, size: int, rate: int, loads: dict[str, Load], more: int
) -> None:
    memory = Memory(rate=rate, measured=NOW)
    heavier = {
        name: replace(load, backlog=load.backlog + more) if load.backlog else load
        for name, load in loads.items()
    }
    less, greater = (sizing(rules, memory, Sight(size, each), NOW).size for each in (loads, heavier))
    assert less <= greater


@given(rules=_RULES, start=st.integers(1, 36), loads=_LOADS.filter(bool))
@settings(max_examples=100, deadline=None)
def test_a_load_that_does_not_change_ends_in_a_memory_that_does_not_change(
    rules: Rules, start: int, loads: dict[str, Load]
) -> None:
    """So an idle pool writes nothing, once a change is a period and a window ago."""
    pool = _Pool(rules, start)
    for _ in range(60):
        pool.look(loads, after_s=210)
    before = pool.memory
    for _ in range(4):
        pool.look(loads)
    assert pool.memory == before
