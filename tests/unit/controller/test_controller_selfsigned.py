"""Certificates that the operator makes itself: what is in them, and when they are made again."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from smtpfleet.controller.selfsigned import LIFE, current_pair, fits, make
from smtpfleet.resources.certificate import Pair

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
NAMES = ("relay.example.com", "outbound.mail.svc", "outbound")
PAIR = make(NAMES, now=NOW)


def test_it_is_for_all_names_and_for_servers_only() -> None:
    certificate = x509.load_pem_x509_certificate(PAIR.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert tuple(names.get_values_for_type(x509.DNSName)) == NAMES
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not constraints.ca
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"


def test_an_address_as_host_name_is_an_address_in_the_certificate() -> None:
    made = x509.load_pem_x509_certificate(make(("192.0.2.1", "outbound"), now=NOW).certificate)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.1"]


@pytest.mark.parametrize("name", NAMES)
def test_a_client_that_trusts_it_verifies_it_by_any_of_its_names(tmp_path: Path, name: str) -> None:
    fresh = make(NAMES, now=datetime.now(UTC))
    (tmp_path / "pair").write_bytes(fresh.key + fresh.certificate)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "pair")
    trusting = ssl.create_default_context(cadata=fresh.certificate.decode())
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(back, there, server_hostname=name)
    server = serving.wrap_bio(there, back, server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    with pytest.raises(ssl.SSLWantReadError):
        server.do_handshake()
    client.do_handshake()
    assert client.version() == "TLSv1.3"


def test_a_pair_that_fits_is_kept_byte_for_byte() -> None:
    assert current_pair(PAIR, NAMES, now=NOW + LIFE / 2) is PAIR


@pytest.mark.parametrize("after", [LIFE * 2 / 3 + timedelta(hours=1), LIFE, 2 * LIFE])
def test_it_is_made_anew_when_a_third_of_its_life_is_left(after: timedelta) -> None:
    assert fits(PAIR, NAMES, now=NOW + after - timedelta(hours=3)) is (after < LIFE)
    assert not fits(PAIR, NAMES, now=NOW + after)
    assert current_pair(PAIR, NAMES, now=NOW + after) != PAIR


@pytest.mark.parametrize(
    "names", [NAMES[1:], (*NAMES, "another.example.com"), ("other.example.com", *NAMES[1:])]
)
def test_it_is_made_anew_when_the_names_change(names: tuple[str, ...]) -> None:
    assert not fits(PAIR, names, now=NOW)


def test_the_order_of_the_names_is_no_matter() -> None:
    assert fits(PAIR, NAMES[::-1], now=NOW)


@pytest.mark.parametrize(
    "broken",
    [
        Pair(PAIR.certificate, make(NAMES, now=NOW).key),
        Pair(PAIR.certificate, b"no key"),
        Pair(b"no certificate", PAIR.key),
        Pair(b"\xff", b"\xff"),
    ],
)
def test_what_is_broken_is_made_anew(broken: Pair) -> None:
    assert not fits(broken, NAMES, now=NOW)
    assert fits(current_pair(broken, NAMES, now=NOW), NAMES, now=NOW)


def test_there_is_a_first_one() -> None:
    assert fits(current_pair(None, NAMES, now=NOW), NAMES, now=NOW)


def test_a_long_host_name_is_no_obstacle() -> None:
    long = ".".join(["a" * 60] * 4)
    assert fits(make((long, "p" * 40), now=NOW), (long, "p" * 40), now=NOW)
