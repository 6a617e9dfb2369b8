"""Dovecot's authentication protocol, the server's side: how Postfix asks whether somebody may log in.

Source: doc.dovecot.org, "Dovecot Authentication Protocol" (version 1.1), and what Postfix makes of it
(src/xsasl/xsasl_dovecot_server.c). Two of its habits matter here. It reads no ``temp``: every FAIL becomes 535, by
which clients give up; only a connection that ends before its answer becomes 454, and Postfix opens another one for
the next attempt. And it shows ``reason=`` to the client, and ``user=`` in its log for failures, too: so a name is
given only if it is a user's, for people type passwords where names belong.
"""

import asyncio
import base64
import binascii
import itertools
import logging
import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from smtpfleet.relay.unixsocket import bind
from smtpfleet.relay.users.book import Accounts, UnavailableError
from smtpfleet.relay.users.judge import Judge, Verdict
from smtpfleet.relay.users.mechanisms import (
    Challenge,
    Done,
    Exchange,
    Login,
    Mechanism,
    MechanismError,
    Password,
    Plain,
    Proof,
    Scram,
)

logger = logging.getLogger(__name__)

REASON: Final = "wrong user name or password"
_LINE_LIMIT_BYTES: Final = 16 * 1024
_BACKLOG: Final = 512
"""More than there are smtpd processes."""
_ID: Final = re.compile(r"[0-9]{1,10}")
_WORDS: Final = {
    Mechanism.PLAIN: "\tplaintext",
    Mechanism.LOGIN: "\tplaintext",
    Mechanism.SCRAM_SHA_256: "\tmutual-auth",
}
_connections = itertools.count(1)


class ProtocolError(ValueError):
    """The other side is no Postfix that speaks this protocol."""


class _LaterError(Exception):
    """The client is to try again later: the connection ends without an answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """``AUTH``: an exchange begins. ``response``: the client's first message; None: it sent none."""

    id: str
    mechanism: Mechanism | None
    address: str
    secured: bool
    response: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Continuation:
    """``CONT``: the exchange goes on."""

    id: str
    response: bytes = field(repr=False)


def greeting(*, pid: int, connection: int, cookie: str) -> str:
    """What the server says first."""
    mechanisms = "".join(f"MECH\t{mechanism}{words}\n" for mechanism, words in _WORDS.items())
    return f"VERSION\t1\t1\n{mechanisms}SPID\t{pid}\nCUID\t{connection}\nCOOKIE\t{cookie}\nDONE\n"


def parse(line: str) -> Request | Continuation | None:
    """A line of Postfix's; None: nothing that wants an answer.

    Raises:
        ProtocolError: it cannot be understood.
    """
    command, *parameters = line.split("\t")
    match command, parameters:
        case "VERSION", [major, *_]:
            if major != "1":
                raise ProtocolError(f"version {major} is not spoken here")
            return None
        case "AUTH", [number, mechanism, *rest] if _ID.fullmatch(number):
            return _request(number, mechanism, rest)
        case "CONT", [number, response] if _ID.fullmatch(number):
            return Continuation(number, _decoded(response))
        case (("AUTH" | "CONT"), _):
            raise ProtocolError(f"{command} without its parameters")
        case _:
            return None


def _request(number: str, mechanism: str, rest: list[str]) -> Request:
    given: Mapping[str, str] = dict(parameter.partition("=")[::2] for parameter in rest)
    name = mechanism.upper()
    return Request(
        id=number,
        mechanism=Mechanism(name) if name in set(Mechanism) else None,
        address=given.get("rip", ""),
        secured="secured" in given,
        response=_decoded(given["resp"]) if "resp" in given else None,
    )


def _decoded(text: str) -> bytes:
    """Base64. A lone ``=`` is the empty message (RFC 4954, section 4)."""
    if text == "=":
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError("a message that is not base64") from None


async def serve(path: Path, judge: Judge, book: Accounts, *, owner: tuple[int, int]) -> asyncio.Server:
    """Answer on a UNIX socket that only ``owner`` (user, group) may use.

    Raises:
        OSError: the socket cannot be made.
    """
    loop = asyncio.get_running_loop()
    return await loop.create_unix_server(
        lambda: Conversation(judge, book), sock=bind(path, owner), backlog=_BACKLOG
    )


class Conversation(asyncio.Protocol):
    """With one smtpd process, which has one session and one exchange at a time."""

    def __init__(
        self, judge: Judge, book: Accounts, *, nonce: Callable[[], str] = lambda: secrets.token_urlsafe(18)
    ) -> None:
        self._judge, self._book, self._nonce = judge, book, nonce
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None
        self._exchange: Exchange | None = None
        self._request: Request | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._write(greeting(pid=os.getpid(), connection=next(_connections), cookie=secrets.token_hex(16)))

    def data_received(self, data: bytes) -> None:
        """Answer each line that is complete."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        try:
            for line in lines:
                self._take(parse(line.decode(errors="replace")))
            _bounded(self._buffer)
        except ProtocolError as error:
            logger.warning("smtpd's question about a user cannot be answered", extra={"reason": str(error)})
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """The smtpd process has ended, or gives up waiting."""
        if self._task is not None:
            self._task.cancel()

    def _take(self, told: Request | Continuation | None) -> None:
        if told is None:
            return
        if self._task is not None and not self._task.done():
            raise ProtocolError("a question before the last one was answered")
        if isinstance(told, Request):
            self._request, self._exchange = told, self._begun(told)
        elif self._request is None or told.id != self._request.id:
            raise ProtocolError("an exchange that was never begun goes on")
        response = told.response
        self._task = asyncio.get_running_loop().create_task(self._answer(response))

    def _begun(self, request: Request) -> Exchange | None:
        """None: nothing that is spoken here. AUTH without TLS is refused by smtpd already."""
        if not request.secured:
            return None
        match request.mechanism:
            case Mechanism.PLAIN:
                return Plain()
            case Mechanism.LOGIN:
                return Login()
            case Mechanism.SCRAM_SHA_256:
                return Scram(self._book.scram_key, self._nonce())
            case None:
                return None

    async def _answer(self, response: bytes | None) -> None:
        assert self._request is not None
        try:
            self._write(await self._reply(self._request, response))
        except (_LaterError, UnavailableError):
            self._end()
        except Exception:
            # Whatever it is: the session ends with 454, and not in a wait of ten seconds.
            logger.exception("a question about a user could not be answered")
            self._end()

    async def _reply(self, request: Request, response: bytes | None) -> str:
        if self._exchange is None:
            return f"FAIL\t{request.id}\treason=this mechanism is not offered here\n"
        try:
            step = self._exchange.receive(response)
        except MechanismError:
            return f"FAIL\t{request.id}\treason=the client does not speak {request.mechanism}\n"
        match step:
            case Challenge(text):
                return _challenge(request, text)
            case Done(name):
                return f"OK\t{request.id}\tuser={name}\n"
            case Password(name=name):
                verdict, accepted = (
                    await self._judge.password(step, request.address),
                    f"OK\t{request.id}\tuser={name}\n",
                )
            case Proof(name, signature):
                verdict = await self._judge.proof(step, request.address)
                accepted = _challenge(request, (signature or "").encode())
        if verdict is Verdict.DEFERRED:
            raise _LaterError
        return accepted if verdict is Verdict.ACCEPTED else self._failure(request, step.name)

    def _failure(self, request: Request, name: str) -> str:
        user = f"\tuser={name}" if name in self._book.users else ""
        return f"FAIL\t{request.id}{user}\treason={REASON}\n"

    def _write(self, line: str) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(line.encode())

    def _end(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _bounded(rest: bytes) -> None:
    if len(rest) > _LINE_LIMIT_BYTES:
        raise ProtocolError("a line without end")


def _challenge(request: Request, text: bytes) -> str:
    return f"CONT\t{request.id}\t{base64.b64encode(text).decode()}\n"
