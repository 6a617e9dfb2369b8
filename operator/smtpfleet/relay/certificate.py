"""Whether a certificate and its key can serve: tried in a TLS handshake in memory, before Postfix gets them.

``ssl`` reads no dates from a file, but it does from a peer. So a server with this pair and a client that trusts exactly
this certificate shake hands without a network, with what clients will insist on: the key fits, the certificate is for
servers, TLS 1.2 or newer. No error of this module contains a part of the pair.
"""

import hashlib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from smtpfleet.api.agent_status import CertificateProblem

CERTIFICATE_KEY: Final = "tls.crt"
PRIVATE_KEY_KEY: Final = "tls.key"
"""Keys of a Secret of the type kubernetes.io/tls."""
_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL: the dates are read and judged here, so that an expired one can be named."""
_FLIGHTS: Final = 6


class CertificateError(Exception):
    """The pair cannot serve; the message says why, for people."""

    def __init__(self, problem: CertificateProblem, message: str) -> None:
        super().__init__(message)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Certificate:
    """A pair that was tried. ``fingerprint`` is the SHA-256 of the certificate itself, in hex."""

    file: Path
    fingerprint: str
    not_before: datetime
    not_after: datetime

    def expired(self, now: datetime) -> bool:
        """Whether clients refuse it for its date."""
        return now >= self.not_after


def chain_text(certificates: bytes, key: bytes) -> bytes:
    """The one file that Postfix's smtpd_tls_chain_files wants: the key first, then its certificate, then issuers."""
    return key.rstrip() + b"\n" + certificates.strip() + b"\n"


def examine(file: Path, *, now: datetime) -> Certificate:
    """Try the pair in a chain file.

    Raises:
        CertificateError: it cannot serve now.
        OSError: the file cannot be read.
    """
    certificate = inspect(file)
    if now < certificate.not_before:
        begin = _day(certificate.not_before)
        raise CertificateError(CertificateProblem.INVALID, f"the certificate is not valid before {begin}")
    if certificate.expired(now):
        raise CertificateError(
            CertificateProblem.EXPIRED, f"the certificate expired on {_day(certificate.not_after)}"
        )
    return certificate


def inspect(file: Path) -> Certificate:
    """The same, whatever the dates say.

    Raises:
        CertificateError: it cannot serve at any time.
        OSError: the file cannot be read.
    """
    peer = _shake_hands(_server(file), _client(file))
    encoded, decoded = peer.getpeercert(binary_form=True), peer.getpeercert()
    assert encoded is not None
    assert decoded is not None
    return Certificate(
        file=file,
        fingerprint=hashlib.sha256(encoded).hexdigest(),
        not_before=_moment(str(decoded["notBefore"])),
        not_after=_moment(str(decoded["notAfter"])),
    )


def _server(file: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(file, password=_no_password)
    except (ssl.SSLError, _EncryptedError) as error:
        raise CertificateError(CertificateProblem.INVALID, _complaint(error)) from None
    return context


def _client(file: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    try:
        context.load_verify_locations(cafile=file)
    except ssl.SSLError as error:
        raise CertificateError(CertificateProblem.INVALID, _complaint(error)) from None
    return context


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Both sides in turn, over two buffers; returns the client's."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    try:
        for _ in range(_FLIGHTS):
            done = [_advance(side) for side in (asking, answering)]
            if all(done):
                return asking
    except ssl.SSLCertVerificationError as error:
        raise CertificateError(
            CertificateProblem.INVALID, f"clients refuse it: {error.verify_message}"
        ) from None
    except ssl.SSLError as error:
        raise CertificateError(CertificateProblem.INVALID, _complaint(error)) from None
    raise CertificateError(CertificateProblem.INVALID, "no TLS handshake succeeds with it")


def _advance(side: ssl.SSLObject) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


class _EncryptedError(Exception):
    """OpenSSL asks for a password."""


def _no_password() -> bytes:
    raise _EncryptedError


_WRONG_KEY: Final = f"{PRIVATE_KEY_KEY} is not the key of the first certificate in {CERTIFICATE_KEY}"
_COMPLAINTS: Final = {
    "KEY_VALUES_MISMATCH": _WRONG_KEY,
    "KEY_TYPE_MISMATCH": _WRONG_KEY,
    "NO_CERTIFICATE_ASSIGNED": _WRONG_KEY,  # the key is of another algorithm
    "EE_KEY_TOO_SMALL": "the key is too short: use RSA 2048 or ECDSA P-256",
    "CA_MD_TOO_WEAK": "the signature of the certificate is too weak: use SHA-256",
}


def _complaint(error: ssl.SSLError | _EncryptedError) -> str:
    """OpenSSL's reason, in words where one of them is common."""
    if isinstance(error, _EncryptedError):
        return f"{PRIVATE_KEY_KEY} is encrypted: store it without a password"
    known = _COMPLAINTS.get(error.reason or "")
    reason = f" ({error.reason})" if error.reason else ""
    return known or f"{CERTIFICATE_KEY} and {PRIVATE_KEY_KEY} are no PEM certificate and key{reason}"


def _moment(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
