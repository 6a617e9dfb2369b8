"""SASL from the client's side: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 (RFC 7677), without I/O."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Generator
from dataclasses import dataclass, field
from enum import StrEnum

from mailcheck.errors import MailcheckError


class Mechanism(StrEnum):
    """By the name that servers offer."""

    PLAIN = "PLAIN"
    LOGIN = "LOGIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"


class SaslError(Exception):
    """The server does not speak the mechanism, or does not know the password itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who logs in, and how."""

    name: str
    password: str = field(repr=False)
    mechanism: Mechanism = Mechanism.PLAIN


Exchange = Generator[bytes | None, bytes, None]
"""Gives responses (the first one is the initial response, None if there is none) and takes challenges."""


def exchange(credentials: Credentials, *, nonce: str = "") -> Exchange:
    """The client's part of one log-in; ``nonce`` is drawn if empty. Raises SaslError at a challenge that is wrong."""
    name, password = credentials.name, credentials.password
    match credentials.mechanism:
        case Mechanism.PLAIN:
            yield f"\0{name}\0{password}".encode()
        case Mechanism.LOGIN:
            yield None
            yield name.encode()
            yield password.encode()
        case Mechanism.SCRAM_SHA_256:
            yield from _scram(name, password, nonce or secrets.token_urlsafe(18))


def command(first: bytes | None, mechanism: Mechanism) -> str:
    """The AUTH command with its initial response (RFC 4954)."""
    initial = "" if first is None else f" {base64.b64encode(first).decode() or '='}"
    return f"AUTH {mechanism}{initial}"


def parse_credentials(text: str, mechanism: Mechanism) -> Credentials:
    """``NAME:PASSWORD``; raises MailcheckError."""
    name, colon, password = text.partition(":")
    if not name or not colon or not password:
        raise MailcheckError("credentials are not NAME:PASSWORD")
    return Credentials(name=name, password=password, mechanism=mechanism)


def _scram(name: str, password: str, nonce: str) -> Exchange:
    bare = f"n={name.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
    challenge = (yield f"n,,{bare}".encode()).decode()
    told = dict(part.split("=", 1) for part in challenge.split(","))
    if not told.get("r", "").startswith(nonce) or not {"s", "i"} <= set(told):
        raise SaslError("not an answer to this client")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(told["s"]), int(told["i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    final = f"c=biws,r={told['r']}"
    signed = f"{bare},{challenge},{final}".encode()
    signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
    proof = bytes(one ^ other for one, other in zip(client_key, signature, strict=True))
    verifier = yield f"{final},p={base64.b64encode(proof).decode()}".encode()
    expected = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
    if verifier != b"v=" + base64.b64encode(expected):
        raise SaslError("the server does not know the password")
    yield b""
