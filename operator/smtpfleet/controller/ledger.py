"""Whether the watches keep up: what lists show must have come by watch as well, a moment later.

A watch that is silent may be idle or dead, and from the outside both look alike. But every reconcile lists a
pool's objects; if a version that was listed does not arrive by watch within a time, that watch is dead. An
API server that is away gives no lists, so an outage is never mistaken for a dead watch.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Scope = tuple[str, str, str]
"""Kind, namespace and pool."""


class WatchLedger:
    """Compares listed versions with watched ones. ``clock`` gives seconds that only ever grow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._watched: dict[str, str] = {}
        self._last: dict[str, float] = {}
        self._missing: dict[Scope, dict[str, tuple[str, float]]] = {}

    def watched(self, *, kind: str, uid: str, version: str, deleted: bool) -> None:
        """A watch has delivered an object."""
        self._last[kind] = self._clock()
        if deleted:
            self._watched.pop(uid, None)
        else:
            self._watched[uid] = version

    def listed(self, scope: Scope, objects: Iterable[Mapping[str, Any]]) -> None:
        """A list has shown all objects of one kind and pool."""
        before = self._missing.pop(scope, {})
        now = self._clock()
        missing: dict[str, tuple[str, float]] = {}
        for thing in objects:
            uid, version = thing["metadata"]["uid"], thing["metadata"]["resourceVersion"]
            if self._has_seen(uid, version):
                continue
            waiting = before.get(uid)
            still = waiting is not None and not self._has_seen(uid, waiting[0])
            missing[uid] = waiting if waiting and still else (version, now)
        if missing:
            self._missing[scope] = missing

    def forget(self, namespace: str, pool: str) -> None:
        """The pool is gone."""
        for scope in [scope for scope in self._missing if scope[1:] == (namespace, pool)]:
            del self._missing[scope]

    def restart(self) -> None:
        """All watches start anew: what they delivered before counts no more, and they get new time."""
        self._watched.clear()
        self._missing.clear()

    def behind_s(self) -> dict[str, float]:
        """For each kind whose watch is behind: for how many seconds."""
        now = self._clock()
        result: dict[str, float] = {}
        for (kind, _, _), missing in self._missing.items():
            for uid, (version, since) in missing.items():
                if not self._has_seen(uid, version):
                    result[kind] = max(result.get(kind, 0.0), now - since)
        return result

    def age_s(self) -> dict[str, float]:
        """For each kind: seconds since its watch delivered anything. An idle watch may be old."""
        now = self._clock()
        return {kind: now - last for kind, last in self._last.items()}

    def _has_seen(self, uid: str, version: str) -> bool:
        watched = self._watched.get(uid, "")
        if watched.isdigit() and version.isdigit():  # comparable since Kubernetes 1.35
            return int(watched) >= int(version)
        return watched == version
