"""Faults of one relay of three under load, as its probes see them: it goes with the right reason and comes back.

What acknowledged mail is owed is insisted on in each.
"""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from bench import failover
from mailcheck.model import Attempt
from scenario.cluster import Local
from scenario.kube import wait_until
from scenario.stage import CLUSTER_NETWORKS, Stage
from smtpfleet.controller.selfsigned import LIFE, make
from smtpfleet.resources.certificate import Pair
from tests.cluster import relays

RELAYS = 3
PROBES = "10.0.0.0"
"""Whom probes claim to be."""


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A parameter that breaks one relay's Postfix.

    Attributes:
        reason: of the ejection.
        says: begin of its message.
        errors_at_most: share of the clients' messages: what they are told before the relay is out.
    """

    name: str
    parameter: str
    value: str
    reason: str
    says: str
    errors_at_most: float


EXPIRED = "/tmp/expired.pem"
"""In a relay: key and certificate."""
SECRET = "relay-cert"
USERS = "users"
LOGIN = "smtpd_sasl_auth_enable"
LEFT_S = 75
"""Of the life of a certificate that expires while it is served: time enough to be served by all relays."""
BROKEN = (
    Broken(
        name="421 to everybody",
        parameter="smtpd_client_restrictions",
        value="check_client_access static:{421 4.3.2 closed}",
        reason="BannerFailed",
        says="banner: 421 4.3.2",
        errors_at_most=0.4,
    ),
    Broken(
        name="454 at STARTTLS",
        parameter="smtpd_tls_chain_files",
        value="/dev/null",
        reason="StartTlsFailed",
        says="answer to STARTTLS: 454 4.7.0",
        errors_at_most=0.0,
    ),
    Broken(
        name="550 for the probe",
        parameter="smtpd_sender_restrictions",
        value=f"check_client_access inline:{{{{{PROBES} = 550 5.7.1 no probes}}}}",
        reason="SenderRefused",
        says="answer to MAIL: 550 5.7.1",
        errors_at_most=0.0,
    ),
    Broken(
        name="expired certificate",
        parameter="smtpd_tls_chain_files",
        value=EXPIRED,
        reason="CertificateExpired",
        says="serves a certificate that expired, ",
        errors_at_most=0.0,
    ),
)


@pytest.fixture(scope="module")
def stage(local: Local) -> Iterator[Stage]:
    namespace = f"faulty-{uuid4().hex[:6]}"
    with Stage(kube=local.kube, namespace=namespace, sink_image=local.images["sink"]) as stage:
        stage.pool(replicas=RELAYS, health=relays.HEALTH)
        yield stage


@pytest.fixture(scope="module")
def earlier() -> list[Attempt]:
    return []


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_a_relay_that_answers_wrong_is_ejected_for_it_and_comes_back(
    stage: Stage, earlier: list[Attempt], broken: Broken, rate: int
) -> None:
    wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=90)
    victim = sorted(relays.entries(stage))[1]
    pair = _pair(timedelta(days=-1))
    relays.execute(
        stage, victim, "sh", "-c", f"cat >{EXPIRED} <<E\n{pair.key.decode()}{pair.certificate.decode()}E"
    )
    with relays.under_load(stage, earlier, seconds=30, rate=rate, errors_at_most=broken.errors_at_most):
        before = relays.execute(stage, victim, "postconf", "-h", broken.parameter).strip()
        relays.configure(stage, victim, broken.parameter, broken.value)
        try:
            wait_until(lambda: relays.in_state(stage, victim, "Ejected"), timeout_s=40)
            out = relays.entries(stage)[victim]
            assert (out["reason"], out["message"][: len(broken.says)]) == (broken.reason, broken.says)
            others = {e["state"] for name, e in relays.entries(stage).items() if name != victim}
            assert others == {"Serving"}
        finally:
            relays.configure(stage, victim, broken.parameter, before)
        wait_until(lambda: relays.in_state(stage, victim, "Serving"), timeout_s=60)


def _pair(left: timedelta) -> Pair:
    """With so much of its life left."""
    return make(["relay.example.com"], now=datetime.now(UTC) - LIFE + left)


def _apply(stage: Stage, **tls: str) -> None:
    submission = {"trustedNetworks": list(CLUSTER_NETWORKS), "tls": tls}
    stage.apply_pool(replicas=RELAYS, health=relays.HEALTH, submission=submission)


def _store(stage: Stage, pair: Pair) -> None:
    stage.apply_secret(SECRET, {"tls.crt": pair.certificate, "tls.key": pair.key}, kind="kubernetes.io/tls")


def _ejections(stage: Stage) -> dict[str, int]:
    """In a row, of each relay: those of earlier tests are forgotten after a while."""
    return {name: entry["ejections"] for name, entry in relays.entries(stage).items()}


def _certificate_is(stage: Stage, status: str) -> str:
    found = relays.condition(stage, "CertificateValid")
    return "" if found["status"] == status else f"{found}"


@pytest.mark.thorough("test_domain_assessment.py has every number of relays that fail")
def test_a_certificate_that_expires_on_all_relays_is_told_of_each_and_ejects_none(
    stage: Stage, earlier: list[Attempt], rate: int
) -> None:
    wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=90)
    ejections = _ejections(stage)
    _store(stage, _pair(timedelta(seconds=LEFT_S)))
    _apply(stage, secretName=SECRET)
    try:
        wait_until(lambda: relays.all_are(stage, "Serving", "CertificateExpiresSoon"), timeout_s=LEFT_S)
        assert relays.condition(stage, "CertificateValid")["reason"] == "CertificateExpiresSoon"
        with relays.under_load(stage, earlier, seconds=LEFT_S, rate=rate, errors_at_most=0.0):
            wait_until(lambda: relays.all_are(stage, "Serving", "CertificateExpired"), timeout_s=LEFT_S + 30)
            told = relays.condition(stage, "CertificateValid")
            assert (told["status"], told["reason"]) == ("False", "CertificateExpired")
            told = relays.condition(stage, "ProbesHealthy")
            assert (told["status"], told["reason"]) == ("False", "TooManyUnhealthy")
            assert "CertificateExpired: serves a certificate that expired" in told["message"]
            assert set(relays.weights(stage).values()) == {100}
            assert relays.condition(stage, "Ready")["status"] == "True"
            _store(stage, _pair(timedelta(days=300)))
            wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=60)
            wait_until(lambda: _certificate_is(stage, "True"), timeout_s=30)
            assert all(number <= ejections[name] for name, number in _ejections(stage).items())
    finally:
        _apply(stage)


def test_a_login_that_no_relay_takes_ejects_none_and_one_relay_that_takes_none_is_ejected(
    stage: Stage, earlier: list[Attempt], rate: int
) -> None:
    stage.apply_secret(USERS, {"jane": b"a password of Jane's"})
    submission = {"trustedNetworks": list(CLUSTER_NETWORKS), "authentication": {"secretName": USERS}}
    stage.apply_pool(replicas=RELAYS, health=relays.HEALTH, submission=submission)
    names = sorted(relays.entries(stage))
    try:
        wait_until(lambda: "".join(_log_in(stage, name) for name in names), timeout_s=60)
        wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=60)
        with relays.under_load(stage, earlier, seconds=30, rate=rate, errors_at_most=0.0):
            relays.configure_all(stage, names, LOGIN, "no")
            wait_until(lambda: _blames(stage, "AuthFailed"), timeout_s=40)
            assert relays.condition(stage, "ProbesHealthy")["reason"] == "TooManyUnhealthy"
            assert set(relays.weights(stage).values()) == {100}
            victim, *others = names
            relays.configure_all(stage, others, LOGIN, "yes")
            wait_until(lambda: relays.in_state(stage, victim, "Ejected"), timeout_s=40)
            assert relays.entries(stage)[victim]["reason"] == "AuthFailed"
            relays.configure(stage, victim, LOGIN, "yes")
            wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=60)
    finally:
        _apply(stage)


def _log_in(stage: Stage, relay: str) -> str:
    """Empty once the relay knows the user that probes are."""
    pod = next(pod for pod in stage.pods("relay") if pod.relay == relay)
    return "" if stage.relay_status(pod.name)["probeLogin"] else f"{relay} does not know the probes' user yet"


def _blames(stage: Stage, reason: str) -> str:
    found = relays.condition(stage, "ProbesHealthy")
    return "" if found["status"] == "False" and reason in found["message"] else f"{found}"


def test_postfix_alone_is_killed_and_runs_again(stage: Stage, earlier: list[Attempt], rate: int) -> None:
    """Its master, of one relay; the agent lives on. No longer than a second does a client notice."""
    failover.settle(stage, relays=RELAYS)
    victim = sorted(relays.entries(stage))[2]
    with relays.under_load(stage, earlier, seconds=15, rate=rate, errors_at_most=0.005):
        assert relays.signal_program(stage, victim, "master", signal.SIGKILL)
        wait_until(lambda: _restarted(stage, victim), timeout_s=30)
    wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=60)


def _restarted(stage: Stage, relay: str) -> str:
    pod = next(pod for pod in stage.pods("relay") if pod.relay == relay)
    status = stage.relay_status(pod.name)
    again = status["postfixRestarts"] and status["postfix"] == "Running"
    return "" if again else f"{status['postfix']}, {status['postfixRestarts']} restarts"
