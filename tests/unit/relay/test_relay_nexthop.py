"""Next hops as services of Postfix: a level of TLS, who is believed, and credentials for one host alone."""

import re
from pathlib import Path

import pytest

from smtpfleet.api.delivery import DeliveryTls, Route, Smarthost
from smtpfleet.relay.nexthop import SYSTEM_AUTHORITIES, Credentials, NextHop, next_hop, service
from smtpfleet.relay.ways import Ways, parameters

LOGIN = Path("/run/login")


def options(hop: NextHop, credentials: Credentials = Credentials()) -> dict[str, str]:  # noqa: B008 - immutable
    pairs = [option.strip("{} ").partition("=") for option in service(hop, credentials).options]
    return {name.strip(): value.strip() for name, _, value in pairs}


def hop(tls: DeliveryTls = DeliveryTls.REQUIRED, *, port: int = 587, secret: str = "") -> NextHop:
    return NextHop("smtp.provider.example", port, tls, secret)


@pytest.mark.parametrize(
    ("tls", "level"),
    [
        (DeliveryTls.NONE, "none"),
        (DeliveryTls.OPTIONAL, "may"),
        (DeliveryTls.REQUIRED, "encrypt"),
        (DeliveryTls.VERIFIED, "secure"),
    ],
)
def test_each_mode_is_a_level_that_no_policy_map_of_the_user_weakens(tls: DeliveryTls, level: str) -> None:
    made = options(hop(tls))
    assert (made["smtp_tls_security_level"], made["smtp_tls_policy_maps"]) == (level, "")


def test_verified_means_this_name_by_the_systems_authorities_or_the_secrets_own() -> None:
    made = options(hop(DeliveryTls.VERIFIED))
    assert made["smtp_tls_secure_cert_match"] == "smtp.provider.example"
    assert made["smtp_tls_CAfile"] == str(SYSTEM_AUTHORITIES)
    own = options(hop(DeliveryTls.VERIFIED), Credentials(authorities=Path("/run/ca")))
    assert (own["smtp_tls_CAfile"], own["smtp_tls_CApath"]) == ("/run/ca", "")


def test_credentials_bring_only_what_they_need_and_are_never_logged() -> None:
    made = options(hop(secret="provider"), Credentials(login=LOGIN))
    assert made["smtp_sasl_auth_enable"] == "yes"
    assert made["smtp_sasl_password_maps"] == f"texthash:{LOGIN}"
    assert (made["smtp_tls_loglevel"], made["debug_peer_list"]) == ("1", "")
    assert "smtp_sasl_auth_enable" not in options(hop())
    assert parameters(Ways(), "")["smtp_sasl_auth_enable"] == "no"


def test_on_port_465_tls_begins_with_the_first_byte() -> None:
    assert options(hop(port=465))["smtp_tls_wrappermode"] == "yes"
    assert "smtp_tls_wrappermode" not in options(hop())


def test_mail_for_a_host_never_falls_back_to_another_one() -> None:
    assert options(hop())["smtp_fallback_relay"] == ""
    assert "smtp_fallback_relay" not in options(NextHop(tls=DeliveryTls.REQUIRED))


_SAID = "5.7.1 host bulk.mail.svc[10.96.0.7] said: 554 5.7.1 <a@b.example>: "


@pytest.mark.parametrize(
    ("outcome", "waits"),
    [
        ("5.7.0 host a[192.0.2.1] said: 530 5.7.0 Must issue a STARTTLS command first", True),
        ("5.4.4 Host or domain name not found. Name service error for name=a type=A: Host not found", True),
        ("5.4.4 unable to look up host bulk.mail.svc: Name or service not known", True),
        (f"{_SAID}Recipient address rejected: Access denied (in reply to RCPT TO command)", True),
        (f"{_SAID}Relay access denied (in reply to RCPT TO command)", True),
        ("5.1.1 host a[192.0.2.1] said: 550 5.1.1 No such user", False),
        ("5.7.1 host a[192.0.2.1] said: 554 5.7.1 Spam", False),
        ("5.4.4 host a[192.0.2.1] said: 550 5.4.4 Host or domain name not found", False),
    ],
)
def test_what_the_setup_is_to_blame_for_keeps_mail_waiting(outcome: str, waits: bool) -> None:
    made = options(hop(secret="provider"), Credentials(login=LOGIN))["smtp_delivery_status_filter"]
    rules = re.findall(r"/(\^5.*?\$\$)/ 4\$\$1", made)
    assert len(rules) == 3
    found = [re.search(rule.replace("$$", "$"), outcome, re.IGNORECASE) for rule in rules]
    assert any(found) is waits


def test_whoever_needs_no_login_may_deny_access_for_good() -> None:
    assert "ccess denied" not in options(hop())["smtp_delivery_status_filter"]


def test_what_differs_in_anything_has_a_service_of_its_own() -> None:
    hops = [
        hop(),
        hop(DeliveryTls.VERIFIED),
        hop(port=25),
        hop(secret="one"),
        hop(secret="two"),
        NextHop("other.example", 587, DeliveryTls.REQUIRED),
        NextHop(tls=DeliveryTls.REQUIRED),
        NextHop(),
    ]
    assert len({each.service for each in hops}) == len(hops)


def test_a_name_in_capitals_is_the_same_host() -> None:
    one, two = (next_hop(Smarthost(host=host)) for host in ("SMTP.example", "smtp.example"))
    assert one == two


def test_a_route_by_mx_has_the_plain_service_unless_it_wants_other_tls() -> None:
    assert next_hop(Route(domain="a.example")).transport == "smtp:"
    strict = next_hop(Route(domain="a.example", tls=DeliveryTls.REQUIRED)).transport
    assert strict.startswith("smtp-")
    assert strict.endswith(":")


def test_a_host_is_the_same_next_hop_as_smarthost_and_in_a_route() -> None:
    assert next_hop(Route(domain="a.example", host="smtp.example")) == next_hop(
        Smarthost(host="smtp.example")
    )


def test_services_with_one_next_hop_share_its_connections() -> None:
    two = tuple(service(hop(secret=secret), Credentials(LOGIN)) for secret in ("one", "two"))
    alone = service(hop(port=25), Credentials())
    made = parameters(Ways(services=(*two, alone), connections=5), "")
    assert made["default_destination_concurrency_limit"] == "5"
    assert [made.get(f"{each.name}_destination_concurrency_limit") for each in (*two, alone)] == [
        "2",
        "2",
        None,
    ]


def test_routes_by_mx_do_not_share_for_each_domain_is_a_destination() -> None:
    mx = service(NextHop(tls=DeliveryTls.REQUIRED), Credentials())
    made = parameters(Ways(services=(mx,), connections=5), "")
    assert not [name for name in made if name.startswith(f"{mx.name}_")]
