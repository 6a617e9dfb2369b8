"""The edge of a pool: real clients, clients that may not relay, smugglers, and hostile ones, each as a table of data.

The pool trusts one address, from which this machine's programs come inside the cluster's network, and has users. Node
``n1`` is a stranger. docs/clients.md and docs/security.md show the tables.
"""

import base64
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from mailcheck.checker import Verdict, check
from scenario.cluster import Local
from scenario.connections import Plan, connect
from scenario.conversation import Answer, Conversation, Step, hold, line
from scenario.hostile import attacks, slow
from scenario.load import Load, Shape
from scenario.stage import Stage
from smtpfleet.api import names
from smtpfleet.controller.selfsigned import make
from tests.cluster.edge import canaries, open_relay
from tests.cluster.edge.canaries import SPELLINGS, Spelling
from tests.cluster.edge.logins import LOGINS, Login
from tests.cluster.edge.open_relay import ATTEMPTS, Attempt
from tests.cluster.edge.pool import LIMIT_BYTES, Edge, logged_in, made
from tests.cluster.edge.smuggling import ENDS, TAKEN, End, Transfer, misread, smuggled, smuggler
from tests.cluster.edge.ways import IN_CLEAR, WAYS
from tests.conformance import table
from tests.conformance.clients import CLIENTS, Client
from tests.conformance.drive import Outcome

STRANGER = "n1"
HALF = 100
"""Of the sessions of one port of a relay: what somebody who is not trusted gets."""
TOO_MANY = 20
RELAY_PORTS = (names.SMTP_PORT, names.SUBMISSION_PORT, names.SUBMISSIONS_PORT)


@pytest.fixture(scope="module")
def edge(local: Local) -> Iterator[Edge]:
    with Stage(
        kube=local.kube, namespace=f"edge-{uuid4().hex[:6]}", sink_image=local.images["sink"]
    ) as stage:
        yield made(stage)


@dataclass(frozen=True, kw_only=True)
class Conformance:
    """One run of the clients: what each case came to, the accounting of all of them, and which user logged in how."""

    cases: list[table.Case]
    outcomes: dict[str, Outcome]
    verdict: Verdict
    missing: dict[str, str]
    logged_in: set[tuple[str, str]]


@pytest.fixture(scope="module")
def conformance(
    edge: Edge, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Conformance:
    everything = request.config.getoption("--conformance") == "all"
    wanted = [client for client in CLIENTS if everything or not client.heavy]
    table.install(wanted)
    missing = table.missing(wanted)
    clients = [client for client in wanted if client.name not in missing]
    table.prepare(clients)
    files = tmp_path_factory.mktemp("conformance")
    secret = edge.stage.kube.get("secret", "outbound-tls", "-n", edge.stage.namespace)
    place = table.Place(host=edge.name, ca=files / "ca.crt", other_ca=files / "other.crt")
    place.ca.write_bytes(base64.b64decode(secret["data"]["ca.crt"]))
    place.other_ca.write_bytes(make([edge.name], now=datetime.now(UTC)).certificate)
    cases = table.cases(clients, every_port=everything)
    trusted, users = ([case for case in cases if bool(case.user) is has] for has in (False, True))
    with ThreadPoolExecutor(2) as threads:
        inside = threads.submit(table.submit, edge.stage.kube, place, trusted, files)
        outside = threads.submit(table.submit, edge.stage.kube, place, users, files, source=STRANGER)
    outcomes = inside.result() | outside.result()
    attempts = table.attempts(cases, outcomes, place.host)
    ids = {attempt.id for attempt in attempts}
    arrived = [arrival for arrival in edge.stage.wait_drained(attempts) if arrival.id in ids]
    return Conformance(
        cases=cases,
        outcomes=outcomes,
        verdict=check(attempts, arrived),
        missing=missing,
        logged_in=logged_in(edge.stage),
    )


@pytest.mark.parametrize("client", [pytest.param(client, id=client.name) for client in CLIENTS])
def test_a_real_client_submits_as_the_table_says(conformance: Conformance, client: Client) -> None:
    if client.name in conformance.missing:
        pytest.skip(conformance.missing[client.name])
    mine = [case for case in conformance.cases if case.client == client]
    if not mine:
        pytest.skip("run by `make conformance`")
    found = {case.name: table.wrong(case, conformance.outcomes[case.name]) for case in mine}
    assert {name: why for name, why in found.items() if why} == {}
    assert {(case.user, case.mechanism) for case in mine if case.user} <= conformance.logged_in


def test_what_real_clients_were_acknowledged_arrived_once_and_unchanged(conformance: Conformance) -> None:
    verdict = conformance.verdict
    assert verdict.ok, verdict
    assert (dict(verdict.duplicated), verdict.contradicted) == ({}, ())


@pytest.fixture(scope="module")
def attempted(edge: Edge) -> dict[str, Answer]:
    conversations = [
        way.to(edge.address, attempt.title, *attempt.steps(edge.name, edge.trusted))
        for attempt in ATTEMPTS
        for way in WAYS
    ]
    return hold(edge.stage.kube, conversations, source=STRANGER)


@pytest.mark.parametrize("attempt", [pytest.param(attempt, id=attempt.title) for attempt in ATTEMPTS])
def test_a_stranger_may_not_relay(attempted: dict[str, Answer], attempt: Attempt) -> None:
    for way in WAYS:
        codes = attempted[f"{attempt.title} | {way.name}"].codes[way.replies :]
        assert codes[: len(attempt.codes)] == attempt.codes, way.name
        assert codes[-1] in {"503", "554"}, way.name  # the answer to DATA


@pytest.fixture(scope="module")
def calling_canaries(edge: Edge) -> dict[str, Answer]:
    """Of a trusted client, and of a user from elsewhere."""
    trusted = [
        way.to(edge.address, f"{each.title} | trusted", *each.steps) for each in SPELLINGS for way in WAYS
    ]
    user = next(f"{client.name}.plain" for client in CLIENTS)
    users = [
        way.to(edge.address, f"{each.title} | user", *canaries.log_in(user), *each.steps)
        for each in SPELLINGS
        for way in WAYS
        if way not in IN_CLEAR
    ]
    return hold(edge.stage.kube, trusted) | hold(edge.stage.kube, users, source=STRANGER)


@pytest.mark.parametrize("spelling", [pytest.param(each, id=each.title) for each in SPELLINGS])
def test_nobody_may_write_to_the_canaries_address(
    calling_canaries: dict[str, Answer], spelling: Spelling
) -> None:
    for way in WAYS:
        who = ("trusted", "user") if way not in IN_CLEAR else ("trusted",)
        for each in who:
            codes = calling_canaries[f"{spelling.title} | {each} | {way.name}"].codes[way.replies :]
            wanted = f"235, {canaries.REFUSED}" if each == "user" else canaries.REFUSED
            assert ", ".join(codes[:-1]) == wanted, (each, way.name)
            assert codes[-1] in {"503", "554"}, (each, way.name)  # the answer to DATA


@pytest.fixture(scope="module")
def logging_in(edge: Edge) -> dict[str, Answer]:
    conversations = [
        way.to(edge.address, login.title, *login.steps, line("DATA"))
        for login in LOGINS
        for way in login.ways
    ]
    return hold(edge.stage.kube, conversations, source=STRANGER)


@pytest.mark.parametrize("login", [pytest.param(login, id=login.title) for login in LOGINS])
def test_who_does_not_log_in_as_he_should_may_not_relay(logging_in: dict[str, Answer], login: Login) -> None:
    for way in login.ways:
        codes = logging_in[f"{login.title} | {way.name}"].codes[way.replies :]
        assert codes[: len(login.codes)] == login.codes, way.name
        assert codes[-1] in {"503", "530", "554"}, way.name  # the answer to DATA


def test_a_relay_refuses_a_stranger_who_comes_directly(edge: Edge) -> None:
    relay = edge.stage.address("outbound-relay-0")
    sessions = [
        (attempt.answer, attempt.conversation(relay, port))
        for attempt in open_relay.direct(edge.trusted)
        for port in RELAY_PORTS
    ]
    answers = hold(edge.stage.kube, [conversation for _, conversation in sessions], source=STRANGER)
    for wanted, conversation in sessions:
        answer = answers[conversation.name]
        if wanted == open_relay.CUT:
            assert answer.closed, conversation.name
            assert not {"220", "250", "354"} & set(answer.codes), answer
        else:
            assert answer.codes[-4:] == ("250", "250", wanted, "554"), conversation.name


def test_the_check_port_takes_no_mail(edge: Edge) -> None:
    relay = edge.stage.address("outbound-relay-0")
    said = (Step(), *map(line, ("EHLO x", open_relay.MAIL, "RCPT TO:<postmaster>", open_relay.RCPT, "DATA")))
    session = Conversation(name="check", host=relay, port=names.CHECK_PORT, steps=said)
    answer = hold(edge.stage.kube, [session], source=STRANGER)["check"]
    assert answer.codes[:4] == ("220", "250", "250", "250")
    assert set(answer.codes[4:]) == {"554"}


def test_agents_and_haproxys_own_ports_speak_no_smtp(edge: Edge) -> None:
    relay, balancer = edge.stage.address("outbound-relay-0"), edge.stage.pods("balancer")[0].address
    places = [
        *((relay, port) for port in (names.AGENT_CHECK_PORT, names.HTTP_PORT)),
        *((balancer, port) for port in (names.HTTP_PORT, *names.HAPROXY_HEALTH_PORTS.values())),
    ]
    sessions = [
        Conversation(name=f"{host}:{port}", host=host, port=port, steps=(line("EHLO x"),), patience_s=10)
        for host, port in places
    ]
    for name, answer in hold(edge.stage.kube, sessions, source=STRANGER).items():
        assert not {"220", "250"} & set(answer.codes), name


def test_only_the_pools_own_pods_and_probes_are_let_through_to_the_relays_by_network_policy(
    edge: Edge,
) -> None:
    """What stands against a forged PROXY header: Postfix believes it, whoever sends it."""
    policy = edge.stage.kube.get("networkpolicy", "outbound-relay", "-n", edge.stage.namespace)["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    open_to_all = {port["port"] for rule in policy["ingress"] if _is_wide(rule) for port in rule["ports"]}
    assert open_to_all == {names.HTTP_PORT}
    relays = edge.stage.pods("relay")
    assert relays, "there is somebody to protect"


def _is_wide(rule: dict[str, Any]) -> bool:
    """Whether a rule lets in others than balancers, relays where queues are handed over, and probes."""
    component = "relay" if {port["port"] for port in rule["ports"]} == {names.HAND_OFF_PORT} else "balancer"
    pool = {"app.kubernetes.io/component": component, "smtpfleet.io/pool": "outbound"}
    operator = {"app.kubernetes.io/component": "operator", "app.kubernetes.io/name": "smtpfleet"}
    peers = rule.get("from")
    if not isinstance(peers, list) or len(peers) != 1 or "podSelector" not in peers[0]:
        return True
    wanted = operator if "namespaceSelector" in peers[0] else pool
    return not wanted.items() <= peers[0]["podSelector"]["matchLabels"].items()


def test_nothing_of_all_this_has_arrived(
    edge: Edge,
    attempted: dict[str, Answer],
    logging_in: dict[str, Answer],
    calling_canaries: dict[str, Answer],
    conformance: Conformance,
) -> None:
    assert attempted
    assert calling_canaries
    assert logging_in
    edge.stage.wait_drained([])
    known = {case.letter.id for case in conformance.cases}
    assert {arrival.id for arrival in edge.stage.arrivals()} - known == set()


@pytest.fixture(scope="module")
def smugglers(edge: Edge) -> tuple[str, dict[str, Answer], dict[str, list[bytes]]]:
    """The run's own word, the answers, and what the next server was sent for each Message-ID."""
    run = uuid4().hex[:8]
    conversations = [
        way.to(edge.address, _id(run, end, transfer), *smuggler(end, transfer, f"{_id(run, end, transfer)}.{way.port}"))
        for end in ENDS
        for transfer in Transfer
        for way in WAYS
    ]  # fmt: skip
    answers = hold(edge.stage.kube, conversations)
    edge.stage.wait_drained([])
    sent: dict[str, list[bytes]] = {}
    for message in edge.stage.kept():
        if run in message.id:
            sent.setdefault(message.id, []).append(message.wire)
    return run, answers, sent


def _id(run: str, end: End, transfer: Transfer) -> str:
    return f"{run}.{ENDS.index(end)}.{transfer.name.lower()}"


@pytest.mark.parametrize("end", [pytest.param(end, id=end.title) for end in ENDS])
def test_a_smuggled_message_is_refused_or_stays_inside_its_carrier(
    smugglers: tuple[str, dict[str, Answer], dict[str, list[bytes]]], end: End
) -> None:
    run, answers, sent = smugglers
    for transfer in Transfer:
        for way in WAYS:
            name = _id(run, end, transfer)
            codes = answers[f"{name} | {way.name}"].codes
            assert codes[-2:] == (end.code, "221"), (transfer, way.name)
            wires = sent.get(f"{name}.{way.port}", [])
            assert len(wires) == (1 if end.code == TAKEN else 0), (
                transfer,
                way.name,
            )
            assert [misread(wire) for wire in wires if misread(wire)] == [], (transfer, way.name)


def test_no_message_was_smuggled(
    edge: Edge, smugglers: tuple[str, dict[str, Answer], dict[str, list[bytes]]]
) -> None:
    run = smugglers[0]
    mine = [arrival for arrival in edge.stage.arrivals() if run in arrival.id]
    taken = [end for end in ENDS if end.code == TAKEN]
    assert len(mine) == len(taken) * len(Transfer) * len(WAYS)
    assert [arrival.id for arrival in mine if smuggled(arrival.id)] == []
    assert {(arrival.sender, arrival.recipients) for arrival in mine} == {
        ("s@example.com", ("r@example.net",))
    }


def test_hostile_sessions_end_as_documented_and_others_notice_nothing(edge: Edge) -> None:
    shape = Shape(target=f"{edge.address}:25", rate=20, count=240, flags=("--timeout", "60"))
    load = Load.start(edge.stage.kube, shape)
    hostile = attacks(LIMIT_BYTES)
    sessions = [attack.on(edge.address) for attack in hostile]
    sessions += [attack.on(edge.address, number=n, patience_s=12) for attack in slow() for n in range(5)]
    with ThreadPoolExecutor(1) as threads:
        idle = threads.submit(connect, edge.stage.kube, _idle(edge))
        answers = hold(edge.stage.kube, sessions)
    others = load.finish()
    assert Counter(session.code for session in idle.result()) == {220: HALF, 421: TOO_MANY}
    for attack in hostile:
        answer = answers[f"{attack.title} | 0"]
        assert attack.closes in {None, answer.closed}, (attack.title, answer)
        assert answer.codes[len(answer.codes) - len(attack.ends) :] == attack.ends, attack.title
    for attack in slow():
        assert {answers[f"{attack.title} | {n}"].codes[-1:] for n in range(5)} <= {attack.ends, ("421",)}
    assert {attempt.reason for attempt in others if not attempt.acknowledged} == set()
    ids = {attempt.id for attempt in others}
    arrived = edge.stage.wait_drained(others)
    assert check(others, [arrival for arrival in arrived if arrival.id in ids]).ok
    assert [arrival.id for arrival in arrived if not arrival.id] == []


def _idle(edge: Edge) -> Plan:
    """More sessions of one stranger than he may have, all at the same time."""
    sessions = HALF + TOO_MANY
    relay = f"{edge.stage.address('outbound-relay-0')}:{names.SUBMISSION_PORT}"
    return Plan(target=relay, clients=["198.51.100.1"] * sessions, at_once=sessions, hold_s=12.0)


def test_a_client_cannot_renegotiate_tls(edge: Edge) -> None:
    """``R`` makes openssl ask for it; TLS 1.3 has none, so it is asked for in 1.2."""
    command = ["openssl", "s_client", "-starttls", "smtp", "-tls1_2", "-connect", f"{edge.address}:587"]
    done = subprocess.run(
        edge.stage.kube.inside(command), input="R\n", capture_output=True, text=True, check=False, timeout=30
    )
    assert "RENEGOTIATING" in done.stderr
    assert "no renegotiation" in done.stderr


def test_local_parts_are_not_routed_anew(edge: Edge) -> None:
    """A sender in one domain never becomes one in another on its way."""
    senders = (
        f"user%victim.example@{edge.name}",
        f"victim.example!user@{edge.name}",
        f"a!b%c.example@{edge.name}",
    )
    letters = {f"{uuid4().hex}@mailcheck.invalid": sender for sender in senders}
    conversations = [
        WAYS[0].to(
            edge.address,
            message_id,
            *map(line, (f"MAIL FROM:<{sender}>", "RCPT TO:<a%b.example@example.net>", "DATA")),
            Step(send=f"Message-ID: <{message_id}>\r\n\r\nx\r\n.\r\n".encode()),
        )
        for message_id, sender in letters.items()
    ]
    for answer in hold(edge.stage.kube, conversations).values():
        assert answer.codes[-1] == TAKEN
    edge.stage.wait_drained([])
    arrived = {a.id: (a.sender, a.recipients) for a in edge.stage.arrivals() if a.id in letters}
    assert arrived == {
        message_id: (sender, ("a%b.example@example.net",)) for message_id, sender in letters.items()
    }
