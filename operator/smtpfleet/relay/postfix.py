"""Keeps Postfix running: starts it, starts it again when it dies, reloads, ends it.

Guarantees: at most one Postfix of this agent runs on the queue; after a crash it is back within a second, later
crashes wait longer and longer; after :meth:`Postfix.terminate` it is never started again.
"""

import asyncio
import logging
import os
import pwd
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from smtpfleet.api.agent_status import PostfixState
from smtpfleet.relay.children import Children
from smtpfleet.relay.mainconf import MAIL_OWNER, Configuration
from smtpfleet.relay.master import Master, StartError
from smtpfleet.relay.settings import Paths

logger = logging.getLogger(__name__)

START_LIMIT_S: Final = 60.0
"""Postfix looks through its whole queue before it starts, and a queue may be large and its disk slow."""
ORPHANS_PATIENCE_S: Final = 1.0
_FLUSH_LIMIT_S: Final = 30.0
_BACKOFF_FIRST_S: Final = 0.5
_BACKOFF_MOST_S: Final = 30.0
_STABLE_S: Final = 60.0
_WRITTEN_AGO_S: Final = 60.0


class Postfix:
    """The relay's Postfix. :meth:`supervise` does the work, in a task of its own.

    Args:
        output: descriptor that takes Postfix's log.
        on_up: awaited whenever Postfix has started.
    """

    def __init__(
        self, *, paths: Paths, children: Children, output: int, on_up: Callable[[], Awaitable[None]]
    ) -> None:
        self.state = PostfixState.STARTING
        self.restarts = 0
        self.started_at = 0.0
        """Seconds since 1970 when the present Postfix was started."""
        self._paths, self._children, self._output, self._on_up = paths, children, output, on_up
        self._master: Master | None = None
        self._reload_when_up = False
        self._ended = asyncio.Event()

    @property
    def running(self) -> bool:
        """Whether any of Postfix's processes that take or send mail may live."""
        return self._master is not None and self._master.running

    async def supervise(self) -> None:
        """Start Postfix, and again whenever it ends, until :meth:`terminate`."""
        backoff_s = 0.0
        while not self._ended.is_set():
            self.state = PostfixState.STARTING
            up_s = await self._run_once()
            if self._ended.is_set():
                break
            self.restarts += 1
            backoff_s = 0.0 if up_s >= _STABLE_S else backoff_s
            logger.error(
                "Postfix ended unasked", extra={"up_s": round(up_s, 1), "next_start_s": round(backoff_s, 1)}
            )
            await self._pause(backoff_s)
            backoff_s = min(max(backoff_s * 2, _BACKOFF_FIRST_S), _BACKOFF_MOST_S)
        self.state = PostfixState.STOPPED

    def reload(self) -> None:
        """Make Postfix read its configuration again; sessions and deliveries under way go on as they began."""
        if self._master is not None and self._master.pid and self.running:
            self._master.signal(signal.SIGHUP)
        else:
            self._reload_when_up = True

    def terminate(self) -> None:
        """End Postfix, and do not start it again. Its processes are stopped, not asked."""
        self._ended.set()
        if self.state is not PostfixState.STOPPED:
            self.state = PostfixState.STOPPING
        if self._master is not None:
            self._master.signal(signal.SIGTERM)

    def kill(self) -> None:
        """The same without a chance to refuse."""
        self.terminate()
        if self._master is not None:
            self._master.signal(signal.SIGKILL)

    async def flush(self) -> None:
        """Try all deferred mail now."""
        await self._postqueue("-f")

    async def retry(self, queue_id: str) -> None:
        """Try one deferred message now; one that is gone is no error."""
        await self._postqueue("-i", queue_id)

    async def _postqueue(self, *arguments: str) -> None:
        command = ["/usr/sbin/postqueue", "-c", str(self._paths.configuration), *arguments]
        result = await self._children.run(command, limit_s=_FLUSH_LIMIT_S)
        if result.code:
            logger.warning("postqueue failed", extra={"code": result.code, "output": result.output})

    async def _run_once(self) -> float:
        """One life of Postfix; returns how many seconds it was up."""
        self._reload_when_up = False
        self.started_at = time.time()
        master = Master(
            configuration=self._paths.configuration,
            queue=self._paths.queue,
            children=self._children,
            output=self._output,
        )
        self._master = master
        began = time.monotonic()
        try:
            await master.start(limit_s=START_LIMIT_S)
        except StartError as error:
            logger.error("Postfix does not start", extra={"reason": str(error)})  # noqa: TRY400 - no stack is of use
        else:
            began = time.monotonic()
            await self._up(master)
            await master.wait()
        up_s = time.monotonic() - began
        await master.clear(patience_s=ORPHANS_PATIENCE_S)
        return up_s

    async def _up(self, master: Master) -> None:
        if self._ended.is_set():  # terminate() came while it started
            master.signal(signal.SIGTERM)
            return
        self.state = PostfixState.RUNNING
        logger.info("Postfix runs", extra={"pid": master.pid})
        if self._reload_when_up:
            master.signal(signal.SIGHUP)
        await self._on_up()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            pass


def prepare(paths: Paths) -> None:
    """Make the directories that Postfix expects to find; what is in the queue is never touched.

    Modes of queue files are data (a group-execute bit means "expire now"), so nothing here is recursive: the
    queue's own subdirectories are made by Postfix's start.

    Raises:
        OSError: the volume or the run directory is not writable.
    """
    owner = mail_owner()
    # A volume in memory is open to all; opendkim complains of a key below such a directory at each message.
    paths.run.parent.chmod(0o755)
    paths.queue.mkdir(mode=0o755, exist_ok=True)
    for directory in (paths.run, paths.configuration, paths.rehearsal):
        directory.mkdir(mode=0o755, exist_ok=True)
    paths.data.mkdir(mode=0o700, exist_ok=True)
    os.chown(paths.data, *owner)
    paths.data.chmod(0o700)


def write(configuration: Configuration, directory: Path) -> None:
    """Replace the two files of a config_directory.

    Their time is set back: a Postfix program that finds main.cf younger than two seconds waits until it is not,
    for the file might still be written to (dict_load_file_xt in Postfix). These are renamed into place whole.

    Raises:
        OSError: the directory is not writable.
    """
    for name, text in (("main.cf", configuration.main_cf), ("master.cf", configuration.master_cf)):
        new = directory / f".{name}.new"
        new.write_text(text)
        new.chmod(0o644)
        past = time.time() - _WRITTEN_AGO_S
        os.utime(new, (past, past))
        new.replace(directory / name)


def mail_owner() -> tuple[int, int]:
    """User and group id that Postfix's daemons run as."""
    entry = pwd.getpwnam(MAIL_OWNER)
    return entry.pw_uid, entry.pw_gid
