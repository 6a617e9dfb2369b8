"""Carrying out a plan: what the API server refuses is named, and the rest goes on."""

import pytest

from smtpfleet.api.reasons import Reason
from smtpfleet.controller.carryout import Carrier
from smtpfleet.domain.plan import Removal
from tests.unit.controller.objects import POOL, claim, deployment, service
from tests.unit.controller.server import Server

REMOVAL = Removal(name="outbound-relay-0", why="its queue is empty", claim=True, deployment=True)


@pytest.mark.parametrize(
    ("refused", "tried"),
    [
        ("PersistentVolumeClaim", ["PersistentVolumeClaim", "Service"]),
        ("Deployment", ["PersistentVolumeClaim", "Deployment", "Service"]),
        ("Service", ["PersistentVolumeClaim", "Deployment", "Service"]),
    ],
)
async def test_a_deletion_that_is_refused_is_a_problem_and_the_rest_goes_on(
    refused: str, tried: list[str]
) -> None:
    """But a Deployment stays with its claim: a claim alone would get a new one in the next cycle."""
    things = [claim(0), deployment(0), service(0)]
    server = Server(None, *things, refused=frozenset({f"delete {refused}"}))
    live = {(thing["kind"], thing["metadata"]["name"]): thing for thing in things}
    carrier = Carrier(server.cluster, POOL, live, settled=False)
    await carrier.remove(REMOVAL, [REMOVAL.name])
    assert [problem.reason for problem in carrier.outcome.problems] == [Reason.REFUSED_BY_API]
    assert carrier.outcome.writes == len(tried) - 1
    assert server.calls == [f"delete {kind}" for kind in tried]
