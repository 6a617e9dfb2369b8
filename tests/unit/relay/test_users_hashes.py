"""Hashes that an entry may hold: published vectors, damaged ones, and ones that cost too much."""

import base64
import hashlib
import hmac

import bcrypt
import pytest

from smtpfleet.relay.users.hashes import Bcrypt, HashError, ScramKey, Scrypt, parse, scram_key, verify
from smtpfleet.relay.users.saslprep import prepared

SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
"""Of the example in RFC 7677, section 3: the password is pencil."""
SCRAM = str(scram_key("pencil", salt=SALT, iterations=4096))
VECTORS = {
    "RFC 7677": (SCRAM, "pencil"),
    # RFC 7914, section 12, as crypt(5) writes it; libxcrypt has it in its tests.
    "RFC 7914 as $7$": (
        "$7$C6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D",
        "pleaseletmein",
    ),
    # From the documentation of passlib.hash.scrypt.
    "passlib": (
        "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
        "password",
    ),
    # From the tests of Openwall's crypt_blowfish.
    "bcrypt": ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
    "bcrypt, as PHP writes it": ("$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
}


@pytest.mark.parametrize("name", VECTORS)
def test_a_published_hash_fits_its_password_and_no_other(name: str) -> None:
    text, password = VECTORS[name]
    stored = parse(text)
    assert stored is not None
    assert verify(stored, password)
    assert not verify(stored, password + "x")


def test_scrypt_is_that_of_rfc_7914() -> None:
    stored = parse(VECTORS["RFC 7914 as $7$"][0])
    assert isinstance(stored, Scrypt)
    assert (stored.n, stored.r, stored.p, stored.salt) == (16384, 8, 1, b"SodiumChloride")
    assert stored.digest.hex() == "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"


def test_a_scram_key_reads_back_what_it_writes() -> None:
    assert parse(SCRAM) == scram_key("pencil", salt=SALT, iterations=4096)
    assert str(parse(SCRAM)) == SCRAM


def test_bcrypt_looks_at_72_bytes_as_it_did_when_the_hash_was_made() -> None:
    long = "x" * 80
    stored = parse(bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode())
    assert isinstance(stored, Bcrypt)
    assert verify(stored, long)


@pytest.mark.parametrize(
    "text", ["secret", "a$b$c", "$", "$$", "{", "two words", "$ecret", "SCRAM", "ümlaut", "$2b$"[:3]]
)
def test_what_does_not_look_like_a_hash_is_a_password(text: str) -> None:
    assert parse(text) is None


BAD = {
    "sha512crypt": "$6$salt$0123456789",
    "argon2": "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA",
    "md5crypt of Apache": "$apr1$salt$0123456789abcdef",
    "LDAP": "{SSHA}c2FsdGVk",
    "Dovecot's prefix": "{BLF-CRYPT}$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "bcrypt, cut off": VECTORS["bcrypt"][0][:-1],
    "bcrypt, too dear": VECTORS["bcrypt"][0].replace("$05$", "$15$"),
    "bcrypt, no cost": VECTORS["bcrypt"][0].replace("$05$", "$03$"),
    "SCRAM by SHA-1": SCRAM.replace("SHA-256", "SHA-1"),
    "SCRAM, few iterations": SCRAM.replace("$4096:", "$4095:"),
    "SCRAM, many iterations": SCRAM.replace("$4096:", "$9999999:"),
    "SCRAM, no base64": SCRAM.replace("=", "!"),
    "SCRAM, short key": f"SCRAM-SHA-256$4096:c2FsdA==${base64.b64encode(b'x' * 31).decode()}:"
    + base64.b64encode(b"y" * 32).decode(),
    "SCRAM, cut off": SCRAM.partition(":")[0],
    "scrypt, too large": VECTORS["passlib"][0].replace("ln=16", "ln=17"),
    "scrypt, too slow": VECTORS["passlib"][0].replace("p=1$", "p=99$"),
    "scrypt, no parameters": VECTORS["passlib"][0].replace("p=1$", "p=0$"),
    "scrypt, short digest": "$scrypt$ln=10,r=8,p=1$c2FsdA$c2hvcnQ",
    "scrypt, no base64": "$scrypt$ln=10,r=8,p=1$c2FsdA$c2hvcnQx2",
}


@pytest.mark.parametrize("name", BAD)
def test_a_hash_that_cannot_be_used_is_never_a_password_and_never_shown(name: str) -> None:
    with pytest.raises(HashError) as refused:
        parse(BAD[name])
    assert BAD[name].split("$")[-1] not in str(refused.value)


def test_nothing_is_tried_that_takes_more_memory_than_allowed() -> None:
    stored = parse(VECTORS["passlib"][0])
    assert isinstance(stored, Scrypt)
    assert 128 * stored.n * stored.r == 64 * 2**20


@pytest.mark.parametrize(
    ("text", "form"),
    [
        # RFC 4013, section 3.
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("\u0007\u00e9", "\u0007\u00e9"),
        ("\u0627\u0031", "\u0627\u0031"),
        ("a\u00a0b", "a b"),
        ("pass\u0301", "pas\u015b"),
    ],
)
def test_strings_are_prepared_as_rfc_4013_has_it_and_prohibited_ones_stay(text: str, form: str) -> None:
    assert prepared(text) == form


def test_the_same_password_typed_in_another_way_fits() -> None:
    assert verify(scram_key("caf\u00e9", salt=b"salt", iterations=4096), "cafe\u0301")


def test_keys_are_those_of_rfc_5802() -> None:
    key = scram_key("pencil", salt=SALT, iterations=4096)
    assert isinstance(key, ScramKey)
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", SALT, 4096)
    assert key.server_key.hex() == hmac.new(salted, b"Server Key", "sha256").hexdigest()
