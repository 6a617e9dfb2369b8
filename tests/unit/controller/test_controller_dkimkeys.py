"""DKIM keys of the operator: made once, kept while they can be read."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from smtpfleet.api.dkim import KeyAlgorithm
from smtpfleet.api.pool import SmtpPoolSpec
from smtpfleet.controller.dkimkeys import current_key, made_keys
from smtpfleet.resources.dkim import key_secret, stored_key
from smtpfleet.resources.pool import Images, Pool


def pool(*keys: dict[str, Any]) -> Pool:
    spec = SmtpPoolSpec.model_validate({"submission": {"trustedNetworks": ["10.0.0.0/8"]}, "dkim": [*keys]})
    return Pool("outbound", "mail", "uid", spec, Images(relay="r", balancer="b"))


def test_rsa_has_2048_bits() -> None:
    key = load_pem_private_key(current_key(None, algorithm=KeyAlgorithm.RSA), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048


def test_ed25519_is_made_when_asked_for() -> None:
    key = load_pem_private_key(current_key(None, algorithm=KeyAlgorithm.ED25519), password=None)
    assert isinstance(key, ed25519.Ed25519PrivateKey)


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_a_key_that_can_be_read_is_kept_whatever_it_is(algorithm: KeyAlgorithm) -> None:
    stored = current_key(None, algorithm=KeyAlgorithm.ED25519)
    assert current_key(stored, algorithm=algorithm) == stored


def test_what_is_no_key_is_replaced() -> None:
    assert current_key(b"nonsense", algorithm=KeyAlgorithm.ED25519).startswith(b"-----BEGIN PRIVATE KEY")


def test_keys_are_made_for_entries_that_name_no_secret_and_found_again() -> None:
    made = {"domain": "a.example", "selector": "s", "algorithm": "Ed25519"}
    of = pool(made, {"domain": "b.example", "selector": "s", "secretName": "mine"})
    first = made_keys(of, {})
    assert [key.domain for key in first] == ["a.example"]
    secrets = [key_secret(of, key, pem) for key, pem in first.items()]
    live = {("Secret", secret["metadata"]["name"]): secret for secret in secrets}
    assert made_keys(of, live) == first
    assert stored_key(None) is None
