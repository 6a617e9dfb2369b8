"""The identity of a pool's pods: they may read their routing table, the Secrets the pool names, and nothing else."""

from smtpfleet.api import names
from smtpfleet.api.secret_names import secret_names
from smtpfleet.resources.marks import metadata
from smtpfleet.resources.pool import Object, Pool


def service_account(pool: Pool) -> Object:
    """The account of relays and balancers."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(pool, names.agent_name(pool.name)),
        # Pods ask for the token themselves: nothing else that runs under this account gets one by accident.
        "automountServiceAccountToken": False,
    }


def role(pool: Pool) -> Object:
    """Reading the routing table, exactly the Secrets of the spec, and the one by which relays know each other."""
    rules = [_reading("configmaps", names.routing_name(pool.name))]
    secrets = (*secret_names(pool.name, pool.spec, pool.senders), names.hand_off_name(pool.name))
    rules.append(_reading("secrets", *sorted(secrets)))
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": metadata(pool, names.agent_name(pool.name)),
        "rules": rules,
    }


def _reading(resource: str, *only: str) -> Object:
    """``resourceNames`` also covers list and watch with a field selector on one of them."""
    return {
        "apiGroups": [""],
        "resources": [resource],
        "resourceNames": list(only),
        "verbs": ["get", "list", "watch"],
    }


def role_binding(pool: Pool) -> Object:
    """The account's right to that role."""
    name = names.agent_name(pool.name)
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata(pool, name),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": pool.namespace}],
    }
