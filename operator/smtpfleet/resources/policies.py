"""NetworkPolicies: who may talk to the pods of a pool.

The relays' SMTP ports believe the client address in the PROXY header, so whoever reaches them can claim to be
in a trusted network: only this pool's balancers may, and the operator, whose probes do so. Read-only HTTP is
open inside the cluster, for the operator, for Prometheus and for tests. Nothing limits what relays send: where
mail goes is not known.
"""

from typing import Any, Final

from smtpfleet.api import names
from smtpfleet.resources.marks import metadata, selector
from smtpfleet.resources.pool import Object, Pool

_CLIENT_PORTS: Final = (names.SMTP_PORT, names.SUBMISSION_PORT, names.SUBMISSIONS_PORT)
_IN_CLUSTER: Final[list[dict[str, Any]]] = [{"namespaceSelector": {}}]


def relay_policy(pool: Pool) -> Object:
    """SMTP from this pool's balancers and from the operator's probes, queues from this pool's relays, HTTP from the
    cluster, nothing else.
    """
    balancers = [{"podSelector": {"matchLabels": selector(pool, component=names.COMPONENT_BALANCER)}}]
    smtp = _ports(*_CLIENT_PORTS, names.CHECK_PORT, names.AGENT_CHECK_PORT)
    ingress = [{"from": balancers, "ports": smtp}, {"from": _IN_CLUSTER, "ports": _ports(names.HTTP_PORT)}]
    siblings = {"podSelector": {"matchLabels": selector(pool, component=names.COMPONENT_RELAY)}}
    ingress.append({"from": [siblings], "ports": _ports(names.HAND_OFF_PORT)})
    if pool.operator_namespace:
        ingress.append({"from": [_operator(pool)], "ports": _ports(names.SMTP_PORT)})
    return _policy(
        pool,
        names.relays_name(pool.name),
        names.COMPONENT_RELAY,
        ingress,
    )


def _operator(pool: Pool) -> dict[str, Any]:
    """The operator's pods, whatever its release is called."""
    labels = {"app.kubernetes.io/name": names.FIELD_MANAGER, names.COMPONENT_LABEL: names.COMPONENT_OPERATOR}
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": pool.operator_namespace}},
        "podSelector": {"matchLabels": labels},
    }


def balancer_policy(pool: Pool) -> Object:
    """SMTP from anywhere (relays decide who may relay), HTTP from the cluster, and what the balancers of a pool with a
    limit for each client tell each other: whoever reaches that port could make up counts.
    """
    http = _ports(names.HTTP_PORT, *names.HAPROXY_HEALTH_PORTS.values())
    return _policy(
        pool,
        names.balancer_name(pool.name),
        names.COMPONENT_BALANCER,
        [
            {"ports": _ports(*_CLIENT_PORTS)},
            {"from": _IN_CLUSTER, "ports": http},
            *_counts(pool),
        ],
    )


def _counts(pool: Pool) -> list[dict[str, Any]]:
    if not pool.spec.submission.max_connections_per_client:
        return []
    balancers = [{"podSelector": {"matchLabels": selector(pool, component=names.COMPONENT_BALANCER)}}]
    return [{"from": balancers, "ports": _ports(*names.PEER_PORTS.values())}]


def _ports(*ports: int) -> list[dict[str, Any]]:
    return [{"protocol": "TCP", "port": port} for port in ports]


def _policy(pool: Pool, name: str, component: str, ingress: list[dict[str, Any]]) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(pool, name, component=component),
        "spec": {
            "podSelector": {"matchLabels": selector(pool, component=component)},
            "policyTypes": ["Ingress"],
            "ingress": ingress,
        },
    }
