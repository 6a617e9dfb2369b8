"""Pools and relays to judge, with everything well unless a test says otherwise."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from smtpfleet.api.agent_status import (
    CertificateStatus,
    DeliveryStatus,
    Intake,
    PostfixState,
    QueueCounts,
    RelayStatus,
)
from smtpfleet.api.pool import SmtpPoolSpec
from smtpfleet.api.probes import ProbeResult, ProbeStage
from smtpfleet.api.reasons import ConditionType, RelayState
from smtpfleet.api.routing import RoutingTable
from smtpfleet.api.status import Condition, RelayEntry, SmtpPoolStatus
from smtpfleet.domain.conditions import Problem
from smtpfleet.domain.facts import AgentReport, Claim, Deployment, Pod, Pool, ProbeReport, Relay
from smtpfleet.domain.plan import plan
from smtpfleet.domain.status import report as report_of
from smtpfleet.domain.table import routing_table

CERTIFICATE = CertificateStatus(
    secret="outbound-tls",
    fingerprint="ab" * 32,
    not_before=datetime(2026, 4, 1, tzinfo=UTC),
    not_after=datetime(2027, 4, 1, tzinfo=UTC),
)
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SETTLED = Deployment(wanted=1, ready=1, current=True)


def spec(**fields: Any) -> SmtpPoolSpec:
    """A spec that takes mail from one network; ``fields`` as users write them."""
    return SmtpPoolSpec.model_validate({"submission": {"trustedNetworks": ["10.0.0.0/8"]}} | fields)


def answer(name: str, **fields: Any) -> RelayStatus:
    """What a healthy agent says."""
    given = {
        "intake": Intake.OPEN,
        "postfix": PostfixState.RUNNING,
        "table_revision": "none",
        "certificate": CERTIFICATE,
        "delivery": DeliveryStatus(),
    } | fields
    return RelayStatus(relay=name, **given)


def queue(**counts: int) -> QueueCounts:
    """Messages by queue directory."""
    return QueueCounts(**counts)


def report(name: str, *, age_s: float = 1.0, pod_uid: str | None = None, **fields: Any) -> AgentReport:
    """A healthy agent's last answer."""
    return AgentReport(answer(name, **fields), pod_uid or f"{name}-pod", age_s)


def pod(name: str, **fields: Any) -> Pod:
    """A pod that runs and is ready."""
    given: dict[str, Any] = {
        "uid": f"{name}-pod",
        "node": "n1",
        "address": "10.244.0.9",
        "running": True,
        "ready": True,
    } | fields
    return Pod(**given)


def probe(ended_s: float = 1.0, *, took_s: float = 0.02, **fields: Any) -> ProbeReport:
    """A probe that passed, unless ``fields`` of its result say otherwise."""
    given: dict[str, Any] = {
        "stage": ProbeStage.QUIT,
        "latency_s": {ProbeStage.BANNER: took_s},
        "not_before": CERTIFICATE.not_before,
        "not_after": CERTIFICATE.not_after,
    } | fields
    return ProbeReport(ProbeResult(**given), began_s=ended_s + took_s, ended_s=ended_s)


def relay(number: int, **fields: Any) -> Relay:
    """A relay that serves."""
    name = f"outbound-relay-{number}"
    given: dict[str, Any] = {
        "deployment": SETTLED,
        "claim": Claim(),
        "service": True,
        "address": f"10.96.0.{number + 1}",
        "pods": (pod(name),),
        "agent": report(name),
        "probes": (probe(1.0), probe(6.0)),
    }
    return Relay(name=name, number=number, **(given | fields))


def pool(relays: Sequence[Relay] = (), *, replicas: int | None = None, **fields: Any) -> Pool:
    """A pool with these relays, as many as wanted unless ``replicas`` says otherwise, and its table applied."""
    wanted = len(relays) if replicas is None else replicas
    extra = fields.pop("spec_fields", {})
    given: dict[str, Any] = {
        "name": "outbound",
        "namespace": "mail",
        "generation": 3,
        "spec": fields.get("spec") or spec(replicas=wanted, **extra),
        "relays": tuple(relays),
        "balancer": Deployment(wanted=2, ready=2, current=True),
    } | fields
    return Pool(**given)


def entry(number: int, state: RelayState = RelayState.SERVING, **fields: Any) -> RelayEntry:
    """A relay in a status."""
    given: dict[str, Any] = {"weight": 100, "since": "2026-05-01T12:00:00Z", "reason": "ProbesPassed"}
    return RelayEntry(name=f"outbound-relay-{number}", state=state, **(given | fields))


def status_of(seen: Pool, *problems: Problem, now: datetime = NOW) -> SmtpPoolStatus:
    """The status that follows from what is seen of a pool."""
    return report_of(seen, plan(seen), problems=problems, now=now)


def condition(status: SmtpPoolStatus, kind: ConditionType) -> Condition:
    """A condition that a status has."""
    found = status.condition(kind)
    assert found is not None
    return found


def table(seen: Pool, *leaving: str) -> RoutingTable:
    """The routing table that drains ``leaving``."""
    return routing_table(seen, leaving=leaving)


EMPTY = SmtpPoolStatus()
