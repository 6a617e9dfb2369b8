"""Findings: which reason each kind of probe gives, in words that do not change from one probe to the next."""

from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.api.probes import ProbeResult, ProbeStage, ProbeTrouble
from smtpfleet.api.reasons import Reason
from smtpfleet.domain.findings import (
    FATAL,
    FATAL_REASONS,
    NOTICE,
    REASONS,
    SLOW_FACTOR,
    Seen,
    Usual,
    expires_soon,
    notices,
    of_probe,
)
from tests.unit.domain.samples import probe, relay, report

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def seen(*, siblings_s: float | None = 0.02, **fields: Any) -> Seen:
    return Seen(probe(**fields).result, siblings_s, NOW)


def test_a_good_probe_gives_no_finding() -> None:
    assert of_probe(seen()) is None
    assert of_probe(seen(siblings_s=None)) is None


@pytest.mark.parametrize(
    ("fields", "reason", "message"),
    [
        ({"stage": "connect", "trouble": "unreachable", "text": "Connection refused"}, "ConnectFailed",
         "no connection: Connection refused"),
        ({"stage": "connect", "trouble": "timeout"}, "ConnectFailed", "the connection took too long"),
        ({"stage": "banner", "trouble": "timeout"}, "BannerFailed", "the banner took too long"),
        ({"stage": "banner", "trouble": "refused", "code": 421, "enhanced": "4.3.2", "text": "busy"},
         "BannerFailed", "banner: 421 4.3.2 busy"),
        ({"stage": "ehlo", "trouble": "closed"}, "EhloFailed", "the connection was closed at EHLO"),
        ({"stage": "starttls", "trouble": "refused", "code": 454, "enhanced": "4.7.0", "text": "not now"},
         "StartTlsFailed", "answer to STARTTLS: 454 4.7.0 not now"),
        ({"stage": "starttls", "trouble": "tls", "text": "wrong version number"}, "StartTlsFailed",
         "no TLS: wrong version number"),
        ({"stage": "auth", "trouble": "refused", "code": 535, "enhanced": "5.7.8"},
         "AuthFailed", "answer to AUTH: 535 5.7.8"),
        ({"stage": "auth", "trouble": "refused", "code": 454, "enhanced": "4.7.0"},
         "AuthFailed", "answer to AUTH: 454 4.7.0"),
        ({"stage": "auth", "trouble": "timeout"}, "AuthFailed", "AUTH took too long"),
        ({"stage": "mail", "trouble": "refused", "code": 452, "enhanced": "4.3.1", "text": "no storage"},
         "SenderRefused", "answer to MAIL: 452 4.3.1 no storage"),
        ({"stage": "rcpt", "trouble": "refused", "code": 550, "text": "no"}, "RecipientRefused",
         "answer to RCPT: 550 no"),
        ({"stage": "rset", "trouble": "timeout"}, "ResetFailed", "RSET took too long"),
    ],
)  # fmt: skip
def test_each_step_that_fails_has_its_reason_and_is_fatal(
    fields: dict[str, Any], reason: str, message: str
) -> None:
    stage, trouble = ProbeStage(fields["stage"]), ProbeTrouble(fields["trouble"])
    finding = of_probe(seen(**(fields | {"stage": stage, "trouble": trouble})))
    assert finding is not None
    assert (finding.reason, finding.message, finding.factor) == (reason, message, FATAL)


def test_messages_do_not_tell_how_long_it_took() -> None:
    one, two = (seen(stage=ProbeStage.MAIL, trouble=ProbeTrouble.TIMEOUT, took_s=s) for s in (2.9, 2.95))
    assert of_probe(one) == of_probe(two)
    assert of_probe(seen(took_s=1.2)) == of_probe(seen(took_s=2.9)) is not None


def test_an_expired_certificate_is_fatal_and_only_on_relays_that_serve_it() -> None:
    finding = of_probe(seen(not_after=NOW))
    assert finding is not None
    assert (finding.reason, finding.factor) == (Reason.CERTIFICATE_EXPIRED, FATAL)
    assert of_probe(seen(not_after=NOW + timedelta(seconds=1))) is None
    assert of_probe(seen(not_after=None)) is None


@pytest.mark.parametrize(
    ("took_s", "siblings_s", "slow"),
    [
        (2.0, 0.05, True),
        (1.01, 0.05, True),
        (1.0, 0.05, False),
        (2.0, 0.7, False),
        (2.2, 0.7, True),
        (2.9, None, False),
    ],
)
def test_slow_is_only_what_siblings_are_not(took_s: float, siblings_s: float | None, slow: bool) -> None:
    finding = of_probe(seen(took_s=took_s, siblings_s=siblings_s))
    assert (finding is not None) == slow
    if finding:
        assert (finding.reason, finding.factor) == (Reason.PROBE_SLOW, SLOW_FACTOR)
        assert "the banner" in finding.message


def test_a_failure_hides_that_it_was_slow() -> None:
    finding = of_probe(seen(took_s=2.5, stage=ProbeStage.MAIL, trouble=ProbeTrouble.REFUSED, code=451))
    assert finding is not None
    assert finding.reason is Reason.SENDER_REFUSED


def test_how_long_siblings_take_is_the_median_of_their_last_good_probes() -> None:
    failed = probe(stage=ProbeStage.MAIL, trouble=ProbeTrouble.TIMEOUT, took_s=3.0)
    siblings = [
        relay(0, probes=(probe(took_s=0.1), probe(took_s=9.0))),
        relay(1, probes=(probe(took_s=0.3),)),
        relay(2, probes=(failed,)),
        relay(3, probes=()),
    ]
    assert Usual([*siblings, relay(9, probes=(probe(took_s=7.0),))]).of_others_s(
        "outbound-relay-9"
    ) == pytest.approx(0.2)
    assert Usual(siblings).of_others_s("outbound-relay-3") == pytest.approx(0.2)
    assert Usual(siblings).of_others_s("outbound-relay-0") == pytest.approx(0.3)
    assert Usual([relay(3, probes=())]).of_others_s("outbound-relay-3") is None
    assert Usual([relay(0)]).of_others_s("outbound-relay-0") is None


@given(st.lists(st.floats(0, 10), min_size=1, max_size=20))
def test_the_others_median_is_that_of_the_others(took: list[float]) -> None:
    usual = Usual([relay(i, probes=(probe(took_s=seconds),)) for i, seconds in enumerate(took)])
    for i in range(len(took)):
        others = took[:i] + took[i + 1 :]
        found = usual.of_others_s(f"outbound-relay-{i}")
        assert found == (pytest.approx(median(others)) if others else None)


def test_notices_tell_of_what_costs_no_weight() -> None:
    assert notices(relay(0), NOW) is None
    for fields, reason in (
        ({"agent": report("outbound-relay-0", table_error="bad")}, Reason.TABLE_REFUSED),
        ({"agent": None}, Reason.AGENT_SILENT),
        ({"agent": report("outbound-relay-0", age_s=31)}, Reason.AGENT_SILENT),
        ({"agent": report("outbound-relay-0", storage_low=True)}, Reason.STORAGE_LOW),
        ({"probes": (probe(not_after=NOW + timedelta(days=9)),)}, Reason.CERTIFICATE_EXPIRES_SOON),
    ):
        found = notices(relay(0, **fields), NOW)
        assert found is not None
        assert (found.reason, found.factor) == (reason, NOTICE)


def test_soon_is_two_weeks_or_a_quarter_of_a_short_life() -> None:
    end = NOW + timedelta(days=10)
    assert expires_soon(None, end, NOW)
    assert expires_soon(NOW - timedelta(days=300), end, NOW)
    assert not expires_soon(NOW - timedelta(days=1), end, NOW)


def test_every_step_but_the_farewell_can_eject_and_slowness_cannot() -> None:
    assert len(FATAL_REASONS) == len(ProbeStage) - 1 + 1  # and the certificate
    assert {Reason.PROBE_SLOW} == REASONS - FATAL_REASONS


def test_a_result_that_is_well_is_well_whatever_its_stage() -> None:
    assert of_probe(Seen(ProbeResult(ProbeStage.QUIT), None, NOW)) is None
