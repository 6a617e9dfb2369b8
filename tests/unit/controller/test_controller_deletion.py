"""Cycles of work on a pool that is deleted: it goes when it is to go, whatever else fails."""

from typing import Any

import pytest

from smtpfleet.api.names import DRAIN_FINALIZER
from smtpfleet.cluster.errors import ClusterError
from smtpfleet.cluster.kinds import APPLIED
from smtpfleet.controller.workqueue import Done
from smtpfleet.resources.pool import Object
from tests.unit.controller.cycles import AT, cycle
from tests.unit.controller.objects import children, stored
from tests.unit.controller.server import Server, held

LISTS = frozenset(f"list {kind.kind}" for kind in APPLIED)
WRITES = frozenset(f"{verb} {kind.kind}" for kind in APPLIED for verb in ("apply", "create", "delete"))
EVENTS = frozenset({"create Event"})


def _deleted(policy: str, *others: str, **spec: Any) -> Object:
    pool = held(stored(), *others, deletionTimestamp=AT.isoformat())
    return pool | {
        "spec": {"submission": {"trustedNetworks": ["10.0.0.0/8"]}, "deletionPolicy": policy} | spec
    }


def _server(pool: Object, *, refused: frozenset[str] = frozenset()) -> Server:
    return Server(pool, *(thing for kind in children(0).values() for thing in kind), refused=refused)


@pytest.mark.parametrize(
    "refused",
    [LISTS, WRITES, EVENTS, frozenset({"status SmtpPool"})],
    ids=["lists", "writes", "events", "status"],
)
@pytest.mark.parametrize(("policy", "minutes"), [("Retain", 5), ("Drain", 10), ("Delete", 10)])
async def test_a_pool_whose_time_is_over_goes_whatever_is_refused(
    policy: str, minutes: int, refused: frozenset[str]
) -> None:
    server = _server(_deleted(policy, "example.net/other"), refused=refused)
    assert await cycle(server, minutes=minutes) == Done()
    assert server.finalizers == ["example.net/other"]


async def test_it_is_told_what_stays() -> None:
    server = _server(_deleted("Drain"))
    await cycle(server, minutes=10)
    (told,) = server.told
    assert told.startswith("QueueKept: ")
    assert "outbound-relay-0 (nobody knows how many messages)" in told


async def test_a_pool_that_drains_goes_at_once_if_the_garbage_collector_takes_its_relays() -> None:
    server = _server(_deleted("Drain", "foregroundDeletion"))
    assert await cycle(server, minutes=0) == Done()
    assert server.finalizers == ["foregroundDeletion"]
    (told,) = server.told
    assert told.startswith("QueueKept: ")
    assert not [call for call in server.calls if call.startswith("apply")]


async def test_a_pool_that_drains_is_held_for_its_time() -> None:
    server = _server(_deleted("Drain"))
    await cycle(server)
    assert server.finalizers == [DRAIN_FINALIZER]
    assert "status SmtpPool" in server.calls


async def test_a_pool_whose_queues_are_to_go_with_it_gives_its_claims_an_owner_first() -> None:
    server = _server(_deleted("Delete"))
    await cycle(server)
    assert "apply PersistentVolumeClaim" in server.calls
    assert server.finalizers == [DRAIN_FINALIZER]


async def test_a_pool_that_cannot_be_read_goes_although_its_status_is_refused() -> None:
    server = _server(_deleted("Never"), refused=frozenset({"status SmtpPool"}))
    assert await cycle(server) == Done()
    assert server.finalizers == []


@pytest.mark.parametrize("policy", ["Retain", "Never"])
async def test_a_pool_that_changed_meanwhile_is_looked_at_again_at_once(policy: str) -> None:
    server = _server(_deleted(policy))
    server.changed_meanwhile = 1
    assert await cycle(server) == Done(again_s=0.0)
    assert server.finalizers == [DRAIN_FINALIZER]
    await cycle(server)
    assert server.finalizers == []


async def test_a_finalizer_that_may_not_be_taken_off_is_an_error_of_the_cycle() -> None:
    server = _server(_deleted("Retain"), refused=frozenset({"merge SmtpPool"}))
    with pytest.raises(ClusterError):
        await cycle(server)
