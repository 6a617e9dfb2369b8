"""Carrying out a plan: what the API server refuses is named, the rest goes on, and so does the whole cycle."""

from dataclasses import replace

import pytest

from smtpfleet.api import names
from smtpfleet.api.names import PoolKey
from smtpfleet.api.reasons import Reason
from smtpfleet.cluster.kinds import CHILDREN
from smtpfleet.controller.agents import Agents
from smtpfleet.controller.carryout import Carrier
from smtpfleet.controller.wanted import Wanted
from smtpfleet.domain.plan import Removal
from smtpfleet.resources import relay
from tests.unit.controller.cycles import KEY, cycle
from tests.unit.controller.objects import POOL, claim, deployment, service, stored
from tests.unit.controller.server import Server

SPEC = {"submission": {"trustedNetworks": ["10.0.0.0/8"]}}
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
    signs: list[None] = []
    carrier = Carrier(server.cluster, POOL, live, settled=False, goes_on=lambda: signs.append(None))
    await carrier.remove(REMOVAL, [REMOVAL.name])
    assert [problem.reason for problem in carrier.outcome.problems] == [Reason.REFUSED_BY_API]
    assert carrier.outcome.writes == len(tried) - 1
    assert server.calls == [f"delete {kind}" for kind in tried]
    assert len(signs) == len(tried)


async def test_a_long_cycle_says_that_it_goes_on_between_any_two_calls_but_the_lists() -> None:
    """Each call may take 10 s, and with many relays or keys that would look like a cycle that hangs."""
    keys = [
        {"domain": f"{letter}.example", "selector": "s", "algorithm": "Ed25519"} for letter in "abcdefghijkl"
    ]
    routes = [{"domain": f"{letter}.example", "pool": f"pool-{letter}"} for letter in "abcdefghijkl"]
    spec = {
        "submission": {"trustedNetworks": ["10.0.0.0/8"]},
        "replicas": 20,
        "dkim": keys,
        "delivery": {"routes": routes},
    }
    server = Server(stored() | {"spec": spec}, refused=frozenset({"create Event"}))
    server.neighbours = [stored(replace(POOL, name=route["pool"])) | {"spec": spec} for route in routes]
    await cycle(server)
    assert len(server.calls) > 100
    assert server.most_unsigned == len(["get SmtpPool", *CHILDREN])


@pytest.mark.parametrize("refused", ["", "apply Service"])
async def test_after_a_write_agents_are_asked_closely_whatever_becomes_of_the_rest(
    refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: list[PoolKey] = []
    monkeypatch.setattr(Agents, "changes", lambda _, key: changes.append(key))
    await cycle(Server(stored() | {"spec": SPEC}, refused=frozenset({refused})))
    assert set(changes) == {KEY}


async def test_a_cycle_that_may_write_nothing_is_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[PoolKey] = []
    monkeypatch.setattr(Agents, "changes", lambda _, key: changes.append(key))
    await cycle(Server(stored(annotations={"smtpfleet.io/paused": "true"}) | {"spec": SPEC}))
    assert changes == []


@pytest.mark.parametrize("rewritten", [False, True], ids=["put right", "rewritten again"])
async def test_an_apply_that_changes_nothing_is_no_write_and_is_told(
    rewritten: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A webhook that rewrites images undoes each apply: another cycle at once would go on so for ever."""
    thing = deployment(0)
    server = Server(None, thing)
    wanted = Wanted(relay.relay_deployment(POOL, names.relay_name(POOL.name, 0), ephemeral=False))
    thing["spec"]["template"]["spec"]["containers"][0]["image"] = "mirror.example/relay:1"
    if rewritten:
        server.unchanged.add(thing["metadata"]["name"])
    carrier = Carrier(server.cluster, POOL, {wanted.identity: thing}, settled=True, goes_on=lambda: None)
    await carrier.bring_about([wanted])
    assert len(server.applied) == 1
    assert carrier.outcome.writes == (0 if rewritten else 1)
    assert [note.reason for note in carrier.outcome.notes] == ([] if rewritten else [Reason.RESTORED])
    told = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [vars(record)["objects"] for record in told] == (
        ["Deployment/outbound-relay-0"] if rewritten else []
    )
    assert not carrier.outcome.again
