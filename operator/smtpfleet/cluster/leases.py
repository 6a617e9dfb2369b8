"""The Lease that says which operator is at work, as a record with compare-and-set.

Lease calls are not fenced: they are what the fence is made of.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from smtpfleet.cluster.client import Cluster, Object
from smtpfleet.cluster.kinds import LEASE


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A Lease. ``holder`` is empty when it was released; ``version`` is "" for one that does not exist yet."""

    holder: str
    duration_s: int
    acquired: datetime
    renewed: datetime
    transitions: int = 0
    version: str = ""


class LeaseStore:
    """One Lease in the cluster."""

    def __init__(self, cluster: Cluster, *, namespace: str, name: str) -> None:
        self._cluster, self._namespace, self._name = cluster, namespace, name

    async def read(self) -> LeaseRecord | None:
        """The record, or None if there is none.

        Raises:
            ClusterError: it cannot be read now.
        """
        found = await self._cluster.get(LEASE, self._namespace, self._name)
        return None if found is None else _record(found)

    async def write(self, record: LeaseRecord) -> LeaseRecord:
        """Store the record if the Lease still has its ``version``; returns it with the new version.

        Raises:
            ConflictError: somebody else was faster.
            ClusterError: it cannot be written now.
        """
        body = _object(record, self._namespace, self._name)
        call = self._cluster.replace if record.version else self._cluster.create
        return _record(await call(LEASE, body, fenced=False))


def _record(lease: Object) -> LeaseRecord:
    spec: dict[str, Any] = lease.get("spec") or {}
    return LeaseRecord(
        holder=spec.get("holderIdentity") or "",
        duration_s=int(spec.get("leaseDurationSeconds") or 0),
        acquired=_moment(spec.get("acquireTime")),
        renewed=_moment(spec.get("renewTime")),
        transitions=int(spec.get("leaseTransitions") or 0),
        version=lease["metadata"]["resourceVersion"],
    )


def _object(record: LeaseRecord, namespace: str, name: str) -> Object:
    metadata = {"name": name, "namespace": namespace}
    if record.version:
        metadata["resourceVersion"] = record.version
    return {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.kind,
        "metadata": metadata,
        "spec": {
            "holderIdentity": record.holder,
            "leaseDurationSeconds": record.duration_s,
            "acquireTime": _text(record.acquired),
            "renewTime": _text(record.renewed),
            "leaseTransitions": record.transitions,
        },
    }


def _moment(text: str | None) -> datetime:
    return datetime.fromisoformat(text or "1970-01-01T00:00:00+00:00")


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
