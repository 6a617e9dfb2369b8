"""One probe: the dialogue of a client that is about to hand in a message, and then does not.

Connect, banner, EHLO, STARTTLS and EHLO again, AUTH where there are users, MAIL, RCPT, RSET, QUIT; now and then a
canary is handed in before QUIT.
Every step is timed, and bounded by what is left of the whole probe's time. aiosmtplib speaks SMTP; it is given a
connected socket on which the PROXY header was sent, as relays' ports expect one. A certificate is read, not verified:
whom clients trust is not known here.
"""

import asyncio
import functools
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from aiosmtplib import SMTP
from aiosmtplib.errors import SMTPException, SMTPRecipientRefused, SMTPResponseException
from cryptography import x509

from smtpfleet.api.names import SMTP_PORT
from smtpfleet.api.probes import (
    CANARY,
    EHLO_NAME,
    RECIPIENT,
    STRANGERS,
    ProbeResult,
    ProbeStage,
    ProbeTrouble,
)
from smtpfleet.probing.proxyheader import proxy_header

_ENHANCED: Final = re.compile(r"([245]\.\d{1,3}\.\d{1,3}) ")
_TEXT_LIMIT: Final = 200
_Validity = tuple[datetime | None, datetime | None]


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and the password, which is in no representation."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Profile:
    """How the relays of a pool are probed.

    Attributes:
        timeout_s: for the whole probe.
        clients: address that the probe claims to come from, by IP version; an empty one is trusted nowhere, so no
            recipient is offered in its name, unless it logs in.
        tls: whether STARTTLS must be offered and work.
        port: of the relay.
        login: user and password of the probe; None: it does not log in.
        knows: relays that know this user now.
    """

    timeout_s: float
    clients: tuple[str, str]
    tls: bool
    port: int = SMTP_PORT
    login: Credentials | None = None
    knows: frozenset[str] = frozenset()

    def of(self, relay: str) -> "Profile":
        """How one relay is probed."""
        return self if relay in self.knows or self.login is None else replace(self, login=None)

    def client(self, version: int) -> str:
        """The address for IP version 4 or 6."""
        return self.clients[0 if version == 4 else 1]


Connector = Callable[[str, int], Awaitable[socket.socket]]
"""Opens a TCP connection to address and port; raises OSError."""


async def connect(address: str, port: int) -> socket.socket:
    """A connected socket that does not block: the connector of production."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connection, (address, port))
    except BaseException:
        connection.close()
        raise
    return connection


async def probe(
    address: str,
    profile: Profile,
    canary: bytes = b"",
    *,
    clock: Callable[[], float],
    connector: Connector = connect,
) -> ProbeResult:
    """Probe the relay at an address. Whatever the relay does, there is a result, within ``profile.timeout_s``.

    ``canary``: a message to hand in as well; empty: none.
    """
    dialogue = _Dialogue(address, profile, canary, clock, connector)
    try:
        async with asyncio.timeout(profile.timeout_s):
            await dialogue.run()
    except (SMTPException, OSError, EOFError) as error:
        return dialogue.failed(error)
    finally:
        dialogue.close()
    return dialogue.result()


class _Dialogue:
    """The steps of one probe, and how far it came."""

    def __init__(
        self,
        address: str,
        profile: Profile,
        canary: bytes,
        clock: Callable[[], float],
        connector: Connector,
    ) -> None:
        self._address, self._profile, self._clock, self._connector = address, profile, clock, connector
        self._canary, self._handed_in = canary, False
        self._stage = ProbeStage.CONNECT
        self._latency_s: dict[ProbeStage, float] = {}
        self._validity: _Validity = None, None
        self._socket: socket.socket | None = None
        self._smtp: SMTP | None = None

    def failed(self, error: Exception) -> ProbeResult:
        """What came of it when a step failed. A farewell that fails is no trouble: all was done before it."""
        if self._stage is ProbeStage.QUIT:
            return self.result()
        trouble = _trouble(error, self._stage)
        if isinstance(error, SMTPResponseException):
            code, enhanced, text = _reply(error.code, error.message)
            # An answer to AUTH may repeat what was sent.
            shown = "" if self._stage is ProbeStage.AUTH else text
            return self.result(trouble, code=code, enhanced=enhanced, text=shown)
        words = trouble in {ProbeTrouble.UNREACHABLE, ProbeTrouble.TLS}
        return self.result(trouble, text=_words(error) if words else "")

    def result(
        self, trouble: ProbeTrouble = ProbeTrouble.NONE, *, code: int = 0, enhanced: str = "", text: str = ""
    ) -> ProbeResult:
        """What is known now."""
        return ProbeResult(
            stage=self._stage,
            trouble=trouble,
            code=code,
            enhanced=enhanced,
            text=text,
            latency_s=self._latency_s,
            not_before=self._validity[0],
            not_after=self._validity[1],
            handed_in=self._handed_in,
        )

    def close(self) -> None:
        """Let go of the connection at once, whatever state it is in."""
        transport = self._smtp.transport if self._smtp else None
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()
        if self._socket is not None:
            self._socket.close()

    async def run(self) -> None:
        """Every step, one after the other."""
        version = ipaddress.ip_address(self._address).version
        client = self._profile.client(version)
        with self._timed(ProbeStage.CONNECT):
            self._socket = await self._connector(self._address, self._profile.port)
        with self._timed(ProbeStage.BANNER):
            smtp = await self._greeted(self._socket, client or STRANGERS[version])
        with self._timed(ProbeStage.EHLO):
            await smtp.ehlo()
        if self._profile.tls:
            with self._timed(ProbeStage.STARTTLS):
                await self._secure(smtp)
        login = self._profile.login
        if login is not None:
            with self._timed(ProbeStage.AUTH):
                # Under TLS always; who reads the password nevertheless can hand in nothing with it.
                await smtp.auth_plain(login.user, login.password)
        with self._timed(ProbeStage.MAIL):
            await smtp.mail("")
        if client or login:
            with self._timed(ProbeStage.RCPT):
                await smtp.rcpt(RECIPIENT)
        with self._timed(ProbeStage.RSET):
            await smtp.rset()
        if client and self._canary:
            with self._timed(ProbeStage.DATA):
                await self._hand_in(smtp)
        with self._timed(ProbeStage.QUIT):
            await smtp.quit()

    async def _greeted(self, connection: socket.socket, client: str) -> SMTP:
        header = proxy_header(
            client=client,
            client_port=connection.getsockname()[1],
            server=self._address,
            server_port=self._profile.port,
        )
        await asyncio.get_running_loop().sock_sendall(connection, header)
        self._smtp = SMTP(
            sock=connection, hostname=self._address, local_hostname=EHLO_NAME, start_tls=False, timeout=None
        )
        await self._smtp.connect()
        # From here on the connection is the transport's to close.
        self._socket = None
        return self._smtp

    async def _secure(self, smtp: SMTP) -> None:
        await smtp.starttls(tls_context=_context())
        transport = smtp.transport
        secured = transport.get_extra_info("ssl_object") if transport else None
        if secured is not None and (certificate := secured.getpeercert(binary_form=True)):
            self._validity = _validity(certificate)
        await smtp.ehlo()

    async def _hand_in(self, smtp: SMTP) -> None:
        """The canary; a relay that does not take its address, but took another, is not to blame: it runs with another
        table, or the pool's own restrictions refuse the address.
        """
        await smtp.mail("")
        try:
            await smtp.rcpt(CANARY)
        except SMTPRecipientRefused:
            return
        await smtp.data(self._canary)
        self._handed_in = True

    @contextmanager
    def _timed(self, stage: ProbeStage) -> Iterator[None]:
        self._stage = stage
        began = self._clock()
        try:
            yield
        finally:
            self._latency_s[stage] = self._clock() - began


@functools.cache
def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@functools.lru_cache(maxsize=1024)
def _validity(certificate: bytes) -> _Validity:
    """Begin and end; None if the certificate cannot be read."""
    try:
        read = x509.load_der_x509_certificate(certificate)
    except ValueError:
        return None, None
    return read.not_valid_before_utc, read.not_valid_after_utc


def _trouble(error: Exception, stage: ProbeStage) -> ProbeTrouble:
    """What kind of failure an error of a stage is. Errors of aiosmtplib are of several kinds at once."""
    if isinstance(error, TimeoutError):
        return ProbeTrouble.TIMEOUT
    if isinstance(error, SMTPResponseException):
        return ProbeTrouble.REFUSED
    if stage is ProbeStage.CONNECT:
        return ProbeTrouble.UNREACHABLE
    if isinstance(error, ssl.SSLError) or (
        stage is ProbeStage.STARTTLS and not isinstance(error, ConnectionError)
    ):
        return ProbeTrouble.TLS
    return ProbeTrouble.CLOSED


def _reply(code: int, message: str) -> tuple[int, str, str]:
    """Reply code, enhanced status code and the rest of the first line."""
    line = message.partition("\n")[0]
    enhanced = _ENHANCED.match(line)
    text = line[enhanced.end() :] if enhanced else line
    text = "".join(character for character in text if character.isprintable()).replace(RECIPIENT, "probe")
    return max(code, 0), enhanced[1] if enhanced else "", text[:_TEXT_LIMIT]


def _words(error: BaseException) -> str:
    """Of an error, without what differs from one occurrence to the next."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or type(error).__name__).replace("_", " ").lower()
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return (str(error) or type(error).__name__)[:_TEXT_LIMIT]
