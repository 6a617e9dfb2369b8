"""An API server that holds objects in memory, as far as a cycle of work on a pool needs one."""

from collections.abc import Mapping
from typing import Any, cast

from smtpfleet.api import names
from smtpfleet.api.names import PoolKey
from smtpfleet.cluster.client import Cluster, Object
from smtpfleet.cluster.errors import ConflictError, RefusedError
from smtpfleet.cluster.kinds import POOL, Kind


class Server:
    """Records what is written to pools; ``refused`` are calls that fail, such as ``list Pod``."""

    def __init__(self, pool: Object | None, *children: Object, refused: frozenset[str] = frozenset()) -> None:
        self.pool, self.children, self.refused = pool, list(children), refused
        for child in self.children:
            child["metadata"].setdefault("resourceVersion", "5")
        self.neighbours: list[Object] = []
        self.calls: list[str] = []
        self.told: list[str] = []
        self.applied: list[Object] = []
        """What was applied to the pool's objects."""
        self.unchanged: set[str] = set()
        """Names of objects that are after an apply as before: somebody rewrites what is applied."""
        self.most_unsigned = self._unsigned = 0
        """So many calls came at most without a sign that the cycle goes on."""
        self.changed_meanwhile = 0
        """So many writes more find that somebody was faster."""

    @property
    def cluster(self) -> Cluster:
        return cast(Cluster, self)

    @property
    def finalizers(self) -> list[str]:
        assert self.pool is not None
        return cast(list[str], self.pool["metadata"].get("finalizers", []))

    def goes_on(self, key: PoolKey) -> None:
        self._unsigned = 0

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        self._called("get", kind)
        if kind == POOL:
            return self.pool
        found = (child for child in self.children if child["kind"] == kind.kind)
        return next((child for child in found if child["metadata"]["name"] == name), None)

    async def list(self, kind: Kind, namespace: str, labels: Mapping[str, str]) -> list[Object]:
        self._called("list", kind)
        if kind == POOL:
            return [*([self.pool] if self.pool else []), *self.neighbours]
        found = [child for child in self.children if child["kind"] == kind.kind]
        return [child for child in found if labels.items() <= child["metadata"]["labels"].items()]

    async def apply(self, kind: Kind, wanted: Object, **how: Any) -> Object:
        """Only what is listed is added: what another one owns stays, as with server-side apply."""
        self._called("apply", kind)
        if kind == POOL:
            self._write()
            more = [each for each in wanted["metadata"]["finalizers"] if each not in self.finalizers]
            assert self.pool is not None
            self.pool["metadata"]["finalizers"] = [*self.finalizers, *more]
            return self.pool
        self.applied.append(wanted)
        version = "5" if wanted["metadata"]["name"] in self.unchanged else "6"
        return wanted | {"metadata": wanted["metadata"] | {"resourceVersion": version}}

    async def merge(self, kind: Kind, seen: Object, changed: Object) -> Object:
        self._called("merge", kind)
        assert kind == POOL
        assert self.pool is not None
        self._write()
        self.pool["metadata"] |= changed["metadata"]
        return self.pool

    async def apply_status(self, kind: Kind, wanted: Object) -> Object:
        self._called("status", kind)
        return wanted

    async def create(self, kind: Kind, wanted: Object, **how: Any) -> Object:
        self._called("create", kind)
        self.told.append(f"{wanted['reason']}: {wanted['note']}")
        return wanted

    async def delete(self, kind: Kind, seen: Object) -> None:
        self._called("delete", kind)

    def _called(self, verb: str, kind: Kind) -> None:
        call = f"{verb} {kind.kind}"
        self.calls.append(call)
        self._unsigned += 1
        self.most_unsigned = max(self.most_unsigned, self._unsigned)
        if call in self.refused:
            raise RefusedError(f"{call}: 403")

    def _write(self) -> None:
        if self.changed_meanwhile:
            self.changed_meanwhile -= 1
            raise ConflictError("the object has been modified")


def held(pool: Object, *others: str, **metadata: Any) -> Object:
    """The pool with the operator's finalizer, and those of others."""
    pool["metadata"] |= {"resourceVersion": "5", "finalizers": [names.DRAIN_FINALIZER, *others]} | metadata
    return pool
