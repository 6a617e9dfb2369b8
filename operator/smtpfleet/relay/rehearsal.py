"""Tries a configuration in a closed Postfix before the real one gets it.

``postconf`` and ``postfix check`` look at syntax only: a bad number, an unknown map type or restriction, a missing
map file show when the daemon that needs it starts, which then stops all mail. So parameters of users are
rehearsed: a second Postfix, without ports and with a queue of its own, takes a message and tries to send it, through
every daemon that the real one uses. What it complains about is the reason for refusal.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import Coroutine
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final

from smtpfleet.api.routing import RoutingTable
from smtpfleet.relay.children import Children
from smtpfleet.relay.logreader import LogLine, LogReader, Severity
from smtpfleet.relay.mainconf import REHEARSAL_RECIPIENT, Host, render_rehearsal
from smtpfleet.relay.master import Master, StartError
from smtpfleet.relay.postfix import mail_owner, write
from smtpfleet.relay.services import REHEARSAL_AS_IS, REHEARSAL_OPEN

_START_LIMIT_S: Final = 30.0
_REPLY_LIMIT_S: Final = 20.0
_ATTEMPT_LIMIT_S: Final = 15.0
_COMPLAINTS: Final = frozenset({Severity.ERROR, Severity.FATAL, Severity.PANIC})
_UNKNOWN: Final = "unused parameter: "
_CRASH: Final = "bad command startup"
_SERVER_TROUBLE: Final = ("4.3.0", "4.3.5")
"""Enhanced status codes by which smtpd says that its own configuration or a map fails (RFC 3463: X.3.Z)."""
_ATTEMPTED: Final = ", status="
_MESSAGE: Final = (
    "Subject: rehearsal\r\nFrom: <>\r\n\r\nA configuration is tried; this message goes nowhere.\r\n."
)


class RehearsalError(Exception):
    """The configuration does not work; the message is Postfix's own complaint."""


async def rehearse(table: RoutingTable, host: Host, children: Children) -> None:
    """Start a Postfix with the table's parameters, hand it a message, and see it try to send it.

    Raises:
        RehearsalError: the configuration does not work.
        OSError: the rehearsal's own directory cannot be made.
    """
    directory = host.paths.rehearsal
    queue, data, configuration = directory / "queue", directory / "data", directory / "configuration"
    _clean(directory)
    for path in (queue, data, configuration):
        path.mkdir(parents=True)
    os.chown(data, *mail_owner())
    data.chmod(0o700)
    login = configuration / "login"
    login.write_text("[127.0.0.1]:1 rehearsal:rehearsal\n")
    write(render_rehearsal(table, host, queue=queue, data=data, login=login), configuration)
    await _find_unknown(configuration, children)
    try:
        async with aclosing(_Log()) as log:
            master = Master(
                configuration=configuration, queue=queue, children=children, output=await log.open()
            )
            try:
                await _until_complaint(_perform(master, queue / "public", log), log)
            finally:
                master.signal(signal.SIGKILL)
                await master.clear(patience_s=1.0)
    finally:
        _clean(directory)


async def _find_unknown(configuration: Path, children: Children) -> None:
    """A parameter that nothing in Postfix reads is a slip of the pen, and what was meant does not happen."""
    command = ["/usr/sbin/postconf", "-c", str(configuration), "-n"]
    result = await children.run(command, limit_s=_START_LIMIT_S)
    unknown = [line.rpartition(_UNKNOWN)[2] for line in result.output.splitlines() if _UNKNOWN in line]
    if unknown:
        raise RehearsalError(f"Postfix knows no parameter {', '.join(unknown)}")
    if result.code:
        raise RehearsalError(result.output or "postconf fails")


async def _until_complaint(performance: Coroutine[None, None, None], log: "_Log") -> None:
    """Perform to the end, or to Postfix's first complaint, for a daemon that died makes others wait."""
    tasks = [asyncio.create_task(performance), asyncio.create_task(log.complained.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if log.complaint:
            raise RehearsalError(log.complaint)
        await tasks[0]
    except (StartError, OSError, TimeoutError, EOFError, _RefusedError) as error:
        raise RehearsalError(str(error) or "no answer in time") from error
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _perform(master: Master, sockets: Path, log: "_Log") -> None:
    await master.start(limit_s=_START_LIMIT_S)
    await _converse(sockets / REHEARSAL_AS_IS, ["EHLO rehearsal.invalid", "MAIL FROM:<>", _RECIPIENT, "QUIT"])
    await _converse(
        sockets / REHEARSAL_OPEN,
        ["EHLO rehearsal.invalid", "MAIL FROM:<>", _RECIPIENT, _OTHER, "DATA", _MESSAGE, "QUIT"],
    )
    async with asyncio.timeout(_ATTEMPT_LIMIT_S):
        await log.attempted.wait()


_RECIPIENT: Final = "RCPT TO:<rehearsal@example.invalid>"
_OTHER: Final = f"RCPT TO:<{REHEARSAL_RECIPIENT}>"


class _RefusedError(Exception):
    """smtpd answered that it cannot work."""


async def _converse(socket: Path, commands: list[str]) -> None:
    """Speak SMTP. A refusal by a restriction is no matter here, trouble of the server is."""
    async with asyncio.timeout(_REPLY_LIMIT_S):
        reader, writer = await asyncio.open_unix_connection(socket)
        try:
            await _reply(reader)
            for command in commands:
                writer.write(f"{command}\r\n".encode())
                code, text = await _reply(reader)
                if code == "421" or any(status in text for status in _SERVER_TROUBLE):
                    raise _RefusedError(f"smtpd answers {text}")
                if code[0] in "45":
                    return  # a restriction of the user's does not let strangers in
        finally:
            writer.close()


async def _reply(reader: asyncio.StreamReader) -> tuple[str, str]:
    while True:
        line = (await reader.readline()).decode(errors="replace").rstrip()
        if len(line) < 3:
            raise EOFError("smtpd ended without an answer")
        if line[3:4] != "-":
            return line[:3], line


class _Log:
    """Reads the rehearsing Postfix's log through a pipe."""

    def __init__(self) -> None:
        self.attempted = asyncio.Event()
        self.complained = asyncio.Event()
        self.complaint = ""
        self._attempts = 0
        self._reader = LogReader(mask_addresses=True)
        self._write_end = -1
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> int:
        """The descriptor to write to."""
        read_end, self._write_end = os.pipe()
        os.fchown(self._write_end, *mail_owner())
        stream = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(read_end, "rb", 0)
        )
        self._task = asyncio.create_task(self._follow(stream))
        return self._write_end

    async def aclose(self) -> None:
        """Read no more."""
        os.close(self._write_end)
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _follow(self, stream: asyncio.StreamReader) -> None:
        async for raw in stream:
            line = self._reader.read(raw.decode(errors="replace").rstrip("\n"))
            if line is not None:
                self._note(line)

    def _note(self, line: LogLine) -> None:
        self._attempts += _ATTEMPTED in line.text
        if self._attempts == 2:
            self.attempted.set()
        if not self.complaint and (line.severity in _COMPLAINTS or _CRASH in line.text):
            self.complaint = line.text
            self.complained.set()


def _clean(directory: Path) -> None:
    """Remove what a rehearsal made; its directory stays."""
    for path in directory.iterdir():
        shutil.rmtree(path)
