"""The operator is killed in every state of a relay, under load: its successor goes on where it was.

No time begins anew, no ejection is counted twice, and nothing that was decided is done once more.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest

from mailcheck.model import Attempt
from scenario.cluster import Local
from scenario.kube import Object, wait_until
from scenario.stage import Stage
from tests.cluster import relays

RELAYS = 3
INTERVAL_S = 4
STEP_S = 30
"""Load in each state."""
HEALTH = relays.HEALTH | {"ejectionTime": "15s", "slowStart": "90s", "replaceAfter": "90s"}
"""A slow start outlasts the change of the operator."""
REMEMBERED = ("state", "reason", "since", "ejections", "readmitted", "outage", "share")


@pytest.fixture(scope="module")
def stage(local: Local) -> Iterator[Stage]:
    namespace = f"successor-{uuid4().hex[:6]}"
    with Stage(kube=local.kube, namespace=namespace, sink_image=local.images["sink"]) as stage:
        stage.pool(replicas=RELAYS, health=HEALTH)
        wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=90)
        yield stage


@pytest.fixture(scope="module")
def earlier() -> list[Attempt]:
    return []


def _remembered(stage: Stage, relay: str) -> Object:
    entry = relays.entries(stage)[relay]
    return {name: entry.get(name) for name in REMEMBERED}


def _kill_the_operator(stage: Stage) -> None:
    """And wait until its successor has probed and judged every relay."""
    before = relays.kill_the_leader(stage)
    wait_until(lambda: relays.another_leads(stage, before), timeout_s=60)
    time.sleep(1.5 * INTERVAL_S)


@contextmanager
def _operator_killed(stage: Stage, earlier: list[Attempt], relay: str, rate: int) -> Iterator[Object]:
    """Kill it under load, and insist that all stands as before; what is done to the relay goes on meanwhile."""
    before = _remembered(stage, relay)
    others = [{name: entry["ejections"] for name, entry in relays.entries(stage).items() if name != relay}]
    with relays.under_load(stage, earlier, seconds=STEP_S, rate=rate):
        _kill_the_operator(stage)
        assert _remembered(stage, relay) == before
        yield before
    others.append(
        {name: entry["ejections"] for name, entry in relays.entries(stage).items() if name != relay}
    )
    assert others[0] == others[1]


def _pod(stage: Stage, relay: str) -> str:
    return next(pod.uid for pod in stage.pods("relay") if pod.relay == relay and pod.ready)


def _decided(stage: Stage, relay: str, what: str) -> str:
    """Empty once this was decided about the relay."""
    entry = relays.entries(stage)[relay]
    return "" if (entry.get("outage") or {}).get(what) else f"{entry}"


def _told(stage: Stage, relay: str, reason: str) -> int:
    """How many Events of this reason tell of a relay; that of an operator that is killed at that moment is missing."""
    found = stage.kube.items("events.events.k8s.io", "-n", stage.namespace)
    return sum(event["reason"] == reason and relay in event.get("note", "") for event in found)


@pytest.mark.thorough("test_probing.py kills it while a relay is ejected")
def test_a_relay_that_gets_half_of_the_mail_still_does(
    stage: Stage, earlier: list[Attempt], rate: int
) -> None:
    victim = sorted(relays.entries(stage))[0]
    try:
        relays.execute(stage, victim, "postconf", "-e", "smtpd_client_restrictions=sleep 2")
        relays.execute(stage, victim, "postfix", "reload")
        wait_until(lambda: relays.in_state(stage, victim, "Degraded"), timeout_s=60)
        with _operator_killed(stage, earlier, victim, rate) as before:
            assert before["reason"] == "ProbeSlow"
            assert relays.weights(stage)[victim] == 50
    finally:
        relays.execute(stage, victim, "postconf", "-X", "smtpd_client_restrictions")
        relays.execute(stage, victim, "postfix", "reload")
    wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=60)


@pytest.mark.thorough("test_probing.py kills it while a relay is ejected")
def test_a_relay_that_a_person_drains_still_drains(stage: Stage, earlier: list[Attempt], rate: int) -> None:
    victim = sorted(relays.entries(stage))[0]
    annotate = ("annotate", "deployment", victim, "-n", stage.namespace)
    stage.kube.run(*annotate, "smtpfleet.io/drain=true")
    try:
        wait_until(lambda: relays.in_state(stage, victim, "Draining"), timeout_s=60)
        with _operator_killed(stage, earlier, victim, rate):
            assert relays.weights(stage)[victim] == 0
    finally:
        stage.kube.run(*annotate, "smtpfleet.io/drain-")
    wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=90)


@pytest.mark.thorough("test_probing.py kills it while a relay is ejected")
def test_a_relay_that_is_ejected_returns_restarted_and_replaced_goes_through_each_once(
    stage: Stage, earlier: list[Attempt], rate: int
) -> None:
    victim = sorted(relays.entries(stage))[1]
    relays.break_for_good(stage, victim)
    wait_until(lambda: relays.in_state(stage, victim, "Ejected"), timeout_s=60)
    with _operator_killed(stage, earlier, victim, rate) as ejected:
        assert (ejected["ejections"], relays.weights(stage)[victim]) == (1, 0)
    relays.mend(stage, victim)
    wait_until(lambda: relays.in_state(stage, victim, "SlowStart"), timeout_s=60)
    with _operator_killed(stage, earlier, victim, rate) as returning:
        assert returning["outage"] == ejected["outage"]
        assert 25 <= relays.weights(stage)[victim] < 100
    first = _pod(stage, victim)
    relays.break_for_good(stage, victim)
    wait_until(lambda: relays.in_state(stage, victim, "Ejected"), timeout_s=60)
    assert relays.entries(stage)[victim]["ejections"] == 2
    wait_until(lambda: _decided(stage, victim, "restarted"), timeout_s=180)
    with relays.under_load(stage, earlier, seconds=STEP_S, rate=rate):
        restarted = _remembered(stage, victim)["outage"]
        _kill_the_operator(stage)
        wait_until(lambda: relays.restarted(stage, victim, first), timeout_s=60)
        assert _remembered(stage, victim)["outage"] == restarted
    second = _pod(stage, victim)
    relays.break_for_good(stage, victim)
    wait_until(lambda: _decided(stage, victim, "replaced"), timeout_s=240)
    with relays.under_load(stage, earlier, seconds=STEP_S, rate=rate):
        _kill_the_operator(stage)
        assert {pod.uid for pod in stage.pods("relay") if pod.relay == victim} <= {second}
    wait_until(lambda: relays.replaced(stage, victim, RELAYS), timeout_s=180)
    assert sorted(relays.entries(stage)) == [f"outbound-relay-{number}" for number in (0, 2, 3)]
    assert all(_told(stage, victim, reason) <= 1 for reason in ("Restarting", "Replacing"))
