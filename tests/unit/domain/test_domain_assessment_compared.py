"""A pool over time: what its agents' words, compared with each other, do to states, weights and conditions."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from smtpfleet.api.agent_status import CanaryStatus, Deliveries, ReceiverGroup
from smtpfleet.api.probes import CanaryReport
from tests.unit.domain.fleet import REFUSED, Fleet, well
from tests.unit.domain.samples import report


def tell(fleet: Fleet, number: int, *, tried: int = 200, failed: int = 0, **fields: Any) -> None:
    """From now on a relay's agent tells this of its last minute."""
    deliveries = Deliveries(
        seconds=60, sent=tried - failed, deferred=failed,
        receivers=(ReceiverGroup(group=1, tried=tried, failed=failed),),
    )  # fmt: skip
    agent = report(fleet.name(number), deliveries=deliveries, **fields)
    fleet.relays[fleet.name(number)] = {"agent": agent}


def delivering(*failed: int, **spec: Any) -> Fleet:
    """A pool that has served for long; of 200 deliveries of each relay so many fail."""
    fleet = well(len(failed), **spec)
    for number, count in enumerate(failed):
        tell(fleet, number, failed=count)
    return fleet


def test_a_relay_whose_deliveries_alone_are_refused_is_ejected_and_tried_again_after_its_time() -> None:
    fleet = delivering(0, 200, 0)
    fleet.run(2)
    assert fleet.states() == ["Serving", "Ejected", "Serving"]
    assert (fleet.entry(1).reason, fleet.weights()) == ("DeliveriesFail", [100, 0, 100])
    fleet.run(100)
    assert fleet.states()[1] == "Ejected"  # its window still shows the failures
    tell(fleet, 1, tried=0)
    fleet.run(2)
    assert (fleet.states()[1], fleet.weights()[1]) == ("SlowStart", 25)
    tell(fleet, 1, failed=200)
    fleet.run(2)
    assert (fleet.states()[1], fleet.entry(1).ejections) == ("Ejected", 2)
    told = [(note.severity, note.reason, note.action) for note in fleet.notes]
    assert ("Warning", "DeliveriesFail", "Ejected") in told


def test_a_relay_whose_deliveries_fail_more_often_gets_half_of_the_mail_until_they_do_not() -> None:
    fleet = delivering(2, 80, 2)
    fleet.run(2)
    assert (fleet.states()[1], fleet.entry(1).reason) == ("Degraded", "DeliveriesWorse")
    assert fleet.weights() == [100, 50, 100]
    tell(fleet, 1, failed=30)
    fleet.run(30)
    assert fleet.states()[1] == "Degraded"
    tell(fleet, 1, failed=3)
    fleet.run(2)
    assert (fleet.states()[1], fleet.weights()) == ("Serving", [100, 100, 100])


def test_a_receiver_that_refuses_all_changes_nothing_but_the_condition() -> None:
    fleet = delivering(200, 200, 200)
    fleet.run(30)
    assert (fleet.states(), fleet.tables) == (["Serving"] * 3, [])
    found = fleet.condition("DeliveryReady")
    assert (found.status, found.reason) == ("False", "ReceiversFail")
    writes = fleet.writes
    fleet.run(60)
    assert fleet.writes == writes


def test_no_more_are_ejected_by_comparison_than_may_be_out() -> None:
    fleet = delivering(0, 200, 0, 0, 0, health={"maxEjectedPercent": 0})
    fleet.run(10)
    assert fleet.states() == ["Serving"] * 5
    assert fleet.condition("ProbesHealthy").reason == "TooManyUnhealthy"
    assert "outbound-relay-1: DeliveriesFail" in fleet.condition("ProbesHealthy").message


def test_a_probe_that_fails_is_told_of_before_a_comparison_and_the_comparison_when_it_passes() -> None:
    fleet = delivering(0, 200, 0)
    fleet.answers[fleet.name(1)] = REFUSED
    fleet.run(20)
    assert (fleet.states()[1], fleet.entry(1).reason) == ("Ejected", "SenderRefused")
    fleet.answers.clear()
    fleet.run(40)
    assert (fleet.states()[1], fleet.entry(1).reason, fleet.entry(1).ejections) == (
        "Ejected",
        "DeliveriesFail",
        1,
    )


def test_what_is_not_known_any_more_changes_nothing() -> None:
    fleet = delivering(0, 200, 0)
    fleet.run(2)
    agent = report(fleet.name(1), age_s=60)
    fleet.relays[fleet.name(1)] = {"agent": agent}
    fleet.run(100)
    assert (fleet.states()[1], fleet.entry(1).reason) == ("Ejected", "DeliveriesFail")


def test_a_paused_pool_is_left_alone_by_comparisons() -> None:
    fleet = delivering(0, 0, 0)
    fleet.run(2)
    tell(fleet, 1, failed=200)
    fleet.relays[fleet.name(1)] = {**fleet.relays[fleet.name(1)], "paused": True}
    fleet.run(20)
    assert fleet.states()[1] == "Serving"


def canary(fleet: Fleet, number: int, *took_s: float | None) -> None:
    """From now on these are a relay's canaries, the newest first, one each 30 s."""
    name = fleet.name(number)
    canaries = tuple(
        CanaryReport(sent_s=20.0 + 30 * place, waited_s=20.0 + 30 * place, took_s=seconds)
        for place, seconds in enumerate(took_s)
    )
    agent = report(name, deliveries=Deliveries(), canary=CanaryStatus(up_s=500))
    fleet.relays[name] = {"agent": agent, "canaries": canaries}


def with_canaries() -> Fleet:
    """Relay 1 is to be looked at; its siblings' canaries, sent later, are back."""
    fleet = well()
    for number in (0, 2):
        canary(fleet, number, 0.1)
        known = fleet.relays[fleet.name(number)]
        later = tuple(replace(each, sent_s=1.0, waited_s=1.0) for each in known["canaries"])
        fleet.relays[fleet.name(number)] = {**known, "canaries": later}
    return fleet


def test_a_relay_whose_canary_is_late_is_out_until_one_is_back_in_time_also_under_another_operator() -> None:
    fleet = with_canaries()
    canary(fleet, 1, None)
    fleet.run(2)
    assert (fleet.states()[1], fleet.entry(1).reason) == ("Ejected", "CanaryLate")
    fleet.restart_operator()
    canary(fleet, 1)
    fleet.run(100)
    assert (fleet.states()[1], fleet.entry(1).ejections) == ("Ejected", 1)
    canary(fleet, 1, 60.0, 90.0)
    fleet.run(5)
    assert fleet.states()[1] == "Ejected"
    canary(fleet, 1, 0.1, 60.0, 90.0)
    fleet.run(5)
    assert fleet.states()[1] == "SlowStart"


def test_a_relay_that_no_canary_can_be_sent_to_any_more_does_not_stay_out_for_one() -> None:
    fleet = with_canaries()
    canary(fleet, 1, None)
    fleet.run(2)
    assert fleet.states()[1] == "Ejected"
    fleet.relays[fleet.name(1)] = {"agent": report(fleet.name(1))}
    fleet.run(40)
    assert fleet.states()[1] == "SlowStart"


@settings(max_examples=10, deadline=None)
@given(st.lists(st.lists(st.integers(0, 200), min_size=3, max_size=3), min_size=1, max_size=12))
def test_comparisons_never_eject_more_than_may_be_out_whatever_agents_tell(rounds: list[list[int]]) -> None:
    fleet = delivering(0, 0, 0)
    for failed in rounds:
        for number, count in enumerate(failed):
            tell(fleet, number, failed=count)
        fleet.run(7)
        assert fleet.states().count("Ejected") <= 1
