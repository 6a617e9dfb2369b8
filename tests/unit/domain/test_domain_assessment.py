"""A pool over time: what its probes do to states, weights, conditions and Events, and what they never do."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpfleet.api.probes import ProbeStage, ProbeTrouble
from smtpfleet.api.routing import RouteState
from smtpfleet.api.status import SmtpPoolStatus
from smtpfleet.domain.assessment import SIBLINGS_WAIT_S, assess
from smtpfleet.domain.facts import Wish
from tests.unit.domain.fleet import BEGIN, GOOD, REFUSED, SLOW, Fleet, well
from tests.unit.domain.samples import entry, pool, probe, relay


def test_a_new_pool_is_ready_at_once_with_full_weights_and_soon_says_that_its_probes_passed() -> None:
    fleet = Fleet(3)
    fleet.judge()
    assert (fleet.states(), fleet.weights()) == (["Serving"] * 3, [100] * 3)
    assert fleet.condition("Ready").status == "True"
    assert fleet.condition("ProbesHealthy").reason == "ProbesPending"
    fleet.run(20)
    assert {entry.reason for entry in fleet.status.relays} == {"ProbesPassed"}
    assert fleet.condition("ProbesHealthy").status == "True"
    assert len(fleet.tables) == 1


def test_an_idle_pool_writes_nothing() -> None:
    fleet = well()
    fleet.run(200)
    assert (fleet.writes, fleet.tables) == (0, [])


def test_a_relay_that_fails_is_ejected_with_its_reason_and_comes_back_by_itself_in_steps() -> None:
    fleet = well()
    fleet.answers[fleet.name(1)] = REFUSED
    fleet.run(16)
    assert fleet.states() == ["Serving", "Ejected", "Serving"]
    assert fleet.weights() == [100, 0, 100]
    entry = fleet.entry(1)
    assert (entry.reason, entry.ejections) == ("SenderRefused", 1)
    assert entry.message == "answer to MAIL: 452 4.3.1 no storage"
    assert (fleet.condition("Available").status, fleet.condition("Ready").status) == ("True", "False")
    assert "outbound-relay-1 is ejected: SenderRefused" in fleet.condition("Ready").message
    probes = fleet.condition("ProbesHealthy")
    assert (probes.status, probes.reason) == ("True", "RelaysEjected")
    fleet.answers.clear()
    fleet.run(120)
    assert [table.relays[1].weight for table in fleet.tables] == [0, 25, 50, 75, 100]
    assert fleet.states() == ["Serving"] * 3
    told = [(note.severity, note.reason, note.action) for note in fleet.notes if "relay-1" in note.message]
    assert ("Warning", "SenderRefused", "Ejected") in told
    assert ("Normal", "Readmitted", "SlowStart") in told
    assert (fleet.entry(1).ejections, fleet.entry(1).readmitted) == (0, "")


def test_an_ejected_relay_keeps_its_open_sessions_for_it_does_not_drain() -> None:
    fleet = well()
    fleet.answers[fleet.name(1)] = REFUSED
    fleet.run(16)
    assert fleet.table is not None
    assert fleet.table.relays[1].state is RouteState.SERVING


def test_ejections_in_a_row_last_longer_each_time() -> None:
    fleet = well()
    spans = []
    for _ in range(3):
        fleet.answers[fleet.name(1)] = REFUSED
        fleet.run(20)
        assert fleet.states()[1] == "Ejected"
        begin_s = fleet.now_s
        fleet.answers.clear()
        while fleet.states()[1] == "Ejected":
            fleet.run(1)
        spans.append(fleet.now_s - begin_s)
    assert spans[0] < 31
    assert spans[1] > spans[0] + 20
    assert spans[2] > spans[1] + 20
    assert fleet.entry(1).ejections == 3


def test_a_row_of_ejections_stands_still_while_its_relay_is_drained() -> None:
    """Else a relay that is stranded, or drained by hand, would be forgiven without having served anybody."""
    fleet = well()
    fleet.answers[fleet.name(1)] = REFUSED
    fleet.run(16)
    fleet.answers.clear()
    fleet.set(1, wish=Wish.DRAIN)
    fleet.run(300)
    assert fleet.states()[1] == "Draining"
    assert (fleet.entry(1).ejections, fleet.entry(1).readmitted) == (1, "")
    fleet.set(1)
    assert (fleet.states()[1], fleet.entry(1).ejections) == ("SlowStart", 1)
    fleet.run(61)
    assert (fleet.states()[1], fleet.entry(1).ejections) == ("Serving", 0)


def test_a_failure_that_passes_before_the_threshold_changes_nothing() -> None:
    fleet = well()
    for _ in range(8):
        fleet.answers[fleet.name(1)] = REFUSED
        fleet.run(10)
        fleet.answers.clear()
        fleet.run(5)
    assert (fleet.writes, fleet.tables) == (0, [])


def test_a_slow_relay_gets_less_mail_and_all_of_it_again_when_it_is_fast() -> None:
    fleet = well()
    fleet.answers[fleet.name(1)] = SLOW
    fleet.run(16)
    assert (fleet.states(), fleet.weights()) == (["Serving", "Degraded", "Serving"], [100, 50, 100])
    assert fleet.condition("Ready").status == "True"
    assert fleet.entry(1).reason == "ProbeSlow"
    fleet.answers.clear()
    fleet.run(12)
    assert (fleet.states(), fleet.weights()) == (["Serving"] * 3, [100] * 3)
    told = [(note.severity, note.reason) for note in fleet.notes]
    assert told == [("Warning", "ProbeSlow"), ("Normal", "ProbesPassed")]


def test_if_all_relays_are_slow_it_is_not_them() -> None:
    fleet = well()
    fleet.answers = {fleet.name(i): SLOW for i in range(3)}
    fleet.run(60)
    assert (fleet.writes, fleet.tables) == (0, [])


@pytest.mark.parametrize("count", [1, 2, 6])
def test_if_all_probes_fail_nobody_is_ejected_and_the_condition_says_why(count: int) -> None:
    fleet = well(count)
    fleet.answers = {fleet.name(i): REFUSED for i in range(count)}
    fleet.run(60)
    assert (set(fleet.states()), fleet.tables) == ({"Serving"}, [])
    probes = fleet.condition("ProbesHealthy")
    assert (probes.status, probes.reason) == ("False", "TooManyUnhealthy")
    assert f"{count} of {count} relays look bad" in probes.message
    assert "SenderRefused" in probes.message
    assert fleet.condition("Ready").status == "True"
    assert [note.reason for note in fleet.notes if note.action == "ProbesHealthy"] == ["TooManyUnhealthy"]
    fleet.answers.clear()
    fleet.run(15)
    assert fleet.condition("ProbesHealthy").status == "True"
    assert {entry.reason for entry in fleet.status.relays} == {"ProbesPassed"}


def test_a_threshold_of_one_failure_still_waits_until_the_siblings_were_probed() -> None:
    fleet = well(3, health={"unhealthyThreshold": 1, "healthyThreshold": 1})
    fleet.answers = {fleet.name(i): REFUSED for i in range(3)}
    fleet.run(60)
    assert (set(fleet.states()), fleet.tables) == ({"Serving"}, [])
    fleet.answers = {fleet.name(0): REFUSED}
    fleet.run(15)
    assert fleet.states() == ["Ejected", "Serving", "Serving"]


@pytest.mark.parametrize(
    ("siblings", "state", "again_s"),
    [
        ({"probes": (probe(6.0),)}, "Serving", SIBLINGS_WAIT_S),
        ({"probes": (probe(6.0),), "passed_s": 4.0}, "Ejected", None),
        ({"probes": (probe(6.0),), "passed_s": 5.5}, "Serving", SIBLINGS_WAIT_S),
        ({"probes": (probe(30.0),), "passed_s": 4.0, "unprobed_s": 30.0}, "Ejected", None),
        ({"probes": (probe(30.0),), "passed_s": 6.0, "unprobed_s": 30.0}, "Serving", SIBLINGS_WAIT_S),
        ({"probes": (probe(30.0),), "passed_s": 30.0, "unprobed_s": 30.0}, "Serving", None),
    ],
)
def test_a_sibling_that_passed_a_probe_is_known_to_work_however_long_that_took(
    siblings: dict[str, Any], state: str, again_s: float | None
) -> None:
    failed: dict[str, Any] = {"stage": ProbeStage.MAIL, "trouble": ProbeTrouble.REFUSED, "code": 452}
    bad = relay(0, probes=tuple(probe(ended_s, **failed) for ended_s in (0.1, 2.5, 5.0)))
    seen = pool(
        [bad, *(relay(number, **({"passed_s": 1.0} if number > 1 else siblings)) for number in (1, 2))],
        previous=SmtpPoolStatus(relays=tuple(entry(number) for number in range(3))),
        seen_at=BEGIN,
    )
    found = assess(seen)
    assert found.standings["outbound-relay-0"].state == state
    if again_s is None:
        assert found.again_s is None or found.again_s > SIBLINGS_WAIT_S
    else:
        assert found.again_s == again_s


def test_a_second_bad_relay_of_three_stays_while_the_first_is_out() -> None:
    fleet = well()
    fleet.answers[fleet.name(0)] = REFUSED
    fleet.run(20)
    fleet.answers[fleet.name(1)] = REFUSED
    fleet.run(40)
    assert fleet.states() == ["Ejected", "Serving", "Serving"]
    assert fleet.condition("ProbesHealthy").reason == "TooManyUnhealthy"
    fleet.answers.pop(fleet.name(0))
    fleet.run(40)
    # The first is back, so the second may go.
    assert fleet.states()[1] == "Ejected"
    assert fleet.states()[0] in {"SlowStart", "Serving"}


def test_relays_that_are_not_ready_count_as_out() -> None:
    fleet = well()
    fleet.unready(0)
    fleet.answers[fleet.name(1)] = REFUSED
    fleet.run(60)
    assert fleet.states() == ["Degraded", "Serving", "Serving"]
    assert fleet.condition("ProbesHealthy").reason == "TooManyUnhealthy"


def test_a_pool_may_forbid_ejection() -> None:
    fleet = well(3, health={"maxEjectedPercent": 0})
    fleet.answers[fleet.name(1)] = REFUSED
    fleet.run(60)
    assert (set(fleet.states()), fleet.tables) == ({"Serving"}, [])


def test_another_operator_goes_on_where_the_last_one_was() -> None:
    fleet = well()
    fleet.answers[fleet.name(1)] = REFUSED
    fleet.run(20)
    before, writes, tables = fleet.entry(1), fleet.writes, len(fleet.tables)
    fleet.restart_operator()
    fleet.run(4, probing=False)
    assert (fleet.entry(1), fleet.writes, len(fleet.tables)) == (before, writes, tables)
    fleet.run(60)
    assert (fleet.entry(1), len(fleet.tables)) == (before, tables)
    fleet.answers.clear()
    fleet.run(12)
    assert (fleet.entry(1).state, fleet.entry(1).ejections) == ("SlowStart", 1)
    ramp = fleet.entry(1)
    fleet.restart_operator()
    assert fleet.entry(1).since == ramp.since
    fleet.run(32)
    assert fleet.states()[1] == "Serving"


def test_an_operator_without_probes_changes_nothing_and_says_so_after_a_while() -> None:
    fleet = well()
    fleet.run(100, probing=False)
    assert (set(fleet.states()), fleet.tables) == ({"Serving"}, [])
    for number in range(3):
        fleet.set(number, unprobed_s=30.0, probes=())
    probes = fleet.condition("ProbesHealthy")
    assert (probes.status, probes.reason) == ("Unknown", "ProbesMissing")
    assert fleet.condition("Ready").status == "True"


def test_a_blind_operator_leaves_a_relay_that_is_out_where_it_is() -> None:
    fleet = well()
    fleet.answers[fleet.name(1)] = REFUSED
    fleet.run(20)
    fleet.run(100, probing=False)
    assert fleet.states()[1] == "Ejected"


def test_a_new_relay_beside_others_starts_slowly_and_counts_as_ready_at_once() -> None:
    fleet = Fleet(3)
    fleet.unready(2, running=False)
    fleet.run(40)
    assert (fleet.states(), fleet.weights()) == (["Serving", "Serving", "Starting"], [100, 100, 25])
    fleet.set(2)
    assert fleet.states()[2] == "SlowStart"
    assert fleet.condition("Ready").status == "True"
    fleet.tables.clear()
    fleet.run(40)
    assert [table.relays[2].weight for table in fleet.tables] == [50, 75, 100]
    assert fleet.entry(2).state == "Serving"


def test_a_container_that_is_restarted_keeps_its_weight() -> None:
    fleet = well()
    fleet.unready(1)
    fleet.run(5)
    assert (fleet.states()[1], fleet.weights()[1]) == ("Degraded", 100)
    fleet.set(1)
    assert (fleet.states()[1], fleet.weights()[1]) == ("Serving", 100)


def test_a_pod_that_is_replaced_starts_slowly_beside_its_siblings() -> None:
    fleet = well()
    fleet.set(1, pods=())
    assert (fleet.states()[1], fleet.weights()[1]) == ("Starting", 25)
    fleet.set(1)
    assert fleet.states()[1] == "SlowStart"


def test_if_all_pods_are_replaced_at_once_none_starts_slowly() -> None:
    fleet = well()
    for number in range(3):
        fleet.set(number, pods=())
    fleet.run(5)
    for number in range(3):
        fleet.set(number)
        fleet.run(1)
    assert (fleet.states(), fleet.weights()) == (["Serving"] * 3, [100] * 3)


def test_a_pod_that_dies_does_not_end_an_ejection() -> None:
    fleet = well()
    fleet.answers[fleet.name(1)] = REFUSED
    fleet.run(16)
    since = fleet.entry(1).since
    fleet.set(1, pods=())
    fleet.run(60)
    assert (fleet.entry(1).state, fleet.entry(1).since, fleet.weights()[1]) == ("Ejected", since, 0)


def test_a_bound_by_hand_holds_in_every_state() -> None:
    fleet = well()
    fleet.set(1, weight_bound=30)
    assert fleet.weights()[1] == 30
    fleet.answers[fleet.name(1)] = SLOW
    fleet.run(16)
    assert fleet.weights()[1] == 30
    fleet.set(1, weight_bound=60)
    assert fleet.weights()[1] == 50


def test_a_drain_ends_an_ejection_and_the_relay_returns_slowly() -> None:
    fleet = well()
    fleet.answers[fleet.name(1)] = REFUSED
    fleet.run(16)
    fleet.set(1, wish=Wish.DRAIN)
    assert fleet.states()[1] == "Draining"
    fleet.answers.clear()
    fleet.set(1)
    assert (fleet.states()[1], fleet.weights()[1], fleet.entry(1).ejections) == ("SlowStart", 25, 1)


def test_what_is_paused_is_judged_by_nobody() -> None:
    fleet = well()
    fleet.set(1, paused=True)
    fleet.answers[fleet.name(1)] = REFUSED
    fleet.run(60)
    assert (fleet.states()[1], fleet.weights()[1]) == ("Serving", 100)
    assert fleet.entry(1).message == "paused by annotation"
    fleet.set(1)
    fleet.run(1)
    assert fleet.states()[1] == "Ejected"


def test_a_node_that_takes_two_of_three_relays_ejects_none_of_them() -> None:
    fleet = well()
    fleet.answers = {fleet.name(0): REFUSED, fleet.name(1): REFUSED}
    fleet.run(60)
    assert (set(fleet.states()), fleet.tables) == ({"Serving"}, [])


def test_time_alone_is_waited_for_no_longer_than_needed() -> None:
    fleet = well()
    assert assess(fleet.seen()).again_s is None
    fleet.answers[fleet.name(1)] = REFUSED
    fleet.run(16)
    again_s = assess(fleet.seen()).again_s
    assert again_s is not None
    due = timedelta(seconds=fleet.now_s + again_s) + BEGIN
    since = fleet.entry(1).since
    assert due.strftime("%Y-%m-%dT%H:%M") >= since[:16]
    assert 0 < again_s <= 30
    fleet.run(120)
    assert assess(fleet.seen()).again_s is None  # still bad: only a probe can change it


kinds = st.sampled_from((GOOD, REFUSED, SLOW))


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 6),
    st.sampled_from((0, 20, 34, 50, 100)),
    st.lists(st.tuples(st.integers(0, 5), kinds, st.integers(1, 40), st.booleans()), max_size=8),
)
def test_whatever_happens_no_more_are_out_than_allowed_and_weights_follow_states(
    count: int, percent: int, happenings: list[tuple[int, object, int, bool]]
) -> None:
    fleet = Fleet(count, health={"maxEjectedPercent": percent})
    fleet.run(40)
    for number, answer, seconds, ready in happenings:
        name = fleet.name(number % count)
        fleet.answers[name] = answer  # type: ignore[assignment] # one of the three results
        if ready:
            fleet.set(number % count)
        else:
            fleet.unready(number % count)
        fleet.run(seconds)
        out = fleet.states().count("Ejected")
        assert out <= count * percent // 100
        for shown in fleet.status.relays:
            assert (shown.weight == 0) == (shown.state.value == "Ejected")
        assert any(fleet.weights()) or percent == 100
