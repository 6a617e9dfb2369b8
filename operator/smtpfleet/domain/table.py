"""Builds the routing table of a pool: pure, so equal decisions give equal bytes and no write."""

from collections.abc import Collection, Mapping, Sequence

from smtpfleet.api.pool import SmtpPoolSpec
from smtpfleet.api.routing import (
    DeliveryTable,
    RelayRoute,
    RouteState,
    RoutingTable,
    SubmissionTable,
    SubmissionTls,
)
from smtpfleet.api.secret_names import certificate_secret, secret_names
from smtpfleet.api.values import duration_seconds, size_bytes
from smtpfleet.domain.facts import Pool, Relay, Wish
from smtpfleet.domain.weights import FULL


def routing_table(
    pool: Pool, *, leaving: Collection[str], weights: Mapping[str, int] | None = None
) -> RoutingTable:
    """What the agents of the pool are to act on.

    A relay is listed as soon as it has an address: whether it can take a connection now is the balancers'
    judgement, who look several times a second. So the table still is right when the operator, or the API
    server, is away (fail-static). ``weights`` are those of its health; a relay without one has its full weight.
    """
    spec = pool.spec
    return RoutingTable(
        pool=pool.name,
        namespace=pool.namespace,
        hostname=spec.submission.hostname or f"{pool.name}.{pool.namespace}.svc",
        method=spec.balancing.method,
        submission=SubmissionTable(
            trusted_networks=spec.submission.trusted_networks,
            message_size_limit_bytes=size_bytes(spec.submission.message_size_limit),
            tls=SubmissionTls(mode=spec.submission.tls.mode, secret_name=certificate_secret(pool.name, spec)),
        ),
        delivery=_delivery(spec),
        postfix=dict(sorted(spec.relay.postfix.items())),
        relays=_routes(pool.relays, pool.table, leaving, weights or {}),
        secrets=secret_names(pool.name, spec),
    )


def _delivery(spec: SmtpPoolSpec) -> DeliveryTable:
    return DeliveryTable(
        smarthost=spec.delivery.smarthost,
        queue_lifetime_s=round(duration_seconds(spec.delivery.queue_lifetime)),
    )


def _routes(
    relays: Sequence[Relay],
    live: RoutingTable | None,
    leaving: Collection[str],
    weights: Mapping[str, int],
) -> tuple[RelayRoute, ...]:
    listed = sorted((relay for relay in relays if relay.address), key=lambda relay: relay.number)
    return tuple(
        _route(relay, live, leaving, weights.get(relay.name, FULL))
        for relay in listed
        if relay.exists or relay.pods
    )


def _route(relay: Relay, live: RoutingTable | None, leaving: Collection[str], weight: int) -> RelayRoute:
    if relay.paused and live and (current := live.relay(relay.name)):
        return current.model_copy(update={"address": relay.address})
    if relay.name in leaving or relay.wish is Wish.DRAIN or not relay.exists:
        return RelayRoute(name=relay.name, address=relay.address, weight=0, state=RouteState.DRAINING)
    return RelayRoute(name=relay.name, address=relay.address, weight=min(weight, relay.weight_bound))
