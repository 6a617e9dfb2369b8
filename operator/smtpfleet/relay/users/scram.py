"""The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without I/O.

No channel binding: smtpd knows the TLS session, the agent does not. Guarantees: whoever is not a user gets an exchange
of the same form and cost, and fails where a wrong password fails.
"""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final

from smtpfleet.relay.users.hashes import DIGEST, ScramKey
from smtpfleet.relay.users.saslprep import prepared

_FIRST: Final = re.compile(r"([ny]),(?:a=([^,]*))?,(n=([^,]*),r=([\x21-\x2b\x2d-\x7e]+)(?:,.*)?)", re.DOTALL)
_FINAL: Final = re.compile(r"(c=([^,]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,.*)?),p=([^,]+)", re.DOTALL)
_ESCAPED: Final = re.compile(r"=(2C|3D)?")


class ScramError(ValueError):
    """The client does not speak SCRAM-SHA-256 as RFC 5802 has it."""


@dataclass(frozen=True, slots=True)
class ClientFirst:
    """The client's first message. ``header`` and ``bare`` are its two parts as they stand."""

    name: str
    nonce: str
    header: str
    bare: str


def client_first(message: bytes) -> ClientFirst:
    """Read it.

    Raises:
        ScramError: it is none, wants channel binding, or another's rights.
    """
    text = _text(message)
    match = _FIRST.fullmatch(text)
    if match is None:
        raise ScramError("not a first message that can be answered")
    name = prepared(_unescaped(match[4]))
    if match[2] is not None and prepared(_unescaped(match[2])) != name:
        raise ScramError("nobody may act for another")
    if not name or match[3].startswith("m="):
        raise ScramError("no name, or an extension that is not known")
    return ClientFirst(name, match[5], text[: match.start(3)], match[3])


def server_first(first: ClientFirst, key: ScramKey, nonce: str) -> str:
    """The challenge; ``nonce`` is the server's own part."""
    return f"r={first.nonce}{nonce},s={_base64(key.salt)},i={key.iterations}"


def server_final(first: ClientFirst, challenge: str, message: bytes, key: ScramKey) -> str | None:
    """The server's signature for the client's last message; None: its proof is wrong.

    Raises:
        ScramError: it is no such message, or of another exchange.
    """
    text = _text(message)
    match = _FINAL.fullmatch(text)
    if match is None:
        raise ScramError("not a final message")
    nonce = challenge.removeprefix("r=").partition(",")[0]
    if _decoded(match[2]) != first.header.encode() or not hmac.compare_digest(match[3], nonce):
        raise ScramError("not of this exchange")
    proof = _decoded(match[4])
    signed = f"{first.bare},{challenge},{match[1]}".encode()
    signature = hmac.digest(key.stored_key, signed, DIGEST)
    if len(proof) != len(signature):
        return None
    client_key = bytes(one ^ other for one, other in zip(proof, signature, strict=True))
    if not hmac.compare_digest(hashlib.sha256(client_key).digest(), key.stored_key):
        return None
    return f"v={_base64(hmac.digest(key.server_key, signed, DIGEST))}"


def decoy(name: str, secret: bytes, iterations: int) -> ScramKey:
    """Keys for a name that has none: always the same ones, that no password fits."""
    drawn = hashlib.blake2b(prepared(name).encode(), key=secret, digest_size=64).digest()
    return ScramKey(
        iterations, drawn[:16], hashlib.sha256(drawn).digest(), hashlib.sha256(drawn[16:]).digest()
    )


def _text(message: bytes) -> str:
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise ScramError("not UTF-8") from None


def _unescaped(name: str) -> str:
    """``=2C`` is a comma and ``=3D`` an equals sign (RFC 5802, section 5.1); nothing else begins with ``=``."""

    def one(match: re.Match[str]) -> str:
        if match[1] is None:
            raise ScramError("an escape in the name that is not known")
        return "," if match[1] == "2C" else "="

    return _ESCAPED.sub(one, name)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ScramError("a part is not base64") from None
