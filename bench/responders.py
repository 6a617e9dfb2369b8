"""Light SMTP responders, many in one process: what a probe of the operator meets instead of Postfix.

A responder is told apart by the address that was connected to, so one listener on all of 127.0.0.0/8 is as many relays
as are wanted. It wants a PROXY header first, as relays do, and speaks just enough SMTP for a probe. Its agent tells of
a relay under load, and of the canaries that it took.
"""

import asyncio
import json
import random
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from smtpfleet.api.agent_status import (
    Delays,
    Deliveries,
    Intake,
    PostfixState,
    QueueCounts,
    ReceiverGroup,
    RelayStatus,
)
from smtpfleet.controller.selfsigned import make
from smtpfleet.relay.canary import Canaries

_EXTENSIONS: Final = ("PIPELINING", "SIZE 26214400", "ENHANCEDSTATUSCODES", "8BITMIME", "DSN", "SMTPUTF8")
_PROXY_HEADER: Final = 16
_PER_S: Final = 20
"""Messages that each relay sends, by its agent's words."""
_GROUPS: Final = 8


@dataclass(slots=True)
class Behaviour:
    """How a responder answers.

    Attributes:
        replies: by verb (``BANNER`` too); an empty one closes the connection, None is silence.
        tls: offers STARTTLS with this context.
        banner_delay_s: before the banner.
    """

    replies: Mapping[str, str | None] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    banner_delay_s: float = 0.0


class Responders:
    """All responders behind one port. ``behave`` holds those that differ from ``usual``, by address.

    ``took`` is called with the address of a responder and a message that it took.
    """

    def __init__(
        self, usual: Behaviour | None = None, *, took: Callable[[str, bytes], None] = lambda *_: None
    ) -> None:
        self.usual = usual or Behaviour()
        self.took = took
        self.behave: dict[str, Behaviour] = {}
        self.clients: list[bytes] = []
        """PROXY headers of the last connections."""
        self.commands: list[str] = []
        """Commands of the last connections."""
        self.refused: dict[str, str] = {}
        """Answers to whole commands, instead of the usual ones."""
        self.content: list[bytes] = []
        """Lines of the last messages."""
        self._server: asyncio.Server | None = None

    async def listen(self, host: str = "127.0.0.1") -> int:
        """Listen; returns the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Session(self), host, 0, backlog=4096)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def close(self) -> None:
        """Listen no longer."""
        if self._server is not None:
            self._server.close()

    def note(self, kept: list[bytes] | list[str], what: bytes | str) -> None:
        """Remember the last hundred of something."""
        kept.append(what)  # type: ignore[arg-type] # both lists are only ever given their own kind
        del kept[:-100]


class _Session(asyncio.Protocol):
    """With one client."""

    def __init__(self, responders: Responders) -> None:
        self._all = responders
        self._behaviour = responders.usual
        self._address = ""
        self._message: list[bytes] = []
        self._buffer = b""
        self._proxied = self._reading = False
        self._secured = self._securing = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find out which responder is meant."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._address = transport.get_extra_info("sockname")[0]
        self._behaviour = self._all.behave.get(self._address, self._all.usual)

    def data_received(self, data: bytes) -> None:
        """The header first, then commands. What comes before the new transport is known waits for it."""
        self._buffer += data
        if self._securing or (not self._proxied and not self._take_header()):
            return
        while b"\r\n" in self._buffer:
            line, self._buffer = self._buffer.split(b"\r\n", 1)
            if self._reading:
                self._content(line)
            else:
                self._command(line.decode("ascii", "replace"))

    def _content(self, line: bytes) -> None:
        if line != b".":
            self._all.note(self._all.content, line)
            self._message.append(line.removeprefix(b"."))
            return
        self._reading = False
        if self._say("END", "250 2.0.0 Ok"):
            self._all.took(self._address, b"\r\n".join([*self._message, b""]))

    def _take_header(self) -> bool:
        if len(self._buffer) < _PROXY_HEADER:
            return False
        length = _PROXY_HEADER + int.from_bytes(self._buffer[14:16], "big")
        if len(self._buffer) < length:
            return False
        self._all.note(self._all.clients, self._buffer[:length])
        self._buffer = self._buffer[length:]
        self._proxied = True
        if self._behaviour.banner_delay_s:
            loop = asyncio.get_running_loop()
            loop.call_later(self._behaviour.banner_delay_s, self._say, "BANNER", "220 responder ESMTP")
        else:
            self._say("BANNER", "220 responder ESMTP")
        return True

    def _command(self, line: str) -> None:
        verb = line[:4].upper()
        self._all.note(self._all.commands, line)
        if line in self._all.refused:
            self._say(line, self._all.refused[line])
        elif verb == "EHLO":
            more = () if self._secured or self._behaviour.tls is None else ("STARTTLS",)
            lines = ["responder", *_EXTENSIONS, *more]
            text = "\r\n".join(f"250-{line}" for line in lines[:-1]) + f"\r\n250 {lines[-1]}"
            self._say(verb, text)
        elif verb == "STAR" and self._say(verb, "220 2.0.0 Ready to start TLS"):
            self._secure()
        elif verb == "DATA":
            self._reading = self._say(verb, "354 Go on")
        elif verb == "QUIT":
            self._say(verb, "221 2.0.0 Bye", last=True)
        elif verb != "STAR":
            self._say(verb, "250 2.1.0 Ok")

    def _say(self, verb: str, usual: str, *, last: bool = False) -> bool:
        """Answer; returns whether it was with the usual reply."""
        reply = self._behaviour.replies.get(verb, usual)
        assert self._transport is not None
        if reply:
            self._transport.write(f"{reply}\r\n".encode())
        if last or reply == "":
            self._transport.close()
        return reply == usual

    def _secure(self) -> None:
        assert self._transport is not None
        # The client's first bytes of TLS must not come here.
        self._transport.pause_reading()
        self._securing = True
        asyncio.get_running_loop().create_task(self._start_tls())

    async def _start_tls(self) -> None:
        assert self._transport is not None
        assert self._behaviour.tls is not None
        try:
            secured = await asyncio.get_running_loop().start_tls(
                self._transport, self, self._behaviour.tls, server_side=True
            )
        except OSError:
            self._transport.abort()
            return
        assert isinstance(secured, asyncio.Transport)
        self._transport, self._secured, self._securing = secured, True, False
        self.data_received(b"")


class _Relay:
    """What the agent of a relay under load tells: numbers that differ each time, and its canaries."""

    def __init__(self, name: str) -> None:
        self.canaries = Canaries()
        self._name, self._since = name, time.monotonic()

    def status(self) -> RelayStatus:
        """As an agent makes it."""
        sent = 60 * _PER_S + random.randrange(100)
        deliveries = Deliveries(
            seconds=60.0,
            sent=sent,
            messages_per_s=sent / 60,
            finished=int(_PER_S * (time.monotonic() - self._since)),
            delays=Delays(a=0.1, b=0.01, c=0.02, d=0.05),
            receivers=tuple(ReceiverGroup(group=group, tried=sent // _GROUPS) for group in range(_GROUPS)),
        )
        return RelayStatus(
            relay=self._name,
            intake=Intake.OPEN,
            postfix=PostfixState.RUNNING,
            queue=QueueCounts(active=random.randrange(1, 40), deferred=random.randrange(20)),
            sessions=random.randrange(20),
            deliveries=deliveries,
            canary=self.canaries.status(),
        )


class _Agent(asyncio.Protocol):
    """Answers ``GET /status`` as the agent of the relay at the address that was connected to."""

    def __init__(self, relays: Mapping[str, _Relay]) -> None:
        self._relays = relays
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer, and close if that is asked for."""
        assert self._transport is not None
        status = self._relays[self._transport.get_extra_info("sockname")[0]].status()
        body = status.model_dump_json(by_alias=True)
        last = b"Connection: close" in data
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        end = "Connection: close\r\n" if last else ""
        self._transport.write(f"{head}{end}\r\n{body}".encode())
        if last:
            self._transport.close()


def server_context() -> ssl.SSLContext:
    """TLS of a responder, with a certificate of its own."""
    pair = make(["responder.example"], now=datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as directory:
        file = Path(directory) / "chain.pem"
        file.write_bytes(pair.key + pair.certificate)
        context.load_cert_chain(file)
    return context


async def _serve() -> None:
    """Read names by address as one line of JSON, write the ports, then obey: address and reply to MAIL, a line each."""
    loop = asyncio.get_running_loop()
    names: dict[str, str] = json.loads(sys.stdin.readline())
    relays = {address: _Relay(name) for address, name in names.items()}
    responders = Responders(
        Behaviour(tls=server_context()), took=lambda address, message: relays[address].canaries.take(message)
    )
    smtp = await responders.listen("0.0.0.0")
    agents = await loop.create_server(lambda: _Agent(relays), "0.0.0.0", 0, backlog=4096)
    print(json.dumps([smtp, agents.sockets[0].getsockname()[1]]), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        address, _, reply = line.rstrip("\n").partition(" ")
        usual = responders.usual
        responders.behave[address] = Behaviour(replies={"MAIL": reply} if reply else {}, tls=usual.tls)


if __name__ == "__main__":
    asyncio.run(_serve())
