"""TLS and users of a sink that plays a provider's submission server."""

import base64
import binascii
import ssl
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mailcheck.errors import MailcheckError

Dialogue = Generator[bytes, bytes, str | None]
"""Yields replies with code 334 and gets the client's lines; returns who authenticated, None: nobody."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A certificate with its issuers and its key, in PEM."""

    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """The server's side. Raises MailcheckError if the files are of no use."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise MailcheckError(f"cannot use the certificate: {error}") from error
        return context


def read_users(path: Path) -> Mapping[str, str]:
    """Passwords by user name. Raises MailcheckError if the file cannot be read."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MailcheckError(f"cannot read the users: {error}") from error
    return dict(line.split(":", 1) for line in lines if ":" in line)


def authenticate(users: Mapping[str, str], argument: bytes) -> Dialogue:
    """AUTH PLAIN (RFC 4616) or LOGIN, with or without an initial response. Raises ValueError for another mechanism."""
    mechanism, _, initial = argument.strip().partition(b" ")
    match mechanism.upper():
        case b"PLAIN":
            answer = initial or (yield b"334 \r\n")
            _, user, password = [*_decoded(answer).split(b"\0"), b"", b""][:3]
        case b"LOGIN":
            user = _decoded(initial or (yield b"334 VXNlcm5hbWU6\r\n"))
            password = _decoded((yield b"334 UGFzc3dvcmQ6\r\n"))
        case _:
            raise ValueError("no such mechanism")
    name = user.decode("utf-8", "replace")
    return name if name in users and users[name].encode() == password else None


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""
