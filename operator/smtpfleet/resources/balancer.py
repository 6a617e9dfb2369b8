"""The balancers: a Deployment of two HAProxys with their agent beside them.

Guarantees: the pods are admitted by Pod Security "restricted"; HAProxy starts from a configuration that an
init container has rendered from the mounted routing table, so it needs neither its agent nor the API server, and has
no token for it.
"""

from typing import Any, Final

from smtpfleet.api import names
from smtpfleet.resources.marks import labels, metadata, selector
from smtpfleet.resources.placement import spread
from smtpfleet.resources.pods import (
    container_security,
    environment,
    http_probe,
    memory_volume,
    routing_mount,
    routing_volume,
    token_mount,
    token_volume,
)
from smtpfleet.resources.pool import Object, Pool

USER: Final = 65534
GRACE_S: Final = 60
"""Time for open sessions to end after the soft stop."""
LEAVE_S: Final = 5
"""How long a stopping balancer still takes connections: until every node has taken it out of the Service."""
_RUN: Final = "run"


def balancer_deployment(pool: Pool) -> Object:
    """The balancers. A new pod is ready before an old one goes."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(pool, names.balancer_name(pool.name), component=names.COMPONENT_BALANCER),
        "spec": {
            "replicas": pool.spec.balancing.replicas,
            "revisionHistoryLimit": 2,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": selector(pool, component=names.COMPONENT_BALANCER)},
            "template": {
                "metadata": {
                    "labels": labels(pool, component=names.COMPONENT_BALANCER),
                    "annotations": {"kubectl.kubernetes.io/default-container": "haproxy"},
                },
                "spec": _pod(pool),
            },
        },
    }


def _pod(pool: Pool) -> dict[str, Any]:
    return {
        "serviceAccountName": names.balancer_name(pool.name),
        # Not in the containers that face the clients: the agent mounts it.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        "securityContext": {
            "runAsUser": USER,
            "runAsGroup": USER,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [_render(pool)],
        "containers": [*(_haproxy(pool, name) for name in names.HAPROXY_HEALTH_PORTS), _agent(pool)],
        "volumes": [memory_volume(_RUN), routing_volume(pool), token_volume()],
    } | spread(pool, component=names.COMPONENT_BALANCER)


def _render(pool: Pool) -> dict[str, Any]:
    return _agent_container(pool, "render", "render") | {
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}
    }


def _agent(pool: Pool) -> dict[str, Any]:
    # No readiness and no startup probe: whether the agent is well says nothing about the traffic.
    container = _agent_container(pool, "agent", "run")
    return container | {
        "volumeMounts": [*container["volumeMounts"], token_mount()],
        "ports": [{"name": "http", "containerPort": names.HTTP_PORT, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
        "livenessProbe": http_probe("/healthz", names.HTTP_PORT, period_s=10, failures=6)
        | {"initialDelaySeconds": 10},
    }


def _agent_container(pool: Pool, name: str, command: str) -> dict[str, Any]:
    return {
        "name": name,
        "image": pool.images.balancer,
        "command": ["python3", "-m", "smtpfleet.balancer", command],
        "env": environment(pool),
        "securityContext": container_security(),
        "volumeMounts": [_run_mount(), routing_mount()],
    }


def _haproxy(pool: Pool, name: str) -> dict[str, Any]:
    """One of the pod's HAProxys. They listen on the same ports (SO_REUSEPORT), so while the kubelet starts one of them
    anew, which takes it a second, every new connection reaches the other.
    """
    health = names.HAPROXY_HEALTH_PORTS[name]
    # Whatever the TLS mode: a change of it is no reason to replace the pods.
    ports = {
        "smtp": names.SMTP_PORT,
        "submission": names.SUBMISSION_PORT,
        "submissions": names.SUBMISSIONS_PORT,
    }
    # A port is named once in a pod.
    shown = (ports if name == "haproxy" else {}) | {name.replace("haproxy", "health"): health}
    return {
        "name": name,
        "image": pool.images.balancer,
        "command": list(names.haproxy_command(name)),
        "env": [
            {"name": names.ADMIN_SOCKET_VARIABLE, "value": names.admin_socket(name)},
            {"name": names.HEALTH_PORT_VARIABLE, "value": str(health)},
        ],
        "ports": [
            {"name": port, "containerPort": number, "protocol": "TCP"} for port, number in shown.items()
        ],
        "resources": {"requests": {"cpu": "50m", "memory": "48Mi"}},
        "securityContext": container_security(),
        "startupProbe": http_probe("/healthz", health, period_s=1, failures=60),
        "livenessProbe": http_probe("/healthz", health, period_s=10, failures=6),
        "readinessProbe": http_probe("/healthz", health, period_s=2, failures=2),
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVE_S}}},
        "volumeMounts": [_run_mount()],
    }


def _run_mount() -> dict[str, Any]:
    return {"name": _RUN, "mountPath": names.BALANCER_RUN_DIRECTORY}
