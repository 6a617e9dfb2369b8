"""DKIM in the status: the records of what relays use, and the condition SigningReady."""

from typing import Any

import pytest

from smtpfleet.api.agent_status import SigningKeyStatus, SigningProblem, SigningStatus
from smtpfleet.api.reasons import ConditionType, Reason
from smtpfleet.api.status import Condition, DkimEntry, SmtpPoolStatus
from smtpfleet.domain.facts import Pool, Relay
from smtpfleet.domain.signing import dkim_entries, signing_ready
from smtpfleet.domain.transitions import Severity, notes
from tests.unit.domain.samples import pool, relay, report

RECORD = "v=DKIM1; k=rsa; p=x"
KEYS = [{"domain": "a.example", "selector": "s1", "secretName": "key"}]


def key(**fields: Any) -> SigningKeyStatus:
    given = {
        "domain": "a.example", "selector": "s1", "secret": "key", "algorithm": "RSA", "bits": 2048,
        "record": RECORD, "signs": True,
    } | fields  # fmt: skip
    return SigningKeyStatus(**given)


def signing(number: int, *keys: SigningKeyStatus, trouble: str = "") -> Relay:
    status = SigningStatus(keys=keys, trouble=trouble)
    return relay(number, agent=report(f"outbound-relay-{number}", signing=status))


def seen(*relays: Relay, **fields: Any) -> Pool:
    return pool(relays, spec_fields={"dkim": KEYS}, **fields)


@pytest.mark.parametrize(
    ("relays", "status", "reason", "word"),
    [
        ([signing(0, key())], "True", Reason.SIGNING_READY, "1 keys"),
        ([signing(0, key(bits=1024))], "True", Reason.SIGNING_KEY_WEAK, "shorter than 2048 bits"),
        ([signing(0, key(algorithm="Ed25519", bits=256))], "True", Reason.SIGNING_READY, ""),
        (
            [signing(0, key()), signing(1, key(problem=SigningProblem.MISSING, error="gone"))],
            "False", Reason.SECRET_MISSING, "a.example/s1: gone (outbound-relay-1); the last good key stays in use",
        ),
        (
            [signing(0, key(problem=SigningProblem.INVALID, error="no key", record=""))],
            "False", Reason.SIGNING_KEY_INVALID, "its mail is refused for now",
        ),
        ([signing(0, key()), signing(1, key(), trouble="silent")], "False", Reason.SIGNER_DOWN, "outbound-relay-1"),
        ([signing(0, key(secret="earlier"))], "Unknown", Reason.SIGNING_UNKNOWN, "a.example/s1"),
        ([relay(0)], "Unknown", Reason.SIGNING_UNKNOWN, "no relay has told"),
    ],
)  # fmt: skip
def test_the_condition_says_what_the_relays_say(
    relays: list[Relay], status: str, reason: Reason, word: str
) -> None:
    verdict = signing_ready(seen(*relays))
    assert (verdict.status, verdict.reason) == (status, reason)
    assert word in verdict.message


def test_a_pool_without_keys_is_told_so() -> None:
    assert signing_ready(pool([relay(0)])).reason is Reason.SIGNING_DISABLED
    assert dkim_entries(pool([relay(0)])) == ()


def test_an_entry_has_the_record_of_the_key_in_use() -> None:
    (entry,) = dkim_entries(seen(relay(0), signing(1, key())))
    assert entry == DkimEntry(
        domain="a.example", selector="s1", secret_name="key", algorithm="RSA", bits=2048, signing=True,
        record_name="s1._domainkey.a.example", record=RECORD,
    )  # fmt: skip


def test_relays_that_have_not_reported_take_nothing_away() -> None:
    before = dkim_entries(seen(signing(0, key())))
    assert dkim_entries(seen(relay(0), previous=SmtpPoolStatus(dkim=before))) == before


def test_a_key_that_no_relay_has_is_listed_without_a_record() -> None:
    (entry,) = dkim_entries(seen(signing(0, key(record="", signs=False, algorithm="", bits=0))))
    assert (entry.record, entry.signing) == ("", False)


@pytest.mark.parametrize(
    ("before", "after", "severity"),
    [
        (("True", "SigningReady"), ("False", "SignerDown"), Severity.WARNING),
        (("False", "SignerDown"), ("True", "SigningReady"), Severity.NORMAL),
        (("True", "SigningReady"), ("True", "SigningKeyWeak"), Severity.WARNING),
        (("Unknown", "SigningUnknown"), ("True", "SigningReady"), None),
    ],
)
def test_a_change_is_an_event(
    before: tuple[str, str], after: tuple[str, str], severity: Severity | None
) -> None:
    old, new = (
        SmtpPoolStatus(
            conditions=(
                Condition(
                    type=ConditionType.SIGNING_READY, status=status, reason=reason, observed_generation=1,
                    last_transition_time="2026-05-01T12:00:00Z",
                ),
            )
        )
        for status, reason in (before, after)
    )  # fmt: skip
    assert [note.severity for note in notes(old, new)] == ([severity] if severity else [])
