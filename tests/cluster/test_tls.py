"""TLS of clients on a real cluster: every port and mode, a certificate that changes, and one that is broken."""

import base64
import hashlib
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from cryptography import x509

from mailcheck.model import Attempt, Stage
from scenario.cluster import Local
from scenario.kube import wait_until
from scenario.load import Load, Shape
from scenario.stage import CLUSTER_NETWORKS
from scenario.stage import Stage as Theatre
from smtpfleet.controller.selfsigned import make
from smtpfleet.resources.certificate import Pair
from tests.cluster.sessions import account, ended, opened, run_session, wait_condition

SECRET = "relay-cert"
RATE, COUNT, LOADS = 20, 60, 2
"""Messages under which the certificate changes, each on a connection of its own with STARTTLS: so many loads side by
side, begun anew until it has changed."""
LIVE_S = 90
"""A changed Secret is served to new sessions within this time."""
WAYS = [("starttls", 25), ("starttls", 587), ("implicit", 465)]


@pytest.fixture(scope="module")
def stage(local: Local) -> Iterator[Theatre]:
    with Theatre(
        kube=local.kube, namespace=f"tls-{uuid4().hex[:6]}", sink_image=local.images["sink"]
    ) as stage:
        stage.pool(replicas=1, balancing={"replicas": 1})
        yield stage


def _pair(*, begin: timedelta = timedelta(0)) -> Pair:
    return make(["relay.example.com"], now=datetime.now(UTC) + begin)


def _fingerprint(certificate: bytes) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.decode())).hexdigest()


def _store(stage: Theatre, pair: Pair) -> None:
    data = {"tls.crt": pair.certificate, "tls.key": pair.key}
    stage.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": stage.namespace},
            "type": "kubernetes.io/tls",
            "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
        }
    )


def _require(stage: Theatre, mode: str, secret: str = SECRET) -> None:
    submission = {"trustedNetworks": list(CLUSTER_NETWORKS), "tls": {"mode": mode, "secretName": secret}}
    stage.apply_pool(replicas=1, balancing={"replicas": 1}, submission=submission)


def _wait_served(stage: Theatre, pair: Pair) -> None:
    """Wait until a new session is under this certificate."""
    wanted = _fingerprint(pair.certificate)

    def look() -> str:
        found = run_session(stage, "starttls", 587, "--count=0").certificate
        return "" if found == wanted else f"{found or 'no certificate'} is served, not {wanted}"

    wait_until(look, timeout_s=LIVE_S)


def test_a_pool_that_says_nothing_serves_a_certificate_of_its_own_on_every_port(stage: Theatre) -> None:
    data = stage.kube.get("secret", "outbound-tls", "-n", stage.namespace)["data"]
    made = base64.b64decode(data["tls.crt"])
    names = x509.load_pem_x509_certificate(made).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    service = f"outbound.{stage.namespace}"
    assert set(names.value.get_values_for_type(x509.DNSName)) == {
        "outbound", service, f"{service}.svc", f"{service}.svc.cluster.local",
    }  # fmt: skip
    sessions = [run_session(stage, way, port, "--login", "somebody:word") for way, port in WAYS]
    assert {session.certificate for session in sessions} == {_fingerprint(made)}
    assert [(session.offered, session.login) for session in sessions] == [(set(), 503)] * len(WAYS)
    account(stage, [attempt for session in sessions for attempt in session.attempts])
    assert wait_condition(stage, "CertificateValid", "True", "CertificateValid").startswith("364 days left")


def test_in_the_mode_optional_mail_in_clear_is_taken(stage: Theatre) -> None:
    account(stage, run_session(stage, "plain", 587).attempts)


def test_in_the_mode_required_mail_in_clear_is_refused_and_no_pod_is_replaced(stage: Theatre) -> None:
    before = {pod.uid for pod in stage.pods("relay") + stage.pods("balancer")}
    pair = _pair()
    _store(stage, pair)
    _require(stage, "Required")
    _wait_served(stage, pair)
    wait_until(
        lambda: "" if run_session(stage, "plain", 587).codes == {(Stage.MAIL, 530)} else "mail is taken",
        timeout_s=30,
    )
    assert run_session(stage, "plain", 25).codes == {(Stage.MAIL, 530)}
    sessions = [run_session(stage, way, port, "--count=3") for way, port in WAYS]
    assert {session.certificate for session in sessions} == {_fingerprint(pair.certificate)}
    account(stage, [attempt for session in sessions for attempt in session.attempts])
    assert {pod.uid for pod in stage.pods("relay") + stage.pods("balancer")} == before


def test_a_new_certificate_is_served_to_new_sessions_and_nobody_notices(stage: Theatre) -> None:
    changed = threading.Event()
    with (
        ThreadPoolExecutor(LOADS) as threads,
        opened(stage, "starttls", 587, "--hold") as one,
        opened(stage, "implicit", 465, "--hold") as two,
    ):
        for process in (one, two):
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
        loads = [threads.submit(_loaded, stage, changed) for _ in range(LOADS)]
        try:
            pair = _pair()
            _store(stage, pair)
            _wait_served(stage, pair)
        finally:
            changed.set()
        new = run_session(stage, "starttls", 587)
        old = [ended(one), ended(two)]
    assert new.certificate == _fingerprint(pair.certificate)
    assert new.certificate not in {session.certificate for session in old}
    under_load = [attempt for load in loads for attempt in load.result()]
    account(stage, [*under_load, *(attempt for session in (new, *old) for attempt in session.attempts)])


def _loaded(stage: Theatre, changed: threading.Event) -> list[Attempt]:
    """One load after the other, the last one begun before the change was seen."""
    attempts: list[Attempt] = []
    while not attempts or not changed.is_set():
        shape = Shape(target=f"{stage.address()}:587", rate=RATE, count=COUNT, flags=("--tls", "starttls"))
        attempts += Load.start(stage.kube, shape).finish()
    return attempts


def test_a_broken_secret_keeps_the_last_good_certificate_and_is_named(stage: Theatre) -> None:
    good = run_session(stage, "starttls", 587, "--count=0").certificate
    one, other, expired = _pair(), _pair(), _pair(begin=timedelta(days=-400))
    for bad, reason in (
        (Pair(one.certificate, other.key), "CertificateInvalid"),
        (expired, "CertificateExpired"),
    ):
        _store(stage, bad)
        assert "the last good certificate stays in use" in wait_condition(
            stage, "CertificateValid", "False", reason
        )
        session = run_session(stage, "starttls", 587)
        assert session.certificate == good
        account(stage, session.attempts)
    stage.kube.run("delete", "secret", SECRET, "-n", stage.namespace)
    wait_condition(stage, "CertificateValid", "False", "SecretMissing")
    session = run_session(stage, "implicit", 465)
    assert session.certificate == good
    account(stage, session.attempts)
    _store(stage, one)
    wait_condition(stage, "CertificateValid", "True", "CertificateValid")
    _wait_served(stage, one)


def test_without_tls_port_465_is_gone(stage: Theatre) -> None:
    _require(stage, "None", "")
    wait_condition(stage, "CertificateValid", "Unknown", "TlsDisabled")
    ports = stage.kube.get("service", "outbound", "-n", stage.namespace)["spec"]["ports"]
    assert {port["port"] for port in ports} == {25, 587}
    account(stage, run_session(stage, "plain", 587).attempts)
