"""HAProxy's sockets: the worker's for servers, the master's for a reload. A balancer has two HAProxys (decision 3).

Each call is a connection of its own with a time limit, so a hung HAProxy never hangs the agent.
"""

import asyncio
import csv
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from smtpfleet.api import names
from smtpfleet.balancer.config import BACKEND

_CALL_S: Final = 2.0
_RELOAD_S: Final = 20.0
_APART_S: Final = 1.0
"""Between the reloads of two HAProxys."""
_SERVERS_ONLY: Final = 4
"""Type of row in ``show stat`` (management guide, 9.3)."""


class RuntimeCallError(Exception):
    """HAProxy cannot be asked now, or refused; the message says what."""


class ConfigurationRefusedError(RuntimeCallError):
    """HAProxy does not take the configuration file; the worker before goes on."""


@dataclass(frozen=True, slots=True)
class Server:
    """One row of ``show stat``. ``status`` is HAProxy's word: UP, DOWN, DRAIN, MAINT, "UP 1/2", "no check"."""

    name: str
    status: str
    weight: int
    sessions: int

    @property
    def down(self) -> bool:
        """Whether the checks have taken it out."""
        return self.status.startswith("DOWN")

    @property
    def available(self) -> bool:
        """Whether it gets new connections."""
        return self.status.startswith("UP") and self.weight > 0


@dataclass(frozen=True, slots=True)
class Haproxy:
    """One HAProxy of this pod, by the sockets of its worker and its master."""

    admin: Path
    master: Path

    async def servers(self, backend: str = BACKEND) -> tuple[Server, ...]:
        """Every server of a backend as HAProxy sees it.

        Raises:
            RuntimeCallError: no HAProxy runs, or it does not answer.
        """
        return parse_servers(await _call(self.admin, f"show stat {backend} {_SERVERS_ONLY} -1"))

    async def set_weights(self, weights: dict[str, int]) -> None:
        """Change weights without a reload; sessions go on.

        Raises:
            RuntimeCallError: refused (an unknown server), or no HAProxy runs.
        """
        if not weights:
            return
        commands = "; ".join(
            f"set server {BACKEND}/{name} weight {weight}" for name, weight in weights.items()
        )
        if said := (await _call(self.admin, commands)).strip():
            raise RuntimeCallError(f"HAProxy refused a weight: {said}")

    async def reload(self) -> None:
        """Start a worker with the file as it is now; the old one keeps its sessions.

        Raises:
            ConfigurationRefusedError: the file is bad; the old worker stays.
            RuntimeCallError: no master runs, or it does not answer, or ends before it has.
        """
        # A master that hangs is known by this after _CALL_S. Other than a worker, it closes only when it is told to.
        await _call(self.master, "show proc; quit")
        said = await _call(self.master, "reload", limit_s=_RELOAD_S)
        if "Success=" not in said:
            raise RuntimeCallError(f"HAProxy did not say whether it reloads: {' '.join(said.split())[:500]}")
        if "Success=1" not in said:
            raise ConfigurationRefusedError(
                f"HAProxy did not load the configuration: {' '.join(said.split())[:500]}"
            )


class Haproxys:
    """All HAProxys of this pod, told the same and seen as one.

    One that cannot be told keeps nothing from the others.
    """

    def __init__(self, members: Sequence[Haproxy]) -> None:
        self._members = members
        self._text = ""
        self._with_text: set[Haproxy] = set()
        """Who has loaded ``_text``, and was told nothing since."""

    @classmethod
    def of_pod(cls) -> Self:
        """Those that the pod's containers run."""
        return cls(
            [
                Haproxy(admin=Path(names.admin_socket(name)), master=Path(names.master_socket(name)))
                for name in names.HAPROXY_HEALTH_PORTS
            ]
        )

    async def servers(self, backend: str = BACKEND) -> tuple[Server, ...]:
        """Every server of a backend, as those see it who answer; the sessions of all of them.

        Raises:
            RuntimeCallError: nobody answers.
        """
        answers = await asyncio.gather(
            *(member.servers(backend) for member in self._members), return_exceptions=True
        )
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in failures:
            if not isinstance(failure, RuntimeCallError) or len(failures) == len(answers):
                raise failure
        return merged([answer for answer in answers if not isinstance(answer, BaseException)])

    async def set_weights(self, weights: dict[str, int]) -> None:
        """Change weights everywhere, at once.

        Raises:
            RuntimeCallError: one could not be told, the others are; to tell all of them again is harmless.
        """
        self._with_text.clear()
        answers = await asyncio.gather(
            *(member.set_weights(weights) for member in self._members), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def reload(self, text: str) -> None:
        """Load the file, which says ``text``, everywhere, one after the other: each begins all its checks anew.

        Called again with the same text, as long as the file stays, it is for those who could not be told.

        Raises:
            ConfigurationRefusedError: the file is bad; the others were not asked after the one that said so.
            RuntimeCallError: one does not answer, the others have loaded it.
        """
        if text != self._text:
            self._text, self._with_text = text, set()
        failure: RuntimeCallError | None = None
        behind = [member for member in self._members if member not in self._with_text]
        for number, member in enumerate(behind):
            await asyncio.sleep(_APART_S if number else 0)
            try:
                await member.reload()
            except ConfigurationRefusedError:
                self._with_text.clear()  # the file will be another one, and who starts anew has that
                raise
            except RuntimeCallError as error:
                failure = failure or error
            else:
                self._with_text.add(member)
        if failure:
            raise failure


def merged(views: Sequence[Sequence[Server]]) -> tuple[Server, ...]:
    """One row for each server: its sessions are counted together, and it is down if anyone sees it so."""
    rows: dict[str, Server] = {}
    for server in itertools.chain.from_iterable(views):
        known = rows.get(server.name)
        if known is None:
            rows[server.name] = server
        else:
            status = server.status if server.down else known.status
            rows[server.name] = replace(known, status=status, sessions=known.sessions + server.sessions)
    return tuple(rows.values())


def parse_servers(text: str) -> tuple[Server, ...]:
    """Rows of ``show stat``.

    Raises:
        RuntimeCallError: the text is something else.
    """
    rows = csv.DictReader(text.removeprefix("# ").splitlines())
    try:
        return tuple(
            Server(
                name=row["svname"],
                status=row["status"],
                weight=int(row["uweight"] or 0),
                sessions=int(row["scur"] or 0),
            )
            for row in rows
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RuntimeCallError(f"HAProxy's statistics cannot be read: {error}") from error


async def _call(path: Path, command: str, *, limit_s: float = _CALL_S) -> str:
    try:
        async with asyncio.timeout(limit_s):
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                writer.write(f"{command}\n".encode())
                await writer.drain()
                return (await reader.read()).decode(errors="replace")
            finally:
                writer.close()
    except TimeoutError as error:
        raise RuntimeCallError(f"HAProxy did not answer within {limit_s:g} s") from error
    except OSError as error:
        raise RuntimeCallError(f"HAProxy cannot be reached: {error.strerror or error}") from error
