"""Self-signed certificates: made for pools that name none, and made again in time.

Guarantees: a pair that still fits is kept, so an idle pool causes no write; one that cannot be read, has another's key,
lacks a name or has one too many, or has only a third of its life left, is replaced.
"""

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from smtpfleet.resources.certificate import Pair

LIFE: Final = timedelta(days=365)
_SKEW: Final = timedelta(hours=1)
"""Clocks of clients may be behind."""


def current_pair(stored: Pair | None, names: Sequence[str], *, now: datetime) -> Pair:
    """``stored`` while it fits, else a new one. The first of ``names`` is the pool's public one."""
    return stored if stored is not None and fits(stored, names, now=now) else make(names, now=now)


def fits(pair: Pair, names: Sequence[str], *, now: datetime) -> bool:
    """Whether a pair can go on serving under these names."""
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        key = load_pem_private_key(pair.key, password=None)
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return (
        certificate.public_key() == key.public_key()
        and set(found) == set(_general_names(names))
        and begin <= now < end - (end - begin) / 3
    )


def make(names: Sequence[str], *, now: datetime) -> Pair:
    """A new pair for these names: ECDSA P-256, for servers only."""
    key = ec.generate_private_key(ec.SECP256R1())
    # A common name has at most 64 characters; clients look at the alternative names only (RFC 9525).
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[-1][:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectAlternativeName(_general_names(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_for_signatures(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(
        certificate=certificate.public_bytes(Encoding.PEM),
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def _for_signatures() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    return [_general_name(name) for name in names]


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.lower())
