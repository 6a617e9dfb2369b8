"""Builds the routing table of a pool: pure, so equal decisions give equal bytes and no write."""

from collections.abc import Collection, Mapping, Sequence

from smtpfleet.api import names
from smtpfleet.api.delivery import IMPLICIT_TLS_PORT, DeliveryTls, Route
from smtpfleet.api.routing import (
    BackupRoute,
    BalancingTable,
    DeliveryTable,
    DomainRoute,
    HandOffTable,
    RelayRoute,
    RouteState,
    RoutingTable,
    SigningRoute,
    SubmissionAuthentication,
    SubmissionTable,
    SubmissionTls,
)
from smtpfleet.api.secret_names import certificate_secret, probe_secret, secret_names, signing_secret
from smtpfleet.api.submission import TlsMode
from smtpfleet.api.values import bandwidth_bytes, duration_seconds, size_bytes
from smtpfleet.domain.facts import Pool, Relay, Wish
from smtpfleet.domain.internationalised import unicode_domain
from smtpfleet.domain.neighbours import is_verified, obstacle, senders
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
    relays = _routes(pool, leaving, weights or {})
    hand_off = _hand_off(pool, relays)
    return RoutingTable(
        pool=pool.name,
        namespace=pool.namespace,
        hostname=spec.submission.hostname or f"{pool.name}.{pool.namespace}.svc",
        method=spec.balancing.method,
        submission=SubmissionTable(
            trusted_networks=spec.submission.trusted_networks,
            message_size_limit_bytes=size_bytes(spec.submission.message_size_limit),
            tls=SubmissionTls(mode=spec.submission.tls.mode, secret_name=certificate_secret(pool.name, spec)),
            authentication=SubmissionAuthentication(secret_name=spec.submission.authentication.secret_name),
            allowed_sender_domains=spec.submission.allowed_sender_domains,
            unicode_sender_domains=tuple(
                filter(None, map(unicode_domain, spec.submission.allowed_sender_domains))
            ),
            max_connections_per_client=spec.submission.max_connections_per_client,
            max_bandwidth_per_client_bytes=bandwidth_bytes(spec.submission.max_bandwidth_per_client),
            pools=sending_pools(pool),
            probe_secret_name=probe_secret(pool.name, spec),
        ),
        delivery=_delivery(pool),
        postfix=dict(sorted(spec.relay.postfix.items())),
        relays=relays,
        secrets=tuple(
            sorted({*secret_names(pool.name, spec, sending_pools(pool)), hand_off.secret_name} - {""})
        ),
        hand_off=hand_off,
        balancing=_balancing(pool),
        signing=tuple(
            SigningRoute(
                domain=key.domain,
                selector=key.selector,
                secret_name=signing_secret(pool.name, key),
                unicode_domain=unicode_domain(key.domain),
            )
            for key in spec.dkim
        ),
    )


def _balancing(pool: Pool) -> BalancingTable:
    """Balancers know of each other only where they count together: else their coming and going changes no table."""
    balancing = pool.spec.balancing
    counted = pool.spec.submission.max_connections_per_client > 0
    return BalancingTable(
        proxy_protocol_sources=balancing.proxy_protocol_sources if balancing.accept_proxy_protocol else (),
        backups=tuple(BackupRoute.model_validate(backup) for backup in balancing.backups),
        peers=pool.balancer_pods if counted else (),
    )


def sending_pools(pool: Pool) -> tuple[str, ...]:
    """Pools that may log in here because their routes lead here: none without TLS."""
    if pool.spec.submission.tls.mode is TlsMode.NONE:
        return ()
    return senders(pool.name, pool.neighbours)


def _delivery(pool: Pool) -> DeliveryTable:
    delivery = pool.spec.delivery
    return DeliveryTable(
        smarthost=delivery.smarthost,
        queue_lifetime_s=round(duration_seconds(delivery.queue_lifetime)),
        routes=tuple(_domain_route(pool, route) for route in delivery.routes),
        max_connections_per_destination=delivery.max_connections_per_destination,
    )


def _domain_route(pool: Pool, route: Route) -> DomainRoute:
    given = route.model_dump()
    if route.pool:
        waiting = obstacle(pool.name, route, pool.neighbours)
        given |= {
            "pool": "",
            "host": f"{route.pool}.{pool.namespace}.svc",
            "port": IMPLICIT_TLS_PORT,
            "tls": DeliveryTls.VERIFIED if is_verified(route.pool, pool.neighbours) else DeliveryTls.REQUIRED,
            "secret_name": names.login_name(pool.name),
            "waits": waiting.message if waiting else "",
        }
    return DomainRoute(**given, unicode_domain=unicode_domain(route.domain or route.sender_domain))


def _routes(pool: Pool, leaving: Collection[str], weights: Mapping[str, int]) -> tuple[RelayRoute, ...]:
    listed = sorted((relay for relay in pool.relays if relay.address), key=lambda relay: relay.number)
    return tuple(
        _route(pool, relay, leaving, weights.get(relay.name, FULL))
        for relay in listed
        if relay.exists or relay.pods
    )


def _hand_off(pool: Pool, routes: Sequence[RelayRoute]) -> HandOffTable:
    """Relays that get mail from clients take that of siblings, too. While nobody leaves, none listens for it."""
    takers = tuple(route.name for route in routes if route.state is RouteState.SERVING and route.weight)
    if not takers or not any(route.hand_off for route in routes):
        return HandOffTable()
    return HandOffTable(secret_name=names.hand_off_name(pool.name), takers=takers)


def _route(pool: Pool, relay: Relay, leaving: Collection[str], weight: int) -> RelayRoute:
    """A relay's. In a pool that is being deleted all leave, and there is nobody to hand off to."""
    if relay.paused and pool.table and (current := pool.table.relay(relay.name)):
        return current.model_copy(update={"address": relay.address})
    if relay.name in leaving or relay.wish is Wish.DRAIN or not relay.exists:
        return RelayRoute(
            name=relay.name,
            address=relay.address,
            weight=0,
            state=RouteState.DRAINING,
            hand_off=relay.name in leaving and pool.deleted_at is None,
        )
    return RelayRoute(name=relay.name, address=relay.address, weight=min(weight, relay.weight_bound))
