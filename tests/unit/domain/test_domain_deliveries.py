"""The condition DeliveryReady: what relays report of their next hops, in one sentence for people."""

import pytest

from smtpfleet.api.agent_status import (
    Deliveries,
    DeliveryStatus,
    NextHopProblem,
    NextHopTrouble,
    ReceiverGroup,
)
from smtpfleet.api.reasons import ConditionType, Reason
from smtpfleet.api.status import Condition, SmtpPoolStatus
from smtpfleet.domain.assessment import Assessment, assess
from smtpfleet.domain.conditions import Verdict
from smtpfleet.domain.deliveries import delivery_ready
from smtpfleet.domain.facts import Relay
from smtpfleet.domain.transitions import Severity, notes
from tests.unit.domain.samples import NOW, condition, entry, pool, relay, report, status_of


def telling(number: int, *troubles: NextHopTrouble) -> Relay:
    """A relay that reports these troubles."""
    status = DeliveryStatus(troubles=troubles)
    return relay(number, agent=report(f"outbound-relay-{number}", delivery=status))


def trouble(
    problem: NextHopProblem, *, waiting: bool = True, host: str = "smtp.example:587"
) -> NextHopTrouble:
    return NextHopTrouble(next_hop=host, problem=problem, error="the agent's words", waiting=waiting)


def test_without_trouble_every_next_hop_is_ready() -> None:
    assert delivery_ready(pool([telling(0), telling(1)]), Assessment()) == Verdict(
        "True", Reason.NEXT_HOPS_READY
    )


def delivering(number: int, *, tried: int, failed: int) -> Relay:
    """A relay whose deliveries went so."""
    deliveries = Deliveries(receivers=(ReceiverGroup(group=3, tried=tried, failed=failed),))
    name = f"outbound-relay-{number}"
    return relay(number, agent=report(name, delivery=DeliveryStatus(), deliveries=deliveries))


@pytest.mark.parametrize(
    ("tried", "failed", "before", "status"),
    [
        (20, 20, False, "False"),
        (20, 10, False, "False"),
        (20, 9, False, "True"),
        (20, 9, True, "False"),
        (20, 5, True, "True"),
        (10, 10, False, "True"),
    ],
)
def test_that_most_deliveries_of_all_relays_fail_is_the_receivers(
    tried: int, failed: int, before: bool, status: str
) -> None:
    relays = [delivering(number, tried=tried, failed=failed) for number in range(2)]
    known = Condition(
        type=ConditionType.DELIVERY_READY, status="False", observed_generation=1, last_transition_time="",
        reason=Reason.RECEIVERS_FAIL, message="",
    )  # fmt: skip
    previous = SmtpPoolStatus(conditions=(known,) if before else ())
    seen = pool(relays, previous=previous)
    verdict = delivery_ready(seen, assess(seen))
    assert verdict.status == status
    assert ("it is the receivers" in verdict.message) == (status == "False")


def test_what_one_relay_alone_suffers_is_not_the_receivers() -> None:
    relays = [delivering(0, tried=400, failed=400), delivering(1, tried=100, failed=0)]
    seen = pool(relays, previous=SmtpPoolStatus(relays=(entry(0), entry(1))), seen_at=NOW)
    health = assess(seen)
    assert health.standings["outbound-relay-0"].reason is Reason.DELIVERIES_FAIL
    assert delivery_ready(seen, health).status == "True"


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
    verdict = delivery_ready(pool([telling(0), telling(1, trouble(problem))]), Assessment())
    words = "outbound-relay-1: smtp.example:587: the agent's words; mail for it waits"
    assert verdict == Verdict("False", reason, words)


def test_where_all_relays_have_good_ones_nothing_waits() -> None:
    verdict = delivery_ready(pool([telling(0, trouble(NextHopProblem.MISSING, waiting=False))]), Assessment())
    assert verdict.message.endswith("; the last good credentials stay in use")


def test_a_missing_secret_is_told_before_a_refusal() -> None:
    found = (trouble(NextHopProblem.REFUSED), trouble(NextHopProblem.MISSING, host="other.example:25"))
    verdict = delivery_ready(pool([telling(0, *found)]), Assessment())
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
    verdict = delivery_ready(pool(relays, replicas=1), Assessment())
    assert (verdict.status, verdict.reason) == ("Unknown", Reason.NEXT_HOPS_UNKNOWN)


def test_a_newer_agents_word_means_trouble() -> None:
    status = DeliveryStatus.model_validate({"troubles": [{"nextHop": "a:25", "problem": "Haunted"}]})
    assert status.troubles[0].problem is NextHopProblem.INVALID


def test_trouble_and_its_end_are_events_and_make_no_pool_unready() -> None:
    good, bad = status_of(pool([telling(0)])), status_of(pool([telling(0, trouble(NextHopProblem.REFUSED))]))
    told = [
        (note.severity, note.reason)
        for before, after in [(good, bad), (bad, bad), (bad, good)]
        for note in notes(before, after)
    ]
    assert told == [
        (Severity.WARNING, Reason.CREDENTIALS_REFUSED),
        (Severity.NORMAL, Reason.NEXT_HOPS_READY),
    ]
    assert condition(bad, ConditionType.READY).status == "True"
