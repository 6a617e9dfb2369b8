"""The relays of a pool as its status, its balancers and its pods show them, and mail that passes meanwhile."""

import json
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from mailcheck.checker import check
from mailcheck.model import Attempt
from mailcheck.timeline import reasons
from scenario import faults
from scenario.accounts import of_this_run
from scenario.cluster import OPERATOR_NAMESPACE
from scenario.kube import Object
from scenario.load import Load, Shape
from scenario.stage import Stage
from tests.cluster.operators import Space

HEALTH = {
    "interval": "4s",
    "timeout": "3s",
    "unhealthyThreshold": 2,
    "healthyThreshold": 1,
    "ejectionTime": "10s",
    "canaryInterval": "8s",
    "slowStart": "6s",
}
"""Short times, but none that a busy machine exceeds. A probe takes 2 s in one of the tests."""


MOST_S = 600
"""Seconds after which mail ends, whatever a test still does."""
_BREAK = """
set -- smtpd_client_restrictions=defer
rm -f /tmp/mended
while sleep 1 && [ ! -e /tmp/mended ]; do
  [ "$(postconf -h smtpd_client_restrictions)" = defer ] || { postconf -e "$1"; postfix reload; }
done
"""
"""Refuses all mail, also after the agent has written the configuration anew."""


@contextmanager
def under_load(
    stage: Stage, earlier: list[Attempt], *, seconds: float, rate: int, errors_at_most: float = 0.02
) -> Iterator[None]:
    """Mail all the time, and for so long at least; afterwards nothing of it may be missing.

    ``errors_at_most``: share that clients may notice.
    """
    count = int(rate * MOST_S)
    load = Load.start(stage.kube, Shape(target=f"{stage.address()}:25", rate=rate, count=count))
    try:
        yield
        load.last(seconds)
    finally:
        attempts = load.enough()
        known = list(earlier)
        earlier.extend(attempts)  # whatever comes of them: they are no later test's
    arrivals = of_this_run(stage.wait_drained(attempts), known)
    assert check(attempts, arrivals).ok
    errors = [attempt for attempt in attempts if not attempt.acknowledged]
    assert len(errors) <= len(attempts) * errors_at_most, dict(reasons(attempts))


def entries(stage: Stage) -> dict[str, Object]:
    """The relays of the status, by name."""
    return Space(stage.kube, stage.namespace).entries()


def condition(stage: Stage, kind: str) -> Object:
    """A condition of the pool; empty if it is not there."""
    return Space(stage.kube, stage.namespace).condition(kind)


def all_are(stage: Stage, state: str, reason: str) -> str:
    """Empty once all relays are in this state for this reason."""
    found = entries(stage)
    wrong = {name: e for name, e in found.items() if (e["state"], e["reason"]) != (state, reason)}
    return f"{wrong}" if wrong or not found else ""


def blamed(stage: Stage, word: str) -> set[str]:
    """Names of the relays of which something is told that begins with this word.

    What a test does to one relay is told of no other; that a probe was slow on a busy machine may be.
    """
    return {name for name, entry in entries(stage).items() if entry["reason"].startswith(word)}


def in_state(stage: Stage, relay: str, state: str) -> str:
    """Empty once the relay is in this state."""
    entry = entries(stage)[relay]
    return "" if entry["state"] == state else f"{entry}"


def weights(stage: Stage) -> dict[str, int]:
    """As the agents read them."""
    data = stage.kube.get("configmap", "outbound-routing", "-n", stage.namespace)["data"]
    return {relay["name"]: relay["weight"] for relay in json.loads(data["routing.json"])["relays"]}


def balancers_weigh(stage: Stage, relay: str, weight: int) -> str:
    """Empty once every balancer's HAProxy has this weight."""
    for pod in stage.pods("balancer"):
        servers = {server["name"]: server for server in stage.balancer_status(pod.name)["servers"]}
        if servers[relay]["weight"] != weight:
            return f"{pod.name}: {servers[relay]}"
    return ""


def balancers_say(stage: Stage, relay: str, state: str) -> str:
    """Empty once every balancer's HAProxy has the relay in a state that begins so."""
    for pod in stage.pods("balancer"):
        servers = {server["name"]: server for server in stage.balancer_status(pod.name)["servers"]}
        if not servers[relay]["state"].startswith(state):
            return f"{pod.name}: {servers[relay]}"
    return ""


def execute(stage: Stage, relay: str, *command: str) -> str:
    """Run a program in a relay's container; returns what it printed."""
    pod = next(pod for pod in stage.pods("relay") if pod.relay == relay)
    return stage.kube.run("exec", "-n", stage.namespace, pod.name, "--", *command)


def configure(stage: Stage, relay: str, parameter: str, value: str) -> None:
    """Set a parameter of one relay's Postfix alone; it holds until its agent writes the configuration anew."""
    execute(stage, relay, "postconf", "-e", f"{parameter}={value}")
    execute(stage, relay, "postfix", "reload")


def configure_all(stage: Stage, relays: Sequence[str], parameter: str, value: str) -> None:
    """The same of several, as nearly at once as can be: before a probe could tell them apart."""
    for relay in relays:
        execute(stage, relay, "postconf", "-e", f"{parameter}={value}")
    with ThreadPoolExecutor(len(relays)) as threads:
        done = [threads.submit(execute, stage, relay, "postfix", "reload") for relay in relays]
    for reload in done:
        reload.result()


def break_for_good(stage: Stage, relay: str) -> None:
    """Let a relay refuse all mail until :func:`mend`, or until its pod ends."""
    execute(stage, relay, "sh", "-c", f"({_BREAK}) >/dev/null 2>&1 &")


def mend(stage: Stage, relay: str) -> None:
    """Undo :func:`break_for_good`."""
    execute(stage, relay, "sh", "-c", "touch /tmp/mended; sleep 2")
    execute(stage, relay, "postconf", "-X", "smtpd_client_restrictions")
    execute(stage, relay, "postfix", "reload")


def restarted(stage: Stage, relay: str, before: str) -> str:
    """Empty once another pod of the relay than the one of this uid is ready."""
    pods = [pod for pod in stage.pods("relay") if pod.relay == relay]
    entry = entries(stage).get(relay, {})
    return "" if any(pod.ready and pod.uid != before for pod in pods) else f"{pods} {entry}"


def replaced(stage: Stage, relay: str, count: int) -> str:
    """Empty once the relay is gone with its claim, and so many others serve."""
    claims, found = Space(stage.kube, stage.namespace).names("persistentvolumeclaims"), entries(stage)
    ready = condition(stage, "Ready")["status"] == "True"
    return "" if relay not in claims and len(found) == count and ready else f"{claims} {found}"


def signal_program(stage: Stage, relay: str, program: str, number: signal.Signals) -> int:
    """To the processes of one program of a relay alone; returns how many there were."""
    pod = next(pod for pod in stage.pods("relay") if pod.relay == relay)
    container = faults.find_container(stage.kube, namespace=stage.namespace, pod=pod.name, container="relay")
    return faults.signal_program(container, program, number)


def address(stage: Stage, relay: str) -> str:
    """The address of a relay's pod."""
    return next(pod.address for pod in stage.pods("relay") if pod.relay == relay)


def events(stage: Stage, relay: str) -> set[tuple[str, str]]:
    """Type and reason of the Events that name a relay."""
    found = stage.kube.items("events.events.k8s.io", "-n", stage.namespace)
    return {(event["type"], event["reason"]) for event in found if relay in event.get("note", "")}


def kill_the_leader(stage: Stage) -> str:
    """SIGKILL the operator at work; returns whom the Lease named."""
    lease = stage.kube.get("lease", "smtpfleet", "-n", OPERATOR_NAMESPACE)
    holder = str(lease["spec"]["holderIdentity"])
    pod = holder.rpartition("_")[0]
    faults.kill(
        faults.find_container(stage.kube, namespace=OPERATOR_NAMESPACE, pod=pod, container="operator")
    )
    return holder


def another_leads(stage: Stage, before: str) -> str:
    """Empty once the Lease names another operator."""
    lease = stage.kube.get("lease", "smtpfleet", "-n", OPERATOR_NAMESPACE)
    holder = lease["spec"].get("holderIdentity") or ""
    return "" if holder and holder != before else f"the lease names {holder!r}"
