"""The one finalizer of the operator: it holds a pool with ``deletionPolicy: Drain`` until its queues are drained.

Guarantees: pools with another policy have none, so that their deletion never waits for an operator; nothing else of a
pool's metadata is written.
"""

import logging

from smtpfleet.api import names
from smtpfleet.cluster.client import Cluster, Object
from smtpfleet.cluster.errors import ConflictError, NotFoundError
from smtpfleet.cluster.kinds import POOL
from smtpfleet.controller.facts import is_deleted

logger = logging.getLogger(__name__)


def is_held(stored: Object) -> bool:
    """Whether the pool carries the finalizer."""
    return names.DRAIN_FINALIZER in stored["metadata"].get("finalizers", ())


def loses_children(stored: Object) -> bool:
    """Whether it was deleted with ``--cascade=foreground``: its relays are deleted at once, whatever holds it."""
    return is_deleted(stored) and "foregroundDeletion" in stored["metadata"].get("finalizers", ())


async def set_hold(cluster: Cluster, stored: Object, *, held: bool) -> bool:
    """Put the finalizer on the pool or take it off, whoever put it there; of a pool that is gone nothing is left to do.

    It is applied, and taken off by a patch of the list: others may own the same item (GitOps, a dump applied
    anew), and then it would stay after an apply without it.

    Returns:
        Whether it is so now; False: the pool changed meanwhile, look again.

    Raises:
        ClusterError: the API server is not available or refuses it.
    """
    given = stored["metadata"]
    try:
        await (_put_on if held else _take_off)(cluster, given)
    except NotFoundError as error:
        logger.info("the pool is gone", extra={"pool": given["name"], "reason": str(error)})
    except ConflictError as error:
        logger.info("the pool changed meanwhile", extra={"pool": given["name"], "reason": str(error)})
        return False
    return True


async def _put_on(cluster: Cluster, given: Object) -> None:
    metadata = {
        "name": given["name"],
        "namespace": given["namespace"],
        "finalizers": [names.DRAIN_FINALIZER],
    }
    body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata}
    await cluster.apply(POOL, body, uid=given["uid"])


async def _take_off(cluster: Cluster, given: Object) -> None:
    # As it is now: a status that was written in this cycle has changed the version.
    now = await cluster.get(POOL, given["namespace"], given["name"])
    if now is None or now["metadata"]["uid"] != given["uid"] or not is_held(now):
        return
    others = [each for each in now["metadata"]["finalizers"] if each != names.DRAIN_FINALIZER]
    await cluster.merge(POOL, now, {"metadata": {"finalizers": others}})
