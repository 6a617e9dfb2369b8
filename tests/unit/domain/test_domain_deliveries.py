"""The condition DeliveryReady: what relays report of their next hops, in one sentence for people."""

from datetime import UTC, datetime

import pytest

from smtpfleet.api.agent_status import DeliveryStatus, NextHopProblem, NextHopTrouble
from smtpfleet.api.reasons import ConditionType, Reason
from smtpfleet.api.status import SmtpPoolStatus
from smtpfleet.domain.conditions import Verdict
from smtpfleet.domain.deliveries import delivery_ready
from smtpfleet.domain.facts import Pool, Relay
from smtpfleet.domain.plan import plan
from smtpfleet.domain.status import report as build
from smtpfleet.domain.transitions import Severity, notes
from tests.unit.domain.samples import pool, relay, report

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def telling(number: int, *troubles: NextHopTrouble) -> Relay:
    """A relay that reports these troubles."""
    status = DeliveryStatus(troubles=troubles)
    return relay(number, agent=report(f"outbound-relay-{number}", delivery=status))


def trouble(
    problem: NextHopProblem, *, waiting: bool = True, host: str = "smtp.example:587"
) -> NextHopTrouble:
    return NextHopTrouble(next_hop=host, problem=problem, error="the agent's words", waiting=waiting)


def test_without_trouble_every_next_hop_is_ready() -> None:
    assert delivery_ready(pool([telling(0), telling(1)])) == Verdict("True", Reason.NEXT_HOPS_READY)


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (NextHopProblem.MISSING, Reason.SECRET_MISSING),
        (NextHopProblem.INVALID, Reason.CREDENTIALS_INVALID),
        (NextHopProblem.REFUSED, Reason.CREDENTIALS_REFUSED),
    ],
)
def test_trouble_is_named_with_relay_next_hop_and_what_mail_does(
    problem: NextHopProblem, reason: Reason
) -> None:
    verdict = delivery_ready(pool([telling(0), telling(1, trouble(problem))]))
    words = "outbound-relay-1: smtp.example:587: the agent's words; mail for it waits"
    assert verdict == Verdict("False", reason, words)


def test_where_all_relays_have_good_ones_nothing_waits() -> None:
    verdict = delivery_ready(pool([telling(0, trouble(NextHopProblem.MISSING, waiting=False))]))
    assert verdict.message.endswith("; the last good credentials stay in use")


def test_a_missing_secret_is_told_before_a_refusal() -> None:
    found = (trouble(NextHopProblem.REFUSED), trouble(NextHopProblem.MISSING, host="other.example:25"))
    verdict = delivery_ready(pool([telling(0, *found)]))
    assert (verdict.reason, "other.example:25" in verdict.message) == (Reason.SECRET_MISSING, True)


@pytest.mark.parametrize(
    "relays",
    [
        (),
        (relay(0, agent=None),),
        (relay(0, agent=report("outbound-relay-0", delivery=None)),),
        (telling(0, trouble(NextHopProblem.UNKNOWN)),),
    ],
)
def test_without_a_report_nothing_is_known(relays: tuple[Relay, ...]) -> None:
    verdict = delivery_ready(pool(relays, replicas=1))
    assert (verdict.status, verdict.reason) == ("Unknown", Reason.NEXT_HOPS_UNKNOWN)


def test_a_newer_agents_word_means_trouble() -> None:
    status = DeliveryStatus.model_validate({"troubles": [{"nextHop": "a:25", "problem": "Haunted"}]})
    assert status.troubles[0].problem is NextHopProblem.INVALID


def _status(of: Pool) -> SmtpPoolStatus:
    return build(of, plan(of), problems=(), now=NOW)


def test_trouble_and_its_end_are_events_and_make_no_pool_unready() -> None:
    good, bad = _status(pool([telling(0)])), _status(pool([telling(0, trouble(NextHopProblem.REFUSED))]))
    told = [
        (note.severity, note.reason)
        for before, after in [(good, bad), (bad, bad), (bad, good)]
        for note in notes(before, after)
    ]
    assert told == [
        (Severity.WARNING, Reason.CREDENTIALS_REFUSED),
        (Severity.NORMAL, Reason.NEXT_HOPS_READY),
    ]
    ready = next(item for item in bad.conditions if item.type is ConditionType.READY)
    assert ready.status == "True"
