"""Certificates and keys for tests, each made once."""

from datetime import UTC, datetime
from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from smtpfleet.controller.selfsigned import make
from smtpfleet.resources.certificate import Pair

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
Content = dict[str, bytes]


@cache
def pair(name: str = "relay.example.com", begin: datetime = NOW) -> Pair:
    """A pair that is valid for a year from ``begin``."""
    return make([name], now=begin)


def content(pair: Pair) -> Content:
    """A pair as a Secret has it."""
    return {"tls.crt": pair.certificate, "tls.key": pair.key}


@cache
def rsa_key() -> bytes:
    """A key that fits none of the certificates and is of another algorithm."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def encrypted(key: bytes) -> bytes:
    """The same key under a password."""
    plain = load_pem_private_key(key, password=None)
    return plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2"))
