"""Carries out a plan: writes what differs, deletes what may go, and never touches what is not the pool's.

Guarantees: an object that is as it should be is not written; an apply that changed nothing, for somebody else rewrites
what is applied (a mutating webhook), is told and counts as no write, so that no cycle follows at once; an object of a
wanted name that belongs to somebody else is left alone and named; what the API server refuses is named, and the rest
goes on.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from smtpfleet.api.reasons import Reason
from smtpfleet.cluster.client import Cluster
from smtpfleet.cluster.errors import ConflictError, NotFoundError, RefusedError
from smtpfleet.cluster.kinds import CLAIM, DEPLOYMENT, POD, SERVICE, Kind, kind_of
from smtpfleet.controller.wanted import Live, Wanted
from smtpfleet.domain.conditions import Problem
from smtpfleet.domain.figures import listing
from smtpfleet.domain.plan import Removal
from smtpfleet.domain.remedies import Restart
from smtpfleet.domain.transitions import Note, Severity
from smtpfleet.resources.drift import Drift, drift, is_stamped, stamped
from smtpfleet.resources.marks import is_ours, is_predecessors
from smtpfleet.resources.pool import Object, Pool

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Outcome:
    """What came of carrying out a plan.

    ``again``: something changed meanwhile, look again at once. ``waits``: look again in a moment.
    """

    problems: list[Problem] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    writes: int = 0
    again: bool = False
    waits: bool = False


class Carrier:
    """Carries out one cycle's plan for one pool.

    Args:
        cluster: the API server.
        pool: whose objects they are.
        live: the pool's objects as they were seen in this cycle.
        settled: nothing was under way, so whatever is missing was deleted by somebody.
        goes_on: is called before each object that is looked after.
    """

    def __init__(
        self, cluster: Cluster, pool: Pool, live: Live, *, settled: bool, goes_on: Callable[[], None]
    ) -> None:
        self._cluster, self._pool, self._live = cluster, pool, live
        self._settled, self._goes_on = settled, goes_on
        self._rewritten: list[str] = []
        self.outcome = Outcome()

    async def bring_about(self, objects: Iterable[Wanted]) -> None:
        """Make the objects as they are to be.

        Raises:
            ClusterError: the API server is not available; what was not written then is written next time.
        """
        for wanted in objects:
            try:
                await self._bring_about(wanted)
            except RefusedError as error:
                self.outcome.problems.append(Problem(Reason.REFUSED_BY_API, str(error)))
            except ConflictError as error:
                logger.info("changed meanwhile", extra=self._about(wanted) | {"reason": str(error)})
                self.outcome.again = True
        if self._rewritten:
            about = {"objects": listing(self._rewritten)} | self._pool_fields()
            logger.warning("somebody else rewrites what is applied, such as a mutating webhook", extra=about)

    async def remove(self, removal: Removal | None, remnants: Iterable[str]) -> None:
        """Delete a relay whose queue is known to be empty, its claim first, and Services that are left over."""
        if removal is not None:
            gone = not removal.claim or await self._delete(
                ("PersistentVolumeClaim", removal.name), Reason.CLAIM_DELETED, removal.why
            )
            if removal.deployment and gone and not self.outcome.again:
                await self._delete(("Deployment", removal.name), Reason.REMOVED, removal.why)
        for name in remnants:
            await self._delete(("Service", name), None, "")

    async def restart(self, restart: Restart | None) -> None:
        """Delete a relay's pod, which has its time to end; its Deployment makes another."""
        if restart is None:
            return
        pod = next((each for each in self._live.values() if each["metadata"]["uid"] == restart.pod_uid), None)
        if pod is not None:
            await self._delete_seen(POD, pod, restart.why)

    async def _bring_about(self, wanted: Wanted) -> None:
        self._goes_on()
        live = self._live.get(wanted.identity)
        kind = kind_of(wanted.body)
        if live is None:
            live = await self._cluster.get(kind, self._pool.namespace, wanted.identity[1])
        if live is None:
            await self._create(wanted)
            return
        if not is_ours(self._pool.name, self._pool.uid, live):
            self._not_ours(wanted, live)
            return
        difference = drift(wanted.body, live)
        if difference is Drift.NONE or (difference is Drift.TEMPLATE and not wanted.template):
            return
        applied = await self._cluster.apply(kind, stamped(wanted.body), uid=live["metadata"]["uid"])
        if applied["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]:
            self._rewritten.append("/".join(wanted.identity))
            return
        self._wrote("updated", wanted)
        if self._settled and is_stamped(wanted.body, live):
            self._note(Severity.NORMAL, Reason.RESTORED, f"{_words(wanted)} was changed, it is put right")

    def _not_ours(self, wanted: Wanted, live: Object) -> None:
        if is_predecessors(self._pool.name, live):
            logger.info("waiting until the deleted pool's object is gone", extra=self._about(wanted))
            self.outcome.waits = True
        else:
            self.outcome.problems.append(_conflict(wanted))

    async def _create(self, wanted: Wanted) -> None:
        """Apply without force: whoever makes an object of this name at this moment is not overruled."""
        await self._cluster.apply(kind_of(wanted.body), stamped(wanted.body), force=False)
        self._wrote("created", wanted)
        if self._settled and wanted.identity[0] != "ConfigMap":
            self._note(Severity.NORMAL, Reason.RESTORED, f"{_words(wanted)} was missing, it is made again")
        elif wanted.identity[0] == "Deployment":
            self._note(Severity.NORMAL, Reason.CREATED, f"{_words(wanted)} created")

    async def _delete(self, identity: tuple[str, str], reason: Reason | None, why: str) -> bool:
        """Returns whether nothing of the pool's is in the way any more."""
        kind = {"PersistentVolumeClaim": CLAIM, "Deployment": DEPLOYMENT, "Service": SERVICE}[identity[0]]
        live = self._live[identity]
        if not is_ours(self._pool.name, self._pool.uid, live):
            return True
        deleted = await self._delete_seen(kind, live, why)
        if deleted and reason is not None:
            self._note(Severity.NORMAL, reason, f"{identity[0]} {identity[1]} deleted: {why}")
        return deleted is not None

    async def _delete_seen(self, kind: Kind, live: Object, why: str) -> bool | None:
        """Returns whether it was deleted: False if it was gone already, None if it could not be."""
        self._goes_on()
        name = f"{kind.kind}/{live['metadata']['name']}"
        try:
            await self._cluster.delete(kind, live)
        except NotFoundError:
            return False
        except RefusedError as error:
            self.outcome.problems.append(Problem(Reason.REFUSED_BY_API, str(error)))
            return None
        except ConflictError as error:
            logger.info("changed meanwhile", extra={"object": name, "reason": str(error)})
            self.outcome.again = True
            return None
        self.outcome.writes += 1
        logger.info("deleted", extra={"object": name, "why": why} | self._pool_fields())
        return True

    def _wrote(self, verb: str, wanted: Wanted) -> None:
        self.outcome.writes += 1
        logger.info(verb, extra=self._about(wanted))

    def _note(self, severity: Severity, reason: Reason, message: str) -> None:
        self.outcome.notes.append(Note(severity, reason, message, action="Reconcile"))

    def _about(self, wanted: Wanted) -> dict[str, str]:
        return {"object": "/".join(wanted.identity)} | self._pool_fields()

    def _pool_fields(self) -> dict[str, str]:
        return {"namespace": self._pool.namespace, "pool": self._pool.name}


def _conflict(wanted: Wanted) -> Problem:
    way_out = ", or name it in the spec (secretName)" if wanted.identity[0] == "Secret" else ""
    message = f"{_words(wanted)} exists and is not this pool's: rename or delete it{way_out}"
    return Problem(Reason.NAME_CONFLICT, message)


def _words(wanted: Wanted) -> str:
    return " ".join(wanted.identity)
