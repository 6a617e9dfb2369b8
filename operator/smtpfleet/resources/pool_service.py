"""The Service that clients of a pool connect to.

Guarantees: what the cluster itself fills in (node ports, addresses, the port of its health check) is never set here, so
it is never taken for drift; a field that has no meaning for the Service's type is not sent.
"""

from typing import Any

from smtpfleet.api import names
from smtpfleet.api.balancing import PoolService, ServiceType
from smtpfleet.api.submission import TlsMode
from smtpfleet.resources.marks import metadata, selector
from smtpfleet.resources.pool import Object, Pool


def pool_service(pool: Pool) -> Object:
    """The Service, of the type that ``balancing.service`` asks for."""
    wanted = pool.spec.balancing.service
    marks = metadata(pool, pool.name, component=names.COMPONENT_BALANCER)
    if wanted.annotations:
        marks |= {"annotations": marks.get("annotations", {}) | dict(sorted(wanted.annotations.items()))}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": marks,
        "spec": {
            "type": wanted.type.value,
            "selector": selector(pool, component=names.COMPONENT_BALANCER),
            "ports": _ports(pool),
        }
        | _outside(wanted),
    }


def _ports(pool: Pool) -> list[dict[str, Any]]:
    ports = [
        _port("smtp", names.SERVICE_SMTP_PORT, names.SMTP_PORT),
        _port("submission", names.SERVICE_SUBMISSION_PORT, names.SUBMISSION_PORT),
    ]
    if pool.spec.submission.tls.mode is not TlsMode.NONE:
        ports.append(_port("submissions", names.SERVICE_SUBMISSIONS_PORT, names.SUBMISSIONS_PORT))
    return ports


def _outside(wanted: PoolService) -> dict[str, Any]:
    """What only a Service has that is reached from outside."""
    if wanted.type is ServiceType.CLUSTER_IP:
        return {}
    fields: dict[str, Any] = {"externalTrafficPolicy": wanted.external_traffic_policy.value}
    if wanted.load_balancer_source_ranges:
        fields["loadBalancerSourceRanges"] = list(wanted.load_balancer_source_ranges)
    if wanted.load_balancer_class:
        fields["loadBalancerClass"] = wanted.load_balancer_class
    return fields


def _port(name: str, port: int, target: int) -> dict[str, Any]:
    return {"name": name, "appProtocol": name, "port": port, "targetPort": target, "protocol": "TCP"}
