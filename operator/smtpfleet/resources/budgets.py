"""PodDisruptionBudgets: how many pods a node drain may take at once.

The relays' budget covers all relays of the pool by label, although each is a Deployment of its own: the
disruption controller adds their replicas up. A pod that is not ready may always be evicted, for it serves
nobody and its queue is on its volume; otherwise one broken relay would block every node drain.
"""

from smtpfleet.api import names
from smtpfleet.resources.marks import metadata, selector
from smtpfleet.resources.pool import Object, Pool


def relay_budget(pool: Pool) -> Object:
    """At most one relay of the pool at a time."""
    return _budget(pool, names.relays_name(pool.name), names.COMPONENT_RELAY)


def balancer_budget(pool: Pool) -> Object:
    """At most one balancer of the pool at a time."""
    return _budget(pool, names.balancer_name(pool.name), names.COMPONENT_BALANCER)


def _budget(pool: Pool, name: str, component: str) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(pool, name, component=component),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector(pool, component=component)},
        },
    }
