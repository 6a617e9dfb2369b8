"""What comparing a relay with its siblings finds, and what it never finds."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.api.agent_status import (
    Deferral,
    DeferralReason,
    DeferralStage,
    Deliveries,
    QueueCounts,
    ReceiverGroup,
)
from smtpfleet.api.health import Health
from smtpfleet.api.pool import SmtpPoolSpec
from smtpfleet.api.postfix_parameters import LEADS_ELSEWHERE
from smtpfleet.api.probes import CanaryReport
from smtpfleet.api.reasons import Reason
from smtpfleet.domain.facts import Relay
from smtpfleet.domain.findings import FATAL, NOTICE, SLOW_FACTOR, Finding
from smtpfleet.domain.passive import (
    FATAL_REASONS,
    SLOW_REASONS,
    Siblings,
    alarm,
    canary_interval_s,
    late_s,
    of_comparison,
    suspicious,
)
from tests.unit.domain.samples import answer, relay, report

LATE_S = 20.0
BLOCKED = Deferral(reason=DeferralReason.REMOTE_TEMPORARY, stage=DeferralStage.RCPT, recipients=10_000)


def telling(
    number: int, *, tried: int = 100, failed: int = 0, group: int = 1, idle_s: float = 0.0, **fields: Any
) -> Relay:
    """A relay whose agent tells this."""
    deliveries = Deliveries(
        seconds=60, sent=tried - failed, deferred=failed, idle_s=idle_s, deferrals=(BLOCKED,) if failed else (),
        receivers=(ReceiverGroup(group=group, tried=tried, failed=failed),),
    )  # fmt: skip
    age_s = fields.pop("age_s", 1.0)
    return relay(
        number, agent=report(f"outbound-relay-{number}", age_s=age_s, deliveries=deliveries, **fields)
    )


def found(relays: list[Relay], before: Reason | None = None) -> Finding | None:
    """Of the first of them."""
    return of_comparison(relays[0], Siblings(relays, LATE_S), before)


def word(relays: list[Relay], before: Reason | None = None) -> str:
    finding = found(relays, before)
    return finding.reason if finding else ""


@pytest.mark.parametrize(
    ("own", "others", "reason"),
    [
        ((100, 100), (200, 0), "DeliveriesFail"),
        ((100, 90), (200, 60), "DeliveriesFail"),
        ((100, 89), (200, 0), "DeliveriesWorse"),
        ((100, 100), (200, 62), "DeliveriesWorse"),
        ((100, 30), (200, 0), "DeliveriesWorse"),
        ((100, 30), (200, 22), ""),  # by less than a fifth
        ((100, 100), (200, 200), ""),
        ((29, 29), (200, 0), ""),
        ((200, 200), (29, 0), ""),
        ((30, 30), (30, 0), "DeliveriesFail"),
        ((30, 9), (3000, 0), ""),
        ((30, 10), (3000, 0), "DeliveriesWorse"),
        ((30, 14), (30, 5), ""),  # perhaps by chance
        ((0, 0), (200, 0), ""),
    ],
)
def test_deliveries_are_judged_by_size_of_the_difference_and_by_chance(
    own: tuple[int, int], others: tuple[int, int], reason: str
) -> None:
    relays = [telling(0, tried=own[0], failed=own[1]), telling(1, tried=others[0], failed=others[1])]
    assert word(relays) == reason


def test_what_was_found_is_found_again_more_easily() -> None:
    def at(failed: int, before: Reason | None) -> str:
        return word([telling(0, tried=100, failed=failed), telling(1, tried=300)], before)

    assert (at(75, None), at(75, Reason.DELIVERIES_FAIL)) == ("DeliveriesWorse", "DeliveriesFail")
    assert (at(15, None), at(15, Reason.DELIVERIES_WORSE)) == ("", "DeliveriesWorse")
    assert (at(9, Reason.DELIVERIES_WORSE), at(15, Reason.PROBE_SLOW)) == ("", "")


def test_two_of_three_that_are_refused_stand_out_but_neither_is_cut_off() -> None:
    relays = [telling(0, failed=100), telling(1, failed=100), telling(2)]
    assert word(relays) == "DeliveriesWorse"


def test_the_message_names_the_most_common_failure_and_no_number() -> None:
    finding = found([telling(0, failed=95), telling(1)])
    assert finding is not None
    assert finding.message == (
        "nearly all its deliveries fail, and not those of its siblings: mostly RemoteTemporary (rcpt)"
    )
    bounced = Deliveries(bounced=100, receivers=(ReceiverGroup(group=1, tried=100, failed=100),))
    relays = [relay(0, agent=report("outbound-relay-0", deliveries=bounced)), telling(1)]
    finding = found(relays)
    assert finding is not None
    assert finding.message.endswith(": most are bounced")


@pytest.mark.parametrize(
    ("fields", "siblings", "reason"),
    [
        ({"oldest_incoming_s": 30.0, "idle_s": 30.0}, {}, "QueueStuck"),
        ({"oldest_incoming_s": 29.0, "idle_s": 30.0}, {}, ""),
        ({"oldest_incoming_s": 300.0, "idle_s": 5.0}, {}, ""),  # active is full, but mail is sent
        ({"oldest_incoming_s": 40.0, "idle_s": 40.0}, {"oldest_incoming_s": 10.0}, ""),
        ({"oldest_active_s": 130.0, "idle_s": 125.0, "active": 5}, {}, "QueueStale"),
        ({"oldest_active_s": 130.0, "idle_s": 125.0, "active": 4}, {}, ""),
        ({"oldest_active_s": 130.0, "idle_s": 60.0, "active": 500}, {}, ""),
        ({"oldest_active_s": 1000.0, "idle_s": 125.0, "active": 5}, {"oldest_active_s": 300.0}, ""),
    ],
)
def test_a_queue_that_stands_still_is_judged_by_what_siblings_do(
    fields: dict[str, Any], siblings: dict[str, Any], reason: str
) -> None:
    active = fields.pop("active", 0)
    own = telling(0, queue=QueueCounts(active=active), **fields)
    assert word([own, telling(1, **siblings), telling(2, **siblings)]) == reason


def test_a_relay_alone_is_never_judged() -> None:
    assert not word([telling(0, failed=100, oldest_incoming_s=500, oldest_active_s=500, idle_s=500)])


def test_an_agent_that_is_silent_or_old_is_neither_judged_nor_compared_with() -> None:
    bad, good = telling(0, failed=100), telling(1)
    assert word([bad, good]) == "DeliveriesFail"
    assert not word([telling(0, failed=100, age_s=31), good])
    assert not word([bad, telling(1, age_s=31)])
    assert not word([bad, relay(1)])
    assert not word([relay(0), good])
    assert not word([relay(0, agent=None), good])


def carrying(number: int, *canaries: CanaryReport, **fields: Any) -> Relay:
    """A relay with these canaries, the newest first."""
    return replace(telling(number, **fields), canaries=canaries)


def canary(sent_s: float, took_s: float | None = 0.1, *, intact: bool = True) -> CanaryReport:
    return CanaryReport(sent_s=sent_s, waited_s=sent_s, took_s=took_s, intact=intact)


MISSING = canary(25, None)
WELL = (carrying(1, canary(10), canary(40)), carrying(2, canary(12), canary(42)))


@pytest.mark.parametrize(
    ("own", "siblings", "reason"),
    [
        ((MISSING,), WELL, "CanaryLate"),
        ((canary(1), MISSING), WELL, "CanaryLate"),
        ((canary(19, None),), WELL, ""),
        ((canary(30, 21.0),), WELL, "CanaryLate"),
        ((canary(3, 0.1), canary(30, 21.0)), WELL, ""),
        ((canary(3, 0.1, intact=False),), WELL, "CanaryAltered"),
        ((canary(3, 0.1), canary(30, 0.1, intact=False)), WELL, ""),
        ((canary(3, None), canary(30, 0.1, intact=False)), WELL, "CanaryAltered"),
        ((), WELL, ""),
        # Nobody else was sent one later, or theirs are away, too.
        ((MISSING,), (carrying(1, canary(26)), carrying(2, canary(30))), ""),
        ((MISSING,), (carrying(1, canary(10, None)), carrying(2)), ""),
        ((MISSING,), (), ""),
        # They take nearly as long.
        ((MISSING,), (carrying(1, canary(10, 6.0)), carrying(2, canary(10, 6.0))), ""),
        ((MISSING,), (carrying(1, canary(10, 4.0)), carrying(2, canary(10, 4.0))), "CanaryLate"),
    ],
)
def test_canaries_are_judged_beside_those_that_siblings_were_sent_later(
    own: tuple[CanaryReport, ...], siblings: tuple[Relay, ...], reason: str
) -> None:
    assert word([carrying(0, *own), *siblings]) == reason


@pytest.mark.parametrize(
    ("active", "idle_s", "reason"),
    [(10_000, 1.0, ""), (9_999, 1.0, "CanaryLate"), (10_000, 31.0, "CanaryLate")],
)
def test_a_queue_full_of_mail_that_moves_excuses_a_late_canary(
    active: int, idle_s: float, reason: str
) -> None:
    own = carrying(0, MISSING, queue=QueueCounts(active=active), idle_s=idle_s)
    assert word([own, *WELL]) == reason


@pytest.mark.parametrize(
    ("canaries", "looks"),
    [((), False), ((canary(1),), False), ((canary(1, None),), False), ((MISSING,), True), ((canary(1), MISSING), True),
     ((canary(1, 0.1, intact=False),), True), ((canary(1, 30.0),), True)],
)  # fmt: skip
def test_a_canary_that_may_be_a_finding_is_worth_a_look(
    canaries: tuple[CanaryReport, ...], looks: bool
) -> None:
    assert suspicious(canaries, LATE_S) is looks


figures = st.fixed_dictionaries(
    {
        "tried": st.integers(0, 2000),
        "failing": st.floats(0, 1),
        "idle_s": st.floats(0, 1000),
        "oldest_incoming_s": st.floats(0, 1000),
        "oldest_active_s": st.floats(0, 1000),
        "active": st.integers(0, 20_000),
    }
)


def _made(number: int, known: dict[str, Any]) -> Relay:
    fields = dict(known)
    tried, failing = fields.pop("tried"), fields.pop("failing")
    queue = QueueCounts(active=fields.pop("active"))
    return telling(number, tried=tried, failed=int(tried * failing), queue=queue, **fields)


@given(figures, st.integers(2, 6), st.sampled_from([None, *Reason]))
def test_what_all_relays_have_alike_is_found_at_none(
    known: dict[str, Any], count: int, before: Reason | None
) -> None:
    relays = [_made(number, known) for number in range(count)]
    for each in relays:
        assert of_comparison(each, Siblings(relays, LATE_S), before) is None


@given(
    st.lists(st.integers(1, 1000), min_size=2, max_size=5),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.sampled_from([None, Reason.DELIVERIES_FAIL, Reason.DELIVERIES_WORSE]),
)
def test_equal_rates_are_found_at_none_however_much_each_sends(
    fours: list[int], rate: float, before: Reason | None
) -> None:
    relays = [telling(i, tried=4 * n, failed=int(4 * n * rate)) for i, n in enumerate(fours)]
    for each in relays:
        assert of_comparison(each, Siblings(relays, LATE_S), before) is None


@given(
    figures,
    figures,
    st.floats(0, 1),
    st.sampled_from([None, Reason.DELIVERIES_FAIL, Reason.DELIVERIES_WORSE]),
)
def test_worse_figures_are_never_a_lesser_finding(
    own: dict[str, Any], others: dict[str, Any], more: float, before: Reason | None
) -> None:
    worse = own | {
        "failing": own["failing"] + (1 - own["failing"]) * more,
        "idle_s": own["idle_s"] + 100 * more,
        "oldest_incoming_s": own["oldest_incoming_s"] + 100 * more,
        "oldest_active_s": own["oldest_active_s"] + 100 * more,
    }
    siblings = [_made(1, others), _made(2, others)]
    first, second = found([_made(0, own), *siblings], before), found([_made(0, worse), *siblings], before)
    assert _factor(second) <= _factor(first)


def _factor(finding: Finding | None) -> int:
    return finding.factor if finding else NOTICE


def spec(postfix: dict[str, str]) -> SmtpPoolSpec:
    submission = {"trustedNetworks": ["10.0.0.0/8"]}
    return SmtpPoolSpec.model_validate({"submission": submission, "relay": {"postfix": postfix}})


@pytest.mark.parametrize("parameter", sorted(LEADS_ELSEWHERE))
def test_there_are_no_canaries_where_postfix_may_lead_them_out_of_the_pod(parameter: str) -> None:
    assert canary_interval_s(spec({parameter: "x"})) == 0.0


def test_other_parameters_leave_canaries_alone() -> None:
    assert canary_interval_s(spec({})) == canary_interval_s(spec({"smtp_tls_loglevel": "1"})) == 30.0


def test_a_canary_is_late_when_probes_would_have_ejected() -> None:
    assert late_s(Health()) == 15.0
    assert late_s(Health(interval="2s", timeout="1s", unhealthy_threshold=1)) == 5.0


def test_a_reason_has_one_factor() -> None:
    assert not FATAL_REASONS & SLOW_REASONS
    stuck = found([telling(0, oldest_incoming_s=99, idle_s=99), telling(1)])
    assert stuck is not None
    assert (stuck.factor, stuck.reason in FATAL_REASONS) == (FATAL, True)
    worse = found([telling(0, failed=50), telling(1)])
    assert worse is not None
    assert (worse.factor, worse.reason in SLOW_REASONS) == (SLOW_FACTOR, True)


@pytest.mark.parametrize(
    ("fields", "rings"),
    [
        ({"tried": 100, "failed": 19}, (False, False, False)),
        ({"tried": 100, "failed": 20}, (True, False, False)),
        ({"tried": 20, "failed": 20}, (False, False, False)),
        ({"tried": 0, "oldest_incoming_s": 31.0, "idle_s": 29.0}, (False, False, False)),
        ({"tried": 0, "oldest_incoming_s": 31.0, "idle_s": 30.0}, (False, True, False)),
        ({"oldest_active_s": 121.0, "idle_s": 121.0, "queue": QueueCounts(active=5)}, (False, False, True)),
    ],
)
def test_an_alarm_changes_only_when_a_comparison_may_matter(
    fields: dict[str, Any], rings: tuple[bool, bool, bool]
) -> None:
    agent = telling(0, **fields).agent
    assert agent is not None
    assert alarm(agent.status) == rings
    assert not any(alarm(answer("r")))
