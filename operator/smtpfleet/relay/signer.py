"""One opendkim: started, started again when it ends, asked whether it answers, told to read its files again.

It runs as a user of its own, without capabilities, and alone with its keys; its socket is open to Postfix's group.
"""

import asyncio
import logging
import signal
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from smtpfleet.relay.children import Children

logger = logging.getLogger(__name__)

USER: Final = "opendkim"
GROUP: Final = "postfix"
PROBE_LIMIT_S: Final = 2.0
_POLL_S: Final = 0.1
_START_LIMIT_S: Final = 10.0
_PROBE_EVERY_S: Final = 2.0
_BACKOFF_FIRST_S: Final = 0.5
_BACKOFF_MOST_S: Final = 10.0
_STABLE_S: Final = 60.0
_NEGOTIATE: Final = struct.pack(">IcIII", 13, b"O", 6, 0x1FF, 0x1FFFFF)
"""The first packet of the milter protocol as Postfix sends it: version 6, all actions, all options."""
_QUIT: Final = struct.pack(">Ic", 1, b"Q")


class Signer:
    """Use :meth:`run` in a task of its own, and cancel it to end the process.

    Args:
        configuration: its opendkim.conf.
        socket: where it listens, as that file says.
        output: descriptor for what it prints (its log goes by syslog).
        changed: called when :attr:`answers` changes.
    """

    def __init__(
        self,
        configuration: Path,
        socket: Path,
        *,
        children: Children,
        output: int,
        changed: Callable[[], None],
    ) -> None:
        self._configuration, self.socket = configuration, socket
        self._children, self._output, self._changed = children, output, changed
        self._process: asyncio.subprocess.Process | None = None
        self.answers = False
        """Whether it answered when it was asked last, a moment ago."""
        self.answered_ever = False

    async def run(self) -> None:
        """Keep it running until cancelled."""
        backoff_s = 0.0
        loop = asyncio.get_running_loop()
        try:
            while True:
                began_s = loop.time()
                reason = await self._run_once()
                up_s = loop.time() - began_s
                backoff_s = 0.0 if up_s >= _STABLE_S else backoff_s
                logger.error(
                    "the DKIM signer ended unasked",
                    extra={
                        "signer": self.socket.stem,
                        "up_s": round(up_s, 1),
                        "next_start_s": backoff_s,
                        "reason": reason,
                    },
                )
                await asyncio.sleep(backoff_s)
                backoff_s = min(max(backoff_s * 2, _BACKOFF_FIRST_S), _BACKOFF_MOST_S)
        finally:
            self._signal(signal.SIGTERM)

    def reload(self) -> None:
        """Make it read its files again: sessions under way go on as they began, new ones follow the new files."""
        self._signal(signal.SIGUSR1)

    async def _run_once(self) -> str:
        """Until it ends; returns why it did, or why it was not even started: that passes, too (EAGAIN, ENOMEM)."""
        command = [
            "setpriv", f"--reuid={USER}", f"--regid={GROUP}", "--clear-groups", "--inh-caps=-all", "--no-new-privs",
            "opendkim", "-f", "-x", str(self._configuration),
        ]  # fmt: skip
        try:
            self.socket.unlink(missing_ok=True)
            self._process = await self._children.start(command, output=self._output)
        except OSError as error:
            return str(error)
        watching = asyncio.create_task(self._watch(), name=f"dkim-{self.socket.stem}")
        try:
            code = await self._process.wait()
        finally:
            watching.cancel()
            self._tell(answers=False)
        return f"exit code {code}"

    async def _watch(self) -> None:
        """Ask it now and then; one that hangs is killed."""
        loop = asyncio.get_running_loop()
        heard_s = loop.time()
        while True:
            answers = await probe(self.socket)
            if answers:
                heard_s = loop.time()
            elif loop.time() - heard_s > _START_LIMIT_S:
                logger.error("the DKIM signer hangs and is killed", extra={"signer": self.socket.stem})
                self._signal(signal.SIGKILL)
            self._tell(answers=answers)
            await asyncio.sleep(_PROBE_EVERY_S if answers else _POLL_S)

    def _tell(self, *, answers: bool) -> None:
        if answers and not self.answers:
            logger.info("the DKIM signer answers", extra={"signer": self.socket.stem})
        if answers is not self.answers:
            self.answers = answers
            self.answered_ever = self.answered_ever or answers
            self._changed()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


async def probe(socket: Path) -> bool:
    """Whether a milter negotiates at this socket in time: a hung one takes connections, but says nothing."""
    try:
        async with asyncio.timeout(PROBE_LIMIT_S):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(_NEGOTIATE)
                length, kind = struct.unpack(">Ic", await reader.readexactly(5))
                writer.write(_QUIT)
                return bool(kind == b"O" and length > 1)
            finally:
                writer.close()
    except (OSError, EOFError, TimeoutError):
        return False
