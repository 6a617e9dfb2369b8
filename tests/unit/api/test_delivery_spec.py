"""Where mail goes, as users write it: what is refused beside the API server, too, and which Secrets it names."""

from typing import Any

import pytest
from pydantic import ValidationError

from smtpfleet.api.delivery import Delivery, DeliveryTls
from smtpfleet.api.pool import SmtpPoolSpec
from smtpfleet.api.routing import DeliveryTable, DomainRoute
from smtpfleet.api.secret_names import secret_names

HOST = {"host": "smtp.example"}


def _delivery(**fields: Any) -> Delivery:
    return Delivery.model_validate(fields)


def _routes(*routes: dict[str, Any]) -> dict[str, Any]:
    return {"routes": list(routes)}


def test_mail_goes_by_mx_with_opportunistic_tls_and_twenty_connections() -> None:
    delivery = _delivery()
    assert (delivery.smarthost, delivery.routes, delivery.max_connections_per_destination) == (None, (), 20)
    given = _delivery(smarthost=HOST).smarthost
    assert given is not None
    assert (given.port, given.tls) == (587, DeliveryTls.OPTIONAL)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"smarthost": HOST | {"secretName": "a"}}, "never travel without TLS"),
        ({"smarthost": HOST | {"secretName": "a", "tls": "Optional"}}, "never travel without TLS"),
        ({"smarthost": HOST | {"secretName": "a", "tls": "None"}}, "never travel without TLS"),
        ({"smarthost": {"host": "192.0.2.1", "tls": "Verified"}}, "not an address"),
        ({"smarthost": HOST | {"port": 465}}, "port 465 begins with TLS"),
        (_routes(HOST), "either domain or senderDomain"),
        (_routes({"domain": "a.example", "senderDomain": "b.example"}), "either domain or senderDomain"),
        (_routes({"domain": "a.example", "port": 25}), "goes to the MX of the recipient"),
        (_routes({"domain": "a.example", "tls": "Required", "secretName": "a"}), "goes to the MX"),
        (_routes({"domain": "a.example", "tls": "Verified"}), "by MX there is no name"),
        (_routes({"domain": "a.example", "secretName": "a"} | HOST), "never travel without TLS"),
        (_routes({"senderDomain": "a.example"}, {"domain": "b.example"}), "must stand after all routes"),
        (_routes({"domain": "a.example"}, {"domain": "a.example"} | HOST), "would never be used"),
        (_routes({"domain": "A.example"}), "not a mail domain"),
        (_routes({"domain": "..example"}), "not a mail domain"),
        (_routes({"domain": "a.example/ smtp:[evil]"}), "not a mail domain"),
        (_routes({"domain": "a.example\n"}), "not a mail domain"),
        (_routes(*({"domain": f"a{number}.example"} for number in range(65))), "at most 64"),
        ({"maxConnectionsPerDestination": 0}, "greater than or equal to 1"),
    ],
)
def test_python_refuses_what_the_schema_refuses(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        _delivery(**fields)


def test_recipients_and_senders_may_have_routes_of_one_domain() -> None:
    assert len(_delivery(**_routes({"domain": "a.example"}, {"senderDomain": "a.example"})).routes) == 2


def test_every_secret_of_delivery_is_one_that_relays_may_read() -> None:
    login = {"tls": "Required"} | HOST
    spec = SmtpPoolSpec.model_validate(
        {
            "submission": {"trustedNetworks": ["10.0.0.0/8"], "tls": {"mode": "None"}},
            "delivery": {
                "smarthost": login | {"secretName": "provider"},
                "routes": [
                    {"domain": "a.example"} | login | {"secretName": "partner"},
                    {"senderDomain": "b.example"} | login | {"secretName": "provider"},
                    {"senderDomain": "c.example"},
                ],
            },
        }
    )
    assert secret_names("outbound", spec) == ("partner", "provider")


def test_relays_may_read_the_login_of_their_pool_and_of_those_that_lead_here() -> None:
    routes = [{"domain": "a.example", "pool": "bulk"}]
    spec = SmtpPoolSpec.model_validate(
        {
            "submission": {"trustedNetworks": ["10.0.0.0/8"], "tls": {"mode": "None"}},
            "delivery": {"routes": routes},
        }
    )
    assert secret_names("outbound", spec, ["news"]) == ("news-login", "outbound-login")


@pytest.mark.parametrize(
    "beside", [{"host": "a"}, {"port": 25}, {"secretName": "a"}, {"tls": "Required"}], ids=str
)
def test_a_pool_stands_alone_in_its_route(beside: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="write pool alone"):
        _delivery(**_routes({"domain": "a.example", "pool": "bulk"} | beside))


@pytest.mark.parametrize("name", ["Bulk", "bulk.other", "1", "b-", "b" * 41])
def test_a_pool_of_a_route_is_named_as_pools_are(name: str) -> None:
    with pytest.raises(ValidationError):
        _delivery(**_routes({"domain": "a.example", "pool": name}))


@pytest.mark.parametrize("shown", ["b\u00fccher.example", ".\u0440\u0444", ""])
def test_a_table_takes_a_domain_as_people_write_it(shown: str) -> None:
    assert DomainRoute(domain="a.example", unicode_domain=shown).unicode_domain == shown


@pytest.mark.parametrize("shown", ["a b", "a/\u00fc", "\u00fc\n", "\u00fc$", "\u00fc\u2028"])
def test_a_table_takes_no_text_that_could_end_a_pattern(shown: str) -> None:
    with pytest.raises(ValidationError, match="no domain"):
        DomainRoute(domain="a.example", unicode_domain=shown)


def test_a_table_of_an_operator_that_knew_no_routes_means_none() -> None:
    table = DeliveryTable.model_validate({"queueLifetimeS": 60, "smarthost": HOST})
    assert (table.routes, table.max_connections_per_destination) == ((), 0)


def test_an_agent_ignores_what_a_later_operator_says_about_a_route() -> None:
    route = {"domain": "a.example", "host": "bulk.mail.svc", "later": "bulk"}
    table = DeliveryTable.model_validate({"queueLifetimeS": 60, "routes": [route]})
    assert table.routes[0].host == "bulk.mail.svc"
