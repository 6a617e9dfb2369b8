"""What agents and the operator tell each other and users, across versions."""

from enum import StrEnum
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from smtpfleet.api.agent_status import (
    BalancerStatus,
    CertificateProblem,
    Deferral,
    DeferralReason,
    HandOffStage,
    HandOffStatus,
    Intake,
    NextHopProblem,
    NextHopTrouble,
    PostfixState,
    QueueCounts,
    RelayStatus,
    SigningKeyStatus,
    SigningProblem,
    UsersProblem,
    UsersStatus,
)
from smtpfleet.api.reasons import ConditionType, Reason, RelayState
from smtpfleet.api.status import SmtpPoolStatus


def test_the_backlog_is_what_can_be_sent_now() -> None:
    counts = QueueCounts(maildrop=1, incoming=2, receiving=4, active=8, deferred=16, hold=32, corrupt=64)
    assert counts.backlog == 1 + 2 + 8


def test_the_total_is_all_mail_that_would_be_lost_with_the_volume() -> None:
    counts = QueueCounts(maildrop=1, incoming=2, receiving=4, active=8, deferred=16, hold=32, corrupt=64)
    assert counts.total == 1 + 2 + 8 + 16 + 32 + 64


def test_the_answer_of_an_older_agent_has_defaults_for_what_it_does_not_say() -> None:
    status = RelayStatus.model_validate_json('{"relay": "outbound-relay-0"}')
    assert status.intake is Intake.OPEN
    assert status.postfix is PostfixState.STARTING
    assert status.queue.total == 0
    assert (status.deliveries, status.volume) == (None, None)


def test_what_a_newer_agent_adds_is_ignored() -> None:
    status = RelayStatus.model_validate_json('{"relay": "r", "later": 1, "queue": {"active": 3, "later": 2}}')
    assert status.queue.active == 3
    assert BalancerStatus.model_validate_json('{"balancer": "b", "later": []}').servers == ()


def test_a_problem_that_only_a_newer_agent_knows_still_means_that_the_certificate_is_in_trouble() -> None:
    text = '{"relay": "r", "certificate": {"problem": "Revoked", "notAfter": "2027-01-01T00:00:00Z"}}'
    certificate = RelayStatus.model_validate_json(text).certificate
    assert certificate is not None
    assert certificate.problem is CertificateProblem.INVALID
    assert RelayStatus.model_validate_json('{"relay": "r"}').certificate is None


def test_a_reason_that_only_a_newer_agent_knows_is_another_one() -> None:
    text = '{"relay": "r", "deliveries": {"deferrals": [{"reason": "Moonlight", "stage": "orbit", "recipients": 2}]}}'
    deliveries = RelayStatus.model_validate_json(text).deliveries
    assert deliveries is not None
    assert deliveries.deferrals == (Deferral(reason=DeferralReason.OTHER, recipients=2),)


@pytest.mark.parametrize(
    ("model", "given", "field", "word"),
    [
        (UsersStatus, {}, "problem", UsersProblem.OTHER),
        (NextHopTrouble, {"next_hop": "mx.example.com"}, "problem", NextHopProblem.INVALID),
        (SigningKeyStatus, {"domain": "example.com", "selector": "s1"}, "problem", SigningProblem.INVALID),
        (HandOffStatus, {}, "stage", HandOffStage.DELIVERING),
    ],
)
def test_a_word_that_only_a_newer_agent_knows_has_the_least_meaning(
    model: type[BaseModel], given: dict[str, Any], field: str, word: StrEnum
) -> None:
    for said in ("Moonlight", ["Moonlight"]):
        assert getattr(model.model_validate(given | {field: said}), field) is word
    for known in type(word):
        assert getattr(model.model_validate(given | {field: known.value}), field) is known


def test_answers_are_camel_case_json() -> None:
    text = RelayStatus(relay="r", table_revision="abc", oldest_active_s=1.5).model_dump_json(by_alias=True)
    assert '"tableRevision":"abc"' in text
    assert '"oldestActiveS":1.5' in text


def test_a_state_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError):
        RelayStatus.model_validate_json('{"relay": "r", "intake": "Perhaps"}')


@pytest.mark.parametrize("vocabulary", [ConditionType, Reason, RelayState, Intake, PostfixState])
def test_words_for_programs_are_camel_case_and_unique(vocabulary: type[ConditionType]) -> None:
    words = [word.value for word in vocabulary]
    assert all(word.isalpha() and word[0].isupper() for word in words)
    assert len({word.lower() for word in words}) == len(words)


def test_a_status_knows_only_its_own_fields() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        SmtpPoolStatus.model_validate({"phase": "Running"})
