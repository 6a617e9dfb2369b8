"""A relay that falls behind its siblings gets less, in steps, and settles; nothing swings under a steady load."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from statistics import median

from hypothesis import given, settings
from hypothesis import strategies as st

from smtpfleet.domain.load import Load
from smtpfleet.domain.share import LEAST, STEPS, Share, follow
from tests.unit.domain.fleet import Fleet, well
from tests.unit.domain.samples import report
from tests.unit.domain.sized import NOW, carrying, limited

SIBLINGS = 0.0
"""Ready messages at the others: none."""
BEHIND = limited(backlog=6000, per_s=60, taken=6000)


def _share(percent: int, age_s: float, falls: int = 1) -> Share:
    return Share(percent, NOW - timedelta(seconds=age_s), falls)


def test_a_relay_that_falls_behind_gets_less_in_steps_and_never_less_than_a_tenth() -> None:
    share, percents = None, []
    for number in range(6):
        share = follow(share, BEHIND, SIBLINGS, NOW + timedelta(seconds=30 * number))
        assert share is not None
        percents.append((share.percent, share.falls))
    assert percents == [(75, 1), (50, 2), (25, 3), (10, 4), (10, 4), (10, 4)]


def test_the_next_step_waits_until_the_last_one_can_have_shown() -> None:
    assert follow(_share(75, 29), BEHIND, SIBLINGS, NOW) == _share(75, 29)
    lower = follow(_share(75, 30), BEHIND, SIBLINGS, NOW)
    assert lower == Share(50, NOW, 2)


def test_it_rises_step_by_step_after_a_time_that_each_fall_doubles() -> None:
    idle = carrying(20.0)
    for falls, wait_s in ((1, 60), (2, 120), (3, 240), (20, 3600)):
        assert follow(_share(50, wait_s - 1, falls), idle, SIBLINGS, NOW) == _share(50, wait_s - 1, falls)
        assert follow(_share(50, wait_s, falls), idle, SIBLINGS, NOW) == Share(75, NOW, falls)


def test_a_full_share_is_forgotten_after_an_hour() -> None:
    assert follow(_share(100, 3599), carrying(20.0), SIBLINGS, NOW) == _share(100, 3599)
    assert follow(_share(100, 3600), carrying(20.0), SIBLINGS, NOW) is None


def test_it_does_not_rise_while_much_waits() -> None:
    left = replace(carrying(50.0), backlog=LEAST)
    assert follow(_share(50, 9999), left, SIBLINGS, NOW) == _share(50, 9999)


def test_what_is_no_fault_of_the_relay_changes_nothing() -> None:
    slow_receiver = replace(BEHIND, receiver_s=3.0)
    drains = replace(BEHIND, per_s=300.0)
    little = replace(BEHIND, backlog=LEAST - 1)
    for load in (slow_receiver, drains, little, None):
        assert follow(None, load, SIBLINGS, NOW) is None
    assert follow(None, BEHIND, None, NOW) is None
    assert follow(None, BEHIND, 6000.0, NOW) is None


loads = st.builds(
    lambda backlog, per_s, taken: limited(backlog=backlog, per_s=per_s, taken=taken),
    st.integers(0, 20_000),
    st.floats(1, 200),
    st.integers(0, 12_000),
)
shares = st.none() | st.builds(
    lambda percent, age_s, falls: Share(percent, NOW - timedelta(seconds=age_s), falls),
    st.sampled_from(STEPS),
    st.floats(0, 4000),
    st.integers(1, 9),
)


@given(shares, loads, st.integers(0, 20_000), st.floats(0, 1), st.integers(0, 6000))
def test_the_worse_a_relay_does_the_lower_its_share(
    share: Share | None, load: Load, more: int, slower: float, taken: int
) -> None:
    worse = replace(
        load,
        backlog=load.backlog + more,
        per_s=load.per_s * slower,
        taken=load.taken + taken,
        taken_per_s=load.taken_per_s + taken / 60,
    )
    assert _percent(follow(share, worse, SIBLINGS, NOW)) <= _percent(follow(share, load, SIBLINGS, NOW))


@given(shares, loads)
def test_a_share_changes_by_one_step_at_most(share: Share | None, load: Load) -> None:
    after = follow(share, load, SIBLINGS, NOW)
    assert abs(STEPS.index(_percent(after)) - STEPS.index(_percent(share))) <= 1


def _percent(share: Share | None) -> int:
    return share.percent if share else 100


@dataclass
class Plant:
    """Relays of these capacities under a steady load of ``per_s`` in all, which weights share out."""

    capacities: Sequence[float]
    per_s: float
    chance: Random
    noise: float = 0.0
    backlogs: list[float] = field(default_factory=list)
    changes: list[tuple[float, int]] = field(default_factory=list)
    share: Share | None = None

    def run(self, seconds: int, *, every_s: int = 5) -> None:
        """The first relay's share follows its load."""
        self.backlogs = self.backlogs or [0.0] * len(self.capacities)
        for second in range(0, seconds, every_s):
            weights = [_percent(self.share), *[100] * (len(self.capacities) - 1)]
            seen = [
                self._flow(place, self.per_s * weight / sum(weights), every_s)
                for place, weight in enumerate(weights)
            ]
            before = _percent(self.share)
            usual = median(load.backlog for load in seen[1:])
            self.share = follow(self.share, seen[0], usual, NOW + timedelta(seconds=second))
            if _percent(self.share) != before:
                self.changes.append((second, _percent(self.share)))

    def _flow(self, place: int, arriving_per_s: float, every_s: int) -> Load:
        arriving_per_s *= 1 + self.noise * (2 * self.chance.random() - 1)
        capacity = self.capacities[place]
        sent = min(capacity, arriving_per_s + self.backlogs[place] / every_s)
        backlog = self.backlogs[place] = max(0.0, self.backlogs[place] + (arriving_per_s - sent) * every_s)
        return Load(
            backlog=int(backlog),
            taken_per_s=arriving_per_s,
            per_s=sent,
            busy=backlog > 0,
            queued_s=backlog / capacity,
            receiver_s=0.01,
        )


HOUR_S = 3600


@settings(max_examples=25, deadline=None)
@given(
    st.floats(5, 200),
    st.lists(st.floats(100, 200), min_size=1, max_size=4),
    st.floats(0.05, 1),
    st.sampled_from((0.0, 0.1, 0.3)),
    st.integers(0, 9999),
)
def test_under_a_steady_load_a_share_settles_and_is_tried_less_and_less_often(
    own: float, others: list[float], part: float, noise: float, seed: int
) -> None:
    """The siblings can carry it all; one relay is as slow as it likes."""
    plant = Plant([own, *others], part * 100 * len(others) / (1 + noise), Random(seed), noise)
    plant.run(4 * HOUR_S)
    assert len(plant.changes) <= 24
    assert sum(second >= 3 * HOUR_S for second, _ in plant.changes) <= 4


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(10, 200), min_size=2, max_size=5), st.floats(5, 600), st.integers(0, 9999))
def test_a_pool_that_is_overloaded_does_not_swing_either(
    capacities: list[float], per_s: float, seed: int
) -> None:
    plant = Plant(capacities, per_s, Random(seed), 0.1)
    plant.run(4 * HOUR_S)
    assert len(plant.changes) <= 24


def test_a_relay_of_half_the_speed_gets_what_it_can_send_and_all_of_it_when_it_is_fast_again() -> None:
    plant = Plant([60, 200, 200], 300, Random(1))
    plant.run(10 * 60)
    assert plant.share is not None
    assert plant.share.percent == 50
    plant.capacities = [200, 200, 200]
    plant.run(2 * HOUR_S)
    assert _percent(plant.share) == 100


def _slow(fleet: Fleet, number: int, load: Load) -> None:
    fleet.relays[fleet.name(number)] = {"agent": replace(report(fleet.name(number)), load=load)}


def test_a_pool_weighs_a_relay_that_falls_behind_less_and_says_so_once() -> None:
    fleet = well()
    for number, load in enumerate((carrying(100.0), BEHIND, carrying(100.0))):
        _slow(fleet, number, load)
    fleet.run(200)
    assert [table.relays[1].weight for table in fleet.tables] == [75, 50, 25, 10]
    entry = fleet.entry(1)
    assert (entry.state.value, entry.reason) == ("Degraded", "FallsBehind")
    assert [note.reason for note in fleet.notes] == ["FallsBehind"]
    fleet.restart_operator()
    assert fleet.entry(1) == entry
    _slow(fleet, 1, carrying(20.0))
    fleet.run(4 * 480 + 30)
    assert [table.relays[1].weight for table in fleet.tables] == [75, 50, 25, 10, 25, 50, 75, 100]
    assert fleet.entry(1).state.value == "Serving"
    share = fleet.entry(1).share
    assert share is not None
    assert share.percent == 100
