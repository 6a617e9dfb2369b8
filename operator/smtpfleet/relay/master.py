"""One run of Postfix in the foreground, from its start to its end.

``postfix start-fg`` leaves a shell script as parent of Postfix's master process, and a signal to that script does
not reach the master (measured). So signals go to the process that ``master.pid`` names, once it is certain
that it is the one this run started: a pid file on a volume outlives its process.
"""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from smtpfleet.relay.children import Children

_PROC: Final = Path("/proc")
_POLL_S: Final = 0.05


class StartError(Exception):
    """Postfix ended, or did not come up in time, instead of starting."""


class Master:
    """One Postfix. Use :meth:`start` once.

    Args:
        configuration: config_directory, absolute.
        queue: its queue_directory.
        output: descriptor for everything that Postfix writes (its log goes by syslog).
    """

    def __init__(self, *, configuration: Path, queue: Path, children: Children, output: int) -> None:
        self._configuration, self._queue = configuration, queue
        self._children, self._output = children, output
        self._script: asyncio.subprocess.Process | None = None
        self.pid = 0
        """Pid of the master process and of its process group; 0 until it is up."""

    @property
    def running(self) -> bool:
        """Whether anything of this run is left."""
        return self._script is not None and self._script.returncode is None

    async def start(self, *, limit_s: float) -> None:
        """Start Postfix and wait until its master is there.

        Raises:
            StartError: it is not, ``limit_s`` seconds later or because it ended before.
            OSError: the command cannot be started.
        """
        command = ["/usr/sbin/postfix", "-c", str(self._configuration), "start-fg"]
        self._script = await self._children.start(command, output=self._output)
        try:
            async with asyncio.timeout(limit_s):
                while not self.pid:
                    if self._script.returncode is not None:
                        raise StartError(f"postfix start-fg ended with code {self._script.returncode}")
                    self.pid = self._find()
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            raise StartError(f"Postfix did not start within {limit_s:g} s") from None

    async def wait(self) -> int:
        """Wait for the end; returns the exit code."""
        assert self._script is not None
        return await self._script.wait()

    def signal(self, number: signal.Signals) -> None:
        """Signal the master, or what is there of a start that has not got so far. SIGKILL spares nothing."""
        with suppress(ProcessLookupError):
            if self.pid and number is signal.SIGKILL:
                os.killpg(self.pid, number)
            elif self.pid:
                os.kill(self.pid, number)
            elif self._script is not None and self.running:
                os.killpg(self._script.pid, number)

    async def clear(self, *, patience_s: float) -> None:
        """After the master's end: give its last processes some time, then kill them.

        They hold the listening sockets, and files of the queue, that the next Postfix needs.
        """
        try:
            async with asyncio.timeout(patience_s):
                while self._group_lives():  # noqa: ASYNC110 - no event tells the end of a group
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            self.signal(signal.SIGKILL)

    def _group_lives(self) -> bool:
        self._children.reap()
        if not self.pid:
            return False
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def _find(self) -> int:
        """The master's pid, if the pid file names a child of the script that we started; else 0."""
        assert self._script is not None
        try:
            pid = int((self._queue / "pid" / "master.pid").read_text())
            name, _, rest = (_PROC / str(pid) / "stat").read_text().rpartition(")")
        except (OSError, ValueError):
            return 0
        is_master = name.endswith("(master") and int(rest.split()[1]) == self._script.pid
        return pid if is_master else 0
