"""A relay that stays bad is restarted, then replaced: one step at a time, each once, and none on doubt."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpfleet.api.agent_status import Intake
from smtpfleet.api.status import RelayOutage
from smtpfleet.domain.facts import Pod, Wish
from smtpfleet.domain.figures import timestamp
from tests.unit.domain.fleet import BEGIN, GOOD, REFUSED, Fleet, well
from tests.unit.domain.samples import pod, queue, report

AFTER = {"replaceAfter": "40s"}
AFTER_S = 40


def _sick(number: int = 1, **health: object) -> Fleet:
    """Three relays, of which one refuses mail for good and was ejected a moment ago."""
    fleet = well(health=AFTER | health)
    fleet.answers[fleet.name(number)] = REFUSED
    fleet.run(16)
    assert fleet.states()[number] == "Ejected"
    return fleet


def _told(fleet: Fleet) -> list[str]:
    return [note.reason for note in fleet.notes if note.reason in {"Restarting", "Replacing", "Stranded"}]


def _names(fleet: Fleet) -> list[str]:
    return [entry.name.removeprefix("outbound-") for entry in fleet.status.relays]


def _lost(number: int = 1) -> tuple[Pod, ...]:
    """What the API server says of a pod whose node is lost: the kubelet's last word, and that it is not ready."""
    return (pod(Fleet.name(number), ready=False),)


def test_a_relay_that_stays_bad_is_restarted_once_and_then_a_new_one_comes_before_it_goes() -> None:
    fleet = _sick()
    fleet.run(AFTER_S - 20)
    assert fleet.restarts == []
    fleet.run(20)
    assert fleet.restarts == [fleet.name(1)]
    assert _told(fleet) == ["Restarting"]
    fleet.run(AFTER_S - 20)
    assert (fleet.restarts, fleet.states()) == ([fleet.name(1)], ["Serving", "Ejected", "Serving"])
    fleet.barren = True
    fleet.run(40)
    assert _names(fleet) == ["relay-0", "relay-1", "relay-2", "relay-3"]
    assert fleet.states() == ["Serving", "Ejected", "Serving", "Starting"]
    assert fleet.condition("Reconciling").reason == "Replacing"
    fleet.set(3)
    fleet.run(5)
    assert fleet.states()[1] == "Draining"
    assert fleet.entry(1).reason == "Replaced"
    assert fleet.condition("Ready").status == "True"
    assert _told(fleet) == ["Restarting", "Replacing"]
    assert fleet.table is not None
    leaving = next(route for route in fleet.table.relays if route.name == fleet.name(1))
    assert (leaving.weight, leaving.hand_off) == (0, True)
    name = fleet.name(1)
    emptied = report(name, age_s=1, intake=Intake.CLOSED, table_revision=fleet.table.revision)
    fleet.set(1, agent=emptied)
    fleet.run(2)
    assert _names(fleet) == ["relay-0", "relay-2", "relay-3"]
    assert fleet.restarts == [fleet.name(1)]


def test_a_relay_that_a_restart_heals_returns_and_is_not_replaced() -> None:
    fleet = _sick()
    fleet.run(AFTER_S + 1)
    assert len(fleet.restarts) == 1
    fleet.answers.clear()
    fleet.run(AFTER_S * 3)
    assert (fleet.states(), _names(fleet)) == (["Serving"] * 3, ["relay-0", "relay-1", "relay-2"])
    assert fleet.entry(1).outage is None
    assert len(fleet.restarts) == 1


def test_a_relay_that_returns_for_a_moment_again_and_again_is_one_outage() -> None:
    fleet = _sick(ejectionTime="10s", replaceAfter="1m")
    began = fleet.entry(1).outage
    while not fleet.restarts:
        fleet.answers.clear()
        while fleet.states()[1] == "Ejected":
            fleet.run(1)
        fleet.answers[fleet.name(1)] = REFUSED
        fleet.run(17)
        assert fleet.states()[1] == "Ejected"
    outage = fleet.entry(1).outage
    assert began is not None
    assert outage is not None
    assert outage.since == began.since
    assert fleet.entry(1).ejections > 1


def _flap(fleet: Fleet, number: int, *, every_s: float, away_s: float, times: int) -> list[tuple[str, int]]:
    """Its pod is not ready for a while, again and again; returns state and ejections each time when it is back."""
    seen, name = [], fleet.name(number)
    for _ in range(times):
        uid = f"{name}-pod-{fleet.now_s}"
        fleet.unready(number, uid=uid)
        fleet.run(away_s)
        fleet.set(number, pods=(pod(name, uid=uid),), agent=report(name, pod_uid=uid))
        fleet.run(every_s - away_s)
        seen.append((fleet.states()[number], fleet.entry(number).ejections))
    return seen


def test_a_relay_whose_pod_comes_and_goes_is_ejected_for_longer_and_longer_and_then_replaced() -> None:
    fleet = well(health={"replaceAfter": "2m"})
    out = _flap(fleet, 1, every_s=20, away_s=3, times=5)
    assert [ejections for _, ejections in out] == [0, 1, 1, 2, 2]
    assert {state for state, ejections in out[1:3]} <= {"Ejected", "SlowStart"}
    ejected = [note for note in fleet.notes if note.action == "Ejected"]
    assert {note.reason for note in ejected} == {"PodFlaps"}
    assert fleet.condition("Available").status == "True"
    assert fleet.condition("ProbesHealthy").reason == "RelaysEjected"
    assert len(fleet.tables) <= 10
    _flap(fleet, 1, every_s=20, away_s=3, times=13)
    assert _told(fleet) == ["Restarting", "Replacing"]
    assert _names(fleet) == ["relay-0", "relay-1", "relay-2", "relay-3"]


def test_one_absence_ejects_nobody_and_neither_do_restarts_that_were_asked_for() -> None:
    fleet = well(health=AFTER)
    fleet.unready(1)
    fleet.run(10)
    fleet.set(1)
    fleet.run(10)
    assert fleet.states() == ["Serving"] * 3
    for _ in range(3):
        fleet.unready(1, leaving=True)
        fleet.run(3)
        fleet.set(1)
        fleet.run(10)
        assert fleet.entry(1).ejections == 0


def test_an_operator_that_was_away_meanwhile_does_not_take_two_absences_for_one_outage() -> None:
    fleet = well(health=AFTER)
    fleet.unready(1)
    fleet.run(5)
    fleet.set(1)
    fleet.now_s += 600
    fleet.unready(1)
    assert (fleet.states()[1], fleet.entry(1).ejections) == ("Degraded", 0)


def test_of_two_of_three_that_come_and_go_only_as_many_are_ejected_as_may_be_out() -> None:
    fleet = well(health={"replaceAfter": "10m"})
    for _ in range(4):
        for number in (1, 2):
            fleet.unready(number)
        fleet.run(3)
        assert fleet.states().count("Ejected") <= 1
        for number in (1, 2):
            fleet.set(number)
        fleet.run(17)


def test_what_is_paused_is_not_ejected_for_coming_and_going() -> None:
    fleet = well(health=AFTER)
    for _ in range(3):
        fleet.set(1, paused=True, pods=_lost())
        fleet.run(3)
        fleet.set(1, paused=True)
        fleet.run(10)
    assert fleet.entry(1).ejections == 0


def test_a_relay_of_a_lost_node_is_replaced_without_a_restart_and_stranded_with_its_volume() -> None:
    fleet = _sick()
    fleet.set(1, pods=_lost(), agent=report(fleet.name(1), age_s=40))
    fleet.run(AFTER_S + 10)
    assert fleet.restarts == []
    assert fleet.states() == ["Serving", "Stranded", "Serving", "SlowStart"]
    assert _told(fleet) == ["Replacing", "Stranded"]
    assert fleet.condition("Ready").status == "True"
    assert fleet.condition("Reconciling").status == "False"
    assert fleet.condition("QueueHealthy").reason == "QueueKept"
    fleet.run(100)
    assert fleet.states()[1] == "Stranded"
    # Its node is back, and it has mail: that is handed over first.
    waiting = report(fleet.name(1), queue=queue(deferred=9), intake=Intake.CLOSED)
    fleet.set(1, agent=waiting)
    fleet.run(1)
    assert fleet.states()[1] == "Draining"
    assert fleet.table is not None
    fleet.set(1, agent=report(fleet.name(1), intake=Intake.CLOSED, table_revision=fleet.table.revision))
    fleet.run(1)
    assert _names(fleet) == ["relay-0", "relay-2", "relay-3"]


def test_a_relay_that_was_never_ejected_is_replaced_as_well_if_its_pod_stays_away() -> None:
    fleet = well(health=AFTER)
    fleet.set(1, pods=_lost(), agent=report(fleet.name(1), age_s=40))
    fleet.run(AFTER_S + 5)
    assert fleet.states() == ["Serving", "Stranded", "Serving", "SlowStart"]


def test_a_relay_that_never_served_waits_for_its_pod() -> None:
    fleet = Fleet(3, health=AFTER)
    fleet.unready(2, running=False)
    fleet.run(AFTER_S * 4)
    assert (fleet.restarts, len(_names(fleet))) == ([], 3)


def test_a_relay_whose_queue_is_in_its_pod_is_not_restarted() -> None:
    fleet = _sick()
    fleet.set(1, ephemeral=True)
    fleet.run(AFTER_S + 5)
    assert fleet.restarts == []
    assert fleet.states() == ["Serving", "Draining", "Serving", "SlowStart"]


def test_two_of_three_that_are_lost_are_replaced_one_after_the_other() -> None:
    fleet = well(health=AFTER)
    fleet.barren = True
    for number in (1, 2):
        fleet.set(number, pods=_lost(number), agent=report(fleet.name(number), age_s=40))
    fleet.run(AFTER_S * 3)
    assert _names(fleet) == [f"relay-{number}" for number in range(4)]
    fleet.barren = False
    fleet.set(3)
    fleet.run(10)
    assert fleet.states() == ["Serving", "Stranded", "Stranded", "SlowStart", "SlowStart"]


def test_a_relay_that_gets_well_before_its_replacement_serves_stays() -> None:
    fleet = _sick()
    fleet.barren = True
    fleet.run(AFTER_S * 2 + 10)
    assert fleet.entry(1).outage
    fleet.answers.clear()
    fleet.run(200)
    assert fleet.entry(1).outage is None
    assert fleet.states()[:3] == ["Serving"] * 3
    assert fleet.entry(3).reason == "Surplus"


def test_nothing_is_done_while_more_look_bad_than_may_be_out() -> None:
    fleet = _sick()
    fleet.answers[fleet.name(0)] = REFUSED
    fleet.run(AFTER_S * 3)
    assert fleet.condition("ProbesHealthy").reason == "TooManyUnhealthy"
    assert (fleet.restarts, len(_names(fleet))) == ([], 3)


def test_nothing_is_done_on_old_news() -> None:
    fleet = _sick()
    fleet.run(AFTER_S * 3, probing=False)
    assert (fleet.restarts, len(_names(fleet))) == ([], 3)


def test_nothing_is_done_about_a_relay_that_only_serves_its_time() -> None:
    fleet = _sick(ejectionTime="10m")
    fleet.answers.clear()
    fleet.run(AFTER_S * 3)
    assert fleet.states()[1] == "Ejected"
    assert (fleet.restarts, len(_names(fleet))) == ([], 3)


@pytest.mark.parametrize("fields", [{"paused": True}, {"wish": Wish.DRAIN}])
def test_nothing_is_done_to_a_relay_that_a_person_has_taken_over(fields: dict[str, object]) -> None:
    fleet = _sick()
    fleet.set(1, **fields)
    fleet.run(AFTER_S * 3)
    assert (fleet.restarts, len(_names(fleet))) == ([], 3)


def test_an_operator_that_takes_over_neither_restarts_anew_nor_begins_the_time_again() -> None:
    fleet = _sick()
    began = fleet.entry(1).outage
    fleet.run(AFTER_S / 2)
    fleet.restart_operator()
    fleet.run(AFTER_S / 2)
    assert len(fleet.restarts) == 1
    outage = fleet.entry(1).outage
    assert began is not None
    assert outage is not None
    assert outage.since == began.since
    fleet.restart_operator()
    fleet.run(AFTER_S - 30)
    assert len(_names(fleet)) == 3
    fleet.run(40)
    assert len(_names(fleet)) == 4
    fleet.restart_operator()
    fleet.run(20)
    assert (len(fleet.restarts), fleet.entry(1).reason, len(_names(fleet))) == (1, "Replaced", 4)


@pytest.mark.parametrize("clock_s", [-10_000, 0, 10_000])
def test_only_the_pod_that_was_meant_is_deleted_whatever_the_clock_of_the_api_server_says(
    clock_s: int,
) -> None:
    fleet = _sick()
    name, created = fleet.name(1), BEGIN + timedelta(seconds=fleet.now_s + clock_s)
    fleet.set(1, pods=(pod(name, created=created),))
    fleet.run(AFTER_S + 5)
    assert fleet.restarts == [name]
    fleet.set(1, pods=(pod(name, uid="another", created=created),))
    fleet.run(10)
    assert fleet.restarts == [name]


@pytest.mark.parametrize(("age_s", "restarts"), [(1, 1), (-1, 0)])
def test_of_a_release_that_noted_no_pod_the_older_one_is_meant(age_s: int, restarts: int) -> None:
    fleet = _sick()
    name, now = fleet.name(1), BEGIN + timedelta(seconds=fleet.now_s)
    outage = RelayOutage(since=timestamp(now), restarted=timestamp(now))
    fleet.status = fleet.status.model_copy(
        update={
            "relays": tuple(
                entry.model_copy(update={"outage": outage}) if entry.name == name else entry
                for entry in fleet.status.relays
            )
        }
    )
    fleet.set(1, pods=(pod(name, created=now - timedelta(seconds=age_s)),))
    assert len(fleet.restarts) == restarts


def test_a_crash_between_decision_and_deed_loses_nothing() -> None:
    """The decision stands in the status: whoever reads it does what is left of it."""
    fleet = _sick()
    fleet.run(AFTER_S + 5)
    old = pod(fleet.name(1))
    fleet.set(1, pods=(old,))
    fleet.run(1)
    assert len(fleet.restarts) == 2
    fleet.set(1, pods=(replace(old, leaving=True),))
    fleet.run(5)
    assert len(fleet.restarts) == 2


happenings = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(("good", "refused", "lost", "paused", "back")),
        st.integers(1, 60),
        st.booleans(),
    ),
    max_size=6,
)


@settings(max_examples=10, deadline=None)
@given(happenings)
def test_whatever_happens_one_step_at_a_time_is_taken_and_the_pool_grows_by_one_new_relay_at_most(
    seen: list[tuple[int, str, int, bool]],
) -> None:
    fleet = well(health=AFTER)
    for number, what, seconds, barren in seen:
        fleet.barren = barren
        name = fleet.name(number)
        if name not in {entry.name for entry in fleet.status.relays}:
            continue
        fleet.answers[name] = REFUSED if what == "refused" else GOOD
        match what:
            case "lost":
                fleet.set(number, pods=_lost(number), agent=report(name, age_s=40))
            case "paused":
                fleet.set(number, paused=True)
            case "back":
                fleet.set(number)
        before = {entry.name: entry for entry in fleet.status.relays}
        fleet.run(seconds)
        assert "11" not in fleet.busy
        fresh = [e for e in fleet.status.relays if e.state.value == "Starting" and e.name not in before]
        assert len(fresh) <= 1
        for entry in fleet.status.relays:
            was = before.get(entry.name)
            if was and was.outage and entry.outage:
                assert entry.outage.since == was.outage.since or not was.outage.replaced
