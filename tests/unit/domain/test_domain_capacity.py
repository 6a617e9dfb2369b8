"""No relay is ejected that the load needs, unless it carries nothing."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.domain.capacity import needed
from tests.unit.domain.fleet import REFUSED, Fleet, well
from tests.unit.domain.samples import report
from tests.unit.domain.sized import carrying, limited, named

NAME = "outbound-relay-0"


def _needed(*per_s: float, rate: float = 100, **own: Any) -> bool:
    loads = named(*[carrying(each) for each in per_s])
    loads[NAME] = replace(loads[NAME], **own)
    return needed(NAME, loads, others=sorted(set(loads) - {NAME}), rate=rate)


def test_a_relay_is_needed_as_soon_as_the_others_could_not_carry_what_arrives() -> None:
    assert not _needed(70, 70, 70)
    assert _needed(71, 71, 71)
    assert _needed(100, 100, 100)


def test_a_relay_that_takes_nothing_or_sends_nothing_is_not_needed() -> None:
    assert not _needed(100, 100, 100, taken_per_s=9.0)
    assert not _needed(100, 100, 100, per_s=9.0)
    assert _needed(100, 100, 100, taken_per_s=10.0, per_s=10.0)


def test_where_too_little_is_known_none_is_needed() -> None:
    assert not _needed(100, 100, 100, rate=0)
    loads = named(*[carrying(100)] * 3)
    assert not needed("another", loads, others=list(loads), rate=100)
    assert not needed(NAME, loads, others=["unheard-of"], rate=100)
    assert not needed(NAME, loads, others=[], rate=100)


rates = st.floats(0, 500)


@given(st.lists(rates, min_size=2, max_size=6), rates, st.floats(1, 200))
def test_the_more_arrives_the_more_relays_are_needed(loads: list[float], more: float, rate: float) -> None:
    if _needed(*loads, rate=rate):
        assert _needed(*[load + more for load in loads], rate=rate)
        assert _needed(*loads[:-1], loads[-1] + more, rate=rate)


@given(st.lists(rates, min_size=2, max_size=6), st.floats(1, 200))
def test_another_relay_beside_them_makes_none_needed(loads: list[float], rate: float) -> None:
    if not _needed(*loads, rate=rate):
        assert not _needed(*loads, 0.0, rate=rate)


def _loaded(each_per_s: float, **own: Any) -> Fleet:
    """Three relays that get so much each; one of the others was seen at its limit, 100 messages a second."""
    fleet = well()
    others = [carrying(each_per_s), limited(backlog=90, per_s=100, taken=round(each_per_s * 60))]
    loads = [replace(carrying(each_per_s), **own), *others]
    for number, load in enumerate(loads):
        name = fleet.name(number)
        fleet.set(number, agent=replace(report(name), load=load))
    fleet.answers[NAME] = REFUSED
    fleet.run(30)
    return fleet


def test_a_bad_relay_that_the_load_needs_stays_and_the_condition_says_so() -> None:
    fleet = _loaded(90)
    assert (fleet.states(), fleet.weights()) == (["Serving"] * 3, [100] * 3)
    probes = fleet.condition("ProbesHealthy")
    assert (probes.status, probes.reason) == ("True", "NeededByLoad")
    assert "outbound-relay-0: not ejected" in probes.message
    assert ("Warning", "NeededByLoad") in [(note.severity, note.reason) for note in fleet.notes]
    for number in range(3):
        fleet.set(
            number, agent=replace(report(fleet.name(number)), load=limited(backlog=90, per_s=100, taken=3600))
        )
    fleet.run(5)
    assert fleet.states()[0] == "Ejected"


def test_a_bad_relay_that_takes_no_mail_goes_whatever_the_load_needs() -> None:
    assert _loaded(90, taken_per_s=0.0, per_s=0.0).states()[0] == "Ejected"
