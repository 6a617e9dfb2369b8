"""The one finalizer of the operator: it holds a pool with ``deletionPolicy: Drain`` until its queues are drained.

Guarantees: pools with another policy have none, so that their deletion never waits for an operator; nothing else of a
pool's metadata is written.
"""

import logging

from smtpfleet.api import names
from smtpfleet.cluster.client import Cluster, Object
from smtpfleet.cluster.errors import ConflictError, NotFoundError
from smtpfleet.cluster.kinds import POOL

logger = logging.getLogger(__name__)


def is_held(stored: Object) -> bool:
    """Whether the pool carries the finalizer."""
    return names.DRAIN_FINALIZER in stored["metadata"].get("finalizers", ())


def is_deleted(stored: Object) -> bool:
    """Whether somebody has deleted it."""
    return "deletionTimestamp" in stored["metadata"]


async def set_hold(cluster: Cluster, stored: Object, *, held: bool) -> None:
    """Put the finalizer on the pool or take it off; a pool that is gone or another one by now is left alone."""
    given = stored["metadata"]
    body: Object = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {
            "name": given["name"],
            "namespace": given["namespace"],
            "finalizers": [names.DRAIN_FINALIZER] if held else [],
        },
    }
    try:
        await cluster.apply(POOL, body, uid=given["uid"])
    except (ConflictError, NotFoundError) as error:
        logger.info("the pool is gone or another one", extra={"pool": given["name"], "reason": str(error)})
