"""Carries Postfix's log to standard output: it is the relay's syslog, and reads what Postfix's commands print.

Postfix logs by syslog(3), not by its postlogd: with ``maillog_file`` every process, ``master`` too, waits for that
one process on a socket that holds ten lines; when it stalled under load its watchdog killed it, and ``master``, which
waited for it, never started another (seen with Postfix 3.10.13: a relay that answered nobody, for ever).

Guarantees: Postfix waits neither for the agent's event loop nor for whoever reads standard output; lines that nobody
takes in time are dropped and counted, as is one that cannot be read, and mail goes on.
"""

import fcntl
import logging
import os
import queue
import selectors
import socket
import threading
import time
from pathlib import Path
from typing import Final

from smtpfleet.relay.logreader import LogLine, LogReader, Severity

logger = logging.getLogger(__name__)

SYSLOG: Final = Path("/dev/log")
"""Where syslog(3) writes to. A stream: libc falls back to it, and the kernel holds far more than ten lines of it."""
_PIPE_BYTES: Final = 1024 * 1024
"""What a process without privileges may ask for (pipe(7)): some thousand lines."""
_CHUNK_BYTES: Final = 32 * 1024
"""Small, for every read of every process makes a buffer of this size, and memory once taken stays taken."""
_WAITING_LINES: Final = 5_000
_GATHER_S: Final = 0.05
"""Lines are taken in batches: waking up for each would cost more than the work itself (measured)."""
_END_LIMIT_S: Final = 2.0
_SMTPD: Final = b"/smtpd["
_LEVELS: Final = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.ERROR: logging.ERROR,
    Severity.FATAL: logging.CRITICAL,
    Severity.PANIC: logging.CRITICAL,
}


class LogPump:
    """Owns the syslog socket and a pipe. :attr:`input` is the descriptor for what Postfix's commands print.

    Args:
        owner: user and group that may open the pipe by name (/dev/stdout): programs of Postfix that have given up
            root do.
        syslog: the socket; every process of the container may write to it.
    """

    def __init__(self, reader: LogReader, *, owner: tuple[int, int], syslog: Path = SYSLOG) -> None:
        self._reader = reader
        self._output, self.input = os.pipe()
        fcntl.fcntl(self.input, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.fchown(self.input, *owner)
        syslog.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(syslog))
        syslog.chmod(0o666)
        self._listener.listen(socket.SOMAXCONN)
        self._listener.setblocking(False)
        self.dropped = 0
        """Lines that nobody took in time, or that could not be read."""
        self._waiting: queue.Queue[LogLine | None] = queue.Queue(maxsize=_WAITING_LINES)
        self._threads = [
            threading.Thread(target=self._read, name="postfix-log", daemon=True),
            threading.Thread(target=self._write, name="postfix-log-out", daemon=True),
        ]

    def start(self) -> None:
        """Begin to carry lines."""
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether lines are carried; if not, Postfix will stop before long."""
        return all(thread.is_alive() for thread in self._threads)

    def finish(self) -> None:
        """Carry what is left, once Postfix has ended."""
        os.close(self.input)
        for thread in self._threads:
            thread.join(_END_LIMIT_S)
        self._listener.close()

    def _read(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._output, selectors.EVENT_READ)
            rests: dict[int, bytes] = {}
            ended = False
            while not ended:
                ended = self._round(selector, rests, patience_s=1.0)
                time.sleep(_GATHER_S)
            # What was logged last is still in the sockets, some of which were not even accepted.
            limit_s = time.monotonic() + _END_LIMIT_S
            while selector.select(timeout=0) and time.monotonic() < limit_s:
                self._round(selector, rests, patience_s=0)
        # Nobody reads any more: whoever would still wait for room fails instead.
        self._listener.close()
        self._waiting.put(None)

    def _round(self, selector: selectors.BaseSelector, rests: dict[int, bytes], *, patience_s: float) -> bool:
        """Take what is there; returns whether the pipe has ended.

        Of a message, smtpd speaks first, and the reader knows by its line whose message it is. Of what has come at the
        same time, nothing tells which was first; so what smtpd says, also one that has just begun, is carried first.
        """
        ended = False
        taken: list[list[bytes]] = []
        for key in self._ready(selector, patience_s):
            chunk = os.read(key.fd, _CHUNK_BYTES)
            # libc ends a line on a syslog stream by NUL, commands on the pipe by a line feed.
            *lines, rest = (rests.pop(key.fd, b"") + chunk).replace(b"\0", b"\n").split(b"\n")
            if chunk:
                rests[key.fd] = rest
            else:
                lines.append(rest)
                selector.unregister(key.fileobj)
                ended = ended or key.fd == self._output
                os.close(key.fd)
            taken.append(lines)
        for lines in sorted(taken, key=_is_of_another_program):
            self._carry(lines)
        return ended

    def _ready(self, selector: selectors.BaseSelector, patience_s: float) -> list[selectors.SelectorKey]:
        """Whoever has said something, those included who have just connected."""
        ready = [key for key, _ in selector.select(timeout=patience_s)]
        if any(key.fileobj is self._listener for key in ready):
            self._accept(selector)
            ready = [key for key, _ in selector.select(timeout=0)]
        return [key for key in ready if key.fileobj is not self._listener]

    def _accept(self, selector: selectors.BaseSelector) -> None:
        """All that wait: a process of Postfix waits in connect() until there is room in the backlog."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # nobody is left, or has given up already
            selector.register(connection.detach(), selectors.EVENT_READ)

    def _carry(self, lines: list[bytes]) -> None:
        for raw in lines:
            line = self._understood(raw)
            if line is None or not line.text:
                continue
            try:
                self._waiting.put_nowait(line)
            except queue.Full:
                self.dropped += 1

    def _understood(self, raw: bytes) -> LogLine | None:
        """A line that the reader fails at must not end the thread, without which Postfix stops before long."""
        try:
            return self._reader.read(raw.decode(errors="replace").strip())
        except Exception as error:  # Its text could hold an address of the line.
            self.dropped += 1
            about = {"reason": type(error).__name__}
            logger.error("a line of Postfix's log cannot be read", extra=about)  # noqa: TRY400 - its stack could, too
            return None

    def _write(self) -> None:
        while (line := self._waiting.get()) is not None:
            _pass_on(line)


def _is_of_another_program(lines: list[bytes]) -> bool:
    """Than smtpd: all lines of a connection are of one process."""
    return not (lines and _SMTPD in lines[0])


def _pass_on(line: LogLine) -> None:
    logger = logging.getLogger(line.program.replace("/", ".") or "postfix")
    level = _LEVELS[line.severity]
    if not logger.isEnabledFor(level):
        return
    record = logging.LogRecord(logger.name, level, "", 0, line.text, None, None)
    if line.pid:
        record.pid = line.pid
    logger.handle(record)
