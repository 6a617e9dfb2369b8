"""Where this relay's mail goes: routes as maps, next hops as services, with the newest credentials that can be used.

Guarantees: mail for a next hop whose credentials were never good waits, with the reason in the queue, and is neither
bounced nor sent without them; good ones stay in use until better ones are there, also over a restart of the container;
files are in the pod's memory, mode 0600, written whole, another name for another content; what Postfix may still open,
or a delivery may still use, stays.
"""

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from smtpfleet.api.agent_status import DeliveryStatus, NextHopProblem, NextHopTrouble
from smtpfleet.api.routing import DeliveryTable, DomainRoute, RoutingTable
from smtpfleet.relay.credentials import CredentialsError, Texts, examine
from smtpfleet.relay.keystore import Secrets
from smtpfleet.relay.leftovers import Leftovers
from smtpfleet.relay.nexthop import BY_MX, Credentials, NextHop, Service, next_hop, service
from smtpfleet.relay.refusals import Refusals
from smtpfleet.relay.routemaps import recipient_map, sender_map
from smtpfleet.relay.share import HeldShare
from smtpfleet.relay.ways import Ways

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 10.0
"""How long the first Secrets may take before the relay starts without them."""
RETIRED_S: Final = 3600.0
"""A service that is taken out of master.cf loses its deliveries under way, so it stays until they have surely ended."""
_LOGIN: Final = "login"
_AUTHORITIES: Final = "authorities.pem"


@dataclass(slots=True)
class _Known:
    """What is known of one next hop's Secret."""

    good: Credentials | None = None
    problem: NextHopProblem | None = None
    error: str = ""
    tried: Mapping[str, bytes] | None = None
    since_s: float = 0.0


@dataclass(slots=True)
class _Memory:
    """What outlives a change of the table."""

    hops: dict[NextHop, _Known] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    last_used_s: dict[str, float] = field(default_factory=dict)


class Outbound:
    """Use :meth:`update` now and then; it costs little while nothing changed.

    Args:
        relay: this relay's name in the table.
        directory: in memory; outlives the container.
        secrets: where credentials come from.
        refusals: what the log says of them.
        clock: seconds that only ever grow.
    """

    def __init__(
        self,
        *,
        relay: str,
        directory: Path,
        secrets: Secrets,
        refusals: Refusals,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._relay, self._directory, self._secrets = relay, directory, secrets
        self._refusals, self._clock = refusals, clock
        self._memory, self._leftovers = _Memory(), Leftovers(clock)
        self._wanted: tuple[NextHop, ...] | None = None
        self._connections = HeldShare(clock)

    @property
    def settled(self) -> bool:
        """Whether the credentials of every next hop are known, or there was enough time to know them."""
        unknown = [known for known in self._known() if known.problem is NextHopProblem.UNKNOWN]
        return all(self._clock() - known.since_s > PATIENCE_S for known in unknown)

    def update(self, table: RoutingTable) -> Ways:
        """The ways that hold now.

        Raises:
            OSError: the directory in memory cannot be written.
        """
        delivery = table.delivery
        self._wanted = _next_hops(delivery)
        for hop in self._wanted:
            self._look(hop)
        ways = Ways(
            default=self._target(_default(delivery)).removesuffix(":"),
            recipients=self._map(recipient_map(delivery.routes, self._route_target)),
            senders=self._map(sender_map(delivery.routes, self._route_target)),
            services=self._services(self._wanted),
            connections=self._connections.of(
                delivery.max_connections_per_destination,
                [relay.name for relay in table.relays],
                self._relay,
            ),
            waiting=any(known.good is None for known in self._known())
            or any(route.waits for route in delivery.routes),
        )
        self._sweep(ways)
        return ways

    def status(self) -> DeliveryStatus | None:
        """What ``/status`` says of it; None: there was no table yet."""
        if self._wanted is None:
            return None
        return DeliveryStatus(troubles=tuple(self._troubles(self._wanted)))

    def _known(self) -> Iterable[_Known]:
        return (self._memory.hops[hop] for hop in self._wanted or () if hop.secret)

    def _route_target(self, route: DomainRoute) -> str:
        return f"retry:4.3.5 {route.waits}" if route.waits else self._target(next_hop(route))

    def _target(self, hop: NextHop) -> str:
        known = self._memory.hops[hop]
        if hop.secret and known.good is None:
            return (
                f"retry:4.7.8 no mail for {hop.title} without credentials, and Secret {hop.secret} gives none"
            )
        return hop.transport

    def _services(self, wanted: Collection[NextHop]) -> tuple[Service, ...]:
        memory, now_s = self._memory, self._clock()
        for hop in wanted:
            known = memory.hops[hop]
            if hop.service != BY_MX and (known.good or not hop.secret):
                memory.services[hop.service] = service(hop, known.good or Credentials())
                memory.last_used_s[hop.service] = now_s
        for name in [name for name, used_s in memory.last_used_s.items() if now_s - used_s > RETIRED_S]:
            del memory.services[name], memory.last_used_s[name]
        for hop in [hop for hop in memory.hops if hop not in wanted and hop.service not in memory.services]:
            del memory.hops[hop]
        return tuple(memory.services[name] for name in sorted(memory.services))

    def _troubles(self, wanted: Iterable[NextHop]) -> Iterable[NextHopTrouble]:
        for hop in wanted:
            known, code = self._memory.hops[hop], self._refusals.current.get(hop.service)
            if known.problem is not None:
                yield NextHopTrouble(
                    next_hop=hop.title, problem=known.problem, error=known.error, waiting=known.good is None
                )
            elif hop.secret and code is not None:
                why = f"the server refuses the credentials of Secret {hop.secret}" + f" ({code})" * bool(code)
                yield NextHopTrouble(
                    next_hop=hop.title, problem=NextHopProblem.REFUSED, error=why, waiting=True
                )

    def _look(self, hop: NextHop) -> None:
        """Take what the next hop's Secret has, if it is new."""
        known = self._memory.hops.get(hop)
        if known is None:
            known = self._memory.hops[hop] = _Known(since_s=self._clock())
            known.good = self._last_good(hop) if hop.secret else None
        if not hop.secret:
            return
        content = self._secrets.get(hop.secret)
        if content is None:
            self._lacking(hop, known)
        elif content is not known.tried:
            known.tried = content
            try:
                self._take(hop, known, examine(content, hop))
            except CredentialsError as error:
                self._refuse(hop, known, NextHopProblem.INVALID, f"Secret {hop.secret}: {error}")
            except OSError as error:
                why = f"Secret {hop.secret} cannot be stored: {error.strerror}"
                self._refuse(hop, known, NextHopProblem.INVALID, why)

    def _lacking(self, hop: NextHop, known: _Known) -> None:
        known.tried = None
        error = self._secrets.error(hop.secret)
        if self._secrets.missing(hop.secret):
            self._refuse(hop, known, NextHopProblem.MISSING, error)
        elif known.good is None:
            known.problem, known.error = NextHopProblem.UNKNOWN, error

    def _take(self, hop: NextHop, known: _Known, texts: Texts) -> None:
        directory = self._directory / hop.service / _digest(texts.login + b"\0" + texts.authorities)
        if not directory.exists():
            new = directory.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            for made in (self._directory, new.parent, new):
                made.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name, text in ((_LOGIN, texts.login), (_AUTHORITIES, texts.authorities)):
                if text:
                    _write(new / name, text)
            new.replace(directory)
        os.utime(directory)
        before, known.good = known.good, _stored(directory)
        known.problem, known.error = None, ""
        if before != known.good:
            self._refusals.forget(hop.service)
            logger.info("credentials are in use", extra={"next_hop": hop.title, "secret": hop.secret})

    def _refuse(self, hop: NextHop, known: _Known, problem: NextHopProblem, error: str) -> None:
        if (problem, error) != (known.problem, known.error):
            logger.error(
                "the Secret of a next hop cannot be used",
                extra={"next_hop": hop.title, "reason": error, "last_good_stays": known.good is not None},
            )
        known.problem, known.error = problem, error

    def _last_good(self, hop: NextHop) -> Credentials | None:
        """What an earlier life of this container used; directories are complete from the moment they have this name."""
        found = [path for path in (self._directory / hop.service).glob("*") if not path.suffix]
        return _stored(max(found, key=lambda path: path.stat().st_mtime)) if found else None

    def _map(self, text: str) -> Path | None:
        if not text:
            return None
        file = self._directory / f"{_digest(text.encode())}.regexp"
        if not file.exists():
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = file.with_suffix(".new")
            new.unlink(missing_ok=True)
            _write(new, text.encode())
            new.replace(file)
        return file

    def _sweep(self, ways: Ways) -> None:
        good = [known.good for known in self._memory.hops.values() if known.good]
        contents = {file.parent for each in good for file in (each.login, each.authorities) if file}
        maps = {path for path in (ways.recipients, ways.senders) if path}
        used = contents | {content.parent for content in contents} | maps
        self._leftovers.sweep(used, lambda: [*self._directory.glob("*/*"), *self._directory.glob("*")])


def _next_hops(delivery: DeliveryTable) -> tuple[NextHop, ...]:
    """Each once: the default first, then in the order of the routes."""
    return tuple(dict.fromkeys((_default(delivery), *map(next_hop, delivery.routes))))


def _default(delivery: DeliveryTable) -> NextHop:
    return next_hop(delivery.smarthost) if delivery.smarthost else NextHop()


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]


def _stored(directory: Path) -> Credentials:
    login, authorities = directory / _LOGIN, directory / _AUTHORITIES
    return Credentials(
        login=login if login.exists() else None, authorities=authorities if authorities.exists() else None
    )


def _write(file: Path, text: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(text)
