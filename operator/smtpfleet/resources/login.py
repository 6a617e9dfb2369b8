"""Secrets with logins that the operator makes: a pool's at the pools that its routes lead to, and its probes'."""

import base64
import re
from dataclasses import dataclass, field
from typing import Final

from smtpfleet.api import names
from smtpfleet.resources.marks import metadata
from smtpfleet.resources.pool import Object, Pool

PASSWORD_BYTES: Final = 32
_LENGTH: Final = 43
"""Characters that so many bytes take in base64 for URLs."""


@dataclass(frozen=True, slots=True)
class Login:
    """A user's name and password, and the certificates (PEM) of the pools where they are used. The password is in no
    representation.
    """

    user: str
    password: str = field(repr=False)
    authorities: str = ""


def login_secret(pool: Pool, login: Login, name: str) -> Object:
    """The Secret ``name``, in the form that ``delivery.secretName`` has."""
    data = {
        names.USERNAME_KEY: login.user,
        names.PASSWORD_KEY: login.password,
        **({names.AUTHORITIES_KEY: login.authorities} if login.authorities else {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(pool, name),
        "type": "kubernetes.io/basic-auth",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


def stored_password(live: Object | None) -> str | None:
    """The password in such a Secret; None if there is none that can be used."""
    data = (live or {}).get("data") or {}
    try:
        password = base64.b64decode(data[names.PASSWORD_KEY], validate=True).decode("ascii")
    except (KeyError, ValueError):
        return None
    return password if re.fullmatch(rf"[A-Za-z0-9_-]{{{_LENGTH}}}", password) else None
