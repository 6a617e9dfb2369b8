"""Routes as maps: whatever the list says, Postfix finds the same, by the first line that matches."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.api.routing import DomainRoute
from smtpfleet.domain.internationalised import unicode_domain
from smtpfleet.relay.routemaps import pattern, recipient_map, sender_map

BUECHER = DomainRoute(domain="xn--bcher-kva.example", unicode_domain="b\u00fccher.example")


def route(domain: str = "", sender: str = "") -> DomainRoute:
    return DomainRoute(domain=domain, sender_domain=sender)


def target(taken: DomainRoute) -> str:
    return f"smtp:{taken.domain or taken.sender_domain}"


def found(text: str, address: str) -> str | None:
    """What a map of the type regexp answers: the first line whose pattern is in the key, whatever the case of ASCII."""
    for line in text.splitlines():
        if line.startswith("/"):
            expression, _, answer = line[1:].partition("/ ")
            if re.search(expression.encode(), address.encode(), re.IGNORECASE):
                return answer
    return None


def routed(routes: Sequence[DomainRoute], sender: str, recipient: str) -> str | None:
    """As Postfix does: by recipient, and only then by sender."""
    return found(recipient_map(routes, target), recipient) or found(
        sender_map(routes, target), sender or "<>"
    )


def listed(routes: Sequence[DomainRoute], sender: str, recipient: str) -> str | None:
    """As the list reads: the first route that fits."""

    def fits(domain: str, address: str) -> bool:
        of_address = address.rpartition("@")[2].lower()
        if domain.startswith("."):
            return of_address.endswith(domain) and of_address != domain
        return bool(domain) and of_address == domain

    for candidate in routes:
        if fits(candidate.domain, recipient) or fits(candidate.sender_domain, sender):
            return target(candidate)
    return None


labels = st.sampled_from(["a", "b", "aa", "a-b", "example"])
domains = st.lists(labels, min_size=1, max_size=3).map(".".join)
forms = st.builds(lambda dot, domain: dot + domain, st.sampled_from(["", "."]), domains)
local_parts = st.sampled_from(["x", "x@a", "x@a.example", "a.example", "$", "x/"])
addresses = st.builds(
    lambda local, domain, upper: f"{local}@{domain.upper() if upper else domain}",
    local_parts,
    domains,
    st.booleans(),
)
by_recipient = st.builds(DomainRoute, domain=forms)
by_sender = st.builds(DomainRoute, sender_domain=forms)
lists = st.builds(
    lambda first, last: [*first, *last], st.lists(by_recipient, max_size=6), st.lists(by_sender, max_size=6)
)


@given(lists, st.just("") | addresses, addresses)
def test_the_two_maps_say_what_the_list_says(routes: list[DomainRoute], sender: str, recipient: str) -> None:
    assert routed(routes, sender, recipient) == listed(routes, sender, recipient)


def test_the_first_of_two_that_match_holds_even_if_the_other_is_more_specific() -> None:
    routes = [route(".example"), route("a.example")]
    assert routed(routes, "", "x@a.example") == "smtp:.example"
    assert routed(routes[::-1], "", "x@a.example") == "smtp:a.example"


def test_a_domain_is_not_its_subdomains_and_with_a_dot_it_is_nothing_else() -> None:
    assert routed([route("a.example")], "", "x@b.a.example") is None
    assert routed([route(".a.example")], "", "x@a.example") is None
    assert routed([route(".a.example")], "", "x@c.b.a.example") is not None


@pytest.mark.parametrize(
    "address",
    [
        "x@aXexample",
        "x@a.example.org",
        "x@xa.example",
        "x@[192.0.2.1]",
        "a.example",
        "x@a.example@other.example",
    ],
)
def test_what_only_looks_alike_takes_no_route(address: str) -> None:
    assert routed([route("a.example")], "", address) is None


def test_bounces_have_no_sender_so_only_their_recipient_counts() -> None:
    routes = [route("back.example"), route(sender=".example")]
    assert routed(routes, "", "x@back.example") == "smtp:back.example"
    assert routed(routes, "", "x@a.example") is None


@pytest.mark.parametrize(
    "address",
    ["x@xn--bcher-kva.example", "x@XN--BCHER-KVA.example", "x@b\u00fccher.example", "x@B\u00dcCHER.example"],
)
def test_an_internationalised_domain_matches_in_both_forms_and_any_case(address: str) -> None:
    assert routed([BUECHER], "", address) is not None


def test_other_letters_do_not_match_an_internationalised_domain() -> None:
    assert routed([BUECHER], "", "x@bucher.example") is None


@pytest.mark.parametrize(
    ("domain", "shown"),
    [
        ("xn--bcher-kva.example", "b\u00fccher.example"),
        (".xn--bcher-kva.example", ".b\u00fccher.example"),
        ("xn--strae-oqa.example", "stra\u00dfe.example"),
        ("a.xn--p1ai", "a.\u0440\u0444"),
        ("XN--Strae-OQA.Example", "stra\u00dfe.example"),
        ("xn--i-7iq.example", "i\u2764.example"),
        ("xn--\u002d.example", ""),
        ("plain.example", ""),
        ("Plain.example", ""),
        ("xn--a", ""),
    ],
)
def test_the_unicode_form_of_a_domain(domain: str, shown: str) -> None:
    assert unicode_domain(domain) == shown


def test_a_letter_whose_capital_is_two_letters_stands_for_itself() -> None:
    assert pattern("stra\u00dfe.example") == "@stra\u00dfe\\.example$"


def test_without_routes_there_is_no_map() -> None:
    assert recipient_map([], target) == sender_map([route("a.example")], target) == ""
