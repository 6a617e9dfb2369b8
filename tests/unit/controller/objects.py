"""Objects of a pool as the API server has them, made from the builders and what controllers fill in."""

import json
from typing import Any

from smtpfleet.api import names
from smtpfleet.controller.facts import Children
from smtpfleet.resources import balancer, relay, routing
from smtpfleet.resources.drift import stamped
from smtpfleet.resources.pool import Object, Pool
from smtpfleet.resources.pool_service import pool_service
from tests.unit.resources.goldens import pool, table

POOL = pool()
READY = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}


def stored(pool: Pool = POOL, **metadata: Any) -> Object:
    """The SmtpPool itself."""
    given = {"name": pool.name, "namespace": pool.namespace, "uid": pool.uid, "generation": 3}
    return {"metadata": given | metadata, "spec": {}}


def live(wanted: Object, **parts: Any) -> Object:
    """An object after it was applied; ``parts`` are laid over its top level."""
    result = json.loads(json.dumps(stamped(wanted))) | parts
    result["metadata"] |= {
        "uid": f"uid-{wanted['metadata']['name']}",
        "resourceVersion": "5",
        "generation": 1,
    }
    return dict(result)


def annotated(thing: Object, **annotations: str) -> Object:
    """With the annotations ``smtpfleet.io/<name>``."""
    thing["metadata"]["annotations"] |= {f"{names.GROUP}/{key}": value for key, value in annotations.items()}
    return thing


def deployment(number: int, *, ephemeral: bool = False, of: Pool = POOL) -> Object:
    """A relay's Deployment that has settled."""
    name = names.relay_name(of.name, number)
    return live(relay.relay_deployment(of, name, ephemeral=ephemeral), status=dict(READY))


def claim(number: int) -> Object:
    """A relay's claim with a volume."""
    name = names.relay_name(POOL.name, number)
    made = live(relay.relay_claim(POOL, name, owned=False, size="1Gi", storage_class="local-path"))
    made["spec"]["volumeName"] = "pv-1"
    return made


def service(number: int) -> Object:
    """A relay's Service with an address."""
    made = live(relay.relay_service(POOL, names.relay_name(POOL.name, number)))
    made["spec"]["clusterIP"] = f"10.96.0.{number + 1}"
    return made


def pod(number: int, **status: Any) -> Object:
    """A relay's pod that is ready."""
    template = deployment(number)["spec"]["template"]
    given: dict[str, Any] = {
        "phase": "Running",
        "podIP": "10.244.1.7",
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "relay", "state": {"running": {}}}],
    }
    return {
        "kind": "Pod",
        "metadata": {
            "name": f"pod-{number}",
            "uid": f"pod-uid-{number}",
            "creationTimestamp": "2026-05-01T11:00:00Z",
            "labels": template["metadata"]["labels"] | {"topology.kubernetes.io/zone": "z1"},
        },
        "spec": {"nodeName": "n1"},
        "status": given | status,
    }


def balancers() -> Object:
    """The balancers' Deployment, settled."""
    status = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}
    return live(balancer.balancer_deployment(POOL), status=status)


def children(*relays: int, **changed: list[Object]) -> Children:
    """All objects of a pool with these relays; ``changed`` replaces all objects of a kind."""
    whole: dict[str, list[Object]] = {
        "Deployment": [balancers(), *map(deployment, relays)],
        "PersistentVolumeClaim": [claim(number) for number in relays],
        "Service": [live(pool_service(POOL)), *map(service, relays)],
        "Pod": [pod(number) for number in relays],
        "ConfigMap": [live(routing.routing_config_map(POOL, table(POOL)))],
    }
    return whole | changed
