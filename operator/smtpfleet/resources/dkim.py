"""The Secrets with the DKIM keys that the operator makes."""

import base64
from collections.abc import Mapping
from typing import Final

from smtpfleet.api.dkim import DkimKey
from smtpfleet.api.secret_names import signing_secret
from smtpfleet.resources.marks import metadata
from smtpfleet.resources.pool import Object, Pool

_KEY: Final = "tls.key"

MadeKeys = Mapping[DkimKey, bytes]
"""Private keys (PKCS #8, PEM) of the entries that name no Secret."""


def key_secret(pool: Pool, key: DkimKey, pem: bytes) -> Object:
    """The Secret of one entry."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(pool, signing_secret(pool.name, key)),
        "type": "Opaque",
        "data": {_KEY: base64.b64encode(pem).decode()},
    }


def stored_key(live: Object | None) -> bytes | None:
    """The key in such a Secret; None if there is none that can be read."""
    try:
        return base64.b64decode(((live or {}).get("data") or {})[_KEY], validate=True)
    except (KeyError, ValueError):
        return None
