"""The condition UsersValid: what the relays say of the Secret with the pool's users.

Guarantees: an entry is named by its key and never shown; the relay with the worst to say speaks for the pool; the
operator itself does not read the Secret.
"""

from collections.abc import Sequence
from typing import Final

from smtpfleet.api.agent_status import UsersProblem, UsersStatus
from smtpfleet.api.reasons import Reason
from smtpfleet.domain.conditions import Verdict
from smtpfleet.domain.facts import Pool
from smtpfleet.domain.figures import NAMED, listing

Reported = tuple[str, UsersStatus]
"""A relay's name and what it says."""


def users_valid(pool: Pool) -> Verdict:
    """The verdict on the pool's users."""
    secret = pool.spec.submission.authentication.secret_name
    if not secret:
        return Verdict(
            "Unknown",
            Reason.AUTHENTICATION_DISABLED,
            "submission.authentication names no Secret: there are no users",
        )
    reports = [
        (name, users) for name, users in pool.told(lambda status: status.users) if users.secret == secret
    ]
    return _missing(reports) or _refused(reports) or _known(pool, reports)


def _missing(reports: Sequence[Reported]) -> Verdict | None:
    for problem, reason, otherwise in (
        (UsersProblem.MISSING, Reason.SECRET_MISSING, "the Secret is missing"),
        (UsersProblem.EMPTY, Reason.NO_USERS, "the Secret has no entry"),
        (UsersProblem.OTHER, Reason.USERS_REFUSED, "the users cannot be used"),
    ):
        having = [(name, status) for name, status in reports if status.problem is problem]
        if having:
            names, error = listing(name for name, _ in having), having[0][1].error or otherwise
            return Verdict("False", reason, f"{names}: {error}; {_MEANWHILE[problem]}")
    return None


_MEANWHILE: Final = {
    UsersProblem.MISSING: "nobody can log in for now (454), trusted networks go on",
    UsersProblem.EMPTY: "nobody can log in, trusted networks go on",
    UsersProblem.OTHER: "trusted networks go on",
}


def _refused(reports: Sequence[Reported]) -> Verdict | None:
    having = [status for _, status in reports if status.refused]
    if not having:
        return None
    status = max(having, key=lambda each: each.refused_total)
    told = "; ".join(f"{entry.key}: {entry.reason}" for entry in status.refused[:NAMED])
    more = status.refused_total - min(len(status.refused), NAMED)
    rest = f"; and {more} more" if more > 0 else ""
    return Verdict(
        "False", Reason.USERS_REFUSED, f"{told}{rest}; they cannot log in for now (454), the others can"
    )


def _known(pool: Pool, reports: Sequence[Reported]) -> Verdict:
    knowing = [status for _, status in reports if status.problem is UsersProblem.NONE]
    if not knowing:
        names = listing(relay.name for relay in pool.relays if relay.exists)
        return Verdict("Unknown", Reason.USERS_UNKNOWN, f"no report of {names or 'any relay'}")
    number = min(status.users for status in knowing)
    return Verdict("True", Reason.USERS_VALID, "1 user" if number == 1 else f"{number} users")
