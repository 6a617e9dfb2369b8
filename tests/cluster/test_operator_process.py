"""The operator as a process on a real cluster: killed, stopped, cut off, absent."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from scenario.cluster import Local
from scenario.kube import Object, wait_until
from testbed.handle import ClusterHandle
from tests.cluster.operators import Process, Space, no_operator, space

PORTS = iter(range(28101, 28200))


@pytest.fixture(scope="module")
def quiet(local: Local) -> Iterator[Local]:
    """The cluster while the operator of the chart does not run: these tests bring their own."""
    with no_operator(local.kube):
        yield local


@pytest.fixture(scope="module")
def mail(quiet: Local) -> Iterator[Space]:
    """A namespace, and what earlier tests left in it."""
    with space(quiet.kube, f"process-{uuid4().hex[:6]}") as found:
        yield found


def _want_pool(mail: Space, name: str = "outbound", **spec: Any) -> None:
    """A pool of one relay that is ready; an operator must be running."""
    mail.apply_pool(name, replicas=1, balancing={"replicas": 1}, **spec)
    mail.wait_ready(name)


def _process(local: Local, mail: Space, logs: Path, name: str) -> Process:
    return Process(local, mail.namespace, name, logs / f"{name}.log", next(PORTS))


def _budget_is_back(mail: Space) -> str:
    return "" if mail.find("poddisruptionbudget", "outbound-relay") else "the budget is missing"


def test_another_operator_takes_over_and_goes_on_where_the_one_before_ended(
    quiet: Local, mail: Space, tmp_path: Path
) -> None:
    with ExitStack() as processes:
        leader = processes.enter_context(_process(quiet, mail, tmp_path, "first"))
        leader.wait_leading()
        _want_pool(mail)
        for name, number, code in (
            ("second", signal.SIGKILL, -signal.SIGKILL),
            ("third", signal.SIGTERM, 0),
        ):
            standby = processes.enter_context(_process(quiet, mail, tmp_path, name))
            wait_until(partial(_is_healthy, standby), timeout_s=60)
            versions = mail.versions()
            leader.signal(number)
            assert leader.wait() == code
            standby.wait_leading()
            mail.run("delete", "poddisruptionbudget", "outbound-relay")
            wait_until(lambda: _budget_is_back(mail), timeout_s=60)
            changed = {name for name, version in mail.versions().items() if versions.get(name) != version}
            assert changed <= {"PodDisruptionBudget/outbound-relay", "SmtpPool/outbound"}
            leader = standby


def _is_healthy(process: Process) -> str:
    if not process.says("starting"):
        return "it has not started"
    return "" if process.ask("/healthz") == "ok\n" else "it is not healthy"


def test_an_operator_that_was_stopped_for_long_ends_without_having_written_anything(
    quiet: Local, mail: Space, tmp_path: Path
) -> None:
    """The lease has run out while it slept: it must not act on what it believed before."""
    first, second = (_process(quiet, mail, tmp_path, name) for name in ("first", "second"))
    with first, second:
        wait_until(lambda: "" if first.leads() or second.leads() else "nobody leads", timeout_s=60)
        leader, other = (first, second) if first.leads() else (second, first)
        _want_pool(mail)
        leader.signal(signal.SIGSTOP)
        other.wait_leading()
        mail.run("scale", "smtppool", "outbound", "--replicas=2")
        mail.wait_ready()
        wait_until(
            mail.rests, timeout_s=90
        )  # what is written from here on would be written by the one that was stopped
        versions = mail.versions()
        leader.signal(signal.SIGCONT)
        assert leader.wait() == 1
        assert mail.versions() == versions
        assert other.running


@pytest.mark.thorough("test_faults.py stops it for ten seconds, test_controller_election.py for any time")
def test_an_api_server_that_is_away_for_half_a_minute_restarts_no_operator(
    quiet: Local, cluster: ClusterHandle, mail: Space, tmp_path: Path
) -> None:
    operator = _process(quiet, mail, tmp_path, "only")
    with operator:
        operator.wait_leading()
        _want_pool(mail)
        cluster.api_server("pause")
        try:
            time.sleep(30)  # the outage itself
            assert operator.ask("/healthz") == "ok\n"
        finally:
            cluster.api_server("resume")
        wait_until(lambda: "" if operator.says("leading again") else "does not lead again", timeout_s=60)
        mail.run("delete", "poddisruptionbudget", "outbound-relay")
        wait_until(lambda: _budget_is_back(mail), timeout_s=90)
        cluster.api_server("pause")
        try:
            operator.signal(signal.SIGTERM)
            assert operator.wait() == 0
        finally:
            cluster.api_server("resume")


def test_deleting_a_pool_ends_while_no_operator_runs_and_the_next_pool_finds_the_queues(
    quiet: Local, mail: Space, tmp_path: Path
) -> None:
    with _process(quiet, mail, tmp_path, "only") as operator:
        operator.wait_leading()
        _want_pool(mail, "kept")
        mail.run("scale", "smtppool", "kept", "--replicas=2")
        mail.wait_ready("kept")
        claims = _claims(mail, "kept")
        operator.signal(signal.SIGTERM)
        assert operator.wait() == 0
    mail.run("delete", "smtppool", "kept", "--timeout=30s")
    wait_until(lambda: _only_claims_are_left(mail, "kept"), timeout_s=90)
    assert _claims(mail, "kept") == claims
    with _process(quiet, mail, tmp_path, "later") as later:
        later.wait_leading()
        _want_pool(mail, "kept")
        wait_until(lambda: "" if len(_claims(mail, "kept")) == 1 else "claims are left", timeout_s=90)
        assert _claims(mail, "kept").items() <= claims.items()
        mail.run("delete", "smtppool", "kept")


@pytest.mark.thorough("test_deletion.py ends with a pool that is deleted with its volumes")
def test_with_the_policy_delete_the_queues_go_with_the_pool_and_the_next_one_waits_for_that(
    quiet: Local, mail: Space, tmp_path: Path
) -> None:
    with _process(quiet, mail, tmp_path, "only") as operator:
        operator.wait_leading()
        _want_pool(mail, "dropped", deletionPolicy="Delete")
        claims = _claims(mail, "dropped")
        mail.run("delete", "smtppool", "dropped", "--timeout=30s")
        _want_pool(mail, "dropped", deletionPolicy="Delete")
        assert not claims.items() & _claims(mail, "dropped").items()
        assert operator.says("unexpected") == []
    mail.run("delete", "smtppool", "dropped", "--timeout=30s")
    wait_until(lambda: "" if not _claims(mail, "dropped") else "claims are left", timeout_s=90)
    wait_until(lambda: _only_claims_are_left(mail, "dropped"), timeout_s=90)


def _claims(mail: Space, pool: str) -> dict[str, str]:
    found = mail.kube.items("persistentvolumeclaims", "-n", mail.namespace, "-l", f"smtpfleet.io/pool={pool}")
    return {claim["metadata"]["name"]: claim["metadata"]["uid"] for claim in found}


def _only_claims_are_left(mail: Space, pool: str) -> str:
    found = mail.kube.items(",".join(_GOING), "-n", mail.namespace, "-l", f"smtpfleet.io/pool={pool}")
    left = [f"{thing['kind']} {thing['metadata']['name']}" for thing in found]
    return f"left: {left}" if left else ""


_GOING = (
    "pods", "deployments", "services", "configmaps", "serviceaccounts", "roles", "rolebindings",
    "poddisruptionbudgets", "networkpolicies",
)  # fmt: skip


def test_a_definition_that_comes_after_the_operator_is_waited_for(
    quiet: Local, mail: Space, tmp_path: Path
) -> None:
    """Installed in the wrong order, or deleted and installed again: nobody has to restart anything."""
    # Deleting the definition deletes every pool of the cluster: only our own may be there.
    mail.run("delete", "smtppool", "--all")
    wait_until(lambda: _pools_of_others(quiet), timeout_s=120)
    definition = quiet.kube.get("crd", "smtppools.smtpfleet.io")
    for chosen_by_the_server in (
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "managedFields",
    ):
        definition["metadata"].pop(chosen_by_the_server, None)
    definition.pop("status")
    with _process(quiet, mail, tmp_path, "only") as operator:
        operator.wait_leading()
        quiet.kube.run("delete", "crd", "smtppools.smtpfleet.io", "--timeout=60s")
        try:
            wait_until(lambda: _misses_definition(operator), timeout_s=120)
        finally:
            quiet.kube.apply(definition)
        quiet.kube.run("wait", "crd/smtppools.smtpfleet.io", "--for=condition=Established", "--timeout=60s")
        _want_pool(mail)
        assert operator.running


def _pools_of_others(local: Local) -> str:
    found = local.kube.items("smtppools", "--all-namespaces")
    return f"{[pool['metadata'] for pool in found]} are still there" if found else ""


def _misses_definition(operator: Process) -> str:
    message = "the cluster does not know SmtpPool: its definition (crds/) is to be installed"
    return "" if operator.says(message) else "has not noticed"


@pytest.mark.thorough("make bench measures it")
def test_many_pools_fit_into_the_memory_that_was_promised(quiet: Local, mail: Space, tmp_path: Path) -> None:
    with _process(quiet, mail, tmp_path, "only") as operator:
        operator.wait_leading()
        for number in range(6):
            mail.kube.apply(_unschedulable(mail, f"pool-{number}"))
        for number in range(6):
            mail.wait_condition("Available", "False", name=f"pool-{number}")
        assert operator.resident_mb() < 150
        assert operator.ask("/healthz") == "ok\n"
        assert 'smtpfleet_operator_relays{namespace="' in operator.ask("/metrics")


def _unschedulable(mail: Space, name: str) -> Object:
    """A pool whose pods never run: it costs the operator what any other costs, and the machine nothing."""
    nowhere = {"nodeSelector": {"no": "where"}}
    return mail.manifest(name, replicas=4, relay=nowhere, balancing={"replicas": 1})
