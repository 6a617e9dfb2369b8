"""Trying a certificate and its key before Postfix gets them."""

import hashlib
import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from smtpfleet.api.agent_status import CertificateProblem
from smtpfleet.relay.certificate import CertificateError, chain_text, examine, inspect
from tests.unit.relay.pairs import NOW, encrypted, pair, rsa_key

GOOD, OTHER = pair(), pair("other.example.com")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "chain.pem"


def _refusal(file: Path, text: bytes) -> CertificateError:
    file.write_bytes(text)
    with pytest.raises(CertificateError) as refused:
        examine(file, now=NOW)
    assert "PRIVATE KEY" not in str(refused.value)
    return refused.value


def test_a_good_pair_tells_its_dates_and_its_fingerprint(file: Path) -> None:
    file.write_bytes(chain_text(GOOD.certificate, GOOD.key))
    found = examine(file, now=NOW)
    assert (found.not_before, found.not_after) == (NOW - timedelta(hours=1), NOW + timedelta(days=365))
    encoded = ssl.PEM_cert_to_DER_cert(GOOD.certificate.decode())
    assert found.fingerprint == hashlib.sha256(encoded).hexdigest()


def test_issuers_after_the_certificate_are_no_matter(file: Path) -> None:
    file.write_bytes(chain_text(GOOD.certificate + OTHER.certificate, GOOD.key))
    encoded = ssl.PEM_cert_to_DER_cert(GOOD.certificate.decode())
    assert examine(file, now=NOW).fingerprint == hashlib.sha256(encoded).hexdigest()


def test_the_key_comes_first_for_postfix_wants_it_so() -> None:
    text = chain_text(GOOD.certificate, GOOD.key)
    assert text.index(b"PRIVATE KEY") < text.index(b"BEGIN CERTIFICATE")


@pytest.mark.parametrize(
    ("certificates", "key", "words"),
    [
        (GOOD.certificate, OTHER.key, "is not the key of the first certificate"),
        (OTHER.certificate + GOOD.certificate, GOOD.key, "is not the key of the first certificate"),
        (GOOD.certificate, rsa_key(), "is not the key of the first certificate"),
        (GOOD.certificate, encrypted(GOOD.key), "store it without a password"),
        (b"hello", GOOD.key, "no PEM certificate and key"),
        (GOOD.certificate, b"hello", "no PEM certificate and key"),
        (GOOD.certificate[:200], GOOD.key, "no PEM certificate and key"),
        (b"\xff\xfe", b"\x00", "no PEM certificate and key"),
    ],
)
def test_what_cannot_serve_is_refused_with_a_reason(
    file: Path, certificates: bytes, key: bytes, words: str
) -> None:
    refused = _refusal(file, chain_text(certificates, key))
    assert refused.problem is CertificateProblem.INVALID
    assert words in str(refused)


def test_an_expired_certificate_is_named_with_its_date(file: Path) -> None:
    old = pair(begin=NOW - timedelta(days=366))
    refused = _refusal(file, chain_text(old.certificate, old.key))
    assert refused.problem is CertificateProblem.EXPIRED
    assert str(refused) == "the certificate expired on 2026-04-30 12:00 UTC"


def test_a_certificate_of_tomorrow_is_refused_today(file: Path) -> None:
    early = pair(begin=NOW + timedelta(days=1))
    refused = _refusal(file, chain_text(early.certificate, early.key))
    assert "not valid before 2026-05-02 11:00 UTC" in str(refused)


def test_an_expired_pair_can_still_be_read(file: Path) -> None:
    old = pair(begin=NOW - timedelta(days=366))
    file.write_bytes(chain_text(old.certificate, old.key))
    assert inspect(file).expired(NOW)
