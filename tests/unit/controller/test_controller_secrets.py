"""Secrets that the operator makes: what is in one that is there is kept, however it was found."""

import base64
import copy

import pytest

from smtpfleet.api import names
from smtpfleet.api.dkim import DkimKey
from smtpfleet.api.secret_names import signing_secret
from smtpfleet.controller.probes import Probes
from smtpfleet.domain import facts
from smtpfleet.resources.pool import Object
from tests.unit.controller.cycles import cycle
from tests.unit.controller.objects import POOL, stored
from tests.unit.controller.server import Server

DKIM = {"domain": "example.com", "selector": "s1", "algorithm": "Ed25519"}
SPEC = {
    "submission": {"trustedNetworks": ["10.0.0.0/8"], "authentication": {"secretName": "users"}},
    "dkim": [DKIM],
    "delivery": {"routes": [{"domain": "news.example", "pool": "news"}]},
}
SECRETS = {
    names.certificate_name(POOL.name),
    names.hand_off_name(POOL.name),
    names.login_name(POOL.name),
    names.probe_login_name(POOL.name),
    signing_secret(POOL.name, DkimKey.model_validate(DKIM)),
}


def _server(*children: Object) -> Server:
    return Server(stored() | {"spec": SPEC}, *children)


async def _made() -> list[Object]:
    """The Secrets as a first cycle makes them."""
    server = _server()
    await cycle(server)
    made = [thing for thing in server.applied if thing["kind"] == "Secret"]
    return [
        thing | {"metadata": thing["metadata"] | {"uid": f"uid-{number}"}}
        for number, thing in enumerate(made)
    ]


async def test_secrets_are_made_once() -> None:
    made = await _made()
    assert {secret["metadata"]["name"] for secret in made} == SECRETS
    server = _server(*made)
    await cycle(server)
    assert not [thing for thing in server.applied if thing["kind"] == "Secret"]


@pytest.mark.parametrize("label", [names.POOL_LABEL, names.MANAGED_BY_LABEL])
async def test_a_secret_that_lost_a_label_gets_the_label_back_and_keeps_what_is_in_it(label: str) -> None:
    """A key is published, and others know a password: what list by label does not show is there nevertheless."""
    made = await _made()
    changed = copy.deepcopy(made)
    for secret in changed:
        secret["metadata"]["labels"][label] = "Helm"
    server = _server(*changed)
    await cycle(server)
    applied = {thing["metadata"]["name"]: thing for thing in server.applied if thing["kind"] == "Secret"}
    assert {name: secret["data"] for name, secret in applied.items()} == {
        secret["metadata"]["name"]: secret["data"] for secret in made
    }
    assert {secret["metadata"]["labels"][label] for secret in applied.values()} == {
        secret["metadata"]["labels"][label] for secret in made
    }


async def test_a_secret_of_somebody_else_is_left_alone() -> None:
    made = await _made()
    for secret in made:
        secret["metadata"] |= {"labels": {}, "ownerReferences": []}
    server = _server(*made)
    await cycle(server)
    assert not [thing for thing in server.applied if thing["kind"] == "Secret"]


async def test_each_login_is_of_a_user_of_its_own_and_the_prober_is_told_that_of_probes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []

    def look(probes: Probes, key: names.PoolKey, seen: facts.Pool, password: str = "") -> facts.Pool:
        told.append(password)
        return real(probes, key, seen, password)

    real = Probes.look
    monkeypatch.setattr(Probes, "look", look)
    made = await _made()
    data = {secret["metadata"]["name"]: secret["data"] for secret in made}
    logins = [data[names.login_name(POOL.name)], data[names.probe_login_name(POOL.name)]]
    users = [base64.b64decode(each["username"]).decode() for each in logins]
    passwords = [base64.b64decode(each["password"]).decode() for each in logins]
    assert users == ["pool;outbound", "probe;outbound"]
    assert passwords[0] != passwords[1]
    await cycle(_server(*made))
    assert told == ["", passwords[1]]
