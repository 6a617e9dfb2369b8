"""Where mail goes, on a real cluster: by MX, to a smarthost with credentials, by routes, with how many connections."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from mailcheck.checker import check
from mailcheck.model import Arrival, Attempt
from scenario.cluster import Local
from scenario.kube import Object, wait_until
from scenario.load import Shape, run
from scenario.stage import SINK, Stage
from smtpfleet.api.names import ROUTING_KEY
from smtpfleet.api.routing import parse_table
from smtpfleet.controller.selfsigned import make
from smtpfleet.resources.certificate import Pair
from testbed.handle import ClusterHandle

PROVIDER, PARTNER = "provider", "partner"
SINKS = (SINK, PROVIDER, PARTNER)
SECRET = "provider-login"
SHAPE: dict[str, Any] = {"replicas": 2, "balancing": {"replicas": 1}}


@dataclass
class Scene:
    """A pool of two relays, a plain receiver, a provider that wants TLS and a login, and a partner that offers TLS."""

    stage: Stage
    pair: Pair

    def host(self, sink: str) -> str:
        return f"{sink}.{self.stage.namespace}.svc.cluster.local"

    def deliver(self, *, postfix: Mapping[str, str] | None = None, **delivery: Any) -> None:
        """Apply, and wait until every relay acts on it."""
        self.stage.apply_pool(**SHAPE, delivery=delivery, relay={"postfix": postfix or {}})

        def look() -> str:
            found = self.stage.kube.get("smtppool", "outbound", "-n", self.stage.namespace)
            if found["status"]["observedGeneration"] != found["metadata"]["generation"]:
                return "the operator has not seen it"
            table = self.stage.kube.get("configmap", "outbound-routing", "-n", self.stage.namespace)
            wanted = parse_table(table["data"][ROUTING_KEY]).revision
            statuses = [self.stage.relay_status(pod.name) for pod in self.stage.pods("relay")]
            told = [(status["tableRevision"], status["tableError"]) for status in statuses]
            return "" if told == [(wanted, "")] * SHAPE["replicas"] else f"relays have {told}, not {wanted}"

        wait_until(look, timeout_s=30)

    def login(self, password: str, *, authority: bytes | None = None) -> None:
        """Store the credentials for the provider."""
        _store(
            self.stage,
            SECRET,
            "kubernetes.io/basic-auth",
            {
                "username": b"outbound",
                "password": password.encode(),
                "ca.crt": self.pair.certificate if authority is None else authority,
            },
        )

    def send(
        self,
        domain: str,
        *flags: str,
        count: int = 4,
        rate: float = 50,
        sender: str = "s@example.com",
    ) -> list[Attempt]:
        """Hand mail in; all of it is acknowledged."""
        shape = Shape(
            target=f"{self.stage.address()}:25",
            rate=rate,
            count=count,
            flags=("--domains", domain, "--sender", sender, *flags),
        )
        attempts, _ = run(self.stage.kube, shape)
        assert {a.reason for a in attempts if not a.acknowledged} == set()
        return attempts

    def arrived(self, attempts: list[Attempt], sink: str) -> list[Arrival]:
        """Wait until all of it is at this receiver; none was lost, doubled or elsewhere."""
        ids = {attempt.id for attempt in attempts}

        def at(name: str) -> list[Arrival]:
            return [arrival for arrival in self.stage.arrivals(sink=name) if arrival.id in ids]

        def look() -> str:
            found = {arrival.id for arrival in at(sink)}
            return "" if found == ids else f"{len(found)} of {len(ids)} are at {sink}"

        wait_until(look, timeout_s=60)
        arrivals = at(sink)
        verdict = check(attempts, arrivals)
        assert verdict.ok, verdict
        assert not verdict.duplicated
        assert not [name for name in SINKS if name != sink and at(name)]
        return arrivals

    def waits(self, attempts: list[Attempt]) -> None:
        """Wait until all of it is deferred; none has arrived anywhere."""

        def look() -> str:
            queues = [self.stage.relay_status(pod.name)["queue"] for pod in self.stage.pods("relay")]
            deferred = sum(queue["deferred"] for queue in queues)
            return "" if deferred >= len(attempts) else f"{deferred} of {len(attempts)} are deferred"

        wait_until(look, timeout_s=30)
        ids = {attempt.id for attempt in attempts}
        assert not [name for name in SINKS if ids & {a.id for a in self.stage.arrivals(sink=name)}]

    def condition(self, status: str, reason: str) -> str:
        """Wait for DeliveryReady; return its message."""
        seen: list[Object] = []

        def look() -> str:
            found = self.stage.kube.get("smtppool", "outbound", "-n", self.stage.namespace)
            seen[:] = [c for c in found["status"]["conditions"] if c["type"] == "DeliveryReady"]
            return "" if [(c["status"], c["reason"]) for c in seen] == [(status, reason)] else f"it is {seen}"

        wait_until(look, timeout_s=30)
        return str(seen[0]["message"])


def _store(stage: Stage, name: str, kind: str, data: Mapping[str, bytes]) -> None:
    stage.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": stage.namespace},
            "type": kind,
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
    )


@pytest.fixture(scope="module")
def scene(local: Local, cluster: ClusterHandle) -> Iterator[Scene]:
    """Receivers and names first: by the time the pool is ready all nodes know of a Service, and that it has no pods."""
    namespace = f"delivery-{uuid4().hex[:6]}"
    names = [f"{sink}.{namespace}.svc.cluster.local" for sink in (PROVIDER, PARTNER)]
    pair = make(names, now=datetime.now(UTC))
    with Stage(kube=local.kube, namespace=namespace, sink_image=local.images["sink"]) as stage:
        files = {"tls.crt": pair.certificate, "tls.key": pair.key, "users": b"outbound:right\n"}
        _store(stage, "receivers", "Opaque", files)
        tls = ("--tls", "/etc/sink/tls.crt", "/etc/sink/tls.key")
        stage.add_sink(PROVIDER, *tls, "--users", "/etc/sink/users", secret="receivers")
        stage.add_sink(PARTNER, *tls, secret="receivers")
        _dead_address(stage)
        cluster.mail_zone(
            "shop MX 10 dead\n"
            "shop MX 20 one\n"
            "shop MX 30 other\n"
            "safe MX 10 other\n"
            f"dead A {stage.address('dead')}\n"
            f"one A {stage.address(SINK)}\n"
            f"other A {stage.address(PARTNER)}\n"
            f"bare A {stage.address(SINK)}\n"
        )
        stage.pool(**SHAPE)
        yield Scene(stage, pair)


def test_mail_goes_by_mx_in_the_order_of_preference_past_a_dead_one(scene: Scene) -> None:
    scene.deliver()
    assert {arrival.tls for arrival in scene.arrived(scene.send("shop.mail.test"), SINK)} == {""}
    scene.arrived(scene.send("bare.mail.test"), SINK)
    # Opportunistic: whoever offers TLS gets it, whatever its certificate.
    assert {arrival.tls for arrival in scene.arrived(scene.send("safe.mail.test"), PARTNER)} == {"TLSv1.3"}
    # As docs/delivery.md says for DANE: without a validating resolver nothing gets worse.
    scene.deliver(postfix={"smtp_tls_security_level": "dane", "smtp_dns_support_level": "dnssec"})
    assert {arrival.tls for arrival in scene.arrived(scene.send("safe.mail.test"), PARTNER)} == {"TLSv1.3"}


def _dead_address(stage: Stage) -> None:
    """An address that refuses connections: a Service without pods."""
    stage.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "dead", "namespace": stage.namespace},
            "spec": {"selector": {"app": "nobody"}, "ports": [{"port": 25}]},
        }
    )


def test_mail_waits_for_credentials_and_goes_when_they_are_right(scene: Scene) -> None:
    before = {pod.uid for pod in scene.stage.pods("relay")}
    provider = {"host": scene.host(PROVIDER), "port": 25, "tls": "Verified", "secretName": SECRET}
    scene.deliver(smarthost=provider)
    attempts = scene.send("example.net")
    assert "mail for it waits" in scene.condition("False", "SecretMissing")
    scene.waits(attempts)
    scene.login("wrong")
    assert "(535)" in scene.condition("False", "CredentialsRefused")
    attempts += scene.send("example.net")
    scene.waits(attempts)
    scene.login("right")
    arrivals = scene.arrived(attempts, PROVIDER)
    assert {(arrival.user, arrival.tls) for arrival in arrivals} == {("outbound", "TLSv1.3")}
    scene.condition("True", "NextHopsReady")
    assert {pod.uid for pod in scene.stage.pods("relay")} == before


def test_a_server_that_is_not_the_one_named_gets_neither_mail_nor_password(scene: Scene) -> None:
    logins = scene.stage.sink_counters(sink=PROVIDER)["logins"]
    scene.login("right", authority=make([scene.host(PROVIDER)], now=datetime.now(UTC)).certificate)
    attempts = scene.send("example.net")
    scene.waits(attempts)
    assert scene.stage.sink_counters(sink=PROVIDER)["logins"] == logins
    scene.login("right")
    scene.arrived(attempts, PROVIDER)


def test_a_secret_that_is_gone_leaves_the_last_good_credentials_in_use(scene: Scene) -> None:
    scene.stage.kube.run("delete", "secret", SECRET, "-n", scene.stage.namespace)
    assert "the last good credentials stay in use" in scene.condition("False", "SecretMissing")
    assert {a.user for a in scene.arrived(scene.send("example.net"), PROVIDER)} == {"outbound"}
    scene.login("right")
    scene.condition("True", "NextHopsReady")


def test_mail_waits_where_the_server_wants_a_login_that_was_not_named(scene: Scene) -> None:
    provider = {"host": scene.host(PROVIDER), "port": 25, "tls": "Required"}
    scene.deliver(smarthost=provider)
    attempts = scene.send("example.net")
    scene.waits(attempts)  # 530 is no reason to bounce
    scene.deliver(smarthost=provider | {"tls": "Verified", "secretName": SECRET})
    scene.arrived(attempts, PROVIDER)


def test_routes_lead_by_recipient_then_by_sender_past_the_smarthost(scene: Scene) -> None:
    stage = scene.stage
    sink = {"host": stage.address(SINK), "port": 25}
    provider = {"host": scene.host(PROVIDER), "port": 25, "tls": "Verified", "secretName": SECRET}
    scene.deliver(
        smarthost={"host": stage.address("dead"), "port": 25},
        routes=[
            {"domain": "partner.example", "host": scene.host(PARTNER), "port": 25, "tls": "Required"},
            {"domain": ".partner.example", **sink},
            {"domain": "xn--bcher-kva.example", **sink},
            {"domain": "safe.mail.test"},
            {"domain": "back.example", **sink},
            {"senderDomain": "news.example", **provider},
        ],
    )
    ways = [
        ("partner.example", "s@news.example", PARTNER),
        ("PARTNER.Example", "s@example.com", PARTNER),
        ("sub.partner.example", "s@example.com", SINK),
        ("b\u00fccher.example", "s@example.com", SINK),
        ("safe.mail.test", "s@example.com", PARTNER),
        ("elsewhere.example", "s@NEWS.example", PROVIDER),
    ]
    sent = [
        (scene.send(domain, *(() if domain.isascii() else ("--smtputf8",)), count=2, sender=sender), sink)
        for domain, sender, sink in ways
    ]
    for attempts, where in sent:
        arrivals = scene.arrived(attempts, where)
        assert {arrival.user for arrival in arrivals} == ({"outbound"} if where == PROVIDER else {""})
    _a_bounce_takes_the_routes(scene)


def _a_bounce_takes_the_routes(scene: Scene) -> None:
    """The partner refuses a message; its sender hears so by the route of the sender's domain as a recipient."""
    stage = scene.stage
    stage.sink_mode(sink=PARTNER, mode="reject")
    seen = len(stage.arrivals())
    scene.send("partner.example", count=1, sender="s@back.example")

    def look() -> str:
        bounces = [(a.sender, a.recipients) for a in stage.arrivals()[seen:]]
        return "" if bounces == [("", ("s@back.example",))] else f"there are {bounces}"

    wait_until(look, timeout_s=30)
    stage.sink_mode(sink=PARTNER, mode="accept")


def test_mail_that_waits_takes_a_changed_route(scene: Scene) -> None:
    before = {pod.uid for pod in scene.stage.pods("relay")}
    dead = {"domain": "partner.example", "host": scene.stage.address("dead"), "port": 25}
    scene.deliver(routes=[dead])
    attempts = scene.send("partner.example")
    scene.waits(attempts)
    scene.deliver(routes=[dead | {"host": scene.host(PARTNER)}])
    scene.arrived(attempts, PARTNER)
    assert {pod.uid for pod in scene.stage.pods("relay")} == before


def test_all_relays_together_hold_no_more_connections_than_the_limit(scene: Scene) -> None:
    sink = {"host": scene.stage.address(SINK), "port": 25}
    scene.deliver(smarthost=sink, maxConnectionsPerDestination=5)
    scene.stage.sink_mode(mode="delay", seconds=0.5)
    attempts = scene.send("example.net", count=60, rate=200)
    scene.arrived(attempts, SINK)
    # Both relays deliver at a time, and neither has the whole limit.
    assert 4 <= scene.stage.sink_counters()["peakSessions"] <= 5
    scene.stage.sink_mode(mode="accept")
