"""A deleted pool: who waits for its mail, for how long, and what is told of what stays."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from smtpfleet.api.pool import DeletionPolicy
from smtpfleet.api.reasons import ConditionType, Reason
from smtpfleet.api.routing import RouteState
from smtpfleet.domain.deletion import Deletion, deletion, farewell
from smtpfleet.domain.facts import Claim, Pool
from smtpfleet.domain.plan import plan
from smtpfleet.domain.transitions import Severity
from tests.unit.domain.samples import condition, pool, queue, relay, report, spec, status_of

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
FIVE = timedelta(minutes=5)
MAIL = relay(0, agent=report("outbound-relay-0", queue=queue(deferred=7)))
REST = relay(1, agent=report("outbound-relay-1", queue=queue(active=2, hold=1)))


def _pool(policy: DeletionPolicy = DeletionPolicy.DRAIN, *, after: timedelta = FIVE, **fields: Any) -> Pool:
    given: dict[str, Any] = {"deleted_at": AT, "relays": (MAIL, REST)} | fields
    spec = {"deletionPolicy": policy.value}
    return pool(given.pop("relays"), replicas=2, spec_fields=spec, seen_at=AT + after, **given)


def test_only_a_pool_that_drains_is_ever_held() -> None:
    for policy, deleted_at, minutes in product(DeletionPolicy, (None, AT), (0, 5, 15)):
        seen = _pool(policy, deleted_at=deleted_at, after=timedelta(minutes=minutes))
        wanted = policy is DeletionPolicy.DRAIN and (deleted_at is None or minutes < 10)
        assert deletion(seen).held is wanted, (policy, deleted_at, minutes)


def test_it_is_held_for_the_rest_of_its_time() -> None:
    assert deletion(_pool()) == Deletion(held=True, left_s=300.0)
    assert deletion(_pool(after=timedelta(minutes=10))) == Deletion(held=False, left_s=0.0)


@pytest.mark.parametrize("relays", [(), (relay(0, deployment=None, claim=Claim(leaving=True)),)])
def test_it_goes_as_soon_as_no_queue_is_left(relays: tuple[Any, ...]) -> None:
    assert not deletion(_pool(relays=relays)).held


def test_all_its_relays_leave_and_none_takes_over() -> None:
    planned = plan(_pool())
    assert planned.scale.leaving == {"outbound-relay-0", "outbound-relay-1"}
    assert {route.state for route in planned.table.relays} == {RouteState.DRAINING}
    assert planned.table.hand_off.takers == ()
    assert not any(route.hand_off for route in planned.table.relays)


def test_what_stays_is_told_with_its_amount() -> None:
    note = farewell(_pool())
    assert (note.severity, note.reason) == (Severity.WARNING, Reason.QUEUE_KEPT)
    assert "outbound-relay-0 (7 messages), outbound-relay-1 (3 messages)" in note.message
    assert "nobody knows how many" in farewell(_pool(relays=(relay(0, agent=None),))).message


def test_nothing_that_stays_and_what_goes_with_the_pool_are_told_too() -> None:
    assert farewell(_pool(relays=())).severity is Severity.NORMAL
    note = farewell(_pool(DeletionPolicy.DELETE))
    assert "go with it: outbound-relay-0 (7 messages)" in note.message


def test_the_status_says_that_it_is_being_deleted() -> None:
    seen = _pool()
    status = status_of(seen)
    for kind, word in ((ConditionType.READY, "False"), (ConditionType.RECONCILING, "True")):
        told = condition(status, kind)
        assert (told.status, told.reason) == (word, "Deleting")
    assert status.desired_replicas == 0


@pytest.mark.parametrize("size", [{"replicas": 2}, {"autoscaling": {"maxReplicas": 4}}])
def test_nothing_sets_the_size_of_a_pool_that_is_being_deleted(size: dict[str, Any]) -> None:
    seen = pool((MAIL, REST), spec=spec(**size), deleted_at=AT, seen_at=AT)
    status = status_of(seen)
    for kind in (ConditionType.SCALING_ACTIVE, ConditionType.SCALING_LIMITED):
        told = condition(status, kind)
        assert (told.status, told.reason) == ("False", "Deleting")
        assert told.message == "the pool is being deleted: its relays leave"
