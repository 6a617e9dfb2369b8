"""Hand in one message over some connection and write down what became of it."""

import asyncio
import random
import re
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field

from mailcheck.dialogue import ClientOptions, NotAcknowledgedError, Session
from mailcheck.errors import MailcheckError
from mailcheck.message import Composer, Message, MessageShape
from mailcheck.model import Attempt, Failure, Outcome, Stage
from mailcheck.targets import Choice, Target, chooser


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is handed in, where and how; how fast is the business of the generators."""

    targets: tuple[str, ...]
    """``host:port`` each."""
    choice: Choice = Choice.ROUND_ROBIN
    shape: MessageShape = field(default_factory=MessageShape)
    client: ClientOptions = field(default_factory=ClientOptions)
    run: str = ""
    """Makes Message-IDs unique over runs: letters, digits, dots and hyphens; random if empty."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9.-]*", self.run):
            raise MailcheckError(f"{self.run!r} cannot be part of a Message-ID")


class EpochClock:
    """Seconds since the epoch that never jump: the wall clock is read once, the loop's clock from then on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._offset = time.time() - self._loop.time()

    def now(self) -> float:
        """The time now."""
        return self._loop.time() + self._offset

    async def sleep_until(self, moment: float) -> None:
        """Return at that time; if it has passed, at once, after giving other tasks a turn."""
        await asyncio.sleep(max(0.0, moment - self.now()))


class Sessions:
    """Gives out sessions: a new one for each message, or a fixed number that are kept open and used in turn."""

    def __init__(self, load: Load, targets: Sequence[Target], *, keep: int, rng: random.Random) -> None:
        self._client = load.client
        self._next_target = chooser(targets, load.choice, rng)
        self._keep = keep
        self._idle: deque[Session] = deque()
        self._in_use = 0
        self._closing: set[asyncio.Future[None]] = set()
        self.places: AbstractAsyncContextManager[None] = asyncio.Semaphore(keep) if keep else nullcontext()
        """To be held while a session is in use; without bound unless sessions are kept."""

    def take(self) -> Session:
        """A session that is yet to be opened, until as many as are kept exist; then the one that was idle longest."""
        self._in_use += 1
        while self._idle and self._in_use + len(self._idle) > self._keep:
            session = self._idle.popleft()
            if session.usable:
                return session
            self._quit(session)
        return Session(self._next_target(), self._client)

    def give_back(self, session: Session) -> None:
        """After a success: keep it, or end it politely."""
        self._in_use -= 1
        if self._keep:
            self._idle.append(session)
        else:
            self._quit(session)

    def drop(self, session: Session, *, politely: bool) -> None:
        """After a failure: say QUIT if the other side still answers, else close the socket."""
        self._in_use -= 1
        if politely:
            self._quit(session)
        else:
            session.abort()

    async def close(self) -> None:
        """End all that is idle and wait, at most a second, until the sockets are gone."""
        while self._idle:
            self._quit(self._idle.popleft())
        if self._closing:
            await asyncio.wait(self._closing)

    def _quit(self, session: Session) -> None:
        closed = session.quit()
        self._closing.add(closed)
        closed.add_done_callback(self._closing.discard)


@asynccontextmanager
async def all_or_unusable() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group whose tasks can fail in one way only: with MailcheckError, raised plainly and once."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except ExceptionGroup as group:
        unusable = group.subgroup(MailcheckError)
        if unusable is None:
            raise
        raise unusable.exceptions[0] from None


class Submitter:
    """Turns numbers into attempts."""

    def __init__(self, load: Load, sessions: Sessions, clock: EpochClock) -> None:
        self._composer = Composer(load.shape, run=load.run or secrets.token_hex(6), date=clock.now())
        self._sessions = sessions
        self._clock = clock

    async def submit(self, number: int, *, planned: float) -> Attempt:
        """Hand in one message, once.

        Raises MailcheckError if it cannot be tried: no resources left, or a PROXY header that cannot be made.
        """
        message = self._composer.compose(number)
        async with self._sessions.places:
            start = self._clock.now()
            session = self._sessions.take()
            try:
                await session.open()
                refused = await session.send(message)
            except NotAcknowledgedError as error:
                self._sessions.drop(session, politely=error.code is not None)
                how = _Ending(error.outcome, error.stage, error.code, error.failure)
            except BaseException:  # cancelled or out of resources: leave no socket behind
                self._sessions.drop(session, politely=False)
                raise
            else:
                self._sessions.give_back(session)
                how = _Ending(Outcome.ACKNOWLEDGED, Stage.END_OF_DATA, refused=refused)
            return self._attempt(message, session, how, planned=planned, start=start)

    def _attempt(
        self, message: Message, session: Session, how: "_Ending", *, planned: float, start: float
    ) -> Attempt:
        return Attempt(
            id=message.id,
            digest=message.digest,
            recipients=message.recipients,
            planned=planned,
            start=start,
            end=self._clock.now(),
            outcome=how.outcome,
            stage=how.stage,
            code=how.code,
            failure=how.failure,
            refused=how.refused,
            target=session.target.name,
        )


@dataclass(frozen=True, slots=True)
class _Ending:
    outcome: Outcome
    stage: Stage
    code: int | None = None
    failure: Failure | None = None
    refused: tuple[str, ...] = ()
