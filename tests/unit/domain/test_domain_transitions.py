"""Events: told on transitions, with the conditions' own words, and not for what is no news."""

import pytest

from smtpfleet.api.reasons import Reason, RelayState
from smtpfleet.api.status import SmtpPoolStatus
from smtpfleet.domain.conditions import Problem
from smtpfleet.domain.transitions import Severity, is_settled, notes
from tests.unit.domain.samples import EMPTY, entry, pod, pool, relay, status_of

WELL = status_of(pool([relay(0)]))
BROKEN = status_of(pool([relay(0, pods=(pod("outbound-relay-0", ready=False),))]))


def test_nothing_new_is_nothing_told() -> None:
    assert notes(WELL, WELL) == ()


def test_a_first_status_tells_only_of_what_a_person_must_put_right() -> None:
    assert notes(EMPTY, BROKEN) == ()
    problem = Problem(Reason.NAME_CONFLICT, "Service outbound is taken")
    told = notes(EMPTY, status_of(pool([relay(0)]), problem))
    assert [(note.severity, note.reason) for note in told] == [(Severity.WARNING, Reason.NAME_CONFLICT)]


def test_a_pool_that_breaks_warns_and_one_that_recovers_tells() -> None:
    worse, better = notes(WELL, BROKEN), notes(BROKEN, WELL)
    assert {(note.severity, note.reason) for note in worse} == {
        (Severity.WARNING, Reason.RELAYS_NOT_READY),
        (Severity.WARNING, Reason.NO_RELAY_AVAILABLE),
    }
    assert {note.severity for note in better} == {Severity.NORMAL}
    assert all(note.message for note in (*worse, *better))


def test_another_problem_while_stalled_is_told_as_well() -> None:
    one = status_of(pool([relay(0)]), Problem(Reason.NAME_CONFLICT, "a"))
    two = status_of(pool([relay(0)]), Problem(Reason.REFUSED_BY_API, "b"))
    assert [note.reason for note in notes(one, two)] == [Reason.REFUSED_BY_API]


def test_queues_that_are_not_known_yet_are_no_event_but_unhealthy_ones_are() -> None:
    unknown = status_of(pool([relay(0, agent=None)]))
    assert notes(WELL, unknown) == notes(unknown, WELL) == ()
    ephemeral = status_of(pool([relay(0, claim=None, ephemeral=True)]))
    for before in (WELL, unknown):
        assert [note.reason for note in notes(before, ephemeral)] == [Reason.QUEUE_EPHEMERAL]


def test_what_is_under_way_is_no_event() -> None:
    told = notes(WELL, status_of(pool([relay(0)], replicas=2, previous=WELL)))
    assert all(note.reason is not Reason.SCALING_UP for note in told)


def test_a_pool_is_settled_when_nothing_was_under_way_for_this_generation() -> None:
    assert is_settled(WELL, 3, 1)
    assert not is_settled(WELL, 4, 1)
    assert not is_settled(WELL, 3, 2)  # sizing by the queues asks for more
    assert not is_settled(EMPTY, 0, 0)
    assert not is_settled(status_of(pool([relay(0)], replicas=2)), 3, 2)


@pytest.mark.parametrize("reason", [Reason.PROBE_SLOW, Reason.DELIVERIES_WORSE, Reason.QUEUE_STALE])
def test_less_mail_is_told_whatever_found_the_relay_to_be_worse(reason: Reason) -> None:
    def status(state: RelayState, why: Reason) -> SmtpPoolStatus:
        return SmtpPoolStatus(relays=(entry(0, state, reason=why),))

    well, worse = status(RelayState.SERVING, Reason.PROBES_PASSED), status(RelayState.DEGRADED, reason)
    assert [note.reason for note in notes(well, worse)] == [reason]
    assert [note.reason for note in notes(worse, well)] == [Reason.PROBES_PASSED]
