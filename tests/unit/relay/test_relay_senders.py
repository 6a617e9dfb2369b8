"""Which envelope senders match, by the same regular expressions that Postfix is given."""

import re

import pytest

from smtpfleet.api.routing import BalancingTable
from smtpfleet.relay.mainconf import Phase, owned, render
from smtpfleet.relay.senders import restriction
from tests.unit.relay.goldens import HOST, table

LISTED = (
    "example.com",
    ".Example.org",
    "xn--strae-oqa.de",
    ".xn--strae-oqa.de",
    "straße.de",
    ".straße.de",
    "bücher.example",
)


def _answer(sender: str, *domains: str) -> str:
    """What the table answers for a sender as Postfix looks it up: without brackets, or ``<>``."""
    text = restriction(domains)
    for pattern, action in re.findall(r"\{ /(.*?)/ (.*?) \}", text):
        if re.search(pattern.replace("$$", "$"), sender, re.IGNORECASE):
            return str(action)
    raise AssertionError("nothing matches")


def test_a_pool_that_lists_no_domain_asks_nothing() -> None:
    assert restriction(()) == ""


@pytest.mark.parametrize(
    "sender",
    [
        "<>",
        "a@example.com",
        "A@EXAMPLE.COM",
        "a@evil.test@example.com",
        "a%evil.test@example.com",
        "a@x.example.org",
        "a@y.x.example.org",
        "a@xn--strae-oqa.de",
        "a@straße.de",
        "a@x.straße.de",
        "a@BÜCHER.example",
        "ä@example.com",
    ],
)
def test_a_sender_of_a_listed_domain_is_taken(sender: str) -> None:
    assert _answer(sender, *LISTED) == "DUNNO"


@pytest.mark.parametrize(
    "sender",
    [
        "a",
        "example.com",
        "a@evil.test",
        "a@sub.example.com",
        "a@notexample.com",
        "a@exampleXcom",
        "a@example.com.evil.test",
        "a@example.com@evil.test",
        "a@example.org",
        "a@notexample.org",
        "a@[192.0.2.1]",
        "a@x.example.org@evil.test",
    ],
)
def test_any_other_sender_is_refused_for_good(sender: str) -> None:
    assert _answer(sender, *LISTED).startswith("553 5.7.1 ")


def test_dollars_are_doubled_because_main_cf_expands_single_ones() -> None:
    assert "$" not in restriction(LISTED).replace("$$", "")


def test_senders_are_judged_besides_whatever_else_is_asked_at_mail() -> None:
    made = table()
    allowed = made.submission.model_copy(
        update={"allowed_sender_domains": ("example.com",), "unicode_sender_domains": ("straße.de",)}
    )
    before, after = (
        owned(given, HOST, Phase.OPEN)["smtpd_sender_restrictions"]
        for given in (made, made.model_copy(update={"submission": allowed}))
    )
    assert after == f"{before}, {restriction(['example.com', 'straße.de'])}"


def test_clients_of_both_families_are_let_in_where_an_outer_balancer_tells_of_them() -> None:
    told = BalancingTable(proxy_protocol_sources=("192.0.2.0/28",))
    found = render(table().model_copy(update={"balancing": told}), HOST, Phase.OPEN).master_cf
    clients = found[: found.index("\n10026 ")]
    assert clients.count("  -o inet_protocols=all\n") == 3
    assert "inet_protocols=all" not in render(table(), HOST, Phase.OPEN).master_cf
    assert found.count("inet_protocols=all") == 3
