"""The condition CertificateValid: what the relays say of the certificate they serve.

Guarantees: the message counts whole days, so it changes the status at most once a day; the worst of the relays speaks
for the pool; the operator itself reads no user's Secret for this.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from smtpfleet.api.agent_status import CertificateProblem, CertificateStatus
from smtpfleet.api.reasons import Reason
from smtpfleet.api.submission import TlsMode
from smtpfleet.domain.conditions import Verdict
from smtpfleet.domain.facts import Pool
from smtpfleet.domain.figures import listing
from smtpfleet.domain.findings import expires_soon

_REASONS: Final = {
    CertificateProblem.MISSING: Reason.SECRET_MISSING,
    CertificateProblem.EXPIRED: Reason.CERTIFICATE_EXPIRED,
    CertificateProblem.INVALID: Reason.CERTIFICATE_INVALID,
}
"""The worst first."""

Reported = tuple[str, CertificateStatus]
"""A relay's name and what it says."""


def certificate_valid(pool: Pool, now: datetime) -> Verdict:
    """The verdict on the pool's certificate."""
    if pool.spec.submission.tls.mode is TlsMode.NONE:
        return Verdict("Unknown", Reason.TLS_DISABLED, "submission.tls.mode is None")
    reports = pool.told(lambda status: status.certificate)
    refused = _refused(pool, reports)
    if refused is not None:
        return refused
    served = [(name, status) for name, status in reports if status.not_after is not None]
    return _dated(served, now) if served else _unknown(pool)


def _refused(pool: Pool, reports: Sequence[Reported]) -> Verdict | None:
    """What is wrong with the Secret, and what the relays do meanwhile."""
    for problem, reason in _REASONS.items():
        having = [(name, status) for name, status in reports if status.problem is problem]
        if having:
            names, error = listing(name for name, _ in having), having[0][1].error
            return Verdict("False", reason, f"{names}: {error}; {_meanwhile(pool, having)}")
    return None


def _meanwhile(pool: Pool, having: Iterable[Reported]) -> str:
    if all(status.fingerprint for _, status in having):
        return "the last good certificate stays in use"
    if pool.spec.submission.tls.mode is TlsMode.REQUIRED:
        return "mail is refused for now (454) where there is no earlier certificate"
    return "TLS is not offered where there is no earlier certificate"


def _dated(served: Sequence[Reported], now: datetime) -> Verdict:
    name, first = min(served, key=lambda reported: _end(reported[1]))
    left = _end(first) - now
    until = f"until {_end(first):%Y-%m-%d}"
    if left <= timedelta(0):
        return Verdict("False", Reason.CERTIFICATE_EXPIRED, f"{name}: the certificate expired, {until}")
    days = f"{left.days} days left, {until}" if left.days else f"less than a day left, {until}"
    if expires_soon(first.not_before, _end(first), now):
        return Verdict("True", Reason.CERTIFICATE_EXPIRES_SOON, f"{days}: renew Secret {first.secret}")
    return Verdict("True", Reason.CERTIFICATE_VALID, days)


def _end(status: CertificateStatus) -> datetime:
    assert status.not_after is not None
    return status.not_after


def _unknown(pool: Pool) -> Verdict:
    names = listing(relay.name for relay in pool.relays if relay.exists)
    return Verdict("Unknown", Reason.CERTIFICATE_UNKNOWN, f"no report of {names or 'any relay'}")
