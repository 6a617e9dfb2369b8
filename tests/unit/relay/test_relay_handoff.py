"""When a queue goes to the siblings: the state machine, told in time, and its guarantees over any course of events."""

import itertools
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.api.agent_status import HandOffStage
from smtpfleet.relay.handoff import (
    CHANCE_S,
    FLUSH_S,
    NONE,
    OWN_FIRST_S,
    PATIENCE_S,
    REST_S,
    TRY_S,
    HandOff,
    Sight,
    step,
)

DELIVERING, HANDING_OFF, BLOCKED = HandOffStage


@dataclass
class Course:
    """A relay that leaves, looked at once a second. ``taken``: messages that siblings take each second."""

    left: int = 100
    taken: int = 0
    obstacle: str = ""
    wanted: bool = True
    now_s: float = 1000.0
    state: HandOff = NONE
    flushes: list[tuple[float, bool]] = field(default_factory=list)
    stages: list[HandOffStage | None] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.now_s += 1.0
            if self.state.to_siblings:
                self.left = max(0, self.left - self.taken)
            self.state = step(self.state, Sight(self.now_s, self.wanted, self.obstacle, self.left))
            if self.state.flush:
                self.flushes.append((self.now_s, self.state.to_siblings))
            if not self.stages or self.stages[-1] is not self.state.stage:
                self.stages.append(self.state.stage)

    def own(self) -> list[float]:
        """When all mail was tried by the ordinary ways."""
        return [at_s for at_s, to_siblings in self.flushes if not to_siblings]


def test_the_ordinary_ways_have_a_short_chance_before_the_siblings_get_the_rest() -> None:
    course = Course(taken=10)
    course.run(CHANCE_S)
    assert (course.state.stage, course.state.to_siblings, course.flushes) == (DELIVERING, False, [])
    course.run(1)
    assert (course.state.stage, course.state.to_siblings, course.state.flush) == (HANDING_OFF, True, True)


def test_all_mail_is_tried_again_and_again_until_nothing_is_left() -> None:
    course = Course(left=200, taken=10)
    course.run(CHANCE_S + 21)
    times = [at_s for at_s, to_siblings in course.flushes if to_siblings]
    assert len(times) == 7
    assert {later - earlier for earlier, later in itertools.pairwise(times)} == {FLUSH_S}
    assert course.stages == [DELIVERING, HANDING_OFF]
    before = len(course.flushes)
    course.run(60)
    assert course.left == 0
    assert (course.state.stage, len(course.flushes)) == (HANDING_OFF, before)


def test_an_empty_relay_hands_nothing_off() -> None:
    course = Course(left=0)
    course.run(100)
    assert (course.stages, course.flushes) == ([DELIVERING], [])


def test_siblings_that_take_nothing_block_it_and_mail_goes_the_ordinary_ways() -> None:
    course = Course()
    course.run(CHANCE_S + PATIENCE_S + 1)
    assert (course.state.stage, course.state.to_siblings) == (BLOCKED, False)
    assert course.own() == [course.now_s]


def test_a_blocked_relay_tries_its_siblings_again_and_the_status_does_not_flap() -> None:
    course = Course()
    course.run(600)
    assert course.stages == [DELIVERING, HANDING_OFF, BLOCKED]
    tried = [at_s for at_s, to_siblings in course.flushes if to_siblings]
    assert max(b - a for a, b in itertools.pairwise(tried)) <= REST_S + TRY_S
    course.taken = 50
    course.run(REST_S + TRY_S + FLUSH_S)
    assert (course.state.stage, course.left) == (HANDING_OFF, 0)


def test_receivers_see_their_back_off_cut_short_less_and_less_often() -> None:
    course = Course()
    course.run(3600)
    gaps = [b - a for a, b in zip(course.own(), course.own()[1:], strict=False)]
    assert gaps[0] >= OWN_FIRST_S
    assert [later for earlier, later in itertools.pairwise(gaps) if later < 0.9 * earlier] == []
    assert len(gaps) < 8


def test_without_a_sibling_nothing_is_tried_that_was_not_due() -> None:
    course = Course(obstacle="no sibling takes mail")
    course.run(3600)
    assert (course.stages, course.flushes) == ([DELIVERING, BLOCKED], [])


def test_a_sibling_that_comes_is_given_the_queue_at_once() -> None:
    course = Course(obstacle="no sibling takes mail", taken=20)
    course.run(100)
    course.obstacle = ""
    course.run(8)
    assert (course.state.stage, course.left) == (HANDING_OFF, 0)


def test_the_last_sibling_that_goes_blocks_it_at_once() -> None:
    course = Course(taken=1)
    course.run(10)
    course.obstacle = "no sibling takes mail"
    course.run(1)
    assert (course.state.stage, course.state.to_siblings) == (BLOCKED, False)


def test_a_relay_that_is_wanted_again_delivers_by_itself_at_once() -> None:
    course = Course(taken=1)
    course.run(10)
    course.wanted = False
    course.run(1)
    assert (course.state.stage, course.state.to_siblings, course.state.flush) == (None, False, True)
    course.run(1)
    assert course.state == NONE


SIGHTS = st.builds(
    Sight,
    now_s=st.floats(0.1, 20.0),
    wanted=st.sampled_from((True, True, True, False)),
    obstacle=st.sampled_from(("", "", "", "no sibling takes mail")),
    left=st.integers(0, 5),
)


@given(st.lists(SIGHTS, max_size=40))
def test_whatever_happens(seen: list[Sight]) -> None:
    state, now_s, last = NONE, 0.0, NONE
    for sight in seen:
        now_s += sight.now_s
        last, state = state, step(state, Sight(now_s, sight.wanted, sight.obstacle, sight.left))
        # Mail goes to siblings only while the table wants it, some can take it, and something is left to give.
        if state.to_siblings and not last.to_siblings:
            assert sight.wanted
            assert not sight.obstacle
            assert sight.left
        assert sight.wanted or state.stage is None
        assert not (state.stage is DELIVERING and state.to_siblings)
        # Another way for mail is tried at once; the ordinary ones only after siblings were tried.
        if last.to_siblings and not state.to_siblings and state.stage is None:
            assert state.flush
        if state.flush and not state.to_siblings:
            assert last.to_siblings or last.tried_s > last.own_s
