"""What a Secret must have to be of use for a next hop, and the texts that Postfix reads of it.

No error of this module contains a part of the Secret.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from smtpfleet.api.delivery import DeliveryTls
from smtpfleet.api.names import AUTHORITIES_KEY, PASSWORD_KEY, USERNAME_KEY
from smtpfleet.relay.nexthop import NextHop


class CredentialsError(Exception):
    """The Secret cannot be used; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What Postfix is to read: ``login`` is one line of a texthash map, ``authorities`` PEM; empty: there is none."""

    login: bytes = b""
    authorities: bytes = b""


def examine(content: Mapping[str, bytes], hop: NextHop) -> Texts:
    """The texts of a Secret for a next hop.

    Raises:
        CredentialsError: it lacks something, or Postfix could not read it.
    """
    authorities = _authorities(content.get(AUTHORITIES_KEY, b""), hop)
    present = [key for key in (USERNAME_KEY, PASSWORD_KEY) if content.get(key)]
    if not present and authorities:
        return Texts(authorities=authorities)
    if len(present) < 2:
        lacking = [key for key in (USERNAME_KEY, PASSWORD_KEY) if key not in present]
        raise CredentialsError(
            f"{' and '.join(lacking)} missing: the Secret needs {USERNAME_KEY} and {PASSWORD_KEY}"
        )
    user, password = (_value(key, content[key]) for key in (USERNAME_KEY, PASSWORD_KEY))
    if ":" in user:
        raise CredentialsError(f"{USERNAME_KEY} has a colon, which ends a user's name for Postfix")
    return Texts(f"{hop.destination} {user}:{password}\n".encode(), authorities)


def _value(key: str, raw: bytes) -> str:
    """One value. The end of line that an editor or ``--from-file`` leaves is no part of it."""
    try:
        value = raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise CredentialsError(f"{key} is no UTF-8 text") from None
    if not value:
        raise CredentialsError(f"{key} is empty")
    if any(character in value for character in "\r\n\0"):
        raise CredentialsError(f"{key} is more than one line")
    if value != value.strip():
        raise CredentialsError(f"{key} begins or ends with a blank, which Postfix would lose")
    return value


def _authorities(pem: bytes, hop: NextHop) -> bytes:
    if not pem.strip() or hop.tls is not DeliveryTls.VERIFIED:
        return b""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=pem.decode())
    except (ssl.SSLError, ValueError):
        raise CredentialsError(f"{AUTHORITIES_KEY} is no PEM certificate") from None
    if not context.cert_store_stats()["x509"]:
        raise CredentialsError(f"{AUTHORITIES_KEY} has no certificate")
    return pem.strip() + b"\n"
