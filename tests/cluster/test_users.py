"""Users on a real cluster: who may log in, how, on which port, and what changes while mail flows."""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import bcrypt
import pytest

from mailcheck.model import Attempt, Stage
from scenario.accounts import figures
from scenario.cluster import Local
from scenario.kube import Object, wait_until
from scenario.load import ROOT, Load, Shape
from scenario.stage import CLUSTER_NETWORKS
from scenario.stage import Stage as Theatre
from smtpfleet.api.probes import RECIPIENT
from smtpfleet.relay.users.hashes import scram_key
from tests.cluster.sessions import Session, account, run_session, wait_condition

SECRET = "outbound-users"
NOBODYS_NETWORK = "192.0.2.0/24"
"""TEST-NET-1: no client of these tests is in it, so whoever is taken has logged in."""
LIVE_S = 90
CANARY = "canary-Zq81-of-this-test"
WRONG = "canary-Wx55-of-this-test"
BCRYPT = bcrypt.hashpw(CANARY.encode(), bcrypt.gensalt(4)).decode()
SCRAM = str(scram_key(CANARY, salt=b"0123456789abcdef", iterations=4096))
USERS = {
    "plain": CANARY,
    "stored": SCRAM,
    "of-two": f"{CANARY}\nname: carol@example.com\nsenders: carol@example.com, @lists.example.com\n",
    "slow": f"{CANARY}\nmessagesPerMinute: 3\n",
}
SECURE = [("starttls", 25), ("starttls", 587), ("implicit", 465)]


@pytest.fixture(scope="module")
def stage(local: Local) -> Iterator[Theatre]:
    with Theatre(
        kube=local.kube, namespace=f"users-{uuid4().hex[:6]}", sink_image=local.images["sink"]
    ) as stage:
        _store(stage, USERS)
        stage.pool(replicas=1, balancing={"replicas": 1}, submission=_submission())
        yield stage


def _submission(*networks: str) -> Object:
    given: Object = {"authentication": {"secretName": SECRET}}
    return given | ({"trustedNetworks": list(networks)} if networks else {})


def _store(stage: Theatre, users: dict[str, str]) -> None:
    stage.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": stage.namespace},
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in users.items()},
        }
    )


def _login(name: str, password: str = CANARY, mechanism: str = "PLAIN") -> tuple[str, ...]:
    return ("--login", f"{name}:{password}", "--mechanism", mechanism)


def _code(stage: Theatre, name: str, password: str = CANARY, mechanism: str = "PLAIN") -> int:
    return run_session(stage, "starttls", 587, "--count=0", *_login(name, password, mechanism)).login


def _log(stage: Theatre) -> str:
    return "".join(
        stage.kube.run("logs", pod.name, "-n", stage.namespace, "--tail=-1") for pod in stage.pods("relay")
    )


def test_users_hand_in_mail_by_every_mechanism_on_every_port_under_tls(stage: Theatre) -> None:
    message = wait_condition(stage, "UsersValid", "True", "UsersValid")
    assert message == "4 users"
    ways = [
        (way, port, mechanism) for way, port in SECURE for mechanism in ("PLAIN", "LOGIN", "SCRAM-SHA-256")
    ]

    def one(where: tuple[str, int, str]) -> Session:
        way, port, mechanism = where
        name = "stored" if port == 465 else "plain"
        return run_session(stage, way, port, *_login(name, mechanism=mechanism))

    with ThreadPoolExecutor(3) as threads:
        sessions = [*threads.map(one, ways)]
    assert [session.login for session in sessions] == [235] * len(ways)
    assert {frozenset(session.offered) for session in sessions} == {
        frozenset({"PLAIN", "LOGIN", "SCRAM-SHA-256"})
    }
    account(stage, [attempt for session in sessions for attempt in session.attempts])


def test_without_tls_nobody_is_asked_for_a_password_and_port_587_takes_nothing(stage: Theatre) -> None:
    clear = run_session(stage, "plain", 25, *_login("plain"))
    assert (clear.offered, clear.login) == (set(), 503)
    assert clear.codes == {(Stage.RCPT, 554)}
    assert run_session(stage, "plain", 587).codes == {(Stage.MAIL, 530)}


def test_whoever_has_the_password_of_the_probes_can_hand_in_nothing(stage: Theatre) -> None:
    data = stage.kube.get("secret", "outbound-probe", "-n", stage.namespace)["data"]
    user, password = (base64.b64decode(data[key]).decode() for key in ("username", "password"))
    wait_until(lambda: "" if _code(stage, user, password) == 235 else "not known yet", timeout_s=60)
    for recipient, seen in (
        ("somebody@example.net", (Stage.RCPT, 554)),
        (RECIPIENT, (Stage.DATA, 554)),
        ("postmaster", (Stage.DATA, 554)),
    ):
        session = run_session(stage, "starttls", 587, "--recipient", recipient, *_login(user, password))
        assert (session.login, session.codes) == (235, {seen})


def test_nobody_gets_in_with_a_wrong_password_and_everybody_else_does(stage: Theatre) -> None:
    for name, mechanism in (("plain", "PLAIN"), ("nobody", "PLAIN"), ("stored", "SCRAM-SHA-256")):
        session = run_session(stage, "starttls", 587, *_login(name, WRONG, mechanism))
        assert session.login == 535
        assert session.codes == {(Stage.RCPT, 554)}
    assert _code(stage, "plain") == 235


def test_an_address_that_only_guesses_is_turned_away_and_no_other(stage: Theatre) -> None:
    relay = f"{stage.address(stage.pods('relay')[0].relay)}:2587"
    guessing = [sys.executable, "-m", "bench.guesser", relay, "20", "1"]
    with subprocess.Popen(
        stage.kube.inside(guessing), cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        time.sleep(2.0)
        answered, _ = process.communicate("\n", timeout=60)
    assert int(answered) > 10

    def sent(address: str) -> list[Attempt]:
        flags = ("--proxy-header", address, "--tls", "starttls", "--login", f"plain:{CANARY}")
        return Load.start(stage.kube, Shape(target=relay, rate=1, count=1, flags=flags)).finish()

    assert [(attempt.stage, attempt.code) for attempt in sent("198.51.100.1")] == [(Stage.BANNER, 421)]
    account(stage, sent("198.51.100.2"))


def test_a_user_sends_as_who_he_may_and_as_often_as_he_may(stage: Theatre) -> None:
    carol = _login("carol@example.com")
    allowed = run_session(stage, "starttls", 587, *carol, "--sender=Carol@Example.com")
    of_domain = run_session(stage, "starttls", 587, *carol, "--sender=any@lists.example.com")
    account(stage, [*allowed.attempts, *of_domain.attempts])
    other = run_session(stage, "starttls", 587, *carol, "--sender=other@example.com")
    assert other.codes == {(Stage.MAIL, 553)}
    often = run_session(stage, "starttls", 587, *_login("slow"), "--count=5")
    assert [attempt.code for attempt in often.attempts] == [250, 250, 250, 450, 450]


def test_users_come_change_and_go_under_messages_and_nobody_else_notices(stage: Theatre) -> None:
    pods = {pod.uid for pod in stage.pods("relay") + stage.pods("balancer")}
    earlier = stage.arrivals()
    load = Load.start(
        stage.kube,
        Shape(
            target=f"{stage.address()}:587",
            rate=40,
            count=400,
            flags=("--tls", "starttls", "--login", f"plain:{CANARY}", "--reuse", "4"),
        ),
    )
    _store(stage, USERS | {"new": "first-password"})
    wait_until(lambda: "" if _code(stage, "new", "first-password") == 235 else "not yet", timeout_s=LIVE_S)
    _store(stage, USERS | {"new": "second-password"})
    wait_until(lambda: "" if _code(stage, "new", "second-password") == 235 else "not yet", timeout_s=LIVE_S)
    assert _code(stage, "new", "first-password") == 535
    _store(stage, USERS)
    wait_until(lambda: "" if _code(stage, "new", "second-password") == 535 else "not yet", timeout_s=LIVE_S)
    attempts = load.finish()
    known = {arrival.id for arrival in earlier}
    arrivals = [arrival for arrival in stage.wait_drained(attempts) if arrival.id not in known]
    result, verdict = figures(attempts, arrivals)
    assert (result.errors, result.lost) == (0, 0)
    assert verdict.ok
    assert {pod.uid for pod in stage.pods("relay") + stage.pods("balancer")} == pods


def test_an_entry_that_cannot_be_read_is_named_and_a_hash_without_scram_takes_scram_away(
    stage: Theatre,
) -> None:
    _store(stage, USERS | {"hashed": BCRYPT, "broken": "$6$salt$hash-of-another-kind"})
    message = wait_condition(stage, "UsersValid", "False", "UsersRefused", "broken:")
    assert "another-kind" not in message
    assert _code(stage, "hashed") == 235
    wait_until(
        lambda: (
            "SCRAM is still offered"
            if "SCRAM-SHA-256" in run_session(stage, "starttls", 587, "--count=0").offered
            else ""
        ),
        timeout_s=LIVE_S,
    )
    assert _code(stage, "broken", WRONG) == 454
    assert _code(stage, "plain") == 235


def test_without_the_secret_users_come_back_later_and_trusted_networks_go_on(stage: Theatre) -> None:
    stage.apply_pool(replicas=1, balancing={"replicas": 1}, submission=_submission(*CLUSTER_NETWORKS))
    stage.kube.run("delete", "secret", SECRET, "-n", stage.namespace)
    wait_condition(stage, "UsersValid", "False", "SecretMissing", "trusted networks go on")
    assert _code(stage, "plain") == 454
    wait_until(
        lambda: "" if run_session(stage, "starttls", 587).codes == {(Stage.END_OF_DATA, 250)} else "refused",
        timeout_s=60,
    )
    account(stage, run_session(stage, "starttls", 587).attempts)
    _store(stage, USERS)
    wait_condition(stage, "UsersValid", "True", "UsersValid")
    assert _code(stage, "plain") == 235


def test_the_log_tells_who_logged_in_and_no_password(stage: Theatre) -> None:
    log = _log(stage)
    lines = [json.loads(line)["message"] for line in log.splitlines()]
    assert any("sasl_method=PLAIN, sasl_username=carol@example.com" in line for line in lines)
    assert any("authentication failed" in line and "sasl_username=plain" in line for line in lines)
    statuses = json.dumps([stage.relay_status(pod.name) for pod in stage.pods("relay")])
    pool = json.dumps(stage.kube.get("smtppool", "outbound", "-n", stage.namespace))
    for canary in (CANARY, WRONG, "second-password", BCRYPT, "another-kind"):
        assert canary not in log + statuses + pool
