"""What is to be done for a pool now: one pure step from what was seen towards what the spec asks for.

Guarantees: at most one relay is removed in a cycle, and only by :mod:`smtpfleet.domain.draining`'s proof; at
most one relay that takes mail is restarted in a cycle, and none that is bad in the same one
(:mod:`smtpfleet.domain.remedies`); a paused relay keeps its objects and its place in the routing table.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from smtpfleet.api.names import relay_name
from smtpfleet.api.routing import RoutingTable
from smtpfleet.domain.assessment import Assessment, assess
from smtpfleet.domain.autoscaling import Sizing
from smtpfleet.domain.draining import Departure, departure
from smtpfleet.domain.facts import Pool, Relay
from smtpfleet.domain.remedies import Remedies, remedies
from smtpfleet.domain.rollout import may_restart, surge
from smtpfleet.domain.scaling import Scale, marked_before, replaced_before, scale
from smtpfleet.domain.size import pool_sizing
from smtpfleet.domain.table import routing_table


@dataclass(frozen=True, slots=True)
class RelayStep:
    """Which objects of a relay, besides its Service, are to be as the builders make them.

    ``template`` allows a change of the pod template of a Deployment that exists, which restarts the relay.
    """

    name: str
    ephemeral: bool
    claim: bool
    deployment: bool
    template: bool


@dataclass(frozen=True, slots=True)
class Removal:
    """A relay whose objects are to be deleted, its claim first: so a crash between the two is harmless."""

    name: str
    why: str
    claim: bool
    deployment: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """One cycle's work. ``remnants`` are relays of which only the Service is left, to be deleted.

    ``sizing`` is how the size was found; None: it stands in the spec.
    """

    desired: int
    sizing: Sizing | None
    scale: Scale
    steps: tuple[RelayStep, ...]
    table: RoutingTable
    balancer: bool
    removal: Removal | None
    remnants: tuple[str, ...]
    departures: dict[str, Departure]
    health: Assessment
    remedies: Remedies


def plan(pool: Pool) -> Plan:
    """Decide the next step for a pool. The same facts give the same plan."""
    health = assess(pool)
    sizing = pool_sizing(pool, health.ejected) if pool.deleted_at is None else None
    desired = _desired(pool, sizing)
    existing = [relay for relay in pool.relays if relay.exists]
    replaced = replaced_before(pool.previous)
    size = scale(
        desired=desired + surge(existing, desired=desired, away=health.ejected | replaced),
        relays=pool.relays,
        marked=marked_before(pool.previous),
        ejected=health.ejected,
        replaced=replaced,
        out=[name for name, standing in health.standings.items() if standing.outage],
    )
    restart = may_restart(existing, leaving=size.leaving, starting=bool(size.new), ejected=health.ejected)
    departures = {
        relay.name: departure(relay, pool.table) for relay in existing if relay.name in size.leaving
    }
    removal = _removal(existing, departures)
    table = routing_table(pool, leaving=size.leaving, weights=health.weights)
    steps = [
        _step(relay, template=relay.name in restart)
        for relay in existing
        if not relay.paused and not (removal and removal.name == relay.name)
    ]
    return Plan(
        desired=desired,
        sizing=sizing,
        scale=size,
        steps=(*steps, *_new(pool, size)),
        table=table,
        balancer=pool.balancer is not None or bool(table.relays),
        removal=removal,
        remnants=_remnants(pool, size),
        departures=departures,
        health=health,
        remedies=remedies(
            pool,
            health,
            successors=not size.succeeded,
            busy=removal is not None or bool(restart),
        ),
    )


def _desired(pool: Pool, sizing: Sizing | None) -> int:
    if pool.deleted_at is not None:
        return 0
    return sizing.size if sizing else pool.spec.replicas


def _step(relay: Relay, *, template: bool) -> RelayStep:
    """A relay that exists. Its storage stays what it is, for its mail is there.

    A Deployment is made once the relay has an address: so its pod's first routing table is complete. One that
    is missing while the claim goes is not made again.
    """
    return RelayStep(
        name=relay.name,
        ephemeral=relay.ephemeral,
        claim=not relay.ephemeral and not relay.doomed,
        deployment=relay.deployment is not None or bool(relay.address),
        template=template or relay.deployment is None,
    )


def _new(pool: Pool, size: Scale) -> Iterator[RelayStep]:
    """New relays. One may have an address already: an ephemeral one whose Deployment somebody deleted."""
    addresses = {relay.number for relay in pool.relays if relay.address}
    ephemeral = pool.spec.relay.storage.ephemeral
    for number in size.new:
        yield RelayStep(
            name=relay_name(pool.name, number),
            ephemeral=ephemeral,
            claim=not ephemeral,
            deployment=number in addresses,
            template=True,
        )


def _removal(existing: list[Relay], departures: dict[str, Departure]) -> Removal | None:
    for relay in sorted(existing, key=lambda relay: -relay.number):
        judged = departures.get(relay.name)
        if judged and judged.removable and not relay.paused:
            return Removal(
                name=relay.name,
                why=judged.why,
                claim=relay.claim is not None and not relay.claim.leaving,
                deployment=relay.deployment is not None,
            )
    return None


def _remnants(pool: Pool, size: Scale) -> tuple[str, ...]:
    return tuple(
        relay.name
        for relay in pool.relays
        if relay.service
        and not relay.exists
        and not relay.pods
        and relay.claim is None
        and not relay.paused
        and relay.number not in size.new
    )
