"""Asks agents how they are: all of them, about every five seconds, a bounded number at a time.

Those of a pool in which something changes are asked every second, up to fifty of them, for one change follows another:
a relay that leaves goes in several steps, and each waits for what an agent says.

Those of the relays always; those of the balancers where only they know something: whether backups are in use.

Answers are kept in memory; what a decision needs for longer stands in the pool's status. A change that a
decision may depend on is told at once; a change of numbers alone is told as well, but marked so.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import aiohttp
from pydantic import ValidationError

from smtpfleet.api.agent_status import BalancerStatus, Intake, RelayStatus
from smtpfleet.api.names import HTTP_PORT, PoolKey
from smtpfleet.controller.loads import History
from smtpfleet.domain.facts import AgentReport
from smtpfleet.domain.figures import two_digits
from smtpfleet.domain.findings import SILENT_S
from smtpfleet.domain.load import Load
from smtpfleet.domain.passive import alarm
from smtpfleet.probing.ticks import sleep_until

logger = logging.getLogger(__name__)

INTERVAL_S: Final = 5.0
TIMEOUT_S: Final = 3.0
CLOSE_S: Final = 1.0
"""The interval for pools in which something changes."""
CHANGES_S: Final = 15.0
"""Something changes in a pool for so long after the last change."""
_AT_ONCE: Final = 32
_MOST_PER_SECOND: Final = 100
"""With more than 500 relays, rounds take longer instead of costing more."""
_MOST_CLOSELY: Final = 50
"""So many are asked every second as well; pools beyond them wait for their turn in the ordinary round."""
_ANSWER_LIMIT_BYTES: Final = 64 * 1024
_KEPT_S: Final = 300.0
_OPEN_S: Final = 60.0
"""A connection is kept for so long without a question: a round of 6,000 relays lasts as long."""
_FIGURES: Final = {
    "queue",
    "sessions",
    "oldest_active_s",
    "oldest_incoming_s",
    "postfix_restarts",
    "volume",
    "deliveries",
    "canary",
}
"""Of a relay's answer: what changes with every message."""

Status = RelayStatus | BalancerStatus


class AgentError(Exception):
    """An agent did not answer, or not as one; the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A pod whose agent is to be asked. ``relay``: the relay's name; of a balancer, the pod's."""

    relay: str
    pod_uid: str
    address: str
    balancer: bool = False


class Asker(Protocol):
    """How an agent is asked; :class:`HttpAsker` is the one of production."""

    async def __call__(self, target: Target) -> Status:
        """The agent's answer.

        Raises:
            AgentError: there is none.
        """


@dataclass(frozen=True, slots=True)
class _Answer:
    status: Status
    pod_uid: str
    asked_at: float
    at: float
    news: Mapping[str, object]
    numbers: tuple[int, int]
    history: History
    """Of what a relay's agent said; a balancer's stays empty."""
    load: Load | None


def open_session() -> aiohttp.ClientSession:
    """For :class:`HttpAsker`. Connections are kept, for to make one costs three times as much as to ask."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_AT_ONCE, keepalive_timeout=_OPEN_S),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


class HttpAsker:
    """``GET /status`` of an agent."""

    def __init__(self, session: aiohttp.ClientSession, *, port: int = HTTP_PORT) -> None:
        self._session, self._port = session, port

    async def __call__(self, target: Target) -> Status:
        """The agent's answer, checked to be that of the pod meant: addresses are used again."""
        host = f"[{target.address}]" if ":" in target.address else target.address
        try:
            async with self._session.get(
                f"http://{host}:{self._port}/status",
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                allow_redirects=False,
            ) as response:
                response.raise_for_status()
                body = await _body(response.content)
            status = _parsed(body, balancer=target.balancer)
        except (aiohttp.ClientError, OSError, TimeoutError, ValidationError) as error:
            raise AgentError(f"{type(error).__name__}: {error}") from error
        name = status.balancer if isinstance(status, BalancerStatus) else status.relay
        if name != target.relay:
            raise AgentError(f"answered as {name}")
        return status


async def _body(content: aiohttp.StreamReader) -> bytes:
    """All of an answer, however many pieces it comes in.

    Raises:
        AgentError: it is too long to be one.
    """
    body = b""
    while piece := await content.readany():
        body += piece
        if len(body) > _ANSWER_LIMIT_BYTES:
            raise AgentError(f"answered more than {_ANSWER_LIMIT_BYTES} bytes")
    return body


def _parsed(body: bytes, *, balancer: bool) -> Status:
    return BalancerStatus.model_validate_json(body) if balancer else RelayStatus.model_validate_json(body)


class Agents:
    """The last answer of every agent.

    Args:
        ask: asks one agent.
        changed: is called with a pool's key and whether more than numbers changed.
        clock: seconds that only ever grow.
    """

    def __init__(
        self, ask: Asker, *, changed: Callable[[PoolKey, bool], None], clock: Callable[[], float]
    ) -> None:
        self._ask, self._changed, self._clock = ask, changed, clock
        self._targets: dict[PoolKey, dict[str, Target]] = {}
        self._answers: dict[tuple[PoolKey, str], _Answer] = {}
        self._silent: set[tuple[PoolKey, str]] = set()
        self._changes_until: dict[PoolKey, float] = {}
        self._asking: set[tuple[PoolKey, Target]] = set()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def follow(self, key: PoolKey, targets: Iterable[Target]) -> None:
        """Set which agents of a pool are asked; those not known yet are asked before this returns."""
        wanted = {target.relay: target for target in targets}
        before = self._targets.get(key, {})
        self._targets[key] = wanted
        self._drop_old(key, wanted)
        new = [target for name, target in wanted.items() if before.get(name) != target]
        if new:
            self.changes(key)
        await asyncio.gather(*(self._refresh(key, target, tell=False) for target in new))

    def changes(self, key: PoolKey) -> None:
        """Something was changed in the pool: what follows from it is to be known soon."""
        self._changes_until[key] = self._clock() + CHANGES_S

    def forget(self, key: PoolKey) -> None:
        """The pool is gone."""
        self._targets.pop(key, None)
        self._changes_until.pop(key, None)
        for answered in [answered for answered in self._answers if answered[0] == key]:
            del self._answers[answered]
        self._silent = {answered for answered in self._silent if answered[0] != key}

    def report(self, key: PoolKey, relay: str) -> AgentReport | None:
        """The relay's last answer, if it ever gave one."""
        answer = self._answers.get((key, relay))
        if answer is None or isinstance(answer.status, BalancerStatus):
            return None
        return AgentReport(answer.status, answer.pod_uid, self._clock() - answer.at, answer.load)

    def on_backups(self, key: PoolKey) -> bool:
        """Whether a balancer says that backups take the pool's connections."""
        now = self._clock()
        return any(
            isinstance(answer.status, BalancerStatus) and answer.status.on_backups
            for (pool, name), answer in self._answers.items()
            if pool == key and name in self._targets.get(key, {}) and now - answer.at <= SILENT_S
        )

    async def run(self) -> None:
        """Ask for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._rounds(group, self._targets.keys, INTERVAL_S))
            group.create_task(self._rounds(group, self._changing, CLOSE_S))

    async def _rounds(
        self, group: asyncio.TaskGroup, pools: Callable[[], Iterable[PoolKey]], least_s: float
    ) -> None:
        """Begin to ask all of these pools' agents, again and again, whether the last round's have answered or not."""
        while True:
            targets = [(key, target) for key in pools() for target in self._targets[key].values()]
            began, interval_s = self._clock(), max(least_s, len(targets) / _MOST_PER_SECOND)
            for number, (key, target) in enumerate(targets):
                group.create_task(self._later(began + interval_s * number / len(targets), key, target))
            await sleep_until(began + interval_s, self._clock)

    def _changing(self) -> list[PoolKey]:
        """The pools in which something changes, as many as may be asked closely; the longest known first."""
        now, left, chosen = self._clock(), _MOST_CLOSELY, []
        self._changes_until = {key: until for key, until in self._changes_until.items() if now < until}
        for key in self._changes_until:
            count = len(self._targets.get(key, ()))
            if 0 < count <= left:
                left -= count
                chosen.append(key)
        return chosen

    def _drop_old(self, key: PoolKey, wanted: Mapping[str, Target]) -> None:
        """Forget relays that are gone for long; one whose pod is being replaced will be asked again."""
        now = self._clock()
        for answered, answer in list(self._answers.items()):
            if answered[0] == key and answered[1] not in wanted and now - answer.at > _KEPT_S:
                del self._answers[answered]
                self._silent.discard(answered)

    async def _later(self, start: float, key: PoolKey, target: Target) -> None:
        await sleep_until(start, self._clock)
        is_meant = self._targets.get(key, {}).get(target.relay) == target
        if is_meant and (key, target) not in self._asking:
            await self._refresh(key, target, tell=True)

    async def _refresh(self, key: PoolKey, target: Target, *, tell: bool) -> None:
        self._asking.add((key, target))
        asked_at = self._clock()
        try:
            async with self._slots:
                status = await self._ask(target)
        except AgentError as error:
            logger.debug("an agent is silent", extra={"relay": target.relay, "reason": str(error)})
            self._missed(key, target, tell=tell)
            return
        finally:
            self._asking.discard((key, target))
        if self._targets.get(key, {}).get(target.relay) != target:
            return
        before = self._answers.get((key, target.relay))
        if before is not None and before.asked_at > asked_at:
            return
        now, history = self._clock(), before.history if before else History()
        load: Load | None = None
        if isinstance(status, RelayStatus):
            history.heard(status, pod_uid=target.pod_uid, at_s=now)
            load = history.load(status)
        answer = _Answer(
            status, target.pod_uid, asked_at, now, _news(status), _numbers(status), history, load
        )
        self._answers[key, target.relay] = answer
        self._silent.discard((key, target.relay))
        if tell and (before is None or before.news != answer.news):
            self.changes(key)
            self._changed(key, True)
        elif tell and before and before.numbers != answer.numbers:
            self._changed(key, False)

    def _missed(self, key: PoolKey, target: Target, *, tell: bool) -> None:
        """That an agent has fallen silent is news, once."""
        answer = self._answers.get((key, target.relay))
        silent = answer is not None and self._clock() - answer.at > SILENT_S
        if tell and silent and (key, target.relay) not in self._silent:
            self._silent.add((key, target.relay))
            self._changed(key, True)


def _news(status: Status) -> Mapping[str, object]:
    """What a decision may depend on: everything but the numbers, of which only alarms are.

    An empty queue decides only about a relay that leaves: others are empty and not with every message that passes.
    """
    if isinstance(status, BalancerStatus):
        return {"on_backups": status.on_backups}
    rest = status.model_dump(exclude=_FIGURES)
    closed = status.intake is Intake.CLOSED
    empty = closed and status.queue.total + status.queue.receiving == 0
    return rest | {"empty": empty, "alarm": alarm(status)}


def _numbers(status: Status) -> tuple[int, int]:
    if isinstance(status, BalancerStatus):
        return 0, 0
    return two_digits(status.queue.backlog), two_digits(status.queue.deferred)
