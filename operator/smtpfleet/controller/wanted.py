"""Turns a plan into the objects it stands for, in the order in which one needs the other. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from smtpfleet.api import names
from smtpfleet.api.pool import DeletionPolicy
from smtpfleet.domain.plan import Plan, RelayStep
from smtpfleet.resources import (
    access,
    balancer,
    budgets,
    certificate,
    dkim,
    login,
    policies,
    quantities,
    relay,
    routing,
)
from smtpfleet.resources.certificate import Pair
from smtpfleet.resources.dkim import MadeKeys
from smtpfleet.resources.login import Login
from smtpfleet.resources.pool import Object, Pool
from smtpfleet.resources.pool_service import pool_service


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object as it is to be. ``template``: a change of its pod template may be made now."""

    body: Object
    template: bool = True

    @property
    def identity(self) -> tuple[str, str]:
        """Kind and name: unique within a pool's namespace."""
        return self.body["kind"], self.body["metadata"]["name"]


@dataclass(frozen=True, slots=True)
class Made:
    """What the operator makes itself, for Secrets that the spec leaves to it.

    Attributes:
        pair: the certificate of a pool that names none.
        hand_off: the certificate by which relays know each other.
        keys: those of DKIM entries that name none.
        logins: by the name of the Secret: at other pools, and of probes.
    """

    pair: Pair | None = None
    hand_off: Pair | None = None
    keys: MadeKeys = field(default_factory=dict)
    logins: Mapping[str, Login] = field(default_factory=dict)


Live = dict[tuple[str, str], Object]
"""Objects of a pool in the cluster, by kind and name."""
_NOTHING: Final = Made()


def wanted(pool: Pool, plan: Plan, live: Live, made: Made = _NOTHING) -> tuple[Wanted, ...]:
    """Every object that the plan wants to be there."""
    return tuple(_objects(pool, plan, live, made))


def _objects(pool: Pool, plan: Plan, live: Live, made: Made) -> Iterator[Wanted]:
    yield from map(Wanted, (*access.relay_access(pool), *access.balancer_access(pool)))
    yield Wanted(policies.relay_policy(pool))
    yield Wanted(policies.balancer_policy(pool))
    yield Wanted(budgets.relay_budget(pool))
    yield Wanted(budgets.balancer_budget(pool))
    yield Wanted(pool_service(pool))
    for step in plan.steps:
        yield Wanted(relay.relay_service(pool, step.name))
        if step.claim:
            yield Wanted(_claim(pool, step, live))
    if made.pair is not None:
        yield Wanted(certificate.certificate_secret(pool, made.pair))
    if made.hand_off is not None:
        own = names.hand_off_name(pool.name)
        yield Wanted(certificate.certificate_secret(pool, made.hand_off, own))
    for key, pem in made.keys.items():
        yield Wanted(dkim.key_secret(pool, key, pem))
    for secret, own_login in made.logins.items():
        yield Wanted(login.login_secret(pool, own_login, secret))
    yield Wanted(routing.routing_config_map(pool, plan.table))
    for step in plan.steps:
        if step.deployment:
            body = relay.relay_deployment(pool, step.name, ephemeral=step.ephemeral)
            yield Wanted(body, template=step.template)
    if plan.balancer:
        yield Wanted(balancer.balancer_deployment(pool))


def _claim(pool: Pool, step: RelayStep, live: Live) -> Object:
    """A claim that exists keeps its class and never shrinks: the API server refuses both."""
    storage = pool.spec.relay.storage
    size, storage_class = storage.size, storage.storage_class_name
    existing = live.get(("PersistentVolumeClaim", step.name))
    if existing:
        spec = existing["spec"]
        size = quantities.larger(size, spec["resources"]["requests"]["storage"])
        storage_class = spec.get("storageClassName") or ""
    owned = pool.spec.deletion_policy is DeletionPolicy.DELETE
    return relay.relay_claim(pool, step.name, owned=owned, size=size, storage_class=storage_class)
