"""A pool that is sized by its queues: from what agents say to relays, conditions, Events and what is remembered."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smtpfleet.api.autoscaling import AutoscalingStatus
from smtpfleet.api.reasons import ConditionType, Reason, RelayState
from smtpfleet.api.status import RelayEntry, SmtpPoolStatus
from smtpfleet.domain.facts import Pool, Relay, Wish
from smtpfleet.domain.load import Load
from smtpfleet.domain.plan import Plan, plan
from smtpfleet.domain.size import pool_sizing
from smtpfleet.domain.status import report as build
from smtpfleet.domain.status import without_numbers
from smtpfleet.domain.transitions import notes
from tests.unit.domain.samples import condition, entry, pod, pool, relay, report, spec

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
IDLE = Load()
LIMITED = Load(backlog=15_000, taken=15_000, per_s=100.0, busy=True, queued_s=9.0, receiver_s=0.01)
SLOW = Load(backlog=15_000, per_s=60.0, busy=True, queued_s=9.0, receiver_s=0.3)
SHRINKING = {"scaleDown": {"stabilizationWindow": "0s"}}
"""A relay that is not needed goes at once."""
REFUSING = Load(put_off=900, troubles=("RemoteTemporary",))


def _relay(number: int, load: Load | None = IDLE, **fields: Any) -> Relay:
    name = f"outbound-relay-{number}"
    return relay(number, **{"agent": replace(report(name), load=load)} | fields)


def _pool(relays: Sequence[Relay], *, previous: SmtpPoolStatus | None = None, **fields: Any) -> Pool:
    given = {"minReplicas": 2, "maxReplicas": 6} | fields.pop("autoscaling", {})
    before = previous or SmtpPoolStatus(desired_replicas=len(relays), autoscaling=AutoscalingStatus())
    return pool(relays, spec=spec(autoscaling=given), previous=before, seen_at=NOW, **fields)


def _leaving(number: int) -> RelayEntry:
    return entry(number, RelayState.DRAINING, weight=0, reason="Surplus")


def _told(seen: Pool, now: datetime = NOW) -> tuple[Plan, SmtpPoolStatus]:
    planned = plan(seen)
    return planned, build(seen, planned, problems=(), now=now)


def _condition(status: SmtpPoolStatus, kind: ConditionType) -> tuple[str, str, str]:
    found = condition(status, kind)
    return found.status, found.reason, found.message


def test_a_new_pool_begins_with_the_least_number() -> None:
    planned, status = _told(_pool([], previous=SmtpPoolStatus()))
    assert planned.scale.new == (0, 1)
    assert status.desired_replicas == 2
    assert _condition(status, ConditionType.SCALING_ACTIVE)[:2] == ("Unknown", "QueueUnknown")


def test_without_autoscaling_the_spec_says_it_and_nothing_is_remembered() -> None:
    planned, status = _told(pool([_relay(0, LIMITED)], previous=SmtpPoolStatus(desired_replicas=5)))
    assert planned.desired == 1
    assert status.autoscaling is None
    for kind in (ConditionType.SCALING_ACTIVE, ConditionType.SCALING_LIMITED):
        assert _condition(status, kind) == ("False", "ScalingDisabled", "spec.replicas sets the size")


def test_relays_that_are_the_limit_are_joined_by_more_and_an_event_tells_why() -> None:
    seen = _pool([_relay(0, LIMITED), _relay(1, LIMITED)])
    planned, status = _told(seen)
    assert planned.scale.new == (2, 3, 4)
    assert status.desired_replicas == 5
    assert status.autoscaling is not None
    assert (status.autoscaling.relay_rate, status.autoscaling.scale_up.changed) == (100, 3)
    assert _condition(status, ConditionType.SCALING_ACTIVE)[:2] == ("True", "RelaysAreTheLimit")
    assert _condition(status, ConditionType.SCALING_LIMITED)[:2] == ("False", "WithinBounds")
    grown = next(note for note in notes(seen.previous, status) if note.reason == "ScalingUp")
    assert grown.message == "from 2 to 5 relays: mail waits for the relays themselves, not for receivers"


@pytest.mark.parametrize(
    ("load", "reason", "words"),
    [(SLOW, "ReceiverSlow", "receivers that are slow"), (REFUSING, "ReceiverRefuses", "(RemoteTemporary)")],
)
def test_what_waits_for_receivers_adds_none_and_condition_and_event_say_so(
    load: Load, reason: str, words: str
) -> None:
    seen = _pool([_relay(0, load), _relay(1, load)])
    planned, status = _told(seen)
    assert (planned.scale.new, status.desired_replicas) == ((), 2)
    for kind in (ConditionType.SCALING_ACTIVE, ConditionType.SCALING_LIMITED):
        assert _condition(status, kind)[:2] == ("True", reason)
        assert words in _condition(status, kind)[2]
    assert reason in [note.reason for note in notes(seen.previous, status)]
    assert notes(status, status) == ()


def test_what_was_said_of_receivers_stays_until_it_is_clearly_over() -> None:
    seen = _pool([_relay(0, REFUSING), _relay(1, REFUSING)])
    _, before = _told(seen)
    for put_off, reason in ((80, "ReceiverRefuses"), (40, "LoadCarried")):
        load = Load(reached=100, put_off=put_off, troubles=("RemoteTemporary",))
        _, after = _told(_pool([_relay(0, load), _relay(1, load)], previous=before))
        assert _condition(after, ConditionType.SCALING_ACTIVE)[1] == reason


@pytest.mark.parametrize(
    ("troubles", "word"),
    [
        (("ConnectFailed", "RemoteTemporary"), "RemoteTemporary"),
        ((), "RemoteTemporary"),
        (("ConnectFailed", "TlsFailed"), "ConnectFailed"),
    ],
)
def test_the_word_for_what_receivers_do_stays_while_it_holds(troubles: tuple[str, ...], word: str) -> None:
    seen = _pool([_relay(0, REFUSING), _relay(1, REFUSING)])
    _, before = _told(seen)
    other = replace(REFUSING, troubles=troubles)
    _, after = _told(_pool([_relay(0, other), _relay(1, other)], previous=before))
    for kind in (ConditionType.SCALING_ACTIVE, ConditionType.SCALING_LIMITED):
        assert _condition(after, kind)[2].endswith(f"more relays would not help ({word})")
    assert (after == before) is (word == "RemoteTemporary")


def test_the_largest_number_is_told_of_with_a_warning() -> None:
    seen = _pool([_relay(number, LIMITED) for number in range(6)])
    _, status = _told(seen)
    limited = _condition(status, ConditionType.SCALING_LIMITED)
    assert limited == ("True", "MaxReplicasReached", "the load needs more relays than maxReplicas (6)")
    assert [(note.severity, note.reason) for note in notes(seen.previous, status)] == [
        ("Warning", "MaxReplicasReached")
    ]


def test_a_pool_that_shrinks_marks_one_relay_and_says_why() -> None:
    seen = _pool([_relay(0), _relay(1), _relay(2)], autoscaling=SHRINKING)
    planned, status = _told(seen)
    assert planned.scale.surplus == {"outbound-relay-2"}
    gone = next(note for note in notes(seen.previous, status) if note.reason == "ScalingDown")
    assert gone.message == "from 3 to 2 relays: the load needs fewer relays"


def test_the_next_one_is_not_marked_before_the_last_has_gone() -> None:
    previous = SmtpPoolStatus(desired_replicas=3, autoscaling=AutoscalingStatus(), relays=(_leaving(3),))
    seen = _pool(
        [_relay(number) for number in range(4)],
        previous=previous,
        autoscaling={"scaleDown": {"stabilizationWindow": "0s", "maxStep": 4}},
    )
    assert plan(seen).scale.surplus == {"outbound-relay-3"}


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, 3),
        ({"wish": Wish.DRAIN}, 3),  # what waits there is on its way out, and another takes its place
        ({"agent": replace(report("outbound-relay-1", age_s=31.0), load=LIMITED)}, 2),
    ],
)
def test_only_relays_that_take_mail_and_speak_are_counted(fields: dict[str, Any], size: int) -> None:
    half = replace(LIMITED, backlog=9_000)
    assert plan(_pool([_relay(0, half), _relay(1, half, **fields)])).desired == size


def test_a_pool_of_which_a_person_drains_relays_still_grows_and_does_not_shrink_below_the_rest() -> None:
    drained = [_relay(2, LIMITED, wish=Wish.DRAIN), _relay(3, wish=Wish.DRAIN)]
    assert plan(_pool([_relay(0, LIMITED), *drained])).desired == 5  # 3 that take mail: 250/s at 100/s each
    known = SmtpPoolStatus(
        desired_replicas=4, autoscaling=AutoscalingStatus(relay_rate=100, measured=NOW.isoformat())
    )
    carried = [_relay(number, Load(taken=3000, taken_per_s=50.0)) for number in range(2)]
    seen = _pool([*carried, *drained], previous=known, autoscaling=SHRINKING)
    assert plan(seen).desired == 4


def test_a_relay_that_is_drained_and_chosen_to_go_is_not_replaced() -> None:
    previous = SmtpPoolStatus(desired_replicas=2, autoscaling=AutoscalingStatus(), relays=(_leaving(2),))
    half = replace(LIMITED, backlog=6_000)
    seen = _pool([_relay(0, half), _relay(1, half), _relay(2, wish=Wish.DRAIN)], previous=previous)
    assert plan(seen).desired == 2


@pytest.mark.parametrize("load", [SLOW, replace(REFUSING, backlog=900)])
def test_what_keeps_mail_in_an_ejected_relay_is_no_sign_of_the_pool(load: Load) -> None:
    """Its address may be blocked: that is why others take its mail."""
    seen = _pool(
        [_relay(0), _relay(1), _relay(2), _relay(3, load)],
        autoscaling=SHRINKING,
    )
    found = pool_sizing(seen, {"outbound-relay-3"})
    assert found is not None
    assert (found.size, found.why) == (3, Reason.FEWER_RELAYS_NEEDED)


def test_what_came_to_an_ejected_relay_counts_for_it_comes_to_the_others_next() -> None:
    known = SmtpPoolStatus(
        desired_replicas=4, autoscaling=AutoscalingStatus(relay_rate=100, measured=NOW.isoformat())
    )
    each = Load(taken=6000, taken_per_s=90.0)
    seen = _pool(
        [_relay(n, each) for n in range(4)],
        previous=known,
        autoscaling=SHRINKING,
    )
    found = pool_sizing(seen, {"outbound-relay-3"})
    assert found is not None
    assert found.size == 4
    limited = replace(LIMITED, taken=0, backlog=1)
    growing = replace(
        seen, relays=tuple(_relay(n, replace(each if n else limited, taken_per_s=90.0)) for n in range(4))
    )
    found = pool_sizing(growing, {"outbound-relay-3"})
    assert found is not None
    assert found.size == 5  # 360/s at 100/s each, and one for the one that is out


def test_silent_agents_are_named_and_the_size_stays() -> None:
    silent = [_relay(number, agent=report(f"outbound-relay-{number}", age_s=31.0)) for number in range(3)]
    planned, status = _told(_pool(silent))
    assert planned.desired == 3
    message = "no report of outbound-relay-0, outbound-relay-1, outbound-relay-2: the size stays as it is"
    assert _condition(status, ConditionType.SCALING_ACTIVE) == ("Unknown", "QueueUnknown", message)


def test_an_operator_that_has_just_started_says_what_the_last_one_said() -> None:
    _, before = _told(_pool([_relay(0, SLOW), _relay(1, SLOW)]))
    _, after = _told(_pool([_relay(0, None), _relay(1, None)], previous=before))
    assert after == before


def test_a_word_of_another_release_is_not_said_again() -> None:
    _, before = _told(_pool([_relay(0, SLOW), _relay(1, SLOW)]))
    told = tuple(
        each.model_copy(update={"reason": "Moonlight"}) if each.type is ConditionType.SCALING_ACTIVE else each
        for each in before.conditions
    )
    previous = before.model_copy(update={"conditions": told})
    _, after = _told(_pool([_relay(0, None), _relay(1, None)], previous=previous))
    assert _condition(after, ConditionType.SCALING_ACTIVE)[:2] == ("Unknown", "QueueUnknown")
    assert _condition(after, ConditionType.SCALING_LIMITED) == _condition(
        before, ConditionType.SCALING_LIMITED
    )


def test_a_relay_of_which_nothing_is_known_yet_keeps_the_others() -> None:
    seen = _pool([_relay(0), _relay(1), _relay(2, None)], autoscaling=SHRINKING)
    assert plan(seen).desired == 3


def test_a_relay_that_does_not_run_is_not_waited_for() -> None:
    starting = _relay(2, None, agent=None, pods=(pod("outbound-relay-2", ready=False),))
    seen = _pool([_relay(0), _relay(1), starting], autoscaling=SHRINKING)
    assert plan(seen).scale.surplus == {"outbound-relay-2"}


def test_a_paused_pool_keeps_size_and_memory() -> None:
    _, before = _told(_pool([_relay(0, SLOW), _relay(1, SLOW)]))
    planned, status = _told(_pool([_relay(0, LIMITED), _relay(1, LIMITED)], previous=before, paused=True))
    assert (planned.desired, status.autoscaling) == (2, before.autoscaling)
    assert _condition(status, ConditionType.SCALING_ACTIVE)[:2] == ("False", "PausedByAnnotation")


def test_a_pool_whose_size_was_in_the_spec_begins_with_what_it_has() -> None:
    planned, status = _told(_pool([_relay(n) for n in range(4)], previous=SmtpPoolStatus(desired_replicas=4)))
    assert planned.desired == 4
    assert status.autoscaling is not None
    assert [entry.relays for entry in status.autoscaling.scale_down.recommendations] == [4]
    restored, _ = _told(_pool([_relay(n) for n in range(4)], previous=SmtpPoolStatus()))
    assert restored.desired == 4


def test_the_same_facts_later_change_nothing_and_what_is_remembered_alone_is_as_a_number() -> None:
    seen = _pool([_relay(0), _relay(1)])
    _, status = _told(seen)
    later = replace(seen, previous=status, seen_at=NOW + timedelta(hours=1))
    assert _told(later, NOW + timedelta(hours=1))[1] == status
    assert status.autoscaling is not None
    other = status.model_copy(update={"autoscaling": status.autoscaling.model_copy(update={"relay_rate": 9})})
    assert without_numbers(other) == without_numbers(status)


def test_what_only_waits_for_time_is_looked_at_again() -> None:
    waiting = plan(_pool([_relay(0), _relay(1), _relay(2)])).sizing
    settled = plan(_pool([_relay(0), _relay(1)])).sizing
    assert waiting is not None
    assert waiting.again_s == 5.0
    assert settled is not None
    assert settled.again_s is None
