"""Events about pools: posted on transitions, never twice for the same news, never in the way of the work."""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from smtpfleet.api import names
from smtpfleet.cluster.client import Cluster, Object
from smtpfleet.cluster.errors import ClusterError
from smtpfleet.cluster.kinds import EVENT

logger = logging.getLogger(__name__)

_REPEAT_S: Final = 300.0
"""The same news of the same pool is told again only after this time."""
_REMEMBERED: Final = 2048
_NOTE_LIMIT: Final = 1024
_REPORTER: Final = f"{names.GROUP}/operator"


@dataclass(frozen=True, slots=True)
class About:
    """The pool an Event is about."""

    namespace: str
    name: str
    uid: str


class EventRecorder:
    """Posts Events of one operator process.

    Args:
        cluster: where to.
        instance: this process, such as its pod's name.
        now: the time of day.
    """

    def __init__(
        self, cluster: Cluster, *, instance: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._cluster, self._instance, self._now = cluster, instance, now
        self._told: OrderedDict[tuple[str, str, str], datetime] = OrderedDict()

    async def tell(self, about: About, *, severity: str, reason: str, action: str, message: str) -> None:
        """Post an Event, unless it was told a moment ago. A failure is logged: an Event is never vital."""
        now = self._now()
        if not self._is_news((about.uid, reason, message), now):
            return
        try:
            await self._cluster.create(
                EVENT, self._event(about, now, severity=severity, reason=reason, action=action, note=message)
            )
        except ClusterError as error:
            logger.warning("an Event could not be posted", extra={"pool": about.name, "reason": str(error)})

    def _is_news(self, news: tuple[str, str, str], now: datetime) -> bool:
        told = self._told.get(news)
        if told is not None and (now - told).total_seconds() < _REPEAT_S:
            return False
        self._told[news] = now
        self._told.move_to_end(news)
        while len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        return True

    def _event(
        self, about: About, now: datetime, *, severity: str, reason: str, action: str, note: str
    ) -> Object:
        moment = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        digest = hashlib.sha256(f"{reason}{note}{moment}{self._instance}".encode()).hexdigest()[:16]
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": f"{about.name}.{digest}", "namespace": about.namespace},
            "eventTime": moment,
            "type": severity,
            "reason": reason,
            "action": action,
            "note": note[:_NOTE_LIMIT],
            "reportingController": _REPORTER,
            "reportingInstance": self._instance[:128],
            "regarding": {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "name": about.name,
                "namespace": about.namespace,
                "uid": about.uid,
            },
        }
