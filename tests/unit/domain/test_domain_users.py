"""The condition UsersValid: what relays report, in one sentence for people."""

from typing import Any

import pytest

from smtpfleet.api.agent_status import RefusedUser, UsersProblem, UsersStatus
from smtpfleet.api.probes import ProbeResult, ProbeStage, ProbeTrouble
from smtpfleet.api.reasons import ConditionType, Reason
from smtpfleet.api.secret_names import made_secrets, probe_secret, secret_names
from smtpfleet.api.submission import Tls, TlsMode
from smtpfleet.domain.conditions import Verdict
from smtpfleet.domain.facts import Pool, Relay
from smtpfleet.domain.table import routing_table
from smtpfleet.domain.transitions import Severity, notes
from smtpfleet.domain.users import users_valid
from tests.unit.domain.fleet import well
from tests.unit.domain.samples import condition, pool, relay, report, spec, status_of


def knowing(number: int, **fields: Any) -> Relay:
    """A relay that knows two users, unless told otherwise."""
    status = UsersStatus(secret="users", users=2).model_copy(update=fields)
    return relay(number, agent=report(f"outbound-relay-{number}", users=status))


def seen(*relays: Relay, secret: str = "users") -> Pool:
    submission = {"trustedNetworks": ["10.0.0.0/8"], "authentication": {"secretName": secret}}
    return pool(relays, spec_fields={"submission": submission})


BROKEN = RefusedUser(key="bob", reason="the first line is empty")


def test_a_pool_with_users_tells_how_many() -> None:
    assert users_valid(seen(knowing(0), knowing(1))) == Verdict("True", Reason.USERS_VALID, "2 users")
    assert users_valid(seen(knowing(0), knowing(1, users=1))).message == "1 user"


def test_a_pool_without_users_has_nothing_to_judge() -> None:
    verdict = users_valid(seen(relay(0), secret=""))
    assert (verdict.status, verdict.reason) == ("Unknown", Reason.AUTHENTICATION_DISABLED)


@pytest.mark.parametrize(
    ("problem", "reason", "words"),
    [
        (
            UsersProblem.MISSING,
            Reason.SECRET_MISSING,
            "nobody can log in for now (454), trusted networks go on",
        ),
        (UsersProblem.EMPTY, Reason.NO_USERS, "nobody can log in, trusted networks go on"),
        (UsersProblem.OTHER, Reason.USERS_REFUSED, "trusted networks go on"),
    ],
)
def test_trouble_with_the_secret_is_told_with_what_happens_meanwhile(
    problem: UsersProblem, reason: Reason, words: str
) -> None:
    bad = knowing(1, users=0, problem=problem, error="the agent's words")
    verdict = users_valid(seen(knowing(0), bad))
    assert verdict == Verdict("False", reason, f"outbound-relay-1: the agent's words; {words}")


def test_a_refused_entry_is_named_with_its_reason() -> None:
    verdict = users_valid(seen(knowing(0, refused=(BROKEN,), refused_total=1)))
    assert (verdict.status, verdict.reason) == ("False", Reason.USERS_REFUSED)
    assert verdict.message == (
        "bob: the first line is empty; they cannot log in for now (454), the others can"
    )


def test_of_many_refused_entries_five_are_named() -> None:
    many = tuple(RefusedUser(key=f"u{number}", reason="why") for number in range(10))
    message = users_valid(seen(knowing(0, refused=many, refused_total=400))).message
    assert "u4: why; and 395 more; " in message
    assert "u5" not in message


@pytest.mark.parametrize(
    "relays",
    [
        (relay(0, agent=None),),
        (relay(0),),
        (knowing(0, problem=UsersProblem.UNKNOWN),),
        (knowing(0, secret="the-one-before"),),
    ],
)
def test_without_a_report_nothing_is_known(relays: tuple[Relay, ...]) -> None:
    verdict = users_valid(seen(*relays))
    assert verdict == Verdict("Unknown", Reason.USERS_UNKNOWN, "no report of outbound-relay-0")


def test_a_word_of_a_newer_agent_is_trouble() -> None:
    status = UsersStatus.model_validate({"secret": "users", "problem": "Haunted"})
    assert status.problem is UsersProblem.OTHER


def test_trouble_is_an_event_once_and_makes_no_pool_unready() -> None:
    good = status_of(seen(knowing(0)))
    bad = status_of(seen(knowing(0, problem=UsersProblem.MISSING, error="missing", users=0)))
    told = [(note.severity, note.reason) for one, other in ((good, bad), (bad, bad), (bad, good))
            for note in notes(one, other)]  # fmt: skip
    assert told == [(Severity.WARNING, Reason.SECRET_MISSING), (Severity.NORMAL, Reason.USERS_VALID)]
    assert condition(bad, ConditionType.READY).status == "True"


def test_the_agents_are_told_the_name_and_given_the_right_to_read_it() -> None:
    of = seen(knowing(0))
    assert routing_table(of, leaving=()).submission.authentication.secret_name == "users"
    assert "users" in routing_table(of, leaving=()).secrets
    assert secret_names("outbound", of.spec) == ("outbound-probe", "outbound-tls", "users")


def test_probes_have_a_secret_only_where_there_are_users_and_tls() -> None:
    both, network = {"authentication": {"secretName": "users"}}, {"trustedNetworks": ["10.0.0.0/8"]}
    for submission, secret in (
        (both, "outbound-probe"),
        (both | network, "outbound-probe"),
        (network, ""),
        (network | {"tls": {"mode": "None"}}, ""),
    ):
        of = pool(spec=spec(submission=submission))
        made = routing_table(of, leaving=())
        assert made.submission.probe_secret_name == secret
        assert ("outbound-probe" in made.secrets) == bool(secret)
        assert ("outbound-probe" in secret_names("outbound", of.spec)) == bool(secret)
        assert ("outbound-probe" in made_secrets("outbound", of.spec)) == bool(secret)


def test_probes_have_none_without_tls_under_which_to_log_in() -> None:
    given = spec(submission={"authentication": {"secretName": "users"}})
    plain = given.submission.model_copy(update={"tls": Tls(mode=TlsMode.NONE)})
    assert probe_secret("outbound", given.model_copy(update={"submission": plain})) == ""


def test_where_no_relay_lets_probes_log_in_nobody_is_ejected_and_the_step_is_told() -> None:
    fleet = well()
    for number in range(3):
        fleet.answers[fleet.name(number)] = ProbeResult(
            ProbeStage.AUTH, ProbeTrouble.REFUSED, code=535, enhanced="5.7.8"
        )
    fleet.run(60)
    assert "Ejected" not in fleet.states()
    assert fleet.weights() == [100] * 3
    probes = fleet.condition("ProbesHealthy")
    assert (probes.status, probes.reason) == ("False", "TooManyUnhealthy")
    assert "answer to AUTH: 535 5.7.8" in probes.message
