"""The intake's state machine, over the product of all stages and observations."""

import itertools
from dataclasses import replace

import pytest

from smtpfleet.api.agent_status import Intake
from smtpfleet.relay.intake import (
    DRAIN_LIMIT_S,
    EDGES,
    FREEZE_LIMIT_S,
    HEARD_S,
    LEAVE_LIMIT_S,
    QUIET_S,
    TERMINATE_LIMIT_S,
    Effect,
    Observation,
    Stage,
    first_stage,
    intake_of,
    phase_of,
    transition,
)
from smtpfleet.relay.mainconf import Phase

BOOLEANS = (False, True)
OBSERVATIONS = [
    Observation(
        stopping=stopping,
        draining=draining,
        applied=applied,
        listening=listening,
        told=told,
        quiet_s=quiet_s,
        delivering=delivering,
        running=running,
        elapsed_s=elapsed_s,
    )
    for stopping, draining, applied, listening, told, quiet_s, delivering, running, elapsed_s in itertools.product(
        BOOLEANS,
        BOOLEANS,
        (None, *Phase),
        BOOLEANS,
        BOOLEANS,
        (0.0, QUIET_S),
        (0, 3),
        BOOLEANS,
        (0.0, HEARD_S, LEAVE_LIMIT_S, DRAIN_LIMIT_S),
    )
]
AT_REST = Observation(
    stopping=False,
    draining=False,
    applied=Phase.OPEN,
    listening=True,
    told=False,
    quiet_s=0.0,
    delivering=3,
    running=True,
    elapsed_s=0.0,
)
"""Serving, with sessions and deliveries under way."""
STOPPING = frozenset({Stage.LEAVING, Stage.FREEZING, Stage.TERMINATING, Stage.GONE})


@pytest.mark.parametrize("stage", Stage)
def test_only_declared_changes_happen(stage: Stage) -> None:
    reached = {transition(stage, seen)[0] for seen in OBSERVATIONS}
    assert reached - {stage} == EDGES[stage]


def test_closed_is_said_only_when_no_listener_and_no_session_was_seen() -> None:
    for stage, seen in itertools.product(Stage, OBSERVATIONS):
        if transition(stage, seen)[0] is Stage.CLOSED:
            assert not seen.listening
            assert seen.quiet_s > 0
            assert seen.applied is Phase.CLOSED


def test_a_stop_is_never_taken_back() -> None:
    for stage, seen in itertools.product(STOPPING, OBSERVATIONS):
        assert transition(stage, seen)[0] in STOPPING


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage not in STOPPING])
def test_a_stop_is_begun_from_everywhere(stage: Stage) -> None:
    for seen in OBSERVATIONS:
        if seen.stopping:
            assert transition(stage, seen)[0] in STOPPING


def test_postfix_is_ended_only_after_a_freeze() -> None:
    ending = {
        (stage, following)
        for stage, seen in itertools.product(Stage, OBSERVATIONS)
        for following, effect in [transition(stage, seen)]
        if effect is Effect.TERMINATE
    }
    assert ending == {(Stage.FREEZING, Stage.TERMINATING)}


def test_postfix_is_killed_only_if_it_did_not_obey() -> None:
    for stage, seen in itertools.product(Stage, OBSERVATIONS):
        if transition(stage, seen)[1] is Effect.KILL:
            assert stage is Stage.TERMINATING
            assert seen.running
            assert seen.elapsed_s >= TERMINATE_LIMIT_S


def test_deliveries_under_way_are_waited_for() -> None:
    frozen = replace(AT_REST, stopping=True, applied=Phase.FROZEN, listening=False, elapsed_s=1.0)
    assert transition(Stage.FREEZING, frozen)[0] is Stage.FREEZING
    assert transition(Stage.FREEZING, replace(frozen, delivering=0))[0] is Stage.TERMINATING


def test_deliveries_that_never_end_are_not_waited_for_for_ever() -> None:
    late = replace(AT_REST, stopping=True, applied=Phase.FROZEN, elapsed_s=FREEZE_LIMIT_S)
    assert transition(Stage.FREEZING, late) == (Stage.TERMINATING, Effect.TERMINATE)


def test_nothing_closes_before_the_balancers_have_heard_of_it() -> None:
    quiet = replace(AT_REST, draining=True, quiet_s=5.0, elapsed_s=5.0)
    assert transition(Stage.DRAINING, quiet)[0] is Stage.DRAINING
    assert transition(Stage.DRAINING, replace(quiet, told=True))[0] is Stage.CLOSING


def test_sessions_are_waited_for_while_draining() -> None:
    busy = replace(AT_REST, draining=True, told=True, elapsed_s=DRAIN_LIMIT_S - 1)
    assert transition(Stage.DRAINING, busy)[0] is Stage.DRAINING
    assert transition(Stage.DRAINING, replace(busy, elapsed_s=DRAIN_LIMIT_S))[0] is Stage.CLOSING


def test_a_listener_that_appears_on_a_closed_relay_ends_the_promise() -> None:
    closed = replace(AT_REST, draining=True, applied=Phase.CLOSED, listening=False, quiet_s=9.0)
    assert transition(Stage.CLOSED, closed)[0] is Stage.CLOSED
    assert transition(Stage.CLOSED, replace(closed, listening=True))[0] is Stage.CLOSING


def test_a_relay_says_ready_again_only_once_it_listens() -> None:
    opening = replace(AT_REST, listening=False)
    assert transition(Stage.REOPENING, opening)[0] is Stage.REOPENING
    assert transition(Stage.REOPENING, replace(opening, listening=True))[0] is Stage.SERVING


def test_a_stop_ends_within_the_pods_time_whatever_happens() -> None:
    """The worst observation at every moment: sessions stay, deliveries hang, Postfix does not obey."""
    stage, now_s, since_s, killed_s = Stage.SERVING, 0.0, 0.0, 0.0
    while not killed_s:
        seen = replace(AT_REST, stopping=True, elapsed_s=now_s - since_s)
        following, effect = transition(stage, seen)
        since_s = since_s if following is stage else now_s
        stage, killed_s = following, now_s if effect is Effect.KILL else 0.0
        now_s += 0.1
    assert killed_s < 40


def test_a_relay_that_is_to_be_closed_does_not_open_first() -> None:
    assert phase_of(first_stage(draining=True)) is Phase.CLOSED
    assert phase_of(first_stage(draining=False)) is Phase.OPEN


def test_the_status_says_open_and_closed_of_one_stage_each() -> None:
    assert [stage for stage in Stage if intake_of(stage) is Intake.OPEN] == [Stage.SERVING]
    assert [stage for stage in Stage if intake_of(stage) is Intake.CLOSED] == [Stage.CLOSED]


def test_every_stage_of_a_stop_after_the_sessions_left_freezes_deliveries() -> None:
    assert {stage for stage in Stage if phase_of(stage) is Phase.FROZEN} == STOPPING - {Stage.LEAVING}
