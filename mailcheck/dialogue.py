"""One client's SMTP session: greeting, any number of messages, goodbye. Never a retry; a reason for each failure."""

import asyncio
import base64
import binascii
import functools
import ssl
from dataclasses import dataclass, field
from enum import StrEnum

from mailcheck import sasl
from mailcheck.connection import ClientConnection, ConnectionFailedError, Reply
from mailcheck.message import Message
from mailcheck.model import Failure, Outcome, Stage
from mailcheck.proxy_header import encode_proxy_header
from mailcheck.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a client waits, in seconds; RFC 5321 (4.5.3.2) has minutes, an impatient application ten seconds."""

    connect_s: float = 10.0
    reply_s: float = 10.0
    """For each reply but the last."""
    content_s: float = 10.0
    """Until the content has left."""
    end_of_data_s: float = 10.0
    """For the reply to the final dot."""

    @classmethod
    def uniform(cls, seconds: float) -> "Timeouts":
        """The same for all of them."""
        return cls(connect_s=seconds, reply_s=seconds, content_s=seconds, end_of_data_s=seconds)


class Tls(StrEnum):
    """Whether a client speaks TLS. It takes any certificate: what is measured is not who is there."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """How a client speaks."""

    helo: str = "client.mailcheck.invalid"
    pipelining: bool = False
    """MAIL, RCPT and DATA in one write, if the server offers it."""
    proxy_header: bool = False
    """Send a PROXY v2 header first, as relays want it from their balancer."""
    proxy_source: str = ""
    """The client address to claim in that header; the real one if empty."""
    tls: Tls = Tls.NONE
    credentials: sasl.Credentials | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)


class NotAcknowledgedError(Exception):
    """A message, or the connection for it, ended without an acknowledgement."""

    def __init__(self, stage: Stage, *, code: int | None = None, failure: Failure | None = None) -> None:
        super().__init__(stage, code, failure)
        self.stage = stage
        self.code = code
        self.failure = failure

    @property
    def outcome(self) -> Outcome:
        """What the client knows about the message."""
        if self.code is not None:
            return Outcome.REJECTED
        return Outcome.INDETERMINATE if self.stage is Stage.END_OF_DATA else Outcome.FAILED_BEFORE


class Session:
    """One connection to a target and what is said on it. After any error it can only be closed."""

    def __init__(self, target: Target, options: ClientOptions) -> None:
        self.target = target
        self._options = options
        self._timeouts = options.timeouts
        self._connection: ClientConnection | None = None
        self._offers: frozenset[str] = frozenset()

    @property
    def usable(self) -> bool:
        """Whether a further message can be sent on it, as far as anybody knows."""
        return self._connection is not None and self._connection.usable

    async def open(self) -> None:
        """Connect, PROXY header, banner, EHLO, TLS and AUTH as the options say; nothing if that was done before.

        Raises:
            NotAcknowledgedError: it did not come that far.
            MailcheckError: it cannot be tried: no resources left, or a PROXY header that cannot be made.
        """
        if self._connection is not None:
            return
        try:
            host, port = self.target.address
            connection = await ClientConnection.connect(host, port, timeout_s=self._timeouts.connect_s)
        except ConnectionFailedError as error:
            raise NotAcknowledgedError(Stage.CONNECT, failure=error.failure) from None
        self._connection = connection
        if self._options.proxy_header:
            own, peer = connection.addresses
            source = (self._options.proxy_source, own[1]) if self._options.proxy_source else own
            connection.write(encode_proxy_header(source, peer))
        if self._options.tls is Tls.IMPLICIT:
            await self._start_tls(connection)
        await self._positive_reply(Stage.BANNER)
        await self._ehlo(connection)
        if self._options.tls is Tls.STARTTLS:
            self._need("STARTTLS", Stage.STARTTLS)
            connection.write(b"STARTTLS\r\n")
            await self._positive_reply(Stage.STARTTLS)
            await self._start_tls(connection)
            await self._ehlo(connection)
        if self._options.credentials is not None:
            self._need("AUTH", Stage.AUTH)
            await self._log_in(connection, self._options.credentials)

    async def send(self, message: Message) -> tuple[str, ...]:
        """Hand in one message; returns the recipients that were refused while others were taken.

        Raises NotAcknowledgedError.
        """
        connection = self._open_connection()
        refused = await self._envelope(connection, message)
        connection.write(message.wire)
        try:
            await connection.flush(self._timeouts.content_s)
        except ConnectionFailedError as error:
            raise _cut_off_in_content(connection, error.failure) from None
        await self._positive_reply(Stage.END_OF_DATA)
        return refused

    def quit(self) -> asyncio.Future[None]:
        """Say QUIT; the result is done when the socket is gone, a second later at most."""
        connection = self._open_connection()
        connection.quit()
        return connection.closed

    def abort(self) -> None:
        """Close the socket now, if there is one."""
        if self._connection is not None:
            self._connection.abort()

    async def _start_tls(self, connection: ClientConnection) -> None:
        try:
            await connection.start_tls(_any_certificate(), timeout_s=self._timeouts.reply_s)
        except ConnectionFailedError as error:
            raise NotAcknowledgedError(Stage.STARTTLS, failure=error.failure) from None

    async def _ehlo(self, connection: ClientConnection) -> None:
        connection.write(f"EHLO {self._options.helo}\r\n".encode())
        reply = await self._positive_reply(Stage.EHLO)
        self._offers = frozenset(
            line[4:].split(b" ")[0].decode("ascii", "replace").upper() for line in reply.lines
        )

    async def _log_in(self, connection: ClientConnection, credentials: sasl.Credentials) -> None:
        exchange = sasl.exchange(credentials)
        connection.write(f"{sasl.command(next(exchange), credentials.mechanism)}\r\n".encode())
        reply = await self._reply(Stage.AUTH)
        while reply.code == 334:
            try:
                response = exchange.send(base64.b64decode(reply.lines[-1][4:]))
            except (sasl.SaslError, StopIteration, binascii.Error, ValueError):
                raise NotAcknowledgedError(Stage.AUTH, failure=Failure.PROTOCOL) from None
            connection.write(base64.b64encode(response or b"") + b"\r\n")
            reply = await self._reply(Stage.AUTH)
        if not reply.positive:
            raise _refusal(Stage.AUTH, reply)

    def _need(self, extension: str, stage: Stage) -> None:
        if extension not in self._offers:
            raise NotAcknowledgedError(stage, failure=Failure.UNSUPPORTED)

    def _open_connection(self) -> ClientConnection:
        assert self._connection is not None, "the session has not been opened"
        return self._connection

    async def _envelope(self, connection: ClientConnection, message: Message) -> tuple[str, ...]:
        """MAIL to DATA, in one write or one by one; returns refused recipients, if not all of them were."""
        steps = [
            (Stage.MAIL, self._mail(message)),
            *((Stage.RCPT, f"RCPT TO:<{r}>\r\n".encode()) for r in message.recipients),
            (Stage.DATA, b"DATA\r\n"),
        ]
        pipelining = self._options.pipelining and "PIPELINING" in self._offers
        if pipelining:
            connection.write(b"".join(command for _, command in steps))
        answers: list[Reply] = []
        for stage, command in steps:
            if stage is Stage.DATA:
                _raise_if_all_refused(answers)
            if not pipelining:
                connection.write(command)
            reply = await self._reply(stage)
            if stage is Stage.RCPT and reply.code != 421:
                answers.append(reply)
            elif not (reply.code == 354 if stage is Stage.DATA else reply.positive):
                raise _refusal(stage, reply)
        return tuple(r for r, answer in zip(message.recipients, answers, strict=True) if not answer.positive)

    def _mail(self, message: Message) -> bytes:
        needed = {"8BITMIME": message.eight_bit or message.smtputf8, "SMTPUTF8": message.smtputf8}
        if any(wanted and extension not in self._offers for extension, wanted in needed.items()):
            raise NotAcknowledgedError(Stage.EHLO, failure=Failure.UNSUPPORTED)
        parameters = f" SIZE={message.size_bytes}" if "SIZE" in self._offers else ""
        parameters += " BODY=8BITMIME" if needed["8BITMIME"] else ""
        parameters += " SMTPUTF8" if message.smtputf8 else ""
        return f"MAIL FROM:<{message.sender}>{parameters}\r\n".encode()

    async def _positive_reply(self, stage: Stage) -> Reply:
        reply = await self._reply(stage)
        if not reply.positive:
            raise _refusal(stage, reply)
        return reply

    async def _reply(self, stage: Stage) -> Reply:
        timeout_s = self._timeouts.end_of_data_s if stage is Stage.END_OF_DATA else self._timeouts.reply_s
        try:
            return await self._open_connection().reply(timeout_s)
        except ConnectionFailedError as error:
            raise NotAcknowledgedError(stage, failure=error.failure) from None


@functools.cache
def _any_certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _cut_off_in_content(connection: ClientConnection, failure: Failure) -> NotAcknowledgedError:
    """Has the final dot left? Asked before anything more can be sent; a refusal that came first says more."""
    stage = Stage.CONTENT if connection.unsent else Stage.END_OF_DATA
    connection.abort()
    reply = connection.take_reply()
    if reply is not None and reply.code >= 400:
        return NotAcknowledgedError(stage, code=reply.code)
    return NotAcknowledgedError(stage, failure=failure)


def _raise_if_all_refused(answers: list[Reply]) -> None:
    if not any(answer.positive for answer in answers):
        raise _refusal(Stage.RCPT, answers[0])


def _refusal(stage: Stage, reply: Reply) -> NotAcknowledgedError:
    if reply.code >= 400:
        return NotAcknowledgedError(stage, code=reply.code)
    return NotAcknowledgedError(stage, failure=Failure.PROTOCOL)
