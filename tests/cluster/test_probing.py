"""Probes on a real cluster: a relay that refuses mail goes and returns by itself, and a wrong probe does no harm."""

import re
import signal
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from mailcheck.checker import check
from mailcheck.model import Attempt
from scenario.accounts import of_this_run
from scenario.cluster import Local
from scenario.kube import Object, wait_until
from scenario.load import Load, Shape, run
from scenario.stage import CLUSTER_NETWORKS, ONE_BALANCER, Stage
from smtpfleet.api.names import QUEUE_VOLUME_DIRECTORY
from testbed.handle import ClusterHandle
from testbed.volume_provisioner import SIZED_CLASS
from tests.cluster import relays

RELAYS = 3
SPEC: Object = {
    "replicas": RELAYS,
    "submission": {"trustedNetworks": list(CLUSTER_NETWORKS), "messageSizeLimit": "1Mi"},
    "relay": {"storage": {"size": "64Mi", "storageClassName": SIZED_CLASS}},
    "health": relays.HEALTH,
}
PROBES_ARE_REFUSED = {
    "smtpd_client_restrictions": "check_client_access inline:{{10.0.0.0 = 421 4.3.2 no probes}}"
}
"""Refuses whom the probes claim to be, and nobody else: as a mistaken policy between operator and relays would."""


@pytest.fixture(scope="module")
def stage(local: Local) -> Iterator[Stage]:
    namespace = f"probing-{uuid4().hex[:6]}"
    with Stage(
        kube=local.kube, namespace=namespace, sink_image=local.images["sink"], shape=ONE_BALANCER
    ) as stage:
        stage.pool(**SPEC)
        wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=60)
        yield stage


@pytest.fixture(scope="module")
def earlier() -> list[Attempt]:
    return []


def test_probes_leave_no_trace_in_the_log_of_a_relay(stage: Stage) -> None:
    pod = stage.pods("relay")[0]
    log = stage.kube.run("logs", "-n", stage.namespace, pod.name, "--since=10s")
    assert "[10.0.0.0]" not in log


def test_a_full_volume_ejects_its_relay_which_outlives_the_operator_and_ends_by_itself(
    stage: Stage, earlier: list[Attempt], cluster: ClusterHandle, rate: int
) -> None:
    """No client notices: it gets no connection from the time on when there is room for a few messages only."""
    wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=60)
    victim = sorted(relays.entries(stage))[1]
    claim = f"{stage.namespace}/{victim}"
    with relays.under_load(stage, earlier, seconds=25, rate=rate, errors_at_most=0.0):
        try:
            _fill_but(stage, victim, 2 * 2**20)
            wait_until(lambda: relays.balancers_say(stage, victim, "DRAIN"), timeout_s=20)
            wait_until(lambda: _said(stage, victim, "StorageLow"), timeout_s=20)
            assert relays.condition(stage, "QueueHealthy")["reason"] == "StorageLow"
            cluster.volume("fill", claim)
            wait_until(lambda: relays.in_state(stage, victim, "Ejected"), timeout_s=40)
            out = relays.entries(stage)[victim]
            assert (out["reason"], out["weight"], out["ejections"]) == ("SenderRefused", 0, 1)
            assert re.match(r"answer to MAIL: 452 4\.3\.1 ", out["message"])
            assert relays.weights(stage)[victim] == 0
            wait_until(lambda: relays.balancers_weigh(stage, victim, 0), timeout_s=20)
            assert relays.condition(stage, "ProbesHealthy")["reason"] == "RelaysEjected"
            assert relays.condition(stage, "Available")["status"] == "True"
            assert victim in relays.condition(stage, "Ready")["message"]
            assert ("Warning", "SenderRefused") in relays.events(stage, victim)
            before = relays.kill_the_leader(stage)
            wait_until(lambda: relays.another_leads(stage, before), timeout_s=60)
            time.sleep(6)  # one interval: the new operator has probed and judged every relay
            assert relays.entries(stage)[victim] == out | {"backlog": relays.entries(stage)[victim]["backlog"],
                                                     "deferred": relays.entries(stage)[victim]["deferred"]}  # fmt: skip
        finally:
            cluster.volume("free", claim)
            relays.execute(stage, victim, "rm", "-f", f"{QUEUE_VOLUME_DIRECTORY}/filler")
        wait_until(lambda: relays.in_state(stage, victim, "SlowStart"), timeout_s=40)
        assert relays.weights(stage)[victim] < 100
        wait_until(lambda: relays.in_state(stage, victim, "Serving"), timeout_s=40)
        assert relays.weights(stage)[victim] == 100
    assert {("Warning", "StorageLow"), ("Normal", "Readmitted")} <= relays.events(stage, victim)
    assert relays.condition(stage, "QueueHealthy")["status"] == "True"


@pytest.mark.thorough(
    "that some relay takes every connection, whatever the checks say, is tested with HAProxy"
)
def test_relays_that_are_all_nearly_full_take_mail_nevertheless(
    stage: Stage, earlier: list[Attempt], rate: int
) -> None:
    names = sorted(relays.entries(stage))
    try:
        for name in names:
            _fill_but(stage, name, 2 * 2**20)
        wait_until(
            lambda: "".join(relays.balancers_say(stage, name, "DRAIN") for name in names), timeout_s=30
        )
        wait_until(lambda: "".join(_said(stage, name, "StorageLow") for name in names), timeout_s=30)
        with relays.under_load(stage, earlier, seconds=3, rate=rate, errors_at_most=0.0):
            assert relays.condition(stage, "Available")["status"] == "True"
    finally:
        for name in names:
            relays.execute(stage, name, "rm", "-f", f"{QUEUE_VOLUME_DIRECTORY}/filler")
    wait_until(lambda: "".join(relays.balancers_say(stage, name, "UP") for name in names), timeout_s=30)


def _fill_but(stage: Stage, relay: str, left_bytes: int) -> None:
    """Leave so much room on a relay's volume; Postfix refuses mail below 1.5 times the size limit of messages."""
    script = 'fallocate -l $(($(df -B1 --output=avail "$0" | tail -n1) - $1)) "$0/filler"'
    relays.execute(stage, relay, "sh", "-c", script, QUEUE_VOLUME_DIRECTORY, str(left_bytes))


def _said(stage: Stage, relay: str, reason: str) -> str:
    entry = relays.entries(stage)[relay]
    return "" if entry["reason"] == reason else f"{entry}"


@pytest.mark.thorough("test_domain_assessment.py has every number of relays that fail")
def test_probes_that_fail_everywhere_change_nothing_and_the_condition_says_why(
    stage: Stage, earlier: list[Attempt], rate: int
) -> None:
    wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=60)
    with relays.under_load(stage, earlier, seconds=20, rate=rate):
        relay = SPEC["relay"] | {"postfix": PROBES_ARE_REFUSED}
        stage.apply_pool(**(SPEC | {"relay": relay}))

        def seen() -> str:
            found = relays.condition(stage, "ProbesHealthy")
            told = found["status"] == "False" and f"{RELAYS} of {RELAYS} relays look bad" in found["message"]
            return "" if told else f"{found}"

        wait_until(seen, timeout_s=40)
        found = relays.condition(stage, "ProbesHealthy")
        assert found["reason"] == "TooManyUnhealthy"
        assert "421 4.3.2" in found["message"]
        time.sleep(9)  # two intervals more: nobody goes later either
        assert {entry["state"] for entry in relays.entries(stage).values()} == {"Serving"}
        assert set(relays.weights(stage).values()) == {100}
        assert relays.condition(stage, "Ready")["status"] == "True"
        stage.apply_pool(**SPEC)
        wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=40)
        assert relays.condition(stage, "ProbesHealthy")["status"] == "True"


def test_a_queue_manager_that_stands_still_ejects_its_relay_though_every_probe_passes(
    stage: Stage, earlier: list[Attempt], rate: int
) -> None:
    wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=60)
    victim = sorted(relays.entries(stage))[2]
    with relays.under_load(stage, earlier, seconds=20, rate=rate):
        assert relays.signal_program(stage, victim, "qmgr", signal.SIGSTOP)
        try:
            wait_until(lambda: relays.in_state(stage, victim, "Ejected"), timeout_s=60)
            out = relays.entries(stage)[victim]
            assert out["reason"] in {"CanaryLate", "QueueStuck"}
            assert relays.blamed(stage, "Canary") | relays.blamed(stage, "Queue") == {victim}
            assert ("Warning", out["reason"]) in relays.events(stage, victim)
        finally:
            assert relays.signal_program(stage, victim, "qmgr", signal.SIGCONT)
        wait_until(lambda: relays.in_state(stage, victim, "Serving"), timeout_s=60)
    log = stage.kube.run(
        "logs", "-n", stage.namespace, next(p.name for p in stage.pods("relay") if p.relay == victim)
    )
    assert "canary" not in log


def test_a_banner_that_takes_two_seconds_lowers_the_weight_and_ejects_nobody(
    stage: Stage, earlier: list[Attempt], rate: int
) -> None:
    wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=60)
    victim = sorted(relays.entries(stage))[0]
    with relays.under_load(stage, earlier, seconds=12, rate=rate):
        try:
            relays.execute(stage, victim, "postconf", "-e", "smtpd_client_restrictions=sleep 2")
            relays.execute(stage, victim, "postfix", "reload")
            wait_until(lambda: relays.in_state(stage, victim, "Degraded"), timeout_s=40)
            assert relays.entries(stage)[victim]["reason"] == "ProbeSlow"
            assert "mostly for the banner" in relays.entries(stage)[victim]["message"]
            assert relays.weights(stage) == dict.fromkeys(relays.weights(stage), 100) | {victim: 50}
            wait_until(lambda: relays.balancers_weigh(stage, victim, 50), timeout_s=20)
            assert relays.condition(stage, "Ready")["status"] == "True"
        finally:
            relays.execute(stage, victim, "postconf", "-X", "smtpd_client_restrictions")
            relays.execute(stage, victim, "postfix", "reload")
        wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=40)
    assert set(relays.weights(stage).values()) == {100}


def _waits(stage: Stage, relay: str) -> str:
    pod = next(pod for pod in stage.pods("relay") if pod.relay == relay)
    queue = stage.relay_status(pod.name)["queue"]
    return "" if queue["deferred"] and not queue["active"] + queue["incoming"] else f"{queue}"


def test_a_relay_that_stays_bad_is_restarted_and_then_replaced_and_its_queue_handed_over(
    stage: Stage, earlier: list[Attempt], rate: int
) -> None:
    stage.apply_pool(**(SPEC | {"health": relays.HEALTH | {"replaceAfter": "15s"}}))
    wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=120)
    victim = sorted(relays.entries(stage))[1]
    pod = next(pod for pod in stage.pods("relay") if pod.relay == victim)
    stage.sink_mode(mode="tempfail", client=pod.address)
    waiting, _ = run(stage.kube, Shape(target=f"{stage.address()}:25", rate=rate, count=rate))
    wait_until(lambda: _waits(stage, victim), timeout_s=60)
    relays.break_for_good(stage, victim)
    wait_until(lambda: relays.in_state(stage, victim, "Ejected"), timeout_s=60)
    load = Load.start(stage.kube, Shape(target=f"{stage.address()}:25", rate=rate, count=30 * rate))
    try:
        wait_until(lambda: relays.restarted(stage, victim, pod.uid), timeout_s=120)
        stage.sink_mode(mode="accept")
        relays.break_for_good(stage, victim)
        assert victim in relays.entries(stage)
        wait_until(lambda: relays.replaced(stage, victim, RELAYS), timeout_s=180)
    finally:
        attempts = [*waiting, *load.finish()]
    verdict = check(attempts, of_this_run(stage.wait_drained(attempts), earlier))
    assert verdict.ok, f"lost {verdict.lost[:5]}, unexpected {verdict.unexpected[:5]}"
    assert {reason for _, reason in relays.events(stage, victim)} >= {"Restarting", "Replacing", "Removed"}
    assert sorted(relays.entries(stage)) == [f"outbound-relay-{number}" for number in (0, 2, 3)]
