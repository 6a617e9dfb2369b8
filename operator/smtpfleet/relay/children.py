"""Processes of the agent: started ones, and those that the kernel gives to PID 1.

In its pod the agent is PID 1, so that orphans (of Postfix, or of ``kubectl exec``) become its children and stay
zombies until it waits for them. Waiting for *any* child would steal the exit codes of the agent's own.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C"}


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended; ``output`` is what it wrote to standard output and error."""

    code: int
    output: str


class Children:
    """Starts processes and reaps those that nobody waits for."""

    def __init__(self) -> None:
        self._own: list[asyncio.subprocess.Process] = []
        self._starting = 0

    async def start(
        self, command: Sequence[str], *, output: int, environment: Mapping[str, str] = _ENVIRONMENT
    ) -> asyncio.subprocess.Process:
        """Start a command in a session of its own; both its outputs go to the descriptor ``output``.

        Raises:
            OSError: it cannot be started.
        """
        self._starting += 1
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )
            self._own = [known for known in self._own if known.returncode is None] + [process]
        finally:
            self._starting -= 1
        return process

    async def run(self, command: Sequence[str], *, limit_s: float) -> Result:
        """Run a command to its end; after ``limit_s`` it is killed, which shows as a negative code.

        Raises:
            OSError: it cannot be started.
        """
        process = await self.start(command, output=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(limit_s):
                output, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            output, _ = await process.communicate()
        assert process.returncode is not None
        return Result(process.returncode, output.decode(errors="replace").strip())

    def reap(self) -> int:
        """Wait for the orphans that have ended; returns how many there were.

        Stops at an ended child of our own, which its own waiter takes within the same moment.
        """
        reaped = 0
        if self._starting:  # a child may have a pid that is not noted yet
            return reaped
        own = {process.pid for process in self._own if process.returncode is None}
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return reaped
            if ended is None or ended.si_pid in own:
                return reaped
            os.waitpid(ended.si_pid, 0)
            reaped += 1
