"""The status of a pool: conditions, relays, and when it is worth a write."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from smtpfleet.api.agent_status import HandOffStage, HandOffStatus, Intake
from smtpfleet.api.pool import SmtpPoolSpec
from smtpfleet.api.reasons import ConditionType, Reason, RelayState
from smtpfleet.api.status import RelayEntry
from smtpfleet.domain.conditions import Problem
from smtpfleet.domain.facts import Claim, Deployment, Pool, Wish
from smtpfleet.domain.figures import listing
from smtpfleet.domain.status import unreadable, write_delay_s
from smtpfleet.domain.transitions import notes
from tests.unit.domain.samples import (
    NOW,
    SETTLED,
    condition,
    pod,
    pool,
    queue,
    relay,
    report,
    status_of,
    table,
)

LATER = NOW + timedelta(minutes=5)
WELL = [relay(0), relay(1)]


def _told(seen: Pool, kind: ConditionType, **more: Any) -> tuple[str, str]:
    found = condition(status_of(seen, **more), kind)
    return found.status, found.reason


def _entry(seen: Pool, number: int = 0) -> RelayEntry:
    return next(item for item in status_of(seen).relays if item.name == f"outbound-relay-{number}")


def test_a_pool_that_is_well_says_so_in_everycondition() -> None:
    status = status_of(pool(WELL))
    assert {condition.type.value: condition.status for condition in status.conditions} == {
        "Ready": "True",
        "Reconciling": "False",
        "Stalled": "False",
        "Available": "True",
        "ProbesHealthy": "True",
        "QueueHealthy": "True",
        "Paused": "False",
        "CertificateValid": "True",
        "UsersValid": "Unknown",
        "DeliveryReady": "True",
        "SigningReady": "Unknown",
        "ScalingActive": "False",
        "ScalingLimited": "False",
    }
    assert (status.replicas, status.ready_replicas, status.ready_of_desired) == (2, 2, "2/2")
    assert status.selector == "smtpfleet.io/pool=outbound,app.kubernetes.io/component=relay"
    assert status.endpoint == "outbound.mail.svc:587"
    assert {condition.observed_generation for condition in status.conditions} == {3}


def test_every_condition_is_there_on_the_first_visit_of_an_empty_pool() -> None:
    status = status_of(pool(replicas=2, balancer=None))
    assert {condition.type for condition in status.conditions} == set(ConditionType)
    assert _told(pool(replicas=2, balancer=None), ConditionType.RECONCILING) == ("True", "ScalingUp")
    assert _told(pool(replicas=2, balancer=None), ConditionType.QUEUE_HEALTHY) == ("Unknown", "QueueUnknown")


def test_a_relay_that_is_not_ready_makes_the_pool_not_ready_but_it_stays_available() -> None:
    seen = pool([relay(0), relay(1, pods=(pod("outbound-relay-1", ready=False),))])
    assert _told(seen, ConditionType.READY) == ("False", "RelaysNotReady")
    assert _told(seen, ConditionType.AVAILABLE) == ("True", "RelaysAvailable")


def test_a_missing_balancer_makes_the_pool_not_ready_and_none_at_all_makes_it_unavailable() -> None:
    some = pool(WELL, balancer=Deployment(wanted=2, ready=1, current=True))
    assert _told(some, ConditionType.READY) == ("False", "BalancersNotReady")
    assert _told(some, ConditionType.AVAILABLE) == ("True", "RelaysAvailable")
    none = pool(WELL, balancer=Deployment(wanted=2, ready=0, current=True))
    assert _told(none, ConditionType.AVAILABLE) == ("False", "BalancersNotReady")


def test_without_any_relay_that_takes_mail_the_pool_is_not_available() -> None:
    seen = pool([relay(0, wish=Wish.DRAIN)])
    assert _told(seen, ConditionType.AVAILABLE) == ("False", "NoRelayAvailable")


def test_a_pool_whose_backups_take_the_connections_is_available_and_not_ready() -> None:
    seen = pool([relay(0, pods=())], replicas=1, on_backups=True)
    assert _told(seen, ConditionType.AVAILABLE) == ("True", "BackupsInUse")
    assert _told(seen, ConditionType.READY) == ("False", "RelaysNotReady")
    without = pool([relay(0, pods=())], replicas=1, on_backups=True, balancer=None)
    assert _told(without, ConditionType.AVAILABLE) == ("False", "NoRelayAvailable")


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (pool(WELL, replicas=3), "ScalingUp"),
        (pool([relay(0), relay(1, deployment=None)]), "ScalingUp"),
        (pool(WELL, replicas=1), "ScalingDown"),
        (pool([relay(0), relay(1, deployment=replace(SETTLED, outdated=True))]), "RollingOut"),
        (pool([relay(0), relay(1, deployment=replace(SETTLED, current=False))]), "Progressing"),
        (pool(WELL, balancer=None), "Progressing"),
    ],
)
def test_what_is_under_way_shows_as_reconciling(seen: Pool, reason: str) -> None:
    assert _told(seen, ConditionType.RECONCILING) == ("True", reason)


def test_a_name_that_is_taken_stalls_the_pool_and_makes_it_not_ready() -> None:
    problem = Problem(Reason.NAME_CONFLICT, "Service outbound exists and is not this pool's")
    status = status_of(pool(WELL), problem)
    stalled, ready = condition(status, ConditionType.STALLED), condition(status, ConditionType.READY)
    assert (stalled.status, stalled.reason, stalled.message) == ("True", "NameConflict", problem.message)
    assert (ready.status, ready.reason) == ("False", "NameConflict")


def test_a_routing_table_that_an_agent_refuses_stalls_the_pool_and_names_the_relay() -> None:
    refusing = relay(1, agent=report("outbound-relay-1", table_error="bad parameter"))
    status = status_of(pool([relay(0), refusing]))
    stalled = condition(status, ConditionType.STALLED)
    assert (stalled.status, stalled.reason) == ("True", "TableRefused")
    assert "outbound-relay-1" in stalled.message
    assert "bad parameter" in stalled.message
    assert status.ready_replicas == 2


def test_ephemeral_queues_are_never_called_healthy() -> None:
    seen = pool([relay(0, claim=None, ephemeral=True)])
    assert _told(seen, ConditionType.QUEUE_HEALTHY) == ("False", "QueueEphemeral")


def test_a_silent_agent_makes_the_queues_unknown_but_the_relay_serves() -> None:
    seen = pool([relay(0), relay(1, agent=report("outbound-relay-1", age_s=31))])
    assert _told(seen, ConditionType.QUEUE_HEALTHY) == ("Unknown", "QueueUnknown")
    assert (_entry(seen, 1).state, _entry(seen, 1).reason) == (RelayState.SERVING, "AgentSilent")


def test_an_agent_that_missed_a_round_is_not_silent() -> None:
    seen = pool([relay(0), relay(1, agent=report("outbound-relay-1", age_s=12))])
    assert status_of(seen) == status_of(pool(WELL))


def test_a_stranded_relay_makes_the_queues_unhealthy() -> None:
    seen = pool([relay(0), relay(1, pods=(), agent=None)], replicas=1)
    stranded = replace(seen, relays=(relay(0), relay(1, pods=(), agent=None)))
    assert _entry(stranded, 1).state is RelayState.STRANDED
    assert _told(stranded, ConditionType.QUEUE_HEALTHY) == ("False", "QueueKept")


def test_a_volume_that_is_nearly_full_makes_the_queues_unhealthy_and_costs_no_weight() -> None:
    seen = pool([relay(0), relay(1, agent=report("outbound-relay-1", storage_low=True))])
    assert _told(seen, ConditionType.QUEUE_HEALTHY) == ("False", "StorageLow")
    entry = _entry(seen, 1)
    assert (entry.state, entry.reason, entry.weight) == (RelayState.SERVING, "StorageLow", 100)
    assert [note.reason for note in notes(status_of(pool(WELL)), status_of(seen))] == ["StorageLow"]


def test_a_paused_pool_says_so_and_shows_the_table_that_is_in_force() -> None:
    before = table(pool(WELL), "outbound-relay-1")
    seen = pool(WELL, paused=True, table=before)
    assert _told(seen, ConditionType.PAUSED) == ("True", "PausedByAnnotation")
    assert _told(seen, ConditionType.RECONCILING) == ("False", "PausedByAnnotation")
    assert _entry(seen, 1).weight == 0


def test_a_paused_relay_is_named() -> None:
    status = status_of(pool([relay(0), relay(1, paused=True)]))
    assert "outbound-relay-1" in condition(status, ConditionType.PAUSED).message
    assert status.relays[1].message == "paused by annotation"


@pytest.mark.parametrize(
    ("fields", "state", "reason"),
    [
        ({}, RelayState.SERVING, "ProbesPassed"),
        ({"probes": ()}, RelayState.SERVING, "PodReady"),
        ({"pods": (), "agent": None}, RelayState.STARTING, "PodMissing"),
        ({"pods": (pod("x", node="", ready=False, running=False),)}, RelayState.STARTING, "PodUnschedulable"),
        ({"pods": (pod("x", ready=False, running=False),)}, RelayState.STARTING, "PodStarting"),
        ({"pods": (pod("x", ready=False),)}, RelayState.STARTING, "PodStarting"),
        ({"pods": (pod("x", leaving=True),)}, RelayState.STARTING, "PodStarting"),
        ({"wish": Wish.DRAIN}, RelayState.DRAINING, "DrainRequested"),
        ({"claim": Claim(leaving=True)}, RelayState.DRAINING, "ClaimDeleted"),
    ],
)
def test_a_relays_state_follows_from_what_is_seen(
    fields: dict[str, Any], state: RelayState, reason: str
) -> None:
    entry = _entry(pool([relay(0, **fields)]))
    assert (entry.state, entry.reason) == (state, reason)


def test_a_relay_that_served_and_whose_pod_runs_but_is_not_ready_is_degraded() -> None:
    before = status_of(pool(WELL))
    broken = relay(1, pods=(pod("outbound-relay-1", ready=False),))
    entry = _entry(pool([relay(0), broken], previous=before), 1)
    assert (entry.state, entry.reason) == (RelayState.DEGRADED, "PodNotReady")


def test_a_draining_surplus_relay_says_what_it_waits_for() -> None:
    entry = _entry(pool(WELL, replicas=1), 1)
    assert (entry.state, entry.reason) == (RelayState.DRAINING, "Surplus")
    assert entry.message


def test_since_and_transition_times_change_only_with_the_state() -> None:
    first = status_of(pool(WELL))
    same = status_of(pool(WELL, previous=first, generation=4), now=LATER)
    assert [entry.since for entry in same.relays] == [entry.since for entry in first.relays]
    assert {c.last_transition_time for c in same.conditions} == {"2026-05-01T12:00:00Z"}
    assert {c.observed_generation for c in same.conditions} == {4}
    broken = pool([relay(0), relay(1, pods=())], previous=first)
    changed = status_of(broken, now=LATER)
    assert changed.relays[1].since == "2026-05-01T12:05:00Z"
    assert condition(changed, ConditionType.READY).last_transition_time == "2026-05-01T12:05:00Z"
    assert condition(changed, ConditionType.STALLED).last_transition_time == "2026-05-01T12:00:00Z"


def test_counts_of_messages_are_added_up_and_rounded() -> None:
    one = relay(0, agent=report("outbound-relay-0", queue=queue(active=1234, incoming=1, deferred=40)))
    two = relay(1, agent=report("outbound-relay-1", queue=queue(active=10, deferred=2)))
    status = status_of(pool([one, two]))
    assert (status.backlog, status.deferred) == (1200, 42)
    assert [entry.backlog for entry in status.relays] == [1200, 10]


def test_a_silent_relays_last_known_queue_stays_visible() -> None:
    first = status_of(pool([relay(0, agent=report("outbound-relay-0", queue=queue(deferred=12)))]))
    later = status_of(pool([relay(0, agent=None)], previous=first))
    assert later.relays[0].deferred == 12


def test_the_same_facts_give_the_same_status_later_so_nothing_is_written() -> None:
    first = status_of(pool(WELL))
    assert write_delay_s(first, status_of(pool(WELL, previous=first), now=LATER), since_numbers_s=1e9) is None


def test_a_change_of_numbers_alone_waits_for_the_rest_of_its_fifteen_seconds() -> None:
    first = status_of(pool([relay(0)]))
    more = relay(0, agent=report("outbound-relay-0", queue=queue(active=5)))
    second = status_of(pool([more], previous=first))
    assert write_delay_s(first, second, since_numbers_s=4.0) == 11.0
    assert write_delay_s(first, second, since_numbers_s=20.0) == 0.0


def test_any_other_change_is_written_at_once() -> None:
    first = status_of(pool([relay(0)]))
    second = status_of(pool([relay(0, wish=Wish.DRAIN)], previous=first))
    assert write_delay_s(first, second, since_numbers_s=0.0) == 0.0


def test_a_spec_that_cannot_be_read_stalls_the_pool_and_keeps_the_rest_of_thestatus_of() -> None:
    first = status_of(pool(WELL))
    with pytest.raises(ValidationError) as caught:
        SmtpPoolSpec.model_validate({"replicas": 2, "submission": {"hostName": "x"}})
    status = unreadable(first, caught.value, generation=9, now=LATER)
    stalled = condition(status, ConditionType.STALLED)
    assert (stalled.status, stalled.reason) == ("True", "InvalidSpec")
    assert "submission.hostName" in stalled.message
    assert condition(status, ConditionType.READY).status == "False"
    assert condition(status, ConditionType.AVAILABLE).status == "True"
    assert (status.observed_generation, status.relays) == (9, first.relays)
    assert unreadable(status, caught.value, generation=9, now=LATER + timedelta(1)) == status


def test_a_long_list_of_names_is_cut() -> None:
    assert listing(["a", "b"]) == "a, b"
    assert listing(list("abcdefg")) == "a, b, c, d, e and 2 more"


HANDS_OVER = HandOffStatus(stage=HandOffStage.HANDING_OFF)
BLOCKED = HandOffStatus(stage=HandOffStage.BLOCKED, why="no sibling takes mail")


def _leaving(hand_off: HandOffStatus | None, *, left: int = 5, **fields: Any) -> Pool:
    """A pool of which relay 1 leaves with mail, under the table that says so."""
    revision = table(pool(WELL, replicas=1), "outbound-relay-1").revision
    agent = report(
        "outbound-relay-1",
        intake=Intake.CLOSED,
        table_revision=revision,
        queue=queue(deferred=left),
        hand_off=hand_off,
    )
    live = table(pool(WELL, replicas=1), "outbound-relay-1")
    longer = relay(0, agent=report("outbound-relay-0", queue=queue(deferred=50)))
    return pool([longer, relay(1, agent=agent, **fields)], replicas=1, table=live)


@pytest.mark.parametrize(
    ("hand_off", "state", "reason"),
    [
        (None, RelayState.DRAINING, "Surplus"),
        (HANDS_OVER, RelayState.HANDING_OFF, "HandingOff"),
        (BLOCKED, RelayState.DRAINING, "HandOffBlocked"),
    ],
)
def test_a_leaving_relay_shows_how_far_it_is(
    hand_off: HandOffStatus | None, state: RelayState, reason: str
) -> None:
    entry = _entry(_leaving(hand_off), 1)
    assert (entry.state, entry.reason, entry.deferred) == (state, reason, 5)


def test_a_relay_whose_claim_goes_hands_over_too_and_says_why_it_goes() -> None:
    entry = _entry(_leaving(HANDS_OVER, claim=Claim(leaving=True)), 1)
    assert (entry.state, entry.reason) == (RelayState.HANDING_OFF, "ClaimDeleted")


def test_that_a_queue_is_handed_over_and_that_it_cannot_be_is_told_once() -> None:
    before = status_of(_leaving(None))
    giving, blocked = (status_of(_leaving(each)) for each in (HANDS_OVER, BLOCKED))
    assert [note.reason for note in notes(before, giving)] == ["HandingOff"]
    assert [note.reason for note in notes(giving, blocked)] == ["HandOffBlocked"]
    assert not notes(blocked, blocked)
    assert not notes(giving, giving)


def test_a_hand_off_that_ends_between_two_looks_is_told_when_the_relay_is_removed() -> None:
    before, after = status_of(_leaving(None)), status_of(_leaving(HANDS_OVER, left=0))
    assert [note.reason for note in notes(before, after)] == ["HandingOff"]
    for by_itself in (None, BLOCKED):  # what it delivered itself went to nobody else
        assert not notes(before, status_of(_leaving(by_itself, left=0)))
