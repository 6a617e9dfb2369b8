"""Routes to another pool, on a real cluster: bulk mail takes its own relays and waits while they are not there.

The login that a route gives ends with the route.
"""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import bcrypt
import pytest

from mailcheck.checker import check
from mailcheck.model import Arrival, Attempt
from scenario.cluster import Local
from scenario.kube import Object, wait_until
from scenario.load import Shape, run
from scenario.stage import SINK, Stage
from tests.cluster.sessions import ended, opened, run_session, wait_condition

BULK, BULK_SINK = "bulk", "bulk-sink"
SCRAM = ("--mechanism", "SCRAM-SHA-256")
SMALL: dict[str, Any] = {"replicas": 1, "balancing": {"replicas": 1}}
TO_BULK = {"senderDomain": "news.example", "pool": BULK}
TYPO = {"domain": "typo.example", "host": "no-such-host.example", "port": 25}


@pytest.fixture(scope="module")
def stage(local: Local) -> Iterator[Stage]:
    namespace = f"pools-{uuid4().hex[:6]}"
    with Stage(kube=local.kube, namespace=namespace, sink_image=local.images["sink"]) as stage:
        stage.add_sink(BULK_SINK)
        _sending(stage, TYPO, TO_BULK)
        stage.wait_ready()
        yield stage


def _sending(stage: Stage, *routes: Object) -> None:
    """The pool ``outbound``, with these routes past its smarthost."""
    smarthost = {"host": stage.address(SINK), "port": 25}
    stage.apply_pool(**SMALL, delivery={"smarthost": smarthost, "routes": list(routes)})


def _bulk(stage: Stage, **submission: Any) -> None:
    """The pool that takes mail of other pools alone."""
    stage.apply_pool(
        BULK,
        **SMALL,
        submission={"trustedNetworks": ["127.0.0.1/32"], **submission},
        delivery={"smarthost": {"host": stage.address(BULK_SINK), "port": 25}},
    )


def _send(stage: Stage, *, domain: str = "example.net", sender: str, count: int = 10) -> list[Attempt]:
    flags = ("--domains", domain, "--sender", sender)
    shape = Shape(target=f"{stage.address()}:25", rate=50, count=count, flags=flags)
    attempts, _ = run(stage.kube, shape)
    assert {attempt.reason for attempt in attempts if not attempt.acknowledged} == set()
    return attempts


def _arrived(stage: Stage, attempts: list[Attempt], sink: str) -> None:
    """Wait until all of it is at this receiver: none lost, doubled, or at the other one."""
    ids = {attempt.id for attempt in attempts}

    def at(name: str) -> list[Arrival]:
        return [arrival for arrival in stage.arrivals(sink=name) if arrival.id in ids]

    def look() -> str:
        found = {arrival.id for arrival in at(sink)}
        return "" if found == ids else f"{len(found)} of {len(ids)} are at {sink}"

    wait_until(look, timeout_s=90)
    verdict = check(attempts, at(sink))
    assert verdict.ok, verdict
    assert not verdict.duplicated
    assert not at(SINK if sink == BULK_SINK else BULK_SINK)


def _deferred(stage: Stage, count: int) -> None:
    (relay,) = stage.pods("relay")

    def look() -> str:
        deferred = stage.relay_status(relay.name)["queue"]["deferred"]
        return "" if deferred == count else f"{deferred} messages wait, not {count}"

    wait_until(look, timeout_s=30)


def _log(stage: Stage, pool: str) -> str:
    (relay,) = stage.pods("relay", pool)
    return stage.kube.run("logs", relay.name, "-n", stage.namespace)


def _login(stage: Stage) -> str:
    """The login of ``outbound``, as its Secret has it."""
    data = stage.kube.get("secret", "outbound-login", "-n", stage.namespace)["data"]
    return ":".join(base64.b64decode(data[key]).decode() for key in ("username", "password"))


def _offers(stage: Stage, port: int, mechanisms: set[str]) -> None:
    """Wait until the pool ``bulk`` offers these."""

    def look() -> str:
        way = "implicit" if port == 465 else "starttls"
        offered = run_session(stage, way, port, to=stage.address(BULK)).offered
        return "" if offered == mechanisms else f"{offered} is offered"

    wait_until(look, timeout_s=30)


def _empty(stage: Stage) -> None:
    """Wait until no queue holds anything: what was under way at a reload is looked at again a little later."""

    def look() -> str:
        queued = [stage.queued(pool) for pool in ("outbound", BULK)]
        return f"{queued} messages are queued" if any(queued) else ""

    wait_until(look, timeout_s=45)


def test_mail_for_a_pool_that_is_not_there_waits_and_goes_when_it_is(stage: Stage) -> None:
    wait_condition(
        stage, "DeliveryReady", "False", "PoolMissing", "there is no pool bulk", "mail for it waits"
    )
    lost_way = _send(stage, domain="typo.example", sender="shop@example.com")
    bulk = _send(stage, sender="letter@news.example")
    _arrived(stage, _send(stage, sender="shop@example.com"), SINK)
    _deferred(stage, len(lost_way) + len(bulk))  # a host without an address is no reason to bounce either
    _bulk(stage)
    _sending(stage, TYPO | {"host": stage.address(SINK)}, TO_BULK)
    _arrived(stage, lost_way, SINK)
    _arrived(stage, bulk, BULK_SINK)
    wait_condition(stage, "DeliveryReady", "True", "NextHopsReady")
    assert "sasl_method=SCRAM-SHA-256, sasl_username=pool;outbound" in _log(stage, BULK)
    assert f"Verified TLS connection established to bulk.{stage.namespace}.svc" in _log(stage, "outbound")
    _empty(stage)


def test_nobody_but_the_pool_notices_that_it_may_log_in(stage: Stage) -> None:
    bulk = stage.address(BULK)
    ways = (("plain", 25), ("starttls", 25), ("starttls", 587))
    with ThreadPoolExecutor(len(ways)) as clients:
        sessions = list(clients.map(lambda way: run_session(stage, *way, to=bulk), ways))
    for session in sessions:
        assert not session.offered
        assert {code for _, code in session.codes} == {554}
    session = run_session(stage, "implicit", 465, "--login", "pool;outbound:guess", *SCRAM, to=bulk)
    assert (session.offered, session.login) == ({"SCRAM-SHA-256"}, 535)
    assert {code for _, code in session.codes} == {554}


def test_a_login_that_is_deleted_is_made_anew(stage: Stage) -> None:
    before = _login(stage)
    stage.kube.run("delete", "secret", "outbound-login", "-n", stage.namespace)

    def look() -> str:
        made = stage.kube.items(
            "secrets", "-n", stage.namespace, "--field-selector=metadata.name=outbound-login"
        )
        if not made or _login(stage) == before:
            return "there is no other login"
        flags = ("--login", _login(stage), *SCRAM)
        login = run_session(stage, "implicit", 465, *flags, to=stage.address(BULK)).login
        return "" if login == 235 else f"it is answered {login}"

    wait_until(look, timeout_s=30)
    _arrived(stage, _send(stage, sender="letter@news.example"), BULK_SINK)


def test_the_right_to_log_in_ends_with_the_route(stage: Stage) -> None:
    bulk, login = stage.address(BULK), ("--login", _login(stage), *SCRAM)
    sender = ("--sender", "letter@news.example")
    assert run_session(stage, "implicit", 465, *login, *sender, to=bulk).login == 235
    with opened(stage, "implicit", 465, "--hold", *login, *sender, to=bulk) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        _sending(stage)
        _offers(stage, 465, set())
        session = ended(process)
    assert {code for _, code in session.codes} == {421}
    assert run_session(stage, "implicit", 465, *login, *sender, to=bulk).login >= 500


def test_a_pool_also_logs_in_beside_users_whose_hashes_know_no_scram(stage: Stage) -> None:
    stage.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "bulk-users", "namespace": stage.namespace},
            "stringData": {"bob": bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()},
        }
    )
    _sending(stage, TO_BULK)
    _bulk(stage, authentication={"secretName": "bulk-users"})
    _offers(stage, 587, {"PLAIN", "LOGIN"})
    _arrived(stage, _send(stage, sender="letter@news.example"), BULK_SINK)
    assert "sasl_method=PLAIN, sasl_username=pool;outbound" in _log(stage, BULK)


def test_a_pool_that_is_deleted_leaves_mail_waiting(stage: Stage) -> None:
    stage.kube.run("delete", "smtppool", BULK, "-n", stage.namespace, "--wait=false")
    stage.pools.remove(BULK)
    wait_condition(stage, "DeliveryReady", "False", "PoolMissing")
    attempts = _send(stage, sender="letter@news.example")
    _deferred(stage, len(attempts))
