"""DKIM at this relay: keys from Secrets, the signers' files, the signers, and what Postfix is to ask.

Guarantees: mail of a domain that is listed leaves signed or not at all; the last good key of an entry stays in use
until a better one is there; signers and keys are there before Postfix takes mail; what an open session may still use
is kept for an hour. Keys are in the pod's memory only, and only the signers' user can read them.
"""

import asyncio
import grp
import logging
import os
import pwd
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from smtpfleet.api.agent_status import SigningKeyStatus, SigningProblem, SigningStatus
from smtpfleet.api.dkim import KeyAlgorithm
from smtpfleet.api.routing import SigningRoute
from smtpfleet.relay import dkimconf
from smtpfleet.relay.children import Children
from smtpfleet.relay.dkimconf import Duties, KnownKey
from smtpfleet.relay.dkimkey import DkimKeyError, PrivateKey, examine, find_pem
from smtpfleet.relay.keystore import Secrets
from smtpfleet.relay.signer import GROUP, USER, Signer

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 10.0
"""How long keys and signers may take before Postfix is told to use them all the same, and mail is refused for now."""
KEPT_S: Final = 3600.0
"""How long a key that is no longer listed can be used by sessions that were open before."""


class Employed(Protocol):
    """A signer; :class:`smtpfleet.relay.signer.Signer` is the one of production."""

    socket: Path
    answers: bool
    answered_ever: bool

    async def run(self) -> None:
        """Keep it running until cancelled."""

    def reload(self) -> None:
        """Make it read its files again."""


@dataclass(slots=True)
class _Entry:
    """What is known of one entry of the list."""

    key: PrivateKey | None = None
    tried: Mapping[str, bytes] | None = None
    problem: SigningProblem = SigningProblem.UNKNOWN
    error: str = ""
    seen: bool = False
    """The Secret was read, or is known to be missing."""


@dataclass(slots=True)
class _Running:
    """A signer, and since when it is not needed any more."""

    signer: Employed
    task: asyncio.Task[None]
    files: tuple[str, ...]
    needed_s: float
    unneeded_s: float | None = None


class Signing:
    """Use :meth:`update` now and then; it costs nothing while nothing changed.

    Args:
        directory: in memory; outlives the container.
        secrets: where keys come from.
        children: runs openssl and the signers.
        output: descriptor for what signers print.
        changed: called when a signer begins or ceases to answer.
        owner: the signers' user and Postfix's group.
        start: makes a signer of its configuration and socket.
        clock: seconds that only ever grow.
    """

    def __init__(
        self,
        directory: Path,
        secrets: Secrets,
        *,
        children: Children,
        output: int,
        changed: Callable[[], None],
        owner: Callable[[], tuple[int, int]] | None = None,
        start: Callable[[Path, Path], Employed] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory, self._secrets, self._children = directory, secrets, children
        self._clock, self._owner = clock, owner or signer_owner
        self._start = start or partial(Signer, children=children, output=output, changed=changed)
        self._routes: tuple[SigningRoute, ...] = ()
        self._entries: dict[SigningRoute, _Entry] = {}
        self._duties: dict[KeyAlgorithm, Duties] = {}
        self._running: dict[KeyAlgorithm, _Running] = {}
        self._gone: dict[Path, float] = {}
        self._since_s = clock()

    @property
    def settled(self) -> bool:
        """Whether keys and signers are ready, or had enough time for it, and Postfix would be told of the signers."""
        ready = all(entry.seen for entry in self._entries.values()) and not self._silent()
        needed = [self._running.get(algorithm) for algorithm, wanted in self._duties.items() if wanted]
        named = all(running is not None and self._is_named(running) for running in needed)
        return ready or (named and self._clock() - self._since_s > PATIENCE_S)

    @property
    def trouble(self) -> str:
        """Why mail of the domains that sign is refused for now; empty: it is not."""
        silent = self._silent()
        return f"the DKIM signer for {' and '.join(silent)} does not answer" if silent else ""

    def milters(self) -> tuple[str, ...]:
        """smtpd_milters. A signer that is new is named once it answers, so that no message fails for its start."""
        return tuple(
            f"unix:{running.signer.socket}"
            for running in (self._running.get(algorithm) for algorithm in KeyAlgorithm)
            if running is not None and self._is_named(running)
        )

    def status(self) -> SigningStatus | None:
        """What ``/status`` says; None: no key is listed."""
        if not self._routes:
            return None
        return SigningStatus(keys=tuple(map(self._key_status, self._routes)), trouble=self.trouble)

    async def update(self, routes: Sequence[SigningRoute]) -> None:
        """Follow the list and its Secrets.

        Raises:
            OSError: the directory cannot be written, or a command of the image is missing.
        """
        new = tuple(routes)
        if new != self._routes:
            self._routes, self._since_s = new, self._clock()
            self._entries = {route: self._entries.get(route, _Entry()) for route in new}
        changed = [route for route in self._routes if await self._look(route)]
        if changed or not self._duties or self._wanted() != self._duties:
            self._carry_out()
        self._clear()

    def stop(self) -> None:
        """End the signers: nobody hands in mail any more."""
        for running in self._running.values():
            running.task.cancel()

    def _is_named(self, running: _Running) -> bool:
        waited = self._clock() - running.needed_s > PATIENCE_S
        return running.unneeded_s is None and (running.signer.answered_ever or waited)

    def _silent(self) -> list[str]:
        return [
            algorithm
            for algorithm, wanted in self._duties.items()
            if wanted and not (algorithm in self._running and self._running[algorithm].signer.answers)
        ]

    def _known(self, route: SigningRoute) -> KnownKey:
        key = self._entries[route].key
        algorithm = key.public.algorithm if key else None
        return KnownKey(route.domain, route.selector, algorithm, route.unicode_domain)

    def _wanted(self) -> dict[KeyAlgorithm, Duties]:
        return dkimconf.duties([self._known(route) for route in self._routes])

    async def _look(self, route: SigningRoute) -> bool:
        """Take what the Secret has, if it is new; returns whether the key that is used changed."""
        entry = self._entries[route]
        content = self._secrets.get(route.secret_name)
        if content is None:
            entry.tried = None
            if self._secrets.missing(route.secret_name):
                self._refuse(route, SigningProblem.MISSING, self._secrets.error(route.secret_name))
            elif not entry.seen:
                entry.error = self._secrets.error(route.secret_name)
            return False
        if content is entry.tried:
            return False
        entry.tried = content
        try:
            self._prepare()
            pem = find_pem(content, domain=route.domain, selector=route.selector)
            key = await examine(pem, children=self._children, directory=self._keys)
        except DkimKeyError as error:
            self._refuse(route, SigningProblem.INVALID, str(error))
            return False
        before, entry.key = entry.key, key
        entry.problem, entry.error, entry.seen = SigningProblem.NONE, "", True
        return before is None or before.text != key.text

    def _refuse(self, route: SigningRoute, problem: SigningProblem, error: str) -> None:
        entry = self._entries[route]
        if (entry.problem, entry.error) != (problem, error):
            logger.error(
                "a DKIM key cannot be used",
                extra={
                    "domain": route.domain, "selector": route.selector, "secret": route.secret_name,
                    "reason": error, "last_good_stays": entry.key is not None,
                },
            )  # fmt: skip
        entry.problem, entry.error, entry.seen = problem, error, True

    def _carry_out(self) -> None:
        """Write keys and tables, then start signers or make them read."""
        self._duties = self._wanted()
        for route in self._routes:
            key = self._entries[route].key
            if key is not None:
                file = self._keys / self._known(route).name
                self._write(file, key.text)
                self._gone.pop(file, None)
        for algorithm, wanted in self._duties.items():
            if wanted:
                self._employ(algorithm, wanted)
            elif (running := self._running.get(algorithm)) and running.unneeded_s is None:
                running.unneeded_s = self._clock()

    def _employ(self, algorithm: KeyAlgorithm, wanted: Duties) -> None:
        self._prepare()
        name = algorithm.lower()
        tables = self._directory / f"{name}.signing", self._directory / f"{name}.keys"
        configuration, socket = self._directory / f"{name}.conf", self._directory / f"{name}.sock"
        files = dkimconf.signing_table(wanted), dkimconf.key_table(wanted, self._keys)
        running = self._running.get(algorithm)
        if running is not None and running.files == files:
            running.unneeded_s = None
            return
        for file, text in zip(tables, files, strict=True):
            self._write(file, text)
        if running is not None:
            running.files, running.unneeded_s = files, None
            running.signer.reload()
            return
        text = dkimconf.configuration(algorithm, socket=socket, signing=tables[0], keys=tables[1])
        self._write(configuration, text)
        signer = self._start(configuration, socket)
        task = asyncio.create_task(signer.run(), name=f"dkim-{name}")
        self._running[algorithm] = _Running(signer, task, files, self._clock())

    def _clear(self) -> None:
        """Take away what no open session can use any more."""
        now_s = self._clock()
        for algorithm, running in list(self._running.items()):
            if running.unneeded_s is not None and now_s - running.unneeded_s > KEPT_S:
                running.task.cancel()
                del self._running[algorithm]
        listed = {self._keys / self._known(route).name for route in self._routes}
        for file in set(self._keys.glob("*")) - listed if self._keys.exists() else ():
            if now_s - self._gone.setdefault(file, now_s) > KEPT_S:
                file.unlink()
                del self._gone[file]

    @property
    def _keys(self) -> Path:
        return self._directory / "keys"

    def _prepare(self) -> None:
        owner, group = self._owner()
        for directory, mode in ((self._directory, 0o750), (self._keys, 0o700)):
            if not directory.exists():
                directory.mkdir(mode=mode)
                os.chown(directory, owner, group)
                directory.chmod(mode)

    def _write(self, file: Path, text: str) -> None:
        """Replace a file as a whole; only the signers' user can read it."""
        new = file.with_name(f".{file.name}.new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as stream:
            stream.write(text)
        os.chown(new, *self._owner())
        new.replace(file)

    def _key_status(self, route: SigningRoute) -> SigningKeyStatus:
        entry, known = self._entries[route], self._known(route)
        public = entry.key.public if entry.key else None
        return SigningKeyStatus(
            domain=route.domain,
            selector=route.selector,
            secret=route.secret_name,
            algorithm=public.algorithm if public else "",
            bits=public.bits if public else 0,
            record=public.record if public else "",
            signs=dkimconf.signs(known, self._duties) if self._duties else False,
            problem=entry.problem,
            error=entry.error,
        )


def signer_owner() -> tuple[int, int]:
    """The signers' user, and Postfix's group."""
    return pwd.getpwnam(USER).pw_uid, grp.getgrnam(GROUP).gr_gid
