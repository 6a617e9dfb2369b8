"""The health machine over the product of its states and findings, and over any sequence of them."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.api.health import Health
from smtpfleet.api.reasons import Reason, RelayState
from smtpfleet.domain.findings import FATAL, NOTICE, SLOW_FACTOR, Finding
from smtpfleet.domain.health import (
    EDGES,
    SERVED,
    Outage,
    Rules,
    Sight,
    Standing,
    certain,
    certain_before,
    step,
)
from smtpfleet.domain.weights import RAMP, next_step_s, ramp, weight

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
RULES = Rules.of(Health())
BAD = Finding(Reason.SENDER_REFUSED, "452", FATAL)
SLOW = Finding(Reason.PROBE_SLOW, "slow", SLOW_FACTOR)
TOLD = Finding(Reason.AGENT_SILENT, "silent", NOTICE)
BY_FACTOR = {FATAL: BAD, SLOW_FACTOR: SLOW, NOTICE: None}
AGES_S = [0, 1, 29, 30, 31, 59, 61, 600, 10_000]


def standing(state: RelayState = RelayState.SERVING, *, age_s: float = 1000, **fields: object) -> Standing:
    reason = {
        RelayState.EJECTED: Reason.SENDER_REFUSED,
        RelayState.SLOW_START: Reason.JOINED,
        RelayState.DEGRADED: Reason.PROBE_SLOW,
    }.get(state, Reason.PROBES_PASSED)
    since = NOW - timedelta(seconds=age_s)
    outage = Outage(since) if state is RelayState.EJECTED else None
    given: dict[str, object] = {"reason": reason, "since": since, "outage": outage} | fields
    return Standing(state=state, **given)  # type: ignore[arg-type] # only for brevity of the tests


def absent(before: RelayState) -> tuple[RelayState, Reason, str]:
    state = RelayState.DEGRADED if before in SERVED else RelayState.STARTING
    return state, Reason.POD_NOT_READY, "its pod is not ready"


def sights(before: RelayState) -> list[Sight]:
    """Everything that may be seen of a relay."""
    return [
        Sight(ready=ready, absent=lost, factor=factor, finding=BY_FACTOR[factor],
              heard=heard and factor == NOTICE, may_eject=may_eject, company=company)
        for ready, factor, heard, may_eject, company in itertools.product(
            (True, False), BY_FACTOR, (True, False), (True, False), (True, False)
        )
        for lost in (absent(before), (RelayState.STARTING, Reason.POD_MISSING, ""))
    ]  # fmt: skip


ALL = [
    (before, age_s, ejections, sight)
    for before in EDGES
    for age_s in AGES_S
    for ejections in (0, 1, 7)
    for sight in sights(before)
]


def test_over_the_product_of_states_and_sights_only_declared_edges_are_taken() -> None:
    taken: dict[RelayState, set[RelayState]] = {state: set() for state in EDGES}
    for before, age_s, ejections, sight in ALL:
        old = standing(before, age_s=age_s, ejections=ejections)
        new = step(old, sight, RULES, NOW)
        if new.state is not before:
            taken[before].add(new.state)
            assert new.since == NOW
        else:
            assert new.since == old.since
    for before, allowed in EDGES.items():
        # Degraded stands for two things: slow, and not ready for a moment.
        pods = {RelayState.DEGRADED} if before in SERVED else set()
        assert taken[before] == allowed | (pods - {before}), before


def test_a_relay_is_ejected_only_if_it_is_certainly_bad_served_and_its_siblings_allow_it() -> None:
    for before, age_s, ejections, sight in ALL:
        new = step(standing(before, age_s=age_s, ejections=ejections), sight, RULES, NOW)
        if new.state is RelayState.EJECTED and before is not RelayState.EJECTED:
            assert sight.ready
            assert sight.factor == FATAL
            assert sight.may_eject
            assert before in SERVED
            assert new.reason is Reason.SENDER_REFUSED
            assert new.readmitted is None
            assert new.ejections == ejections + 1


def test_an_ejected_relay_returns_only_after_its_time_and_only_if_it_is_ready_and_not_bad() -> None:
    for before, age_s, ejections, sight in ALL:
        if before is not RelayState.EJECTED:
            continue
        new = step(standing(before, age_s=age_s, ejections=ejections), sight, RULES, NOW)
        may = age_s >= RULES.out_s(ejections) and sight.ready and sight.factor > FATAL
        assert (new.state is not RelayState.EJECTED) == may
        if may:
            assert new.readmitted == (NOW if ejections else None)
            assert new.state is RelayState.SLOW_START or not sight.company
        else:
            assert new.ejections == ejections


def test_a_relay_whose_pod_is_away_again_within_one_outage_is_ejected_if_its_siblings_allow_it() -> None:
    for before, age_s, ejections, sight in ALL:
        if before is RelayState.EJECTED or sight.ready:
            continue
        old = standing(before, age_s=age_s, ejections=ejections, outage=Outage(NOW - timedelta(seconds=99)))
        new = step(old, sight, RULES, NOW)
        lately = age_s < RULES.out_s(1) or ejections > 0
        assert (new.state is RelayState.EJECTED) == (before in SERVED and sight.may_eject and lately)
        assert new.outage == old.outage
        if new.state is RelayState.EJECTED:
            found = Reason.SENDER_REFUSED if sight.factor == FATAL else Reason.POD_FLAPS
            assert (new.reason, new.ejections) == (found, ejections + 1)
        still_away = replace(old, state=RelayState.DEGRADED, reason=Reason.POD_NOT_READY)
        assert step(still_away, sight, RULES, NOW).state is sight.absent[0]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60)), min_size=1, max_size=100))
def test_a_pod_that_comes_and_goes_is_out_for_longer_and_longer_and_weights_change_rarely(
    spells: list[tuple[bool, int]],
) -> None:
    """Ready or not, for so many seconds each. Looked at each second, as nothing that matters is missed so."""
    now, of, weights, out_s, began = NOW, standing(age_s=1000), [100], list[float](), NOW
    for ready, seconds in spells:
        for _ in range(seconds):
            now += timedelta(seconds=1)
            sight = Sight(ready=ready, absent=absent(of.state), may_eject=True, company=True)
            after = step(of, sight, RULES, now)
            if after.state is RelayState.EJECTED and of.state is not RelayState.EJECTED:
                began = now
                assert after.ejections <= of.ejections + 1
            if of.state is RelayState.EJECTED and after.state is not RelayState.EJECTED:
                out_s.append((now - began).total_seconds())
                assert out_s[-1] >= RULES.out_s(of.ejections)
            of = after
            weights.append(_weight(of, now))
    changes = sum(a != b for a, b in itertools.pairwise(weights))
    assert changes <= 5 * (len(out_s) + 1)


def test_the_worse_a_relay_is_found_the_lower_its_weight() -> None:
    for before in (RelayState.SERVING, RelayState.SLOW_START, RelayState.DEGRADED):
        for age_s in AGES_S:
            weights = []
            for factor in (FATAL, SLOW_FACTOR, NOTICE):
                sight = Sight(ready=True, factor=factor, finding=BY_FACTOR[factor], may_eject=True)
                new = step(standing(before, age_s=age_s), sight, RULES, NOW)
                weights.append(_weight(new))
            assert weights[0] == 0
            assert weights == sorted(weights)


def _weight(of: Standing, now: datetime = NOW) -> int:
    elapsed_s = (now - of.since).total_seconds()
    return weight(
        of.state, of.reason, elapsed_s=elapsed_s, slow_start_s=RULES.slow_start_s, others_serve=True
    )


def test_a_bad_relay_that_may_not_be_ejected_keeps_state_and_weight_and_says_what_is_wrong() -> None:
    for before in (RelayState.SERVING, RelayState.DEGRADED):
        old = standing(before)
        new = step(old, Sight(ready=True, factor=FATAL, finding=BAD), RULES, NOW)
        assert (new.state, new.since, _weight(new)) == (old.state, old.since, _weight(old))
        assert (new.reason, new.message) == (Reason.SENDER_REFUSED, "452")
        assert certain_before(new) == FATAL


def test_ejections_in_a_row_grow_to_ten_minutes_and_end_after_as_long_a_service() -> None:
    assert [RULES.out_s(n) for n in (1, 2, 3, 20, 21)] == [30, 60, 90, 600, 600]
    back = standing(RelayState.SERVING, ejections=2, readmitted=NOW - timedelta(seconds=89))
    bad = Sight(ready=True, factor=FATAL, finding=BAD, may_eject=True)
    assert step(back, bad, RULES, NOW).ejections == 3
    long_back = replace(back, readmitted=NOW - timedelta(seconds=90))
    assert step(long_back, bad, RULES, NOW).ejections == 1
    well = step(long_back, Sight(ready=True, heard=True), RULES, NOW)
    assert (well.ejections, well.readmitted) == (0, None)
    assert step(back, Sight(ready=True, heard=True), RULES, NOW).ejections == 2


def test_a_row_of_ejections_ends_by_service_alone() -> None:
    back = standing(RelayState.SLOW_START, age_s=50, ejections=2, readmitted=NOW - timedelta(seconds=50))
    away = Sight(ready=False, absent=(RelayState.STARTING, Reason.POD_MISSING, ""))
    gone = step(back, away, RULES, NOW)
    later = NOW + timedelta(hours=1)
    still = step(gone, away, RULES, later)
    assert (still.ejections, still.readmitted) == (2, None)
    returned = step(still, Sight(ready=True, company=True), RULES, later)
    assert (returned.state, returned.ejections, returned.readmitted) == (RelayState.SLOW_START, 2, later)
    well = step(returned, Sight(ready=True, heard=True), RULES, later + timedelta(seconds=90))
    assert (well.ejections, well.readmitted) == (0, None)


def test_a_row_that_ended_while_nobody_looked_is_not_brought_back_by_a_pod_that_goes() -> None:
    served = standing(RelayState.SERVING, ejections=3, readmitted=NOW - timedelta(hours=5))
    for away in (
        Sight(ready=False),
        Sight(ready=False, absent=(RelayState.DEGRADED, Reason.POD_NOT_READY, "")),
    ):
        gone = step(served, away, RULES, NOW)
        assert (gone.ejections, gone.readmitted) == (0, None)


def test_when_time_alone_may_change_something_is_known_in_advance() -> None:
    def due_s(of: Standing) -> float | None:
        due = of.due(RULES)
        return None if due is None else (due - NOW).total_seconds()

    assert due_s(standing(RelayState.SERVING)) is None
    assert due_s(standing(RelayState.EJECTED, age_s=10, ejections=2)) == 50
    assert due_s(standing(RelayState.SLOW_START, age_s=10)) == 20
    readmitted = standing(RelayState.SERVING, ejections=1, readmitted=NOW - timedelta(seconds=20))
    assert due_s(readmitted) == 40


def test_a_new_relay_joins_at_once_where_all_are_new_and_in_steps_where_others_serve() -> None:
    ready = Sight(ready=True)
    assert step(None, ready, RULES, NOW).state is RelayState.SERVING
    joined = step(None, replace(ready, company=True), RULES, NOW)
    assert (joined.state, joined.reason) == (RelayState.SLOW_START, Reason.JOINED)
    no_ramp = Rules.of(Health(slow_start="0s"))
    assert step(None, replace(ready, company=True), no_ramp, NOW).state is RelayState.SERVING


def test_a_relay_that_was_drained_by_hand_returns_at_once() -> None:
    back = step(standing(RelayState.DRAINING), Sight(ready=True, company=True), RULES, NOW)
    assert back.state is RelayState.SERVING


def test_reasons_stay_what_they_were_while_nothing_new_is_known() -> None:
    for state in (RelayState.SERVING, RelayState.DEGRADED, RelayState.EJECTED, RelayState.SLOW_START):
        old = standing(state, age_s=5, ejections=int(state is RelayState.EJECTED))
        factor = certain_before(old)
        assert step(old, Sight(ready=True, factor=factor, company=True), RULES, NOW) == old


def test_notices_are_told_and_change_no_weight() -> None:
    new = step(standing(), Sight(ready=True, finding=TOLD), RULES, NOW)
    assert (new.state, new.reason, _weight(new)) == (RelayState.SERVING, Reason.AGENT_SILENT, 100)


def test_a_slow_start_rises_in_few_steps_and_ends() -> None:
    assert [ramp(s, 30) for s in (0, 9.9, 10, 19.9, 20, 29.9, 30, 31)] == [25, 25, 50, 50, 75, 75, 100, 100]
    assert [round(next_step_s(s, 30), 3) for s in (0, 9.9, 10, 25)] == [10, 0.1, 10, 5]
    assert ramp(0, 0) == 100
    assert len(RAMP) <= 4


@given(st.floats(0, 700), st.floats(0, 700), st.floats(0.001, 600))
def test_a_ramp_never_falls_and_its_steps_come_when_they_are_announced(
    one: float, other: float, slow_start_s: float
) -> None:
    early, late = sorted((one, other))
    assert ramp(early, slow_start_s) <= ramp(late, slow_start_s)
    if early < slow_start_s:
        assert ramp(early + next_step_s(early, slow_start_s) + 1e-6, slow_start_s) > ramp(early, slow_start_s)


thresholds = st.builds(
    lambda unhealthy, healthy: replace(RULES, unhealthy=unhealthy, healthy=healthy),
    st.integers(1, 10),
    st.integers(1, 10),
)
factors = st.sampled_from((FATAL, SLOW_FACTOR, NOTICE))


def _settle(sequence: Sequence[int], rules: Rules, before: int = NOTICE) -> list[int]:
    """What is certain after each of these probes."""
    levels, level, seen = [], before, list[int]()
    for factor in sequence:
        seen.insert(0, factor)
        level = certain(level, seen, rules)
        levels.append(level)
    return levels


@given(thresholds, factors, factors, factors, st.integers(1, 200))
def test_nothing_flaps_that_changes_more_often_than_the_thresholds(
    rules: Rules, one: int, other: int, before: int, count: int
) -> None:
    """However long probes alternate with a period shorter than either threshold, there is one change at most."""
    period = min(rules.unhealthy, rules.healthy) - 1
    sequence = [one if (i // max(1, period)) % 2 else other for i in range(count)]
    if period == 0 and one != other:
        return  # every probe is certain by itself: that is what was asked for
    levels = [before, *_settle(sequence, rules, before)]
    assert sum(a != b for a, b in itertools.pairwise(levels)) <= 1


@given(thresholds, st.lists(factors, max_size=60), factors)
def test_what_is_certain_is_borne_out_by_as_many_probes_as_asked_for(
    rules: Rules, sequence: list[int], before: int
) -> None:
    level = before
    for i, new in enumerate(_settle(sequence, rules, before)):
        last = sequence[: i + 1]
        if new < level:
            assert all(factor <= new for factor in last[-rules.unhealthy :])
            assert len(last) >= rules.unhealthy
        if new > level:
            assert all(factor >= new for factor in last[-rules.healthy :])
            assert len(last) >= rules.healthy
        level = new


@given(thresholds, st.lists(factors, max_size=40), st.lists(factors, max_size=40), factors)
def test_a_relay_that_is_worse_in_every_probe_is_never_found_better(
    rules: Rules, one: list[int], other: list[int], before: int
) -> None:
    pairs = [(min(a, b), max(a, b)) for a, b in zip(one, other, strict=False)]
    worse = _settle([pair[0] for pair in pairs], rules, before)
    better = _settle([pair[1] for pair in pairs], rules, before)
    assert all(a <= b for a, b in zip(worse, better, strict=True))


@given(thresholds, st.lists(factors, min_size=1, max_size=300))
def test_the_changes_of_weight_are_bounded_whatever_the_probes_say(rules: Rules, sequence: list[int]) -> None:
    """Probes every 5 s: an ejection lasts 30 s at least and grows, so weights change a bounded number of times."""
    now, now_standing, seen = NOW, standing(age_s=0), list[int]()
    weights, ejected = [100], 0
    for factor in sequence:
        now += timedelta(seconds=5)
        seen.insert(0, factor)
        level = certain(certain_before(now_standing), seen, rules)
        sight = Sight(ready=True, factor=level, finding=BY_FACTOR[level], may_eject=True, company=True)
        after = step(now_standing, sight, rules, now)
        if after.state is RelayState.EJECTED and now_standing.state is not RelayState.EJECTED:
            ejected += 1
        now_standing = after
        weights.append(_weight(now_standing, now))
    minutes = len(sequence) * 5 / 60
    assert ejected <= 1 + minutes * 2
    changes = sum(a != b for a, b in itertools.pairwise(weights))
    shortest = min(rules.unhealthy, rules.healthy)
    assert changes <= 5 * ejected + 1 + len(sequence) / shortest


def test_every_state_has_its_edges() -> None:
    assert set(EDGES) == set(RelayState)
