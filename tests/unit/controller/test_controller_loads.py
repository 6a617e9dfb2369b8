"""What an operator makes of an agent's answers over time."""

from typing import Any

from smtpfleet.api.agent_status import (
    Deferral,
    DeferralReason,
    Delays,
    Deliveries,
    QueueCounts,
    RelayStatus,
)
from smtpfleet.controller.loads import History


def _status(finished: int = 0, *, queue: QueueCounts | None = None, **said: Any) -> RelayStatus:
    deliveries = Deliveries(finished=finished, **said)
    return RelayStatus(relay="r0", queue=queue or QueueCounts(), deliveries=deliveries)


def _heard(*answers: tuple[float, RelayStatus], pod_uid: str = "a") -> History:
    history = History()
    for at_s, status in answers:
        history.heard(status, pod_uid=pod_uid, at_s=at_s)
    return history


def test_a_load_is_put_together_from_counts_over_time_and_the_last_answer() -> None:
    queue = QueueCounts(maildrop=1, incoming=20, receiving=5, active=300, deferred=40, hold=2)
    last = _status(
        900,
        queue=queue,
        sent=800,
        deferred=530,
        bounced=10,
        messages_per_s=12.5,
        delays=Delays(a=0.1, b=5.0, c=0.01, d=0.02),
        deferrals=(
            Deferral(reason=DeferralReason.SUSPENDED, recipients=20),
            Deferral(reason=DeferralReason.REMOTE_TEMPORARY, recipients=3),
            Deferral(reason=DeferralReason.CONNECT_FAILED, recipients=4),
            Deferral(reason=DeferralReason.REMOTE_TEMPORARY, recipients=3),
            Deferral(reason=DeferralReason.OTHER, recipients=500),
        ),
    )
    load = _heard((0, _status(100)), (10, last)).load(last)
    assert load is not None
    assert (load.backlog, load.taken, load.seconds, load.per_s, load.busy) == (320, 1163, 10, 80.0, False)
    assert (load.queued_s, load.receiver_s, load.minute_per_s) == (5.0, 0.03, 12.5)
    assert (load.reached, load.put_off, load.troubles) == (810, 30, ("RemoteTemporary", "ConnectFailed"))


def test_what_the_relay_itself_put_off_is_not_the_receivers() -> None:
    last = _status(deferrals=(Deferral(reason=DeferralReason.OTHER, recipients=90),))
    load = _heard((0, last), (5, last)).load(last)
    assert load is not None
    assert (load.put_off, load.troubles) == (0, ())


def test_what_was_not_tried_has_no_name_of_its_own() -> None:
    last = _status(deferrals=(Deferral(reason=DeferralReason.SUSPENDED, recipients=20),))
    load = _heard((0, last), (5, last)).load(last)
    assert load is not None
    assert load.troubles == ()


def test_one_answer_is_not_enough_and_neither_is_one_of_an_older_agent() -> None:
    assert _heard((0, _status())).load(_status()) is None
    old = RelayStatus(relay="r0")
    assert _heard((0, old), (5, old)).load(old) is None


def test_another_pod_and_an_agent_that_counts_anew_begin_a_new_life() -> None:
    history = _heard((0, _status(100)), (5, _status(200)))
    history.heard(_status(300), pod_uid="b", at_s=10)
    assert history.load(_status(300)) is None
    restarted = _heard((0, _status(100)), (5, _status(200)), (10, _status(3)))
    assert restarted.load(_status(3)) is None


def test_only_a_minute_is_kept() -> None:
    history = _heard(*[(5.0 * number, _status(10 * number)) for number in range(100)])
    load = history.load(_status(990))
    assert load is not None
    assert (load.taken, load.seconds) == (120, 60)


def test_answers_that_follow_each_other_closely_say_what_those_far_apart_would() -> None:
    """A queue that is empty for a moment between two answers makes a relay no less busy."""
    full, empty = QueueCounts(active=9), QueueCounts()
    last = _status(200, queue=full)
    far = _heard((0, _status(0, queue=full)), (5, _status(50, queue=full)), (10, last)).load(last)
    close = _heard(
        (0, _status(0, queue=full)),
        (1, _status(10, queue=full)),
        (4.5, _status(45, queue=full)),
        (6, _status(120, queue=empty)),
        (7, _status(150, queue=full)),
        (10, last),
    ).load(last)
    assert far is not None
    assert close is not None
    assert (close.per_s, close.busy, close.taken) == (far.per_s, far.busy, far.taken) == (20.0, True, 200)
