"""One relay: a Deployment of one pod, its claim, and an address that outlives its pod.

``Recreate`` and ReadWriteOncePod both say the same: two Postfix instances never run on one queue. The routing
table is no part of the pod template, for it is live in the pod: only what needs another pod restarts a relay.
"""

from typing import Any, Final

from smtpfleet.api import names
from smtpfleet.api.relay_pods import Toleration
from smtpfleet.resources.marks import labels, metadata, selector
from smtpfleet.resources.placement import spread
from smtpfleet.resources.pods import (
    container_security,
    environment,
    http_probe,
    memory_volume,
    routing_mount,
    routing_volume,
)
from smtpfleet.resources.pool import Object, Pool

# The least that Postfix starts and delivers with: its master gives up root for each of its processes, and
# makes the queue directories of an empty volume. All of them are admitted by Pod Security "baseline".
CAPABILITIES: Final = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID")
GRACE_S: Final = 45
"""Time for open sessions to end, and for deliveries to end without a duplicate."""
_PORTS: Final = {
    "smtp": names.SMTP_PORT,
    "submission": names.SUBMISSION_PORT,
    "submissions": names.SUBMISSIONS_PORT,
    "hand-off": names.HAND_OFF_PORT,
    "check": names.CHECK_PORT,
    "agent-check": names.AGENT_CHECK_PORT,
    "http": names.HTTP_PORT,
}
_DEFAULT_REQUESTS: Final = {"cpu": "100m", "memory": "128Mi"}


def relay_deployment(pool: Pool, name: str, *, ephemeral: bool) -> Object:
    """The Deployment of relay ``name``; ``ephemeral`` keeps its queue in the pod instead of on its claim."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(pool, name, component=names.COMPONENT_RELAY, relay=name),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 2,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": selector(pool, component=names.COMPONENT_RELAY, relay=name)},
            "template": {
                "metadata": {
                    "labels": labels(pool, component=names.COMPONENT_RELAY, relay=name),
                    "annotations": {"kubectl.kubernetes.io/default-container": "relay"},
                },
                "spec": _pod(pool, name, ephemeral=ephemeral),
            },
        },
    }


def relay_claim(pool: Pool, name: str, *, owned: bool, size: str, storage_class: str) -> Object:
    """The claim of relay ``name``'s queue. ``owned`` makes it go with the pool.

    A claim's class can never change and its size never shrink: for a claim that exists, the caller gives what
    it has. An empty class leaves the choice to the cluster.
    """
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOncePod"],
        "resources": {"requests": {"storage": size}},
    }
    if storage_class:
        spec["storageClassName"] = storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(pool, name, component=names.COMPONENT_RELAY, relay=name, owned=owned),
        "spec": spec,
    }


def relay_service(pool: Pool, name: str) -> Object:
    """The address of relay ``name`` in the routing table.

    Pods that are not ready are listed as well: balancers judge for themselves, several times a second, and
    the cluster's opinion would only come later and stay longer.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(pool, name, component=names.COMPONENT_RELAY, relay=name),
        "spec": {
            "type": "ClusterIP",
            "publishNotReadyAddresses": True,
            "selector": selector(pool, component=names.COMPONENT_RELAY, relay=name),
            "ports": [
                {"name": port, "port": number, "targetPort": number, "protocol": "TCP"}
                for port, number in _PORTS.items()
            ],
        },
    }


def _pod(pool: Pool, name: str, *, ephemeral: bool) -> dict[str, Any]:
    relay = pool.spec.relay
    # No size limit for an ephemeral queue: to exceed it would evict the pod, and all its mail with it.
    queue = {"emptyDir": {}} if ephemeral else {"persistentVolumeClaim": {"claimName": name}}
    pod: dict[str, Any] = {
        "serviceAccountName": names.agent_name(pool.name),
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        # No fsGroup: the kubelet would change the modes of queue files, and those are data (force-expired).
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(pool, name)],
        "volumes": [
            {"name": "queue"} | queue,
            memory_volume("run"),
            {"name": "tmp", "emptyDir": {}},
            {"name": "postfix", "emptyDir": {}},
            routing_volume(pool),
        ],
    } | spread(pool, component=names.COMPONENT_RELAY)
    if relay.node_selector:
        pod["nodeSelector"] = dict(relay.node_selector)
    if relay.tolerations:
        pod["tolerations"] = [_toleration(toleration) for toleration in relay.tolerations]
    if relay.priority_class_name:
        pod["priorityClassName"] = relay.priority_class_name
    return pod


def _container(pool: Pool, name: str) -> dict[str, Any]:
    return {
        "name": "relay",
        "image": pool.spec.relay.image or pool.images.relay,
        "env": environment(
            pool, extra={"RELAY_NAME": name, "MAIL_CONFIG": names.POSTFIX_CONFIGURATION_DIRECTORY}
        ),
        "ports": [
            {"name": port, "containerPort": number, "protocol": "TCP"} for port, number in _PORTS.items()
        ],
        "resources": _resources(pool),
        # Root, because Postfix's master is; what it may do as root is in the capabilities.
        "securityContext": {"runAsUser": 0} | container_security(add=CAPABILITIES),
        "startupProbe": http_probe("/healthz", names.HTTP_PORT, period_s=1, failures=180),
        # Restarting a relay costs more than waiting for a busy one: balancers leave it alone meanwhile.
        "livenessProbe": http_probe("/healthz", names.HTTP_PORT, period_s=10, failures=6),
        "readinessProbe": http_probe("/readyz", names.HTTP_PORT, period_s=3, failures=2),
        "volumeMounts": [
            {"name": "queue", "mountPath": names.QUEUE_VOLUME_DIRECTORY},
            {"name": "run", "mountPath": "/run"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a mount point in a pod, not a file of ours
            {"name": "postfix", "mountPath": "/var/lib/postfix"},
            routing_mount(),
        ],
    }


def _resources(pool: Pool) -> dict[str, Any]:
    """The user's, over small default requests. No default limit: one that is hit kills deliveries half-way."""
    given = pool.spec.relay.resources
    # A limit without a request is meant as the request as well: that is the API server's own default.
    defaults = {name: value for name, value in _DEFAULT_REQUESTS.items() if name not in given.limits}
    result: dict[str, Any] = {"requests": defaults | given.requests}
    if given.limits:
        result["limits"] = dict(given.limits)
    return result


def _toleration(toleration: Toleration) -> dict[str, str]:
    fields = {
        "key": toleration.key,
        "operator": toleration.operator,
        "value": toleration.value,
        "effect": toleration.effect,
    }
    return {name: value for name, value in fields.items() if value}
