"""The size of a pool by what its queues say: what holds whatever happens."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st

from smtpfleet.api.autoscaling import MAX_RECOMMENDATIONS, Autoscaling, AutoscalingStatus
from smtpfleet.domain.autoscaling import Pace, Rules, Sight, sizing
from smtpfleet.domain.load import Load
from smtpfleet.domain.scaling_memory import PARTS, Memory, Side
from tests.unit.domain.sized import NOW, Sized, carrying, limited, named

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
_HASTY = Rules(least=1, most=40, drain_s=60, up=Pace(0, 8, 1), down=Pace(0, 8, 1))
"""No window hides what the rules would do at once."""
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
_LOADS = st.lists(_LOAD, max_size=4).map(lambda loads: named(*loads))
_LOOK = st.tuples(_LOADS, st.floats(0.5, 200), st.booleans())


@dataclass(frozen=True)
class _Change:
    at: datetime
    by: int


def _changes(pool: Sized, looks: list[tuple[dict[str, Load], float, bool]]) -> Iterator[_Change]:
    for loads, after_s, leaving in looks:
        before = pool.size
        pool.look(loads, after_s=after_s, leaving=leaving)
        assert pool.rules.least <= pool.size <= pool.rules.most
        for side in (pool.memory.up, pool.memory.down):
            assert len(side.advised) <= MAX_RECOMMENDATIONS
        if pool.size != before:
            yield _Change(pool.now, pool.size - before)


@given(rules=_RULES, start=st.integers(0, 36), looks=st.lists(_LOOK, max_size=40))
@settings(max_examples=80, deadline=None)
def test_bounds_hold_and_steps_are_kept(
    rules: Rules, start: int, looks: list[tuple[dict[str, Load], float, bool]]
) -> None:
    pool = Sized(rules, min(max(start, rules.least), rules.most))
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
            ).map(lambda loads: named(*loads)),
            st.floats(0.5, 200),
        ),
        max_size=20,
    ),
)
@settings(max_examples=80, deadline=None)
def test_an_outage_of_receivers_never_adds_a_relay(
    rules: Rules,
    start: int,
    before: list[tuple[dict[str, Load], float, bool]],
    outage: list[tuple[dict[str, Load], float]],
) -> None:
    pool = Sized(rules, min(max(start, rules.least), rules.most))
    list(_changes(pool, before))
    size = pool.size
    for loads, after_s in outage:
        pool.look(loads, after_s=after_s)
        assert pool.size <= size
        size = pool.size


@given(
    rules=_RULES,
    rate=st.integers(1, 300),
    needed=st.floats(0, 36),
    noise=st.lists(st.floats(-0.1, 0.1), min_size=200, max_size=200),
)
@example(rules=_HASTY, rate=1, needed=11.125, noise=[0.0] * 199 + [-0.09375])
@example(rules=_HASTY, rate=1, needed=11.95, noise=[0.0] * 100 + [0.1] * 99 + [-0.1])
@example(rules=_HASTY, rate=10, needed=29.5, noise=[0.0] * 100 + [0.1] * 99 + [-0.1])
@settings(max_examples=60, deadline=None)
def test_a_steady_load_never_flaps(rules: Rules, rate: int, needed: float, noise: list[float]) -> None:
    """With noise of a tenth, relays that are too few are the limit, and those that are enough send what arrives."""
    pool = Sized(rules, rules.least, Memory(rate=rate, measured=NOW))
    changes = []
    for off in noise:
        before, taken_per_s = pool.size, needed * rate * (1 + off)
        each = taken_per_s / pool.size
        load = limited(1, per_s=rate) if needed > pool.size else carrying(each)
        pool.look(named(*[replace(load, taken=round(each * 60), taken_per_s=each)] * pool.size))
        changes += [pool.size - before] if pool.size != before else []
    assert not any(change < 0 for change in changes), changes


@given(
    rules=_RULES, size=st.integers(1, 36), rate=st.integers(1, 500), loads=_LOADS, more=st.integers(1, 50_000)
)
@settings(max_examples=80, deadline=None)
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
@settings(max_examples=80, deadline=None)
def test_a_load_that_does_not_change_ends_in_a_memory_that_does_not_change(
    rules: Rules, start: int, loads: dict[str, Load]
) -> None:
    """So an idle pool writes nothing, once a change is a period and a window ago."""
    pool = Sized(rules, start)
    for _ in range(60):
        pool.look(loads, after_s=210)
    before = pool.memory
    for _ in range(4):
        pool.look(loads)
    assert pool.memory == before


@given(
    phases=st.lists(
        st.tuples(
            st.sampled_from([0, 60, 300, 900, 3600]),
            st.floats(0.5, 1.5),
            st.integers(1, 30),
            st.integers(0, 40),
        ),
        min_size=2,
        max_size=4,
    ),
    staying=st.sampled_from([min, max]),
)
@example(phases=[(900, 1.01, 20, 7), (3600, 1.01, 20, 9)], staying=max)
@settings(max_examples=60, deadline=None)
def test_what_is_remembered_fits_the_status_however_the_window_changes(
    phases: list[tuple[int, float, int, int]], staying: Callable[[Iterable[int]], int]
) -> None:
    """And it still says no size that is farther from staying than one that was asked for within the window."""
    side, now, asked = Side(), NOW, list[tuple[datetime, int]]()
    for window_s, parts, looks, size in phases:
        for number in range(looks):
            relays = (size * (number + 1)) % 41
            now += timedelta(seconds=1 + parts * window_s / PARTS)
            side = side.advise(relays, window_s=window_s, staying=staying, size=relays, now=now)
            stored = Memory(down=side).status().model_dump_json(by_alias=True)
            assert Memory.of(AutoscalingStatus.model_validate_json(stored)).down == side
            seen = [*asked, (now, relays)]
            asked = [(at, relays) for at, relays in seen if (now - at).total_seconds() < window_s]
            said = side.stabilized(relays, window_s=window_s, staying=staying, now=now)
            assert staying([said, *(relays for _, relays in asked)]) == said
