"""Names, labels and owners: how an object says whose it is.

Guarantees: everything but a claim that is to be kept is owned by its pool, so that it goes with the pool while
no operator runs; everything carries the labels of the pool, so that it is found by label and never by a name.
"""

from typing import Any

from smtpfleet.api import names
from smtpfleet.resources.pool import Object, Pool


def labels(pool: Pool, *, component: str = "", relay: str = "") -> dict[str, str]:
    """Labels of an object of the pool; ``component`` is empty for what relays and balancers share."""
    result = {
        "app.kubernetes.io/name": names.FIELD_MANAGER,
        "app.kubernetes.io/instance": pool.name,
        "app.kubernetes.io/part-of": names.FIELD_MANAGER,
        names.MANAGED_BY_LABEL: names.FIELD_MANAGER,
        names.POOL_LABEL: pool.name,
    }
    if component:
        result[names.COMPONENT_LABEL] = component
    if relay:
        result[names.RELAY_LABEL] = relay
    return result


def selector(pool: Pool, *, component: str, relay: str = "") -> dict[str, str]:
    """What chooses the pods of one component, or of one relay. A Deployment can never change it."""
    result = {names.POOL_LABEL: pool.name, names.COMPONENT_LABEL: component}
    if relay:
        result[names.RELAY_LABEL] = relay
    return result


def metadata(
    pool: Pool, name: str, *, component: str = "", relay: str = "", owned: bool = True
) -> dict[str, Any]:
    """Metadata of an object; ``owned=False`` lets it outlive the pool."""
    result: dict[str, Any] = {
        "name": name,
        "namespace": pool.namespace,
        "labels": labels(pool, component=component, relay=relay),
    }
    if owned:
        result["ownerReferences"] = [owner_reference(pool)]
    return result


def owner_reference(pool: Pool) -> dict[str, Any]:
    """The pool as controlling owner of a child."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": pool.name,
        "uid": pool.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_predecessors(pool_name: str, live: Object) -> bool:
    """Whether an object belongs to a deleted pool of the same name, so that it is about to go with it."""
    owners = live.get("metadata", {}).get("ownerReferences", ())
    return any(
        owner.get("controller")
        and owner.get("kind") == names.KIND
        and owner.get("apiVersion") == names.API_VERSION
        and owner.get("name") == pool_name
        for owner in owners
    )


def is_ours(pool_name: str, pool_uid: str, live: Object) -> bool:
    """Whether an existing object belongs to this very pool, so that it may be changed or deleted.

    A claim needs no owner, for it may be left by an earlier pool of the same name: its labels say whose it is.
    But a claim that some controller owns is only ours if that controller is this pool.
    """
    meta = live.get("metadata", {})
    controllers = [owner for owner in meta.get("ownerReferences", ()) if owner.get("controller")]
    if controllers:
        return any(owner.get("uid") == pool_uid for owner in controllers)
    marks = meta.get("labels") or {}
    return (
        live.get("kind") == "PersistentVolumeClaim"
        and marks.get(names.POOL_LABEL) == pool_name
        and marks.get(names.MANAGED_BY_LABEL) == names.FIELD_MANAGER
    )
