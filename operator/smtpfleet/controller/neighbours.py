"""The pools of a namespace as they matter to each other: read from what the API server stores, whole or not."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from smtpfleet.api.names import PoolKey
from smtpfleet.api.submission import TlsMode
from smtpfleet.domain.neighbours import Neighbour, PoolRoute
from smtpfleet.resources.pool import Object


def neighbour(stored: Mapping[str, Any]) -> Neighbour | None:
    """A stored SmtpPool as its neighbours need it; None: it is being deleted.

    Only these few fields are read, so a pool whose spec cannot be acted on keeps what its routes give it.
    """
    metadata = stored["metadata"]
    if "deletionTimestamp" in metadata:
        return None
    spec = _mapping(stored.get("spec"))
    tls = _mapping(_mapping(spec.get("submission")).get("tls"))
    routes = _mapping(spec.get("delivery")).get("routes")
    return Neighbour(
        name=metadata["name"],
        takes_tls=tls.get("mode") != TlsMode.NONE,
        self_signed=tls.get("mode") != TlsMode.NONE and not tls.get("secretName"),
        routes=tuple(_pool_routes(routes if isinstance(routes, list) else [])),
    )


def neighbours(pools: Iterable[Object], name: str) -> tuple[Neighbour, ...]:
    """The pools of a namespace but that of this name, and those that are being deleted."""
    found = (neighbour(stored) for stored in pools if stored["metadata"]["name"] != name)
    return tuple(sorted((each for each in found if each), key=lambda each: each.name))


class Neighbourhood:
    """Tells whose work a change of a pool is, besides its own. Use :meth:`seen` for each event of a pool."""

    def __init__(self) -> None:
        self._known: dict[PoolKey, Neighbour] = {}

    def seen(self, key: PoolKey, now: Neighbour | None) -> frozenset[PoolKey]:
        """Pools that are to be looked at because this one is ``now`` so; None: it is gone."""
        before = self._known.pop(key, None)
        if now is not None:
            self._known[key] = now
        if now == before:
            return frozenset()
        namespace, _ = key
        led_to = {(namespace, route.pool) for each in (before, now) if each for route in each.routes}
        # A circle may go through pools that neither lead here nor are led to, so all with routes look again.
        leading = {other for other, each in self._known.items() if other[0] == namespace and each.routes}
        return frozenset(((led_to & self._known.keys()) | leading) - {key})

    def leading_to(self, key: PoolKey) -> frozenset[PoolKey]:
        """Pools with a route to this one: its certificate is theirs to know."""
        namespace, name = key
        return frozenset(
            other
            for other, each in self._known.items()
            if other[0] == namespace and any(route.pool == name for route in each.routes)
        )


def _pool_routes(routes: Sequence[Any]) -> Iterator[PoolRoute]:
    for route in map(_mapping, routes):
        if route.get("pool"):
            matched = (str(route.get("domain", "")), str(route.get("senderDomain", "")))
            yield PoolRoute(matched, str(route["pool"]))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
