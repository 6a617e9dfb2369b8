"""The objects that the golden tests compare, and how their files are written anew: ``python -m`` this module."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from smtpfleet.api.pool import SmtpPoolSpec
from smtpfleet.api.routing import RelayRoute, RoutingTable
from smtpfleet.domain.facts import Pool as PoolFacts
from smtpfleet.domain.table import routing_table
from smtpfleet.resources import access, balancer, budgets, certificate, login, policies, relay, routing
from smtpfleet.resources.login import Login
from smtpfleet.resources.pool import Images, Object, Pool
from smtpfleet.resources.pool_service import pool_service

FILES: Final = Path(__file__).parent / "golden"


def pool(**spec: Any) -> Pool:
    """A pool called ``mail/outbound``."""
    given = {"submission": {"trustedNetworks": ["10.0.0.0/8"]}} | spec
    return Pool(
        name="outbound",
        namespace="mail",
        uid="7d1f3a0c-0000-4000-8000-000000000001",
        spec=SmtpPoolSpec.model_validate(given),
        images=Images(relay="example.net/relay:1", balancer="example.net/balancer:1"),
        operator_namespace="smtpfleet-system",
    )


def table(of: Pool) -> RoutingTable:
    """Its routing table with one relay."""
    empty = routing_table(PoolFacts(of.name, of.namespace, 1, of.spec), leaving=())
    return empty.model_copy(
        update={"relays": (RelayRoute(name="outbound-relay-0", address="10.96.0.1", weight=100),)}
    )


PLACED: Final = {
    "relay": {
        "image": "example.net/own-relay:2",
        "resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "mail", "value": "only", "effect": "NoSchedule"}, {"operator": "Exists"}],
        "priorityClassName": "important",
    }
}
OBJECTS: Final[dict[str, Callable[[], Object]]] = {
    "login-secret": lambda: login.login_secret(
        pool(), Login("pool;outbound", "p" * 43, "a certificate\n"), "outbound-login"
    ),
    "probe-secret": lambda: login.login_secret(pool(), Login("probe;outbound", "p" * 43), "outbound-probe"),
    "relay-service-account": lambda: access.relay_access(pool())[0],
    "relay-role": lambda: access.relay_access(pool())[1],
    "relay-role-senders": lambda: access.relay_access(replace(pool(), senders=("news",)))[1],
    "relay-role-binding": lambda: access.relay_access(pool())[2],
    "balancer-service-account": lambda: access.balancer_access(pool())[0],
    "balancer-role": lambda: access.balancer_access(pool())[1],
    "balancer-role-binding": lambda: access.balancer_access(pool())[2],
    "routing-config-map": lambda: routing.routing_config_map(pool(), table(pool())),
    "relay-deployment": lambda: relay.relay_deployment(pool(), "outbound-relay-0", ephemeral=False),
    "relay-deployment-ephemeral": lambda: relay.relay_deployment(pool(), "outbound-relay-0", ephemeral=True),
    "relay-deployment-placed": lambda: relay.relay_deployment(
        pool(**PLACED), "outbound-relay-0", ephemeral=False
    ),
    "relay-claim": lambda: relay.relay_claim(
        pool(), "outbound-relay-0", owned=False, size="1Gi", storage_class=""
    ),
    "relay-claim-owned": lambda: relay.relay_claim(
        pool(), "outbound-relay-0", owned=True, size="2Gi", storage_class="fast"
    ),
    "relay-service": lambda: relay.relay_service(pool(), "outbound-relay-0"),
    "certificate-secret": lambda: certificate.certificate_secret(
        pool(), certificate.Pair(certificate=b"the certificate", key=b"the key")
    ),
    "relay-budget": lambda: budgets.relay_budget(pool()),
    "relay-policy": lambda: policies.relay_policy(pool()),
    "balancer-deployment": lambda: balancer.balancer_deployment(pool()),
    "balancer-budget": lambda: budgets.balancer_budget(pool()),
    "balancer-policy": lambda: policies.balancer_policy(pool()),
    "pool-service": lambda: pool_service(pool()),
}


def text(thing: Object) -> str:
    """The form of a golden file."""
    return json.dumps(thing, indent=2, sort_keys=True) + "\n"


def write() -> None:
    """Write every file anew, after a change that was meant."""
    FILES.mkdir(exist_ok=True)
    for name, build in OBJECTS.items():
        (FILES / f"{name}.json").write_text(text(build()))


if __name__ == "__main__":
    write()
