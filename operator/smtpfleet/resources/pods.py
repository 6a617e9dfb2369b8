"""What the pods of relays and balancers have in common: environment, mounts, probes, no privileges."""

from typing import Any

from smtpfleet.api import names
from smtpfleet.resources.pool import Pool

_FROM_POD = {"POD_NAMESPACE": "metadata.namespace", "POD_NAME": "metadata.name"}
_MORE_FROM_POD = {"POD_IP": "status.podIP", "NODE_NAME": "spec.nodeName"}
ROUTING_VOLUME = "routing"
_ACCESS_VOLUME = "api-access"


def environment(pool: Pool, *, extra: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """``POOL_NAME``, ``extra``, and what the pod knows of itself."""
    fixed = {"POOL_NAME": pool.name} | (extra or {})
    return [
        *({"name": name, "value": value} for name, value in fixed.items()),
        *(
            {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
            for name, path in (_FROM_POD | _MORE_FROM_POD).items()
        ),
    ]


def routing_volume(pool: Pool) -> dict[str, Any]:
    """The ConfigMap as a directory: only so do its updates arrive in a running pod."""
    return {"name": ROUTING_VOLUME, "configMap": {"name": names.routing_name(pool.name)}}


def routing_mount() -> dict[str, Any]:
    """Where agents look for it."""
    return {"name": ROUTING_VOLUME, "mountPath": names.ROUTING_DIRECTORY, "readOnly": True}


def token_volume() -> dict[str, Any]:
    """What the API server would mount into every container of the pod, as a volume for those that are to have it.

    All defaults are written out: sources are compared as a whole (:mod:`smtpfleet.resources.drift`).
    """
    token = {"path": "token", "expirationSeconds": 3607}
    certificate = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    namespace = {
        "path": "namespace",
        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
    }
    sources = [
        {"serviceAccountToken": token},
        {"configMap": certificate},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return {"name": _ACCESS_VOLUME, "projected": {"sources": sources}}


def token_mount() -> dict[str, Any]:
    """Where agents look for it."""
    return {"name": _ACCESS_VOLUME, "mountPath": names.SERVICE_ACCOUNT_DIRECTORY, "readOnly": True}


def http_probe(path: str, port: int, *, period_s: int, failures: int, timeout_s: int = 5) -> dict[str, Any]:
    """A probe of one of the read-only HTTP ports."""
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period_s,
        "failureThreshold": failures,
        "timeoutSeconds": timeout_s,
    }


def container_security(*, add: tuple[str, ...] = ()) -> dict[str, Any]:
    """No privileges but the capabilities in ``add``; root file system read-only."""
    capabilities: dict[str, Any] = {"drop": ["ALL"]}
    if add:
        capabilities["add"] = list(add)
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        "capabilities": capabilities,
    }


def memory_volume(name: str) -> dict[str, Any]:
    """An empty directory in memory: sockets, pids and rendered configuration."""
    return {"name": name, "emptyDir": {"medium": "Memory"}}
