"""Who signs what, and opendkim's files for it."""

from itertools import product
from pathlib import Path

import pytest

from smtpfleet.api.dkim import KeyAlgorithm
from smtpfleet.relay.dkimconf import (
    SIGNED_HEADERS,
    Duties,
    KnownKey,
    configuration,
    duties,
    key_table,
    signing_table,
    signs,
)

RSA, ED = KeyAlgorithm.RSA, KeyAlgorithm.ED25519


def key(
    selector: str, algorithm: KeyAlgorithm | None, domain: str = "a.example", unicode: str = ""
) -> KnownKey:
    return KnownKey(domain, selector, algorithm, unicode)


def test_the_first_of_a_domain_and_algorithm_signs_and_both_algorithms_do() -> None:
    keys = [key("r1", RSA), key("e1", ED), key("r2", RSA), key("e2", ED), key("r1", RSA, "b.example")]
    found = duties(keys)
    assert [known.selector for known in found[RSA].signing] == ["r1", "r1"]
    assert [known.selector for known in found[ED].signing] == ["e1"]
    assert [signs(known, found) for known in keys] == [True, True, False, False, True]


def test_a_key_that_cannot_be_used_leaves_its_place_to_the_next() -> None:
    found = duties([key("r1", None), key("r2", RSA)])
    assert found[RSA] == Duties((key("r2", RSA),))


@pytest.mark.parametrize("algorithms", list(product([None, RSA, ED], repeat=3)))
def test_mail_of_a_listed_domain_is_signed_or_refused(algorithms: tuple[KeyAlgorithm | None, ...]) -> None:
    found = duties([key(f"s{number}", algorithm) for number, algorithm in enumerate(algorithms)])
    signed = bool(found[RSA].signing or found[ED].signing)
    refused = "a.example" in found[RSA].refused
    assert signed or refused
    assert refused == (None in algorithms and RSA not in algorithms)
    assert not found[ED].refused


def test_without_keys_no_signer_is_needed() -> None:
    assert not any(duties([]).values())


def test_tables_name_exactly_the_domain_and_its_internationalised_form() -> None:
    keys = [
        key("s1", RSA),
        key("s1", RSA, "xn--strae-oqa.example", "straße.example"),
        key("s1", None, "c.example"),
        key("s1", None, "xn--bcher-kva.example", "bücher.example"),
        key("s2", None, "xn--bcher-kva.example", "bücher.example"),
        key("s1", RSA, "xn--tst-qla.example"),
    ]
    wanted = duties(keys)[RSA]
    assert signing_table(wanted).splitlines() == [
        "*@a.example s1._domainkey.a.example",
        "*@xn--strae-oqa.example s1._domainkey.xn--strae-oqa.example",
        "*@straße.example s1._domainkey.xn--strae-oqa.example",
        "*@xn--tst-qla.example s1._domainkey.xn--tst-qla.example",
        "*@bücher.example absent",
        "*@c.example absent",
        "*@xn--bcher-kva.example absent",
    ]
    assert key_table(wanted, Path("/keys")).splitlines() == [
        "s1._domainkey.a.example a.example:s1:/keys/s1._domainkey.a.example",
        "s1._domainkey.xn--strae-oqa.example xn--strae-oqa.example:s1:/keys/s1._domainkey.xn--strae-oqa.example",
        "s1._domainkey.xn--tst-qla.example xn--tst-qla.example:s1:/keys/s1._domainkey.xn--tst-qla.example",
        "absent invalid:absent:/keys/absent",
    ]


@pytest.mark.parametrize(("algorithm", "word"), [(RSA, "rsa-sha256"), (ED, "ed25519-sha256")])
def test_a_signer_has_one_algorithm_and_fails_closed(algorithm: KeyAlgorithm, word: str) -> None:
    text = configuration(algorithm, socket=Path("/s"), signing=Path("/t"), keys=Path("/k"))
    settings = dict(line.split(" ", 1) for line in text.splitlines())
    assert settings["SignatureAlgorithm"] == word
    assert settings["Mode"] == "s"
    assert settings["On-Default"] == "tempfail"
    assert settings["Canonicalization"] == "relaxed/relaxed"
    assert settings["OversignHeaders"] == "From"
    assert "MaximumSignedBytes" not in settings


def test_headers_of_one_click_unsubscription_are_signed_and_traces_are_not() -> None:
    assert {"From", "List-Unsubscribe", "List-Unsubscribe-Post"} <= set(SIGNED_HEADERS)
    assert not {"Received", "Return-Path", "DKIM-Signature", "Bcc"} & set(SIGNED_HEADERS)
