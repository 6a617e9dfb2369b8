"""Routes from pool to pool: who may hand in mail here, and why mail for another pool has to wait.

Guarantees: a pool that takes no TLS is sent no login, and one whose certificate the operator makes is held to it;
routes that lead the same mail in a circle are found wherever they pass through, so that no message goes round until it
has too many hops and bounces.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from smtpfleet.api.delivery import Route
from smtpfleet.api.reasons import Reason

Matched = tuple[str, str]
"""What a route matches: ``domain`` and ``senderDomain``, one of them empty."""


@dataclass(frozen=True, slots=True)
class PoolRoute:
    """A route to a pool."""

    matched: Matched
    pool: str


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A pool of the namespace, as far as the others need to know it."""

    name: str
    takes_tls: bool = True
    self_signed: bool = True
    """The operator makes its certificate."""
    certificate: str = ""
    """That certificate, in PEM, if it is known: of pools to which a route leads."""
    routes: tuple[PoolRoute, ...] = ()
    """Those to pools."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why mail for a pool has to wait."""

    reason: Reason
    message: str


def certificates(neighbours: Sequence[Neighbour]) -> str:
    """The certificates that the operator made of them, one after the other, in PEM."""
    return "".join(each.certificate for each in neighbours)


def is_verified(pool: str, neighbours: Sequence[Neighbour]) -> bool:
    """Whether the pool of this name must prove who it is: by the certificate that the operator made."""
    return any(each.name == pool and each.self_signed for each in neighbours)


def senders(name: str, neighbours: Sequence[Neighbour]) -> tuple[str, ...]:
    """Names of the pools whose routes lead to the pool of this name, sorted."""
    return tuple(sorted(each.name for each in neighbours if any(route.pool == name for route in each.routes)))


def obstacle(name: str, route: Route, neighbours: Sequence[Neighbour]) -> Obstacle | None:
    """Why mail that takes this route of the pool ``name`` to another pool has to wait; None: it may go."""
    known = {each.name: each for each in neighbours}
    target = known.get(route.pool)
    if target is None:
        return Obstacle(Reason.POOL_MISSING, f"there is no pool {route.pool} in this namespace")
    if not target.takes_tls:
        return Obstacle(
            Reason.POOL_WITHOUT_TLS,
            f"pool {route.pool} takes no TLS (submission.tls.mode), so no login either",
        )
    if target.self_signed and not target.certificate:
        return Obstacle(Reason.POOL_NOT_READY, f"pool {route.pool} has no certificate yet")
    passed = [name, route.pool]
    while (after := _next(known.get(passed[-1]), (route.domain, route.sender_domain))) is not None:
        passed.append(after)
        if after in passed[:-1]:
            way = " to ".join(passed)
            return Obstacle(
                Reason.ROUTES_IN_A_CIRCLE,
                f"routes for {route.domain or route.sender_domain} lead in a circle, from {way}",
            )
    return None


def _next(pool: Neighbour | None, matched: Matched) -> str | None:
    """The pool to which a pool sends the same mail on."""
    routes = pool.routes if pool else ()
    return next((route.pool for route in routes if route.matched == matched), None)
