"""``spec.dkim``: names, and the Secrets that follow from them."""

from typing import Any

import pytest
from pydantic import ValidationError

from smtpfleet.api.dkim import DkimKey, KeyAlgorithm
from smtpfleet.api.names import dkim_key_name
from smtpfleet.api.pool import SmtpPoolSpec
from smtpfleet.api.secret_names import secret_names


def spec(*keys: dict[str, Any]) -> SmtpPoolSpec:
    return SmtpPoolSpec.model_validate({"submission": {"trustedNetworks": ["10.0.0.0/8"]}, "dkim": [*keys]})


@pytest.mark.parametrize("domain", ["example.com", "xn--bcher-kva.example", "a.b.c-d.example"])
def test_a_domain_in_lower_case_is_taken(domain: str) -> None:
    assert DkimKey(domain=domain, selector="s1").domain == domain


@pytest.mark.parametrize(
    "domain", ["", "localhost", "Example.com", "*.example.com", "bücher.example", "a.b\n", "a..b"]
)
def test_what_is_no_such_domain_is_refused(domain: str) -> None:
    with pytest.raises(ValidationError, match="not a domain to sign for"):
        DkimKey(domain=domain, selector="s1")


@pytest.mark.parametrize("selector", ["", "S1", "s_1", "-s", "s1.", "a b", "s1\n"])
def test_what_is_no_selector_is_refused(selector: str) -> None:
    with pytest.raises(ValidationError, match="not a selector"):
        DkimKey(domain="example.com", selector=selector)


def test_two_keys_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="two keys of one domain and selector"):
        spec({"domain": "a.example", "selector": "s"}, {"domain": "a.example", "selector": "s"})


def test_the_operator_makes_rsa_unless_told_otherwise() -> None:
    assert DkimKey(domain="a.example", selector="s").made_as is KeyAlgorithm.RSA


def test_relays_may_read_the_secrets_of_the_list() -> None:
    made, brought = {"domain": "a.example", "selector": "s"}, {"domain": "b.example", "selector": "s"}
    assert secret_names("outbound", spec(made, brought | {"secretName": "mine"})) == (
        "mine", dkim_key_name("outbound", "a.example", "s"), "outbound-tls",
    )  # fmt: skip


def test_names_of_secrets_tell_apart_what_dots_and_hyphens_would_not() -> None:
    names = {
        dkim_key_name("p", domain, selector)
        for domain, selector in [
            ("b.example", "a"),
            ("example", "a.b"),
            ("c.example", "a.b"),
            ("b.c.example", "a"),
        ]
    }
    assert len(names) == 4


def test_the_longest_name_is_one_of_a_secret() -> None:
    name = dkim_key_name("p" * 40, ".".join(["d" * 43] * 4), "s" * 63)
    assert len(name) <= 253
    assert ".-" not in name
