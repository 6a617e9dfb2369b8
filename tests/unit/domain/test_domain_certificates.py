"""The condition CertificateValid: what relays report, in one sentence for people."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from smtpfleet.api.agent_status import CertificateProblem
from smtpfleet.api.reasons import ConditionType, Reason
from smtpfleet.domain.certificates import certificate_valid
from smtpfleet.domain.conditions import Verdict
from smtpfleet.domain.facts import Pool, Relay
from smtpfleet.domain.transitions import Severity, notes
from tests.unit.domain.samples import CERTIFICATE, NOW, condition, pool, relay, report, status_of

DAY = timedelta(days=1)


def serving(number: int, **fields: Any) -> Relay:
    """A relay whose certificate is as told."""
    status = CERTIFICATE.model_copy(update=fields)
    return relay(number, agent=report(f"outbound-relay-{number}", certificate=status))


def seen(*relays: Relay, mode: str = "Optional") -> Pool:
    submission = {"trustedNetworks": ["10.0.0.0/8"], "tls": {"mode": mode}}
    return pool(relays, spec_fields={"submission": submission})


def until(left: timedelta, life: timedelta = 90 * DAY) -> dict[str, datetime]:
    return {"not_after": NOW + left, "not_before": NOW + left - life}


def test_a_good_certificate_tells_its_days() -> None:
    verdict = certificate_valid(seen(serving(0), serving(1)), NOW)
    assert verdict == Verdict("True", Reason.CERTIFICATE_VALID, "334 days left, until 2027-04-01")


def test_the_relay_whose_certificate_ends_first_speaks_for_all() -> None:
    verdict = certificate_valid(seen(serving(0), serving(1, **until(20 * DAY))), NOW)
    assert verdict.message.startswith("20 days left")


@pytest.mark.parametrize(
    ("left", "life", "reason"),
    [
        (14 * DAY, 90 * DAY, Reason.CERTIFICATE_VALID),
        (14 * DAY - timedelta(seconds=1), 90 * DAY, Reason.CERTIFICATE_EXPIRES_SOON),
        (2 * DAY, 7 * DAY, Reason.CERTIFICATE_VALID),
        (DAY, 7 * DAY, Reason.CERTIFICATE_EXPIRES_SOON),
    ],
)
def test_soon_is_two_weeks_or_a_quarter_of_a_short_life(
    left: timedelta, life: timedelta, reason: Reason
) -> None:
    verdict = certificate_valid(seen(serving(0, **until(left, life))), NOW)
    assert (verdict.status, verdict.reason) == ("True", reason)


def test_what_ends_soon_names_the_secret_to_renew() -> None:
    verdict = certificate_valid(seen(serving(0, **until(timedelta(hours=5)))), NOW)
    assert verdict.message == "less than a day left, until 2026-05-01: renew Secret outbound-tls"


def test_an_expired_certificate_in_use_is_false() -> None:
    verdict = certificate_valid(seen(serving(0, **until(timedelta(0)))), NOW)
    assert (verdict.status, verdict.reason) == ("False", Reason.CERTIFICATE_EXPIRED)


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (CertificateProblem.MISSING, Reason.SECRET_MISSING),
        (CertificateProblem.INVALID, Reason.CERTIFICATE_INVALID),
        (CertificateProblem.EXPIRED, Reason.CERTIFICATE_EXPIRED),
    ],
)
def test_a_bad_secret_is_named_with_what_happens_meanwhile(
    problem: CertificateProblem, reason: Reason
) -> None:
    bad = serving(1, problem=problem, error="the agent's words")
    verdict = certificate_valid(seen(serving(0), bad), NOW)
    words = "outbound-relay-1: the agent's words; the last good certificate stays in use"
    assert verdict == Verdict("False", reason, words)


@pytest.mark.parametrize(
    ("mode", "words"), [("Required", "mail is refused for now (454)"), ("Optional", "TLS is not offered")]
)
def test_without_any_good_certificate_the_mode_decides_what_happens(mode: str, words: str) -> None:
    none = serving(0, problem=CertificateProblem.MISSING, error="missing", fingerprint="", not_after=None)
    assert words in certificate_valid(seen(none, mode=mode), NOW).message


@pytest.mark.parametrize(
    "relays",
    [
        (),
        (relay(0, agent=None),),
        (relay(0, agent=report("outbound-relay-0", certificate=None)),),
        (serving(0, problem=CertificateProblem.UNKNOWN, fingerprint="", not_after=None),),
    ],
)
def test_without_a_report_nothing_is_known(relays: tuple[Relay, ...]) -> None:
    verdict = certificate_valid(seen(*relays), NOW) if relays else certificate_valid(pool(replicas=1), NOW)
    assert (verdict.status, verdict.reason) == ("Unknown", Reason.CERTIFICATE_UNKNOWN)


def test_without_tls_there_is_nothing_to_judge() -> None:
    verdict = certificate_valid(seen(serving(0), mode="None"), NOW)
    assert (verdict.status, verdict.reason) == ("Unknown", Reason.TLS_DISABLED)


def test_the_status_changes_once_a_day() -> None:
    moments = [NOW + timedelta(minutes=10 * step) for step in range(7 * 24 * 6)]
    kind = ConditionType.CERTIFICATE_VALID
    messages = [condition(status_of(seen(serving(0)), now=moment), kind).message for moment in moments]
    assert len(set(messages)) == 8  # seven days touch eight of the certificate's own


def test_the_certificate_does_not_make_a_pool_unready() -> None:
    bad = status_of(seen(serving(0, problem=CertificateProblem.MISSING, error="missing")))
    assert condition(bad, ConditionType.READY).status == "True"


def test_trouble_and_an_end_that_comes_near_are_events_once() -> None:
    good, soon = status_of(seen(serving(0))), status_of(seen(serving(0, **until(9 * DAY))))
    bad = status_of(seen(serving(0, problem=CertificateProblem.MISSING, error="missing")))
    sooner = status_of(seen(serving(0, **until(8 * DAY))))
    told = [(note.severity, note.reason) for before, after in [(good, soon), (good, bad), (bad, good)]
            for note in notes(before, after)]  # fmt: skip
    assert told == [
        (Severity.WARNING, Reason.CERTIFICATE_EXPIRES_SOON),
        (Severity.WARNING, Reason.SECRET_MISSING),
        (Severity.NORMAL, Reason.CERTIFICATE_VALID),
    ]
    assert notes(soon, sooner) == ()
