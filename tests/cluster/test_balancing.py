"""Balancing on a real cluster: the methods, an outer balancer, limits, backups, and the Service of every type.

The test is the outer balancer: it tells any client address it likes.
"""

import json
import struct
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from mailcheck.checker import check
from mailcheck.model import Attempt as Sent
from scenario.accounts import of_this_run
from scenario.cluster import Local
from scenario.connections import Connection, Plan, addresses, connect, relays_of
from scenario.conversation import Conversation, hold, line
from scenario.conversation import Step as Said
from scenario.kube import Object, wait_until
from scenario.load import Load, Shape
from scenario.stage import CLUSTER_NETWORKS, Stage
from tests.cluster.attempts import Answer, Attempt, try_all

TRUSTED = "192.0.2.0/24"
CLIENT = "192.0.2.9"
WEIGHTS = {"outbound-relay-0": 100, "outbound-relay-1": 50, "outbound-relay-2": 10}
GOLDENS = Path(__file__).parents[1] / "unit" / "balancer" / "golden"
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


@pytest.fixture(scope="module")
def stage(local: Local) -> Iterator[Stage]:
    with Stage(
        kube=local.kube, namespace=f"balancing-{uuid4().hex[:6]}", sink_image=local.images["sink"]
    ) as stage:
        stage.pool(**_spec(stage))
        yield stage


def _spec(stage: Stage, *, submission: dict[str, Any] | None = None, **balancing: Any) -> dict[str, Any]:
    given = {"acceptProxyProtocol": True, "proxyProtocolSources": list(CLUSTER_NETWORKS)} | balancing
    return {
        "replicas": 3,
        "submission": {"trustedNetworks": [TRUSTED], "allowedSenderDomains": [], **(submission or {})},
        "balancing": given,
    }


def _change(stage: Stage, **fields: Any) -> None:
    """Change the pool and wait until every agent of it works by the new table."""
    stage.apply_pool(**_spec(stage, **fields))
    stage.wait_ready()

    def seen() -> str:
        table = stage.kube.get("configmap", "outbound-routing", "-n", stage.namespace)["data"]["routing.json"]
        found = json.loads(table)
        method = fields.get("method", "LeastConnections")
        sources = fields.get("proxyProtocolSources", list(CLUSTER_NETWORKS))
        if found["method"] != method or found["balancing"]["proxyProtocolSources"] != sources:
            return "the table is an old one"
        revisions = {stage.relay_status(pod.name)["tableRevision"] for pod in stage.pods("relay")}
        revisions |= {stage.balancer_status(pod.name)["tableRevision"] for pod in stage.pods("balancer")}
        return "" if len(revisions) == 1 else f"agents work by {revisions}"

    wait_until(seen, timeout_s=30)


def _target(stage: Stage, port: int = 25) -> str:
    return f"{stage.address()}:{port}"


def _connect(stage: Stage, clients: Sequence[str], **plan: Any) -> list[Connection]:
    return connect(stage.kube, Plan(target=_target(stage), clients=clients, **plan))


def _annotate(stage: Stage, relay: str, *annotations: str) -> None:
    stage.kube.run("annotate", "deployment", relay, "-n", stage.namespace, "--overwrite", *annotations)


def _wait_weights(stage: Stage, weights: dict[str, int]) -> None:
    def seen() -> str:
        for pod in stage.pods("balancer"):
            found = {
                s["name"]: s["weight"] if s["state"].startswith("UP") else 0
                for s in stage.balancer_status(pod.name)["servers"]
            }
            if found != weights:
                return f"{pod.name} weighs {found}"
        return ""

    wait_until(seen, timeout_s=30)


def test_haproxy_takes_every_configuration_of_the_golden_files(stage: Stage) -> None:
    """In a balancer's pod, which has the scripts and the environment."""
    texts = {golden.name: golden.read_text() for golden in sorted(GOLDENS.glob("*.cfg"))}
    script = (
        "import json,pathlib,subprocess,sys\n"
        "at=pathlib.Path('/run/smtpfleet/golden.cfg')\n"
        "for name,text in json.load(sys.stdin).items():\n"
        " at.write_text(text)\n"
        " done=subprocess.run(['haproxy','-c','-f',str(at)],capture_output=True,text=True)\n"
        " print(name,done.returncode,done.stdout,done.stderr)\n"
        "at.unlink()"
    )
    said = stage.kube.run(
        "exec", "-i", "-n", stage.namespace, stage.pods("balancer")[0].name, "-c", "haproxy", "--",
        "python3", "-c", script, stdin=json.dumps(texts),
    )  # fmt: skip
    assert [name for name in texts if f"{name} 0 " not in said] == [], said
    assert "WARNING" not in said


def test_round_robin_splits_by_weight(stage: Stage) -> None:
    for relay, weight in WEIGHTS.items():
        _annotate(stage, relay, f"smtpfleet.io/weight={weight}")
    _change(stage, method="RoundRobin")
    _wait_weights(stage, WEIGHTS)
    found = Counter(connection.relay for connection in _connect(stage, [CLIENT] * 640))
    # Each of the four HAProxys has its own turn, which is exact to a connection or two.
    expected = {relay: 640 * weight / 160 for relay, weight in WEIGHTS.items()}
    assert found.total() == 640
    assert {relay: found[relay] for relay in WEIGHTS} == pytest.approx(expected, abs=10)


def test_a_client_address_keeps_its_relay_and_a_relay_less_moves_only_its_own(stage: Stage) -> None:
    clients = addresses(120)
    _change(stage, method="SourceAddress")
    before = _relays(_connect(stage, clients * 3))
    assert set(before) == set(clients)
    assert set(before.values()) == set(WEIGHTS)
    _annotate(stage, "outbound-relay-1", "smtpfleet.io/drain=true")
    _wait_weights(stage, WEIGHTS | {"outbound-relay-1": 0})
    after = _relays(_connect(stage, clients))
    stayed = {client for client, relay in before.items() if relay != "outbound-relay-1"}
    assert {client: after[client] for client in stayed} == {client: before[client] for client in stayed}
    assert "outbound-relay-1" not in after.values()
    _annotate(stage, "outbound-relay-1", "smtpfleet.io/drain-")
    _wait_weights(stage, WEIGHTS)
    assert _relays(_connect(stage, clients)) == before


def _relays(connections: Sequence[Connection]) -> dict[str, str]:
    """The relay of each client, who must have had one only."""
    found = relays_of(connections)
    assert "" not in set().union(*found.values())
    assert {client: relays for client, relays in found.items() if len(relays) > 1} == {}
    return {client: relays.pop() for client, relays in found.items()}


def _v2(command: int, family: int, body: bytes) -> bytes:
    return _SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(body)) + body


def _try(stage: Stage, *attempts: dict[str, Any]) -> list[Answer]:
    return try_all(stage.kube, [Attempt(host=stage.address(), **given) for given in attempts])


_FROM_TRUSTED = f"PROXY TCP4 {CLIENT} 198.51.100.1 40000 25\r\n".encode()
_FROM_STRANGER = b"PROXY TCP4 203.0.113.5 198.51.100.1 40000 25\r\n"
_FROM_A_STRANGER_IN_A_HURRY = b"PROXY TCP4 203.0.113.77 198.51.100.1 40000 25\r\n"
_TO_ANOTHER_PORT = f"PROXY TCP4 {CLIENT} 198.51.100.1 40000 10026\r\n".encode()


def test_an_outer_balancer_is_believed_and_what_is_no_header_of_a_client_gives_no_right(stage: Stage) -> None:
    cases: dict[str, tuple[bytes, tuple[str, int]]] = {
        "a trusted client": (_FROM_TRUSTED, ("RCPT", 250)),
        "a trusted client, and some port of the outer balancer": (_TO_ANOTHER_PORT, ("RCPT", 250)),
        "a stranger": (_FROM_STRANGER, ("RCPT", 554)),
        "version 1 without a client": (b"PROXY UNKNOWN\r\n", ("RCPT", 554)),
        "version 2 without a client": (_v2(0, 0, b""), ("RCPT", 554)),
        "SMTP at once": (b"EHLO attempts.test\r\n", ("connect", 0)),
        "a broken header": (b"PROXY TCP4 192.0.2.9\r\n", ("connect", 0)),
        "nothing": (b"", ("connect", 0)),
    }
    tried = [
        {"first": first.hex(), "port": port}
        for first, _ in cases.values()
        for port in ((25, 587) if first else (25,))
    ]
    answers = _try(stage, *tried)
    found = {
        (attempt["first"], attempt["port"]): answer for attempt, answer in zip(tried, answers, strict=True)
    }
    for name, (first, expected) in cases.items():
        for (sent, port), answer in found.items():
            if sent == first.hex():
                assert (answer.stage, answer.code) == expected, (name, port, answer)


def test_a_header_from_elsewhere_is_refused(stage: Stage) -> None:
    _change(stage, proxyProtocolSources=["203.0.113.0/28"])
    (answer,) = _try(stage, {"first": _FROM_TRUSTED.hex()})
    assert (answer.stage, answer.code) == ("connect", 0)


def test_senders_of_other_domains_are_refused_on_every_port(stage: Stage) -> None:
    _change(stage, submission={"allowedSenderDomains": ["example.com", ".example.org"]})
    cases = {
        "<a@example.com>": 250,
        "<A@EXAMPLE.COM>": 250,
        "<a@sub.example.org>": 250,
        "<>": 250,
        "<a@evil.test>": 553,
        "<a@sub.example.com>": 553,
        "<a@example.org>": 553,
        "<a>": 553,
        "<@example.com:a@evil.test>": 553,
        '<"a@example.com"@evil.test>': 553,
        "<a%example.com@evil.test>": 553,
        "<a@example.com@evil.test>": 553,
        "<a@[192.0.2.9]>": 553,
    }
    tried = [
        {"first": _FROM_TRUSTED.hex(), "port": port, "sender": sender}
        for port in (25, 587)
        for sender in cases
    ]
    answers = _try(stage, *tried)
    expected = [("RCPT", 250) if code == 250 else ("MAIL", 553) for code in cases.values()] * 2
    assert [(answer.stage, answer.code) for answer in answers] == expected
    assert all("5.7.1" in answer.text for answer in answers if answer.code == 553)


def test_a_client_has_so_many_connections_in_the_whole_pool_and_no_more(stage: Stage) -> None:
    _change(stage, submission={"maxConnectionsPerClient": 10})
    _wait_for_peers(stage)
    held = {"at_once": 30, "in_turn": True, "pace_s": 0.3}
    many = [CLIENT] * 14
    found = _connect(stage, [*many, "192.0.2.77"], **held)
    assert [connection.code for connection in found] == [220] * 10 + [421] * 4 + [220]
    assert found[10].text.startswith("421 4.7.0 Too many connections")
    assert {connection.code for connection in _connect(stage, many[:10], **held)} == {220}
    # IPv6: one network of 64 bits is one client.
    six = [f"2001:db8:0:1::{number:x}" for number in range(1, 13)]
    found = _connect(stage, [*six, "2001:db8:0:2::1"], **held)
    assert [connection.code for connection in found] == [220] * 10 + [421] * 2 + [220]


def test_a_client_may_send_eight_mebibytes_a_second_from_its_first_byte(stage: Stage) -> None:
    """Sixteen of them, to a relay that throws them away: 2 s on any machine; without a limit a tenth of it."""
    block = b"x" * 2**16
    session = Conversation(
        name="fast",
        host=stage.address(),
        port=25,
        steps=(
            Said(send=_FROM_A_STRANGER_IN_A_HURRY),
            line("EHLO client.example.org"),
            line(f"BDAT {256 * len(block)} LAST", replies=0),
            Said(send=block, times=256),
        ),
    )
    answer = hold(stage.kube, [session])["fast"]
    assert answer.codes == ("220", "250", "503")
    assert answer.seconds > 1.9


def _wait_for_peers(stage: Stage) -> None:
    """Wait until every HAProxy is connected to the three others."""

    def seen() -> str:
        for pod in stage.pods("balancer"):
            for name in ("haproxy", "haproxy-twin"):
                connected = _haproxy(stage, pod.name, name, "show peers").count("last_status=ESTA")
                if connected < 3:
                    return f"{pod.name} {name} is connected to {connected} others"
        return ""

    wait_until(seen, timeout_s=30)


def _haproxy(stage: Stage, pod: str, name: str, command: str) -> str:
    """What the runtime socket of a HAProxy answers."""
    code = (
        "import socket,sys;s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);s.sendall(sys.argv[2].encode());"
        "sys.stdout.write(b''.join(iter(lambda:s.recv(65536),b'')).decode())"
    )
    return stage.kube.run(
        "exec", "-n", stage.namespace, pod, "-c", "agent", "--",
        "python3", "-c", code, f"/run/smtpfleet/{name}.admin.sock", f"{command}\n",
    )  # fmt: skip


def test_backups_carry_the_traffic_while_no_relay_is_there_and_are_left_again(stage: Stage) -> None:
    _change(stage, backups=[{"host": "192.0.2.200"}, {"host": f"sink.{stage.namespace}.svc"}])
    wait_until(lambda: _backup_states(stage), timeout_s=30)
    pool = ("smtppool", "outbound", "-n", stage.namespace)
    relays = [f"deployment/{relay}" for relay in WEIGHTS]
    scale = ("scale", *relays, "-n", stage.namespace)
    stage.kube.run("annotate", *pool, "smtpfleet.io/paused=true")
    shape = Shape(
        target=_target(stage), rate=30, count=9_000, size_bytes=2048, flags=("--proxy-header", CLIENT)
    )
    load = Load.start(stage.kube, shape)
    try:
        load.last(2)
        stopped = time.time()
        stage.kube.run(*scale, "--replicas=0")
        wait_until(lambda: _available(stage, "BackupsInUse"), timeout_s=30)
        load.last(6)
        stage.kube.run("annotate", *pool, "smtpfleet.io/paused-")
        stage.wait_ready()
        wait_until(lambda: _available(stage, "RelaysAvailable"), timeout_s=30)
        time.sleep(2)  # of mail by the relays
    finally:
        attempts = load.enough()
    arrivals = of_this_run(stage.wait_drained(attempts), [])
    assert check(attempts, arrivals).ok
    errors = [attempt for attempt in attempts if not attempt.acknowledged]
    assert _seconds(errors) <= 2, [(attempt.start - stopped, attempt.reason) for attempt in errors]
    assert {c.relay for c in _connect(stage, [CLIENT] * 20)} <= set(WEIGHTS)


def _seconds(errors: Sequence[Sent]) -> int:
    """In how many different seconds clients were refused."""
    return len({int(error.start) for error in errors})


def _backup_states(stage: Stage) -> str:
    """Until the checks have told the backup that answers from the one that does not."""
    for pod in stage.pods("balancer"):
        states = [server["state"].split()[0] for server in stage.balancer_status(pod.name)["backups"]]
        if states != ["DOWN", "UP"]:
            return f"{pod.name} sees backups as {states}"
    return ""


def _available(stage: Stage, reason: str) -> str:
    conditions = stage.kube.get("smtppool", "outbound", "-n", stage.namespace)["status"]["conditions"]
    found = next(condition for condition in conditions if condition["type"] == "Available")
    return "" if (found["status"], found["reason"]) == ("True", reason) else f"it is {found}"


def _service(stage: Stage) -> Object:
    return stage.kube.get("service", "outbound", "-n", stage.namespace)


def test_the_service_changes_its_type_back_and_forth(stage: Stage) -> None:
    address = stage.address()
    _apply_service(stage, {"type": "NodePort"}, "NodePort")
    found = _service(stage)["spec"]
    assert found["externalTrafficPolicy"] == "Local"
    ports = {port["nodePort"] for port in found["ports"]}
    _apply_service(
        stage,
        {
            "type": "LoadBalancer",
            "annotations": {"example.net/size": "small"},
            "loadBalancerSourceRanges": ["198.51.100.0/24"],
            "loadBalancerClass": "example.net/none",
        },
        "LoadBalancer",
    )
    found = _service(stage)
    assert found["metadata"]["annotations"]["example.net/size"] == "small"
    assert found["spec"]["loadBalancerSourceRanges"] == ["198.51.100.0/24"]
    assert {port["nodePort"] for port in found["spec"]["ports"]} == ports
    stage.kube.run(
        "patch", "service", "outbound", "-n", stage.namespace, "--type=merge", "-p",
        json.dumps({"spec": {"externalTrafficPolicy": "Cluster"}}),
    )  # fmt: skip
    wait_until(
        lambda: "" if _service(stage)["spec"]["externalTrafficPolicy"] == "Local" else "not put back",
        timeout_s=30,
    )
    _apply_service(stage, {}, "ClusterIP")
    found = _service(stage)
    assert "example.net/size" not in found["metadata"]["annotations"]
    gone = ("externalTrafficPolicy", "loadBalancerSourceRanges", "healthCheckNodePort", "loadBalancerClass")
    assert not set(gone) & set(found["spec"])
    assert not any("nodePort" in port for port in found["spec"]["ports"])
    assert found["spec"]["clusterIP"] == address
    pool = stage.kube.get("smtppool", "outbound", "-n", stage.namespace)
    assert {c["type"]: c["status"] for c in pool["status"]["conditions"]}["Stalled"] == "False"


def _apply_service(stage: Stage, service: dict[str, Any], kind: str) -> None:
    stage.apply_pool(**_spec(stage, service=service))
    wait_until(lambda: "" if _service(stage)["spec"]["type"] == kind else "another type", timeout_s=30)
    before = _service(stage)["metadata"]["resourceVersion"]
    stage.wait_ready()
    # What the cluster fills in is no reason to write again.
    time.sleep(1)
    assert _service(stage)["metadata"]["resourceVersion"] == before
