"""How far a leaving relay has come, and when it may be removed: every part of the proof is needed."""

from typing import Any

import pytest

from smtpfleet.api.agent_status import HandOffStage, HandOffStatus, Intake, QueueCounts
from smtpfleet.domain.draining import FRESH_S, Step, departure
from smtpfleet.domain.facts import Claim, Pool, Relay
from tests.unit.domain.samples import pod, pool, queue, relay, report, table

NAME = "outbound-relay-1"


def _judge(leaving: Relay, *, drained: bool = True) -> bool:
    seen = pool([relay(0), leaving], replicas=1)
    live = table(seen, NAME) if drained else table(seen)
    return departure(leaving, live).removable


def _closed(seen: Pool, **fields: Any) -> Relay:
    revision = table(seen, NAME).revision
    given = {"intake": Intake.CLOSED, "table_revision": revision} | fields
    return relay(1, agent=report(NAME, **given))


SEEN = pool([relay(0), relay(1)], replicas=1)


def test_a_closed_and_empty_relay_under_the_draining_table_may_go() -> None:
    assert _judge(_closed(SEEN))


def test_not_before_the_routing_table_drains_it() -> None:
    assert not _judge(_closed(SEEN, table_revision=table(SEEN).revision), drained=False)


@pytest.mark.parametrize("intake", [Intake.OPEN, Intake.DRAINING])
def test_not_while_it_may_still_take_mail(intake: Intake) -> None:
    assert not _judge(_closed(SEEN, intake=intake))


@pytest.mark.parametrize(
    "where", ["maildrop", "incoming", "receiving", "active", "deferred", "hold", "corrupt"]
)
def test_not_while_one_message_is_left_anywhere(where: str) -> None:
    assert not _judge(_closed(SEEN, queue=queue(**{where: 1})))


def test_not_on_an_answer_about_another_table() -> None:
    assert not _judge(_closed(SEEN, table_revision="000000000000"))


def test_a_table_that_drains_is_followed_although_a_parameter_in_it_is_refused() -> None:
    revision = table(SEEN, NAME).revision
    assert _judge(_closed(SEEN, table_revision="000000000000", intake_revision=revision))
    assert not _judge(_closed(SEEN, intake_revision="000000000000"))


def test_not_on_an_old_answer() -> None:
    assert not _judge(_closed(SEEN, age_s=FRESH_S + 0.1))


def test_not_on_the_answer_of_an_earlier_pod() -> None:
    assert not _judge(_closed(SEEN, pod_uid="another"))


def test_not_while_two_pods_of_it_exist() -> None:
    closed = _closed(SEEN)
    two = (pod(NAME), pod(NAME, leaving=True))
    assert not _judge(relay(1, agent=closed.agent, pods=two))


def test_not_without_any_answer() -> None:
    assert not _judge(relay(1, agent=None))


def test_a_relay_whose_pod_is_gone_keeps_its_claim() -> None:
    assert not _judge(relay(1, agent=_closed(SEEN).agent, pods=()))


def test_a_relay_that_never_got_a_node_nor_a_volume_may_go() -> None:
    waiting = pod(NAME, node="", address="", running=False, ready=False)
    assert _judge(relay(1, agent=None, pods=(waiting,), claim=Claim(bound=False)))


def test_a_relay_that_has_a_volume_may_hold_mail_although_no_pod_of_it_runs() -> None:
    waiting = pod(NAME, node="", address="", running=False, ready=False)
    assert not _judge(relay(1, agent=None, pods=(waiting,), claim=Claim(bound=True)))


def test_a_kept_claim_without_deployment_stays_until_a_pod_has_looked_into_it() -> None:
    assert not _judge(relay(1, agent=None, pods=(), deployment=None))


def _step(leaving: Relay, *, drained: bool = True) -> Step:
    seen = pool([relay(0), leaving], replicas=1)
    return departure(leaving, table(seen, NAME) if drained else table(seen)).step


WAITING = queue(deferred=3)
HANDS_OVER = HandOffStatus(stage=HandOffStage.HANDING_OFF)
CANNOT = HandOffStatus(stage=HandOffStage.BLOCKED, why="no sibling takes mail")


@pytest.mark.parametrize(
    ("fields", "step"),
    [
        ({"intake": Intake.DRAINING, "queue": WAITING, "hand_off": HANDS_OVER}, Step.CLOSING),
        ({"queue": WAITING}, Step.DELIVERING),
        ({"queue": WAITING, "hand_off": HandOffStatus(stage=HandOffStage.DELIVERING)}, Step.DELIVERING),
        ({"queue": WAITING, "hand_off": HANDS_OVER}, Step.HANDING_OFF),
        ({"queue": WAITING, "hand_off": CANNOT}, Step.BLOCKED),
        ({"queue": queue(deferred=1, hold=2), "hand_off": HANDS_OVER}, Step.HANDING_OFF),
        ({"queue": queue(hold=2), "hand_off": HANDS_OVER}, Step.HELD),
        ({"queue": queue(corrupt=1), "hand_off": CANNOT}, Step.HELD),
        ({"queue": queue(), "hand_off": HANDS_OVER}, Step.EMPTY),
        ({"age_s": FRESH_S + 1}, Step.UNKNOWN),
    ],
)
def test_each_step_is_read_off_from_what_is_seen(fields: dict[str, Any], step: Step) -> None:
    assert _step(_closed(SEEN, **fields)) is step


def test_the_first_step_is_the_table() -> None:
    assert _step(_closed(SEEN), drained=False) is Step.MARKED


def test_why_it_is_blocked_is_told() -> None:
    why = departure(_closed(SEEN, queue=WAITING, hand_off=CANNOT), table(SEEN, NAME)).why
    assert why == "no sibling takes mail; it delivers by itself meanwhile"


@pytest.mark.parametrize("intake", Intake)
@pytest.mark.parametrize("state", [None, HANDS_OVER, CANNOT])
@pytest.mark.parametrize("where", [*QueueCounts.model_fields, ""])
@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("current", [True, False])
def test_nothing_but_the_whole_proof_makes_it_removable(
    intake: Intake, state: HandOffStatus | None, where: str, *, fresh: bool, current: bool
) -> None:
    counts = queue(**({where: 1} if where else {}))
    revision = {} if current else {"table_revision": "000000000000"}
    age = {} if fresh else {"age_s": FRESH_S + 1}
    leaving = _closed(SEEN, intake=intake, hand_off=state, queue=counts, **revision, **age)
    assert _judge(leaving) is (intake is Intake.CLOSED and not where and fresh and current)


def test_a_relay_that_hands_over_goes_on_when_the_table_changes_for_others() -> None:
    giving = HandOffStatus(stage=HandOffStage.HANDING_OFF)
    leaving = _closed(SEEN, table_revision="000000000000", queue=queue(deferred=5), hand_off=giving)
    assert departure(leaving, table(SEEN, NAME)).step is Step.HANDING_OFF
