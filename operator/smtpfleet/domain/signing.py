"""DKIM in the pool's status: the records to publish, and the condition SigningReady.

Guarantees: what is shown is what the relays say of the keys that they use (the operator reads no user's Secret); a
relay that starts and has not reported yet takes nothing away.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from smtpfleet.api.agent_status import SigningKeyStatus, SigningProblem, SigningStatus
from smtpfleet.api.dkim import DkimKey, record_name
from smtpfleet.api.reasons import Reason
from smtpfleet.api.secret_names import signing_secret
from smtpfleet.api.status import DkimEntry
from smtpfleet.domain.conditions import Verdict
from smtpfleet.domain.facts import Pool
from smtpfleet.domain.figures import listing

ENOUGH_BITS: Final = 2048
"""RFC 8301, section 3.2: signers should use at least so many."""
_REASONS: Final = {
    SigningProblem.MISSING: Reason.SECRET_MISSING,
    SigningProblem.INVALID: Reason.SIGNING_KEY_INVALID,
}

Told = tuple[str, SigningKeyStatus]
"""A relay's name and what it says of one key."""


def dkim_entries(pool: Pool) -> tuple[DkimEntry, ...]:
    """One entry for each key of the spec, in its order."""
    before = {(entry.domain, entry.selector): entry for entry in pool.previous.dkim}
    return tuple(_entry(pool, key, before.get((key.domain, key.selector))) for key in pool.spec.dkim)


def signing_ready(pool: Pool) -> Verdict:
    """The verdict on the pool's signatures."""
    if not pool.spec.dkim:
        return Verdict("Unknown", Reason.SIGNING_DISABLED, "no key is listed in dkim")
    down = [(name, status.trouble) for name, status in _reports(pool) if status.trouble]
    if down:
        names = listing(name for name, _ in down)
        return Verdict(
            "False",
            Reason.SIGNER_DOWN,
            f"{names}: {down[0][1]}; mail goes to other relays, or is refused for now",
        )
    told = {key: list(_told(pool, key)) for key in pool.spec.dkim}
    problem = _problem(told)
    if problem is not None:
        return problem
    unknown = [key for key, reports in told.items() if not any(status.record for _, status in reports)]
    if unknown:
        return Verdict("Unknown", Reason.SIGNING_UNKNOWN, f"no relay has told of {_names(unknown)}")
    weak = [key for key, reports in told.items() if _is_weak(reports[0][1])]
    if weak:
        message = f"{_names(weak)}: shorter than {ENOUGH_BITS} bits, replace by a key with another selector"
        return Verdict("True", Reason.SIGNING_KEY_WEAK, message)
    return Verdict("True", Reason.SIGNING_READY, f"{len(told)} keys are in use or ready to be published")


def _problem(told: dict[DkimKey, list[Told]]) -> Verdict | None:
    for problem, reason in _REASONS.items():
        having = [
            (key, name, status)
            for key, reports in told.items()
            for name, status in reports
            if status.problem is problem
        ]
        if having:
            key, _, status = having[0]
            names = listing(dict.fromkeys(name for _, name, _ in having))
            meanwhile = (
                "the last good key stays in use"
                if status.record
                else f"without another key of {key.domain}, its mail is refused for now (451)"
            )
            return Verdict("False", reason, f"{_names([key])}: {status.error} ({names}); {meanwhile}")
    return None


def _entry(pool: Pool, key: DkimKey, before: DkimEntry | None) -> DkimEntry:
    reports = [status for _, status in _told(pool, key)]
    used = next((status for status in reports if status.record), None)
    if used is None and before is not None and not reports:
        return before
    return DkimEntry(
        domain=key.domain,
        selector=key.selector,
        secret_name=signing_secret(pool.name, key),
        algorithm=used.algorithm if used else "",
        bits=used.bits if used else 0,
        signing=any(status.signs for status in reports),
        record_name=record_name(key.domain, key.selector),
        record=used.record if used else "",
    )


def _reports(pool: Pool) -> list[tuple[str, SigningStatus]]:
    return pool.told(lambda status: status.signing)


def _told(pool: Pool, key: DkimKey) -> Iterator[Told]:
    """What relays say of this key; one that still has another Secret for it has not seen the newest list."""
    secret = signing_secret(pool.name, key)
    for name, status in _reports(pool):
        for reported in status.keys:
            if (reported.domain, reported.selector, reported.secret) == (key.domain, key.selector, secret):
                yield name, reported


def _is_weak(status: SigningKeyStatus) -> bool:
    return status.algorithm == "RSA" and status.bits < ENOUGH_BITS


def _names(keys: Iterable[DkimKey]) -> str:
    return listing(f"{key.domain}/{key.selector}" for key in keys)
