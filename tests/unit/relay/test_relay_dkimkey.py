"""DKIM keys as Secrets have them: what can sign, what is published, and what is said of the rest."""

import base64
import os
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from smtpfleet.api.dkim import KeyAlgorithm
from smtpfleet.relay.children import Children
from smtpfleet.relay.dkimkey import DkimKeyError, examine, find_pem
from tests.unit.relay.pairs import encrypted

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED = ed25519.Ed25519PrivateKey.generate()


def pem(key: PrivateKeyTypes, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
async def test_an_rsa_key_of_either_form_is_published_as_its_subject_public_key_info(
    tmp_path: Path, form: PrivateFormat
) -> None:
    key = await examine(pem(RSA, form), children=Children(), directory=tmp_path)
    wanted = base64.b64encode(RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    assert key.public.algorithm is KeyAlgorithm.RSA
    assert key.public.bits == 2048
    assert key.public.record == f"v=DKIM1; k=rsa; p={wanted.decode()}"
    assert key.text.startswith("MII")  # by which opendkim knows base64
    found = load_der_private_key(base64.b64decode(key.text), password=None)
    assert isinstance(found, rsa.RSAPrivateKey)
    assert found.private_numbers() == RSA.private_numbers()


async def test_an_ed25519_key_is_published_as_its_32_bytes(tmp_path: Path) -> None:
    key = await examine(pem(ED), children=Children(), directory=tmp_path)
    wanted = base64.b64encode(ED.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    assert key.public.record == f"v=DKIM1; k=ed25519; p={wanted}"
    assert key.text.encode() == pem(ED)


async def test_nothing_of_a_key_stays_in_the_directory_or_shows_when_printed(tmp_path: Path) -> None:
    key = await examine(pem(ED), children=Children(), directory=tmp_path)
    assert os.listdir(tmp_path) == []
    assert "PRIVATE" not in repr(key)


BAD = {
    "nonsense": (b"nonsense", "no private key in PEM form"),
    "a public key": (
        RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "no private key in PEM form",
    ),
    "encrypted": (encrypted(pem(ED)), "is encrypted"),
    "an elliptic curve": (pem(ec.generate_private_key(ec.SECP256R1())), "neither an RSA nor an Ed25519 key"),
}


@pytest.mark.parametrize("case", BAD)
async def test_what_cannot_sign_is_refused_with_the_reason(tmp_path: Path, case: str) -> None:
    content, reason = BAD[case]
    with pytest.raises(DkimKeyError, match=re.escape(reason)):
        await examine(content, children=Children(), directory=tmp_path)
    assert os.listdir(tmp_path) == []


async def test_a_key_that_receivers_refuse_is_refused(tmp_path: Path) -> None:
    openssl = ["openssl", "genrsa", "-traditional", "512"]
    made = await Children().run(openssl, limit_s=30)
    with pytest.raises(DkimKeyError, match="512 bits"):
        await examine(made.output.encode(), children=Children(), directory=tmp_path)


@pytest.mark.parametrize("name", ["tls.key", "s1.private", "example.com.private"])
def test_the_names_of_other_tools_are_known(name: str) -> None:
    assert find_pem({name: b"x", "other": b"y"}, domain="example.com", selector="s1") == b"x"


def test_a_secret_without_one_says_which_there_may_be() -> None:
    with pytest.raises(DkimKeyError, match=re.escape("tls.key, s1.private, example.com.private")):
        find_pem({"key": b"x", "tls.key": b""}, domain="example.com", selector="s1")
