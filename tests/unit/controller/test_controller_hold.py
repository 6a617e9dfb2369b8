"""The finalizer of a pool that drains: put on and taken off, whoever else owns it."""

import copy

import pytest

from smtpfleet.api.names import DRAIN_FINALIZER
from smtpfleet.controller.hold import set_hold
from tests.unit.controller.objects import stored
from tests.unit.controller.server import Server, held

OTHER = "example.net/other"


async def test_it_is_added_to_those_of_others() -> None:
    server = Server(stored(finalizers=[OTHER]))
    assert await set_hold(server.cluster, stored(), held=True)
    assert server.finalizers == [OTHER, DRAIN_FINALIZER]
    assert server.calls == ["apply SmtpPool"]


async def test_it_is_taken_off_also_if_somebody_else_has_applied_it_and_those_of_others_stay() -> None:
    server = Server(held(stored(), OTHER))
    assert await set_hold(server.cluster, held(stored()), held=False)
    assert server.finalizers == [OTHER]


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_pool_that_changed_meanwhile_is_to_be_looked_at_again(wanted: bool) -> None:
    server = Server(held(stored(), OTHER))
    before = copy.deepcopy(server.finalizers)
    server.changed_meanwhile = 1
    assert not await set_hold(server.cluster, held(stored()), held=wanted)
    assert server.finalizers == before
    assert await set_hold(server.cluster, held(stored()), held=wanted)


@pytest.mark.parametrize(
    "pool", [None, held(stored(), uid="another"), stored()], ids=["gone", "other", "free"]
)
async def test_nothing_is_taken_off_a_pool_that_is_gone_or_another_one_or_free(
    pool: dict[str, object],
) -> None:
    server = Server(pool)
    assert await set_hold(server.cluster, held(stored()), held=False)
    assert server.calls == ["get SmtpPool"]
