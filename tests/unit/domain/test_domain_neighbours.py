"""Routes from pool to pool: who may log in where, and what keeps mail waiting."""

from dataclasses import replace

import pytest

from smtpfleet.api.delivery import Route
from smtpfleet.api.reasons import Reason
from smtpfleet.domain.assessment import Assessment
from smtpfleet.domain.conditions import Verdict
from smtpfleet.domain.deliveries import delivery_ready
from smtpfleet.domain.neighbours import Neighbour, PoolRoute, obstacle, senders
from tests.unit.domain.samples import pool, relay, table

NEWS = ("", "news.example")
TO_BULK = {"senderDomain": "news.example", "pool": "bulk"}


def neighbour(name: str, to: str = "", *, matched: tuple[str, str] = NEWS, tls: bool = True) -> Neighbour:
    routes = (PoolRoute(matched, to),) if to else ()
    return Neighbour(name, takes_tls=tls, self_signed=tls, certificate="pem", routes=routes)


def reason(*others: Neighbour) -> Reason | None:
    """Why bulk mail of ``outbound`` waits."""
    found = obstacle("outbound", Route(sender_domain="news.example", pool="bulk"), others)
    return found.reason if found else None


def test_mail_goes_to_a_pool_that_is_there_and_takes_tls() -> None:
    assert reason(neighbour("bulk"), neighbour("other")) is None


def test_mail_waits_for_a_pool_that_is_not_there_or_takes_no_tls() -> None:
    assert reason(neighbour("other")) is Reason.POOL_MISSING
    assert reason(neighbour("bulk", tls=False)) is Reason.POOL_WITHOUT_TLS


def test_mail_waits_for_the_certificate_that_the_operator_makes_and_for_no_other() -> None:
    assert reason(replace(neighbour("bulk"), certificate="")) is Reason.POOL_NOT_READY
    assert reason(replace(neighbour("bulk"), self_signed=False, certificate="")) is None


@pytest.mark.parametrize(
    "others",
    [
        [neighbour("bulk", "outbound")],
        [neighbour("bulk", "third"), neighbour("third", "outbound")],
        [neighbour("bulk", "third"), neighbour("third", "bulk")],
    ],
    ids=["straight back", "over a third", "beyond the second"],
)
def test_mail_that_would_go_in_a_circle_waits(others: list[Neighbour]) -> None:
    assert reason(*others) is Reason.ROUTES_IN_A_CIRCLE


def test_other_mail_may_go_the_other_way_and_the_same_mail_further() -> None:
    assert reason(neighbour("bulk", "outbound", matched=("news.example", ""))) is None
    assert reason(neighbour("bulk", "third"), neighbour("third")) is None
    assert reason(neighbour("bulk", "third")) is None  # that is the second pool's trouble


def test_the_pools_that_may_log_in_are_those_whose_routes_lead_here() -> None:
    others = (neighbour("z", "bulk"), neighbour("a", "bulk"), neighbour("outbound", "other"))
    assert senders("bulk", others) == ("a", "z")


def test_a_route_to_a_pool_is_one_to_its_service_with_this_pools_login() -> None:
    made = table(
        pool([relay(0)], spec_fields={"delivery": {"routes": [TO_BULK]}}, neighbours=(neighbour("bulk"),))
    )
    (route,) = made.delivery.routes
    assert (route.host, route.port, route.tls, route.secret_name) == (
        "bulk.mail.svc",
        465,
        "Verified",
        "outbound-login",
    )
    assert (route.pool, route.waits, route.sender_domain) == ("", "", "news.example")
    assert "outbound-login" in made.secrets


def test_a_pool_with_a_certificate_of_its_own_need_not_prove_its_name() -> None:
    other = replace(neighbour("bulk"), self_signed=False, certificate="")
    made = table(pool([relay(0)], spec_fields={"delivery": {"routes": [TO_BULK]}}, neighbours=(other,)))
    assert made.delivery.routes[0].tls == "Required"


def test_while_the_pool_is_missing_the_table_says_that_mail_waits_and_the_condition_why() -> None:
    seen = pool(
        [relay(0)], spec_fields={"delivery": {"routes": [TO_BULK, TO_BULK | {"senderDomain": "b.example"}]}}
    )
    assert {route.waits for route in table(seen).delivery.routes} == {
        "there is no pool bulk in this namespace"
    }
    words = "there is no pool bulk in this namespace; mail for it waits"
    assert delivery_ready(seen, Assessment()) == Verdict("False", Reason.POOL_MISSING, words)


def test_who_may_log_in_is_in_the_table_with_the_secret_that_says_how() -> None:
    others = (neighbour("outbound", "bulk"), neighbour("news", "outbound"))
    made = table(pool([relay(0)], neighbours=others))
    assert made.submission.pools == ("news",)
    assert "news-login" in made.secrets


def test_nobody_is_let_in_where_the_password_would_be_sent_in_clear() -> None:
    submission = {"trustedNetworks": ["10.0.0.0/8"], "tls": {"mode": "None"}}
    made = table(
        pool([relay(0)], spec_fields={"submission": submission}, neighbours=(neighbour("news", "outbound"),))
    )
    assert (made.submission.pools, made.secrets) == ((), ())
