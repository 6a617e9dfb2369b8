"""SCRAM-SHA-256: the published conversation, and everything that is none."""

import base64

import pytest

from mailcheck import sasl
from smtpfleet.relay.users.hashes import scram_key
from smtpfleet.relay.users.scram import ScramError, client_first, decoy, server_final, server_first

KEY = scram_key("pencil", salt=base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), iterations=4096)
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
CHALLENGE = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)


def test_the_conversation_is_that_of_rfc_7677() -> None:
    first = client_first(FIRST)
    assert (first.name, first.nonce) == ("user", "rOprNGfwEbeRWgbNEkqO")
    assert server_first(first, KEY, NONCE) == CHALLENGE
    assert server_final(first, CHALLENGE, FINAL, KEY) == "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_the_client_of_our_tests_speaks_it_too() -> None:
    credentials = sasl.Credentials(name="user", password="pencil", mechanism=sasl.Mechanism.SCRAM_SHA_256)
    client = sasl.exchange(credentials, nonce="rOprNGfwEbeRWgbNEkqO")
    assert next(client) == FIRST
    assert client.send(CHALLENGE.encode()) == FINAL
    with pytest.raises(sasl.SaslError):
        client.send(b"v=AAAA")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"user",
        b"p=tls-unique,,n=user,r=abc",  # channel binding is not offered
        b"n,a=admin,n=user,r=abc",  # another's rights
        b"n,,n=,r=abc",
        b"n,,n=user,r=",
        b"n,,m=extension,n=user,r=abc",
        b"n,,n=us=er,r=abc",
        b"n,,n=\xff,r=abc",
    ],
)
def test_what_is_no_first_message_is_refused(message: bytes) -> None:
    with pytest.raises(ScramError):
        client_first(message)


def test_names_with_commas_and_equals_signs_are_read() -> None:
    assert client_first(b"y,,n=a=2Cb=3Dc,r=abc").name == "a,b=c"
    assert client_first(b"n,a=user,n=user,r=abc").header == "n,a=user,"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        FINAL.replace(b"c=biws", b"c=eSws"),  # the header of another first message
        FINAL.replace(b"k0,", b"k1,"),  # another nonce
        FINAL.replace(b"r=rOpr", b"r="),
        FINAL.replace(b"p=dHzb", b"p=!!!!"),
        FINAL.partition(b",p=")[0],
    ],
)
def test_what_is_not_of_this_exchange_is_refused(message: bytes) -> None:
    with pytest.raises(ScramError):
        server_final(client_first(FIRST), CHALLENGE, message, KEY)


@pytest.mark.parametrize("proof", [b"p=" + base64.b64encode(bytes(32)), b"p=AAAA"])
def test_a_wrong_proof_is_no_error_but_no_signature_either(proof: bytes) -> None:
    wrong = FINAL.partition(b"p=")[0] + proof
    assert server_final(client_first(FIRST), CHALLENGE, wrong, KEY) is None


def test_who_does_not_exist_has_the_same_keys_each_time_and_others_than_the_next() -> None:
    one = decoy("nobody", b"secret", 4096)
    assert one == decoy("nobody", b"secret", 4096)
    assert one.salt not in {decoy("noone", b"secret", 4096).salt, decoy("nobody", b"other", 4096).salt}
    assert (len(one.salt), one.iterations) == (16, 4096)
    assert server_final(client_first(FIRST), CHALLENGE, FINAL, one) is None
