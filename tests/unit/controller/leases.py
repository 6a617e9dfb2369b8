"""A Lease as the API server keeps it, in memory: compare-and-set by version, and answers that fail or hang."""

import asyncio
from dataclasses import replace

from smtpfleet.cluster.errors import ConflictError, NotFoundError, UnavailableError
from smtpfleet.cluster.leases import LeaseRecord


class Shelf:
    """The Lease that several competitors see."""

    def __init__(self) -> None:
        self.record: LeaseRecord | None = None
        self.writes = 0
        self._version = 0

    def put(self, record: LeaseRecord) -> LeaseRecord:
        """Compare and set."""
        current = self.record.version if self.record else ""
        if record.version and self.record is None:
            raise NotFoundError("no lease")
        if record.version != current:
            raise ConflictError("changed meanwhile")
        self._version += 1
        self.writes += 1
        self.record = replace(record, version=str(self._version))
        return self.record


class View:
    """How one competitor reaches it: ``away`` fails its calls, ``hangs`` keeps them from ending."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf, self.away, self.hangs = shelf, False, False
        self.late_answers = False

    async def read(self) -> LeaseRecord | None:
        """As the store's."""
        await self._reach()
        return self.shelf.record

    async def write(self, record: LeaseRecord) -> LeaseRecord:
        """As the store's. With ``late_answers``, it is written, but nobody hears of it."""
        await self._reach()
        written = self.shelf.put(record)
        if self.late_answers:
            raise UnavailableError("the answer was lost")
        return written

    async def _reach(self) -> None:
        await asyncio.sleep(0.01)
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise UnavailableError("no connection")
