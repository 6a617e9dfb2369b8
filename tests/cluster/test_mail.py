"""Mail through a pool: what goes in comes out, unchanged, by every way that a client may take."""

import hashlib
import json
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from mailcheck.checker import check
from mailcheck.model import Attempt, Outcome
from mailcheck.timeline import reasons
from scenario.accounts import of_this_run
from scenario.cluster import Local
from scenario.kube import wait_until
from scenario.load import Shape, run
from scenario.stage import Stage
from smtpfleet.api.delivery import Smarthost


@pytest.fixture(scope="module")
def stage(local: Local) -> Iterator[Stage]:
    with Stage(
        kube=local.kube, namespace=f"mail-{uuid4().hex[:6]}", sink_image=local.images["sink"]
    ) as stage:
        stage.pool(replicas=2)
        yield stage


@pytest.fixture(scope="module")
def earlier() -> list[Attempt]:
    """What earlier tests of this module handed in on the same stage."""
    return []


def _hand_in(stage: Stage, earlier: list[Attempt], shape: Shape) -> list[Attempt]:
    """Hand in, drain, and insist that all of it was acknowledged and arrived once and unchanged."""
    attempts, _ = run(stage.kube, shape)
    arrivals = of_this_run(stage.wait_drained(attempts), earlier)
    earlier.extend(attempts)
    verdict = check(attempts, arrivals)
    assert {a.reason for a in attempts if not a.acknowledged} == set()
    assert verdict.ok, verdict
    assert not verdict.duplicated
    return attempts


@pytest.mark.parametrize(
    ("port", "count", "size", "flags"),
    [
        pytest.param(25, 50, 4096, (), id="port 25"),
        pytest.param(587, 50, 4096, (), id="port 587"),
        pytest.param(25, 2, 25 * 2**20 * 9 // 10, (), id="near the size limit"),
        pytest.param(25, 20, 4096, ("--eight-bit",), id="8BITMIME"),
        pytest.param(25, 20, 4096, ("--smtputf8",), id="SMTPUTF8"),
        pytest.param(25, 50, 4096, ("--pipelining",), id="PIPELINING"),
        pytest.param(25, 5, 4096, ("--recipients", "100"), id="100 recipients"),
        pytest.param(25, 500, 1024, ("--reuse", "1"), id="500 messages in one connection"),
    ],
)
def test_messages_arrive_once_and_unchanged(
    stage: Stage, earlier: list[Attempt], port: int, count: int, size: int, flags: tuple[str, ...]
) -> None:
    rate = 100 if count > 10 else 2
    _hand_in(
        stage,
        earlier,
        Shape(target=f"{stage.address()}:{port}", rate=rate, count=count, size_bytes=size, flags=flags),
    )


def test_pods_tell_the_zones_of_their_nodes(stage: Stage) -> None:
    """The API server copies the label, and which relay is surplus is chosen by it; the pool spreads over zones."""
    zone = "topology.kubernetes.io/zone"
    nodes = {node["metadata"]["name"]: node["metadata"]["labels"][zone] for node in stage.kube.items("nodes")}
    pods = stage.kube.items(
        "pods", "-n", stage.namespace, "-l", "app.kubernetes.io/component=relay,smtpfleet.io/pool"
    )
    zones = {pod["spec"]["nodeName"]: pod["metadata"]["labels"][zone] for pod in pods}
    assert zones == nodes


def test_a_message_above_the_size_limit_is_refused_before_it_is_sent(stage: Stage) -> None:
    shape = Shape(target=f"{stage.address()}:25", rate=2, count=2, size_bytes=27 * 2**20)
    attempts, _ = run(stage.kube, shape)
    assert {a.reason for a in attempts} == {"mail 552"}


def test_every_relay_takes_its_part(stage: Stage, earlier: list[Attempt]) -> None:
    _hand_in(stage, earlier, Shape(target=f"{stage.address()}:25", rate=100, count=200))
    helos = {arrival.client for arrival in stage.arrivals()}
    assert len(helos) == 2


@pytest.mark.parametrize("method", ["RoundRobin", "Random", "SourceAddress", "LeastConnections"])
def test_each_balancing_method_carries_mail_and_needs_no_restart(
    stage: Stage, earlier: list[Attempt], method: str
) -> None:
    before = {pod.uid for pod in stage.pods("relay") + stage.pods("balancer")}
    stage.apply_pool(replicas=2, balancing={"method": method})
    _wait_for_table(stage, "method", method)
    _hand_in(stage, earlier, Shape(target=f"{stage.address()}:25", rate=100, count=100))
    assert {pod.uid for pod in stage.pods("relay") + stage.pods("balancer")} == before


@pytest.mark.thorough("test_edge.py tries it in every way")
def test_a_client_outside_the_trusted_networks_may_not_relay(stage: Stage) -> None:
    stage.apply_pool(
        "strict",
        replicas=1,
        submission={"trustedNetworks": ["192.0.2.0/24"]},
        balancing={"replicas": 1},
    )
    stage.wait_ready("strict")
    for port in (25, 587):
        attempts, _ = run(stage.kube, Shape(target=f"{stage.address('strict')}:{port}", rate=10, count=5))
        assert {(a.outcome, a.stage, a.code) for a in attempts} == {(Outcome.REJECTED, "rcpt", 554)}
    stage.kube.run("delete", "smtppool", "strict", "-n", stage.namespace, "--wait")
    stage.pools.remove("strict")


def test_a_changed_smarthost_reaches_postfix_without_a_restart(stage: Stage, earlier: list[Attempt]) -> None:
    """The way to nowhere keeps mail visibly waiting; the way back delivers it."""
    before = {pod.uid for pod in stage.pods("relay")}
    sink = stage.kube.get("service", "sink", "-n", stage.namespace)["spec"]["clusterIP"]
    stage.apply_pool(replicas=2, delivery={"smarthost": {"host": sink, "port": 9}})
    smarthost = Smarthost(host=sink, port=9).model_dump(mode="json", by_alias=True)
    _wait_for_table(stage, "delivery", {"smarthost": smarthost})
    attempts, _ = run(stage.kube, Shape(target=f"{stage.address()}:25", rate=50, count=20))
    assert dict(reasons(attempts)) == {}
    wait_until(
        lambda: "" if stage.queued() == 20 else f"{stage.queued()} of 20 messages are queued", timeout_s=30
    )
    stage.apply_pool(replicas=2)
    arrivals = of_this_run(stage.wait_drained(attempts), earlier)
    earlier.extend(attempts)
    assert check(attempts, arrivals).ok
    assert {pod.uid for pod in stage.pods("relay")} == before


def test_a_reload_leaves_nothing_that_was_under_way_in_the_queue(
    stage: Stage, earlier: list[Attempt]
) -> None:
    """Postfix puts it off for minimal_backoff_time (60 s), also what has arrived meanwhile."""
    stage.sink_mode(mode="delay", seconds=4)
    attempts, _ = run(stage.kube, Shape(target=f"{stage.address()}:25", rate=50, count=20))
    stage.apply_pool(replicas=2, relay={"postfix": {"smtp_quit_timeout": "2s"}})
    wait_until(lambda: "" if _put_off(stage) else "no delivery was under way at the reload", timeout_s=30)
    stage.sink_mode(mode="accept")
    arrivals = of_this_run(stage.wait_drained(attempts, timeout_s=25), earlier)
    earlier.extend(attempts)
    assert check(attempts, arrivals).ok


def _put_off(stage: Stage) -> bool:
    logs = [stage.kube.run("logs", pod.name, "-n", stage.namespace) for pod in stage.pods("relay")]
    return any("skipped, still being delivered" in log for log in logs)


def test_the_accounting_turns_red_when_one_queue_file_is_deleted(
    stage: Stage, earlier: list[Attempt]
) -> None:
    """The negative control: it must be able to fail, or its green means nothing."""
    stage.sink_mode(mode="tempfail")
    attempts, _ = run(stage.kube, Shape(target=f"{stage.address()}:25", rate=50, count=20))
    wait_until(lambda: "" if stage.queued() == 20 else f"{stage.queued()} messages are queued", timeout_s=30)
    time.sleep(1)  # deliveries under way are deferred now
    victim = next(p for p in stage.pods("relay") if stage.relay_status(p.name)["queue"]["deferred"])
    stage.kube.run(
        "exec", "-n", stage.namespace, victim.name, "--",
        "sh", "-c", "rm $(find /var/spool/smtpfleet/postfix/deferred -type f | head -n 1)",
    )  # fmt: skip
    stage.sink_mode(mode="accept")
    for pod in stage.pods("relay"):
        stage.kube.run(
            "exec", "-n", stage.namespace, pod.name, "--", "postqueue", "-c", "/run/smtpfleet/postfix", "-f"
        )
    arrivals = of_this_run(stage.wait_drained(attempts, timeout_s=60), earlier)
    earlier.extend(attempts)
    verdict = check(attempts, arrivals)
    assert len(verdict.lost) == 1
    assert not verdict.ok
    assert check([a for a in attempts if a.id != verdict.lost[0][0]], arrivals).ok


def _wait_for_table(stage: Stage, field: str, value: object) -> None:
    """Wait until every agent has applied a table in which the field contains the value."""

    def seen() -> str:
        text = stage.kube.get("configmap", "outbound-routing", "-n", stage.namespace)["data"]["routing.json"]
        found = json.loads(text)[field]
        wanted = found == value if not isinstance(value, dict) else value.items() <= found.items()
        if not wanted:
            return f"the table says {field}={found}"
        revision = hashlib.sha256(text.encode()).hexdigest()[:12]
        for pod in stage.pods("relay") + stage.pods("balancer"):
            applied = stage.relay_status(pod.name)["tableRevision"]
            if applied != revision:
                return f"{pod.name} has applied {applied}, not {revision}"
        return ""

    wait_until(seen, timeout_s=30)
