"""What a Secret of a next hop must have, and what Postfix gets of it."""

from datetime import UTC, datetime

import pytest

from smtpfleet.api.delivery import DeliveryTls
from smtpfleet.controller.selfsigned import make
from smtpfleet.relay.credentials import CredentialsError, Texts, examine
from smtpfleet.relay.nexthop import NextHop

REQUIRED = NextHop("smtp.provider.example", 587, DeliveryTls.REQUIRED, "provider")
VERIFIED = NextHop("smtp.provider.example", 587, DeliveryTls.VERIFIED, "provider")
LOGIN = {"username": b"jane", "password": b"a:b c"}
LINE = b"[smtp.provider.example]:587 jane:a:b c\n"
AUTHORITY = make(["ca.example"], now=datetime(2026, 5, 1, tzinfo=UTC)).certificate


def test_a_login_becomes_a_line_for_this_host_and_port_alone() -> None:
    assert examine(LOGIN, REQUIRED) == Texts(login=LINE)


def test_authorities_are_used_where_the_certificate_is_verified_and_only_there() -> None:
    both = LOGIN | {"ca.crt": AUTHORITY}
    assert examine(both, VERIFIED) == Texts(LINE, AUTHORITY.strip() + b"\n")
    assert examine(both, REQUIRED) == Texts(LINE)


def test_a_secret_with_nothing_but_authorities_is_enough_to_verify() -> None:
    assert examine({"ca.crt": AUTHORITY}, VERIFIED).login == b""
    with pytest.raises(CredentialsError, match="username and password missing"):
        examine({"ca.crt": AUTHORITY}, REQUIRED)


def test_the_end_of_line_that_an_editor_leaves_is_no_part_of_a_password() -> None:
    assert examine({"username": b"jane\n", "password": b"a:b c\r\n"}, REQUIRED).login == LINE


def test_letters_of_any_language_are_kept() -> None:
    text = "p\u00e4sswort\u20ac"
    assert text in examine({"username": b"jane", "password": text.encode()}, REQUIRED).login.decode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "username and password missing"),
        ({"username": b"jane"}, "password missing"),
        ({"password": b"x"}, "username missing"),
        ({"username": b"", "password": b"x"}, "username missing"),
        ({"username": b"jane", "password": b"\n"}, "password is empty"),
        ({"user": b"jane", "pass": b"x"}, "needs username and password"),
        ({"username": b"ja:ne", "password": b"x"}, "username has a colon"),
        ({"username": b"jane", "password": b"a\nb"}, "password is more than one line"),
        ({"username": b"jane\n[other]:25 x:y", "password": b"a"}, "username is more than one line"),
        ({"username": b"jane", "password": b"a\0b"}, "password is more than one line"),
        ({"username": b"jane", "password": b"x "}, "ends with a blank"),
        ({"username": b" jane", "password": b"x"}, "begins or ends with a blank"),
        ({"username": b"jane", "password": b"\xff\xfe"}, "no UTF-8"),
        (LOGIN | {"ca.crt": b"no certificate"}, "ca.crt is no PEM certificate"),
        ({"username": b"jane", "ca.crt": AUTHORITY}, "password missing"),
    ],
)
def test_what_postfix_could_not_use_is_refused_without_telling_it(
    content: dict[str, bytes], words: str
) -> None:
    with pytest.raises(CredentialsError, match=words) as refused:
        examine(content, VERIFIED)
    assert "jane" not in str(refused.value)
