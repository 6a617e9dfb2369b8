"""A pool's login at other pools: kept while it can be used, and shown nowhere."""

import base64

import pytest

from smtpfleet.resources.login import Login, login_secret, stored_password
from tests.unit.resources.goldens import pool

PASSWORD = "-aB3_" * 8 + "xyz"


def test_a_password_that_was_stored_is_kept() -> None:
    assert (
        stored_password(login_secret(pool(), Login("pool;outbound", PASSWORD), "outbound-login")) == PASSWORD
    )


@pytest.mark.parametrize("password", [b"", b"short", PASSWORD.encode() + b"\n", b"\xff" * 43, b"a:b," * 11])
def test_one_that_cannot_be_used_is_none(password: bytes) -> None:
    assert stored_password({"data": {"password": base64.b64encode(password).decode()}}) is None


@pytest.mark.parametrize("live", [None, {}, {"data": None}, {"data": {"password": "no base64"}}])
def test_a_secret_without_one_has_none(live: dict[str, object] | None) -> None:
    assert stored_password(live) is None


def test_a_password_is_in_no_representation() -> None:
    assert PASSWORD not in repr(Login("pool;outbound", PASSWORD))
