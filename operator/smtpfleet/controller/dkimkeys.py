"""DKIM keys that the operator makes.

Guarantees: a key that can be read is never replaced, for its record is published and mail that was signed with it is
on its way (a Secret that lost the pool's labels is found by its name, which is
:class:`smtpfleet.controller.reconcile.Reconciler`'s doing); a Secret that is somebody else's, or was made by somebody
at this moment, is not overruled (:class:`smtpfleet.controller.carryout.Carrier`'s).
"""

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from smtpfleet.api.dkim import KeyAlgorithm
from smtpfleet.api.secret_names import signing_secret
from smtpfleet.controller.wanted import Live
from smtpfleet.resources.dkim import MadeKeys, stored_key
from smtpfleet.resources.pool import Pool

RSA_BITS: Final = 2048
"""What every receiver takes (RFC 8301), in a record that fits into one UDP answer."""


def made_keys(pool: Pool, live: Live) -> MadeKeys:
    """The keys of all entries that name no Secret: those that are there, and new ones."""
    return {
        key: current_key(
            stored_key(live.get(("Secret", signing_secret(pool.name, key)))), algorithm=key.made_as
        )
        for key in pool.spec.dkim
        if not key.secret_name
    }


def current_key(stored: bytes | None, *, algorithm: KeyAlgorithm) -> bytes:
    """``stored`` if it is a key at all, else a new one of this algorithm: PKCS #8, PEM."""
    if stored is not None and _is_key(stored):
        return stored
    key = (
        ed25519.Ed25519PrivateKey.generate()
        if algorithm is KeyAlgorithm.ED25519
        else rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    )
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _is_key(pem: bytes) -> bool:
    try:
        load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True
