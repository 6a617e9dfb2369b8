"""The identities of a pool's pods: what their agents may read at the API server, and nothing else.

Relays read the routing table and the Secrets that the pool names. Balancers, which face the clients, read the routing
table alone.
"""

from smtpfleet.api import names
from smtpfleet.api.secret_names import secret_names
from smtpfleet.resources.marks import metadata
from smtpfleet.resources.pool import Object, Pool


def relay_access(pool: Pool) -> tuple[Object, ...]:
    """Account, role and binding of relays.

    They read the routing table, exactly the Secrets of the spec, and the one by which relays know each other.
    """
    secrets = (*secret_names(pool.name, pool.spec, pool.senders), names.hand_off_name(pool.name))
    rules = [_routing(pool), _reading("secrets", *sorted(secrets))]
    return _access(pool, names.agent_name(pool.name), names.COMPONENT_RELAY, rules)


def balancer_access(pool: Pool) -> tuple[Object, ...]:
    """Account, role and binding of balancers, which read the routing table."""
    return _access(pool, names.balancer_name(pool.name), names.COMPONENT_BALANCER, [_routing(pool)])


def _access(pool: Pool, name: str, component: str, rules: list[Object]) -> tuple[Object, ...]:
    """An account, a role of its name, and the account's right to that role."""
    group = "rbac.authorization.k8s.io"
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(pool, name, component=component),
        # Pods ask for the token themselves: nothing else that runs under this account gets one by accident.
        "automountServiceAccountToken": False,
    }
    role = {
        "apiVersion": f"{group}/v1",
        "kind": "Role",
        "metadata": metadata(pool, name, component=component),
        "rules": rules,
    }
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": metadata(pool, name, component=component),
        "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": pool.namespace}],
    }
    return account, role, binding


def _routing(pool: Pool) -> Object:
    return _reading("configmaps", names.routing_name(pool.name))


def _reading(resource: str, *only: str) -> Object:
    """``resourceNames`` also covers list and watch with a field selector on one of them."""
    return {
        "apiGroups": [""],
        "resources": [resource],
        "resourceNames": list(only),
        "verbs": ["get", "list", "watch"],
    }
