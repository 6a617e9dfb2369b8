"""One SMTP session from the server's side: a state machine over lines, without tasks, so that it costs little CPU."""

import asyncio
import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, assert_never, cast

from mailcheck.message import split_content
from mailcheck.model import Arrival, Stage
from mailcheck.sink.mode import Kind, Mode, ModeSwitch
from mailcheck.sink.record import Record

_END = b"\r\n.\r\n"
_MAX_LINE = 4096
_PATH = re.compile(rb"[^<]*<([^>]*)>(.*)", re.DOTALL)
_MESSAGE_ID = re.compile(rb"^message-id:[ \t]*(?:\r\n[ \t]+)?<?([^>\r\n]*)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What all sessions share."""

    hostname: str
    size_limit_bytes: int
    modes: ModeSwitch
    record: Record
    fail: Callable[[OSError], None]
    """Ends the sink: it cannot record any more, so its record would be wrong from here on."""
    open_transports: set[asyncio.Transport] = field(default_factory=set)

    def cut_sessions(self) -> None:
        """Close every open session at once."""
        for transport in list(self.open_transports):
            transport.abort()


class SinkSession(asyncio.Protocol):
    """Reads whatever has come, answers all of it in one write (so that pipelining pays), records what it takes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._input = bytearray()
        self._content: bytearray | None = None
        self._oversized = False
        self._silent = False
        self._client = ""
        self._helo_name = ""
        self._sender: str | None = None
        self._recipients: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say the banner, unless the mode has something else in store."""
        self._transport = cast(asyncio.Transport, transport)
        self._client = str(transport.get_extra_info("peername")[0])
        self._services.open_transports.add(self._transport)
        self._services.record.counters["connections"] += 1
        struck = self._struck(Stage.BANNER)
        if struck is None:
            self._transport.write(f"220 {self._services.hostname} ESMTP mailcheck\r\n".encode("ascii"))
        elif struck:
            self._transport.write(struck)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone; what it had finished is recorded."""
        self._services.open_transports.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        """Go on with what has come."""
        self._input += data
        self._proceed()

    def _proceed(self) -> None:
        """Work through the input until more of it is needed, or nothing more is to be said."""
        replies: list[bytes] = []
        while not self._silent and not self._transport.is_closing():
            reply = self._next_line() if self._content is None else self._next_content()
            if reply is None:
                break
            replies.append(reply)
            if reply.startswith((b"221", b"421")):
                self._transport.write(b"".join(replies))
                self._transport.close()
                return
        if replies:
            self._transport.write(b"".join(replies))

    def _next_line(self) -> bytes | None:
        line, end, rest = self._input.partition(b"\r\n")
        if len(line) > _MAX_LINE:
            return b"421 4.5.2 Line too long\r\n"
        if not end:
            return None
        self._input = rest
        return self._command(bytes(line))

    def _command(self, line: bytes) -> bytes:
        verb, _, argument = line.partition(b" ")
        handler = self._handlers.get(verb.upper())
        return handler(self, argument) if handler else b"502 5.5.1 Command not implemented\r\n"

    def _helo(self, argument: bytes) -> bytes:
        struck = self._struck(Stage.EHLO)
        if struck is not None:
            return struck
        self._reset()
        self._helo_name = _text(argument.strip())
        return f"250 {self._services.hostname}\r\n".encode("ascii")

    def _ehlo(self, argument: bytes) -> bytes:
        greeting = self._helo(argument)
        if not greeting.startswith(b"250 "):
            return greeting
        size = str(self._services.size_limit_bytes).encode("ascii")
        offers = (b"PIPELINING", b"SIZE " + size, b"8BITMIME", b"ENHANCEDSTATUSCODES")
        return b"250-" + greeting[4:] + b"".join(b"250-" + o + b"\r\n" for o in offers) + b"250 SMTPUTF8\r\n"

    def _mail(self, argument: bytes) -> bytes:
        path = _PATH.fullmatch(argument)
        if self._sender is not None or not self._helo_name:
            return b"503 5.5.1 Bad sequence of commands\r\n"
        if path is None:
            return b"501 5.5.4 Syntax: MAIL FROM:<address>\r\n"
        size = re.search(rb" SIZE=(\d+)", path[2].upper())
        if size and int(size[1]) > self._services.size_limit_bytes:
            return b"552 5.3.4 Message too big\r\n"
        struck = self._struck(Stage.MAIL)
        if struck is not None:
            return struck
        self._sender = _text(path[1])
        return b"250 2.1.0 Ok\r\n"

    def _rcpt(self, argument: bytes) -> bytes:
        path = _PATH.fullmatch(argument)
        if self._sender is None:
            return b"503 5.5.1 Bad sequence of commands\r\n"
        if path is None:
            return b"501 5.5.4 Syntax: RCPT TO:<address>\r\n"
        struck = self._struck(Stage.RCPT)
        if struck is not None:
            return struck
        self._recipients.append(_text(path[1]))
        return b"250 2.1.5 Ok\r\n"

    def _data(self, argument: bytes) -> bytes:
        if not self._recipients:
            return b"554 5.5.1 No valid recipients\r\n"
        struck = self._struck(Stage.DATA)
        if struck is not None:
            return struck
        self._content = bytearray(b"\r\n")  # so that the first line is treated like any other
        return b"354 End data with <CR><LF>.<CR><LF>\r\n"

    def _rset(self, argument: bytes) -> bytes:
        self._reset()
        return b"250 2.0.0 Ok\r\n"

    def _noop(self, argument: bytes) -> bytes:
        return b"250 2.0.0 Ok\r\n"

    def _quit(self, argument: bytes) -> bytes:
        return b"221 2.0.0 Bye\r\n"

    _handlers: ClassVar[dict[bytes, Callable[["SinkSession", bytes], bytes]]] = {
        b"HELO": _helo,
        b"EHLO": _ehlo,
        b"MAIL": _mail,
        b"RCPT": _rcpt,
        b"DATA": _data,
        b"RSET": _rset,
        b"NOOP": _noop,
        b"QUIT": _quit,
    }

    def _next_content(self) -> bytes | None:
        content = self._content
        assert content is not None
        start = max(0, len(content) - len(_END) + 1)
        content += self._input
        self._input.clear()
        end = content.find(_END, start)
        if end < 0:
            if len(content) > self._services.size_limit_bytes + 2:
                self._oversized = True
                del content[: -len(_END) + 1]
            return None
        self._input += content[end + len(_END) :]
        self._content = None
        too_big = self._oversized or end > self._services.size_limit_bytes
        reply = b"552 5.3.4 Message too big\r\n" if too_big else self._end_of_data(bytes(content[: end + 2]))
        self._reset()
        return reply

    def _end_of_data(self, stuffed: bytes) -> bytes:
        mode = self._services.modes.strike(Stage.END_OF_DATA, self._client)
        if mode is not None and mode.kind is not Kind.DELAY:
            return self._strike(mode)
        content = stuffed.replace(b"\r\n.", b"\r\n")[2:]
        try:
            self._services.record.add(self._arrival(content))
            self._services.record.keep(content)
        except OSError as error:
            self._services.fail(error)
            return b"421 4.3.0 Cannot record any more\r\n"
        if mode is not None:
            self._services.record.counters["delayed"] += 1
            self._silent = True
            asyncio.get_running_loop().call_later(mode.delay_s, self._answer_late)
            return b""
        return b"250 2.0.0 Ok, recorded\r\n"

    def _answer_late(self) -> None:
        """The message counts since it came, as in a receiver that has stored it and is slow to say so."""
        self._silent = False
        if not self._transport.is_closing():
            self._transport.write(b"250 2.0.0 Ok, recorded\r\n")
            self._proceed()

    def _arrival(self, content: bytes) -> Arrival:
        header, body = split_content(content)
        found = _MESSAGE_ID.search(header)
        return Arrival(
            id=_text(found[1].strip()) if found else "",
            digest=hashlib.sha256(body).hexdigest(),
            sender=self._sender or "",
            recipients=tuple(self._recipients),
            size_bytes=len(content),
            time=time.time(),
            client=self._client,
            helo=self._helo_name,
        )

    def _struck(self, stage: Stage) -> bytes | None:
        mode = self._services.modes.strike(stage, self._client)
        return None if mode is None else self._strike(mode)

    def _strike(self, mode: Mode) -> bytes:
        """The bad answer; empty if there is none at all."""
        at_banner = mode.stage is Stage.BANNER
        match mode.kind:
            case Kind.TEMPFAIL:
                self._services.record.counters["tempfailed"] += 1
                return b"421 4.3.2 Not now\r\n" if at_banner else b"451 4.3.0 Try again later\r\n"
            case Kind.REJECT:
                self._services.record.counters["rejected"] += 1
                return b"554 5.7.1 Go away\r\n" if at_banner else b"550 5.7.1 Rejected\r\n"
            case Kind.STALL:
                self._services.record.counters["stalled"] += 1
                self._silent = True
                return b""
            case Kind.ACCEPT | Kind.DELAY:
                raise AssertionError(f"{mode.kind} strikes nobody here")
            case _:
                assert_never(mode.kind)

    def _reset(self) -> None:
        self._content = None
        self._oversized = False
        self._sender = None
        self._recipients = []


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")
