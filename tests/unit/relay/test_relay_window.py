"""The deliveries of the last minute."""

from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.api.agent_status import Deferral, DeferralReason, DeferralStage, Deliveries, ReceiverGroup
from smtpfleet.relay.outcomes import Outcome
from smtpfleet.relay.window import SPAN_S, Window


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _sent(delay_s: float = 0.1, receiver: int = 1) -> Outcome:
    return Outcome("sent", tried=True, delays_s=(delay_s,) * 4, receiver=receiver)


def _deferred(reason: DeferralReason = DeferralReason.CONNECT_FAILED, *, tried: bool = True) -> Outcome:
    return Outcome(
        "deferred", tried=tried, delays_s=(0.0, 0.0, 30.0, 0.0), receiver=2, reason=reason,
        stage=DeferralStage.CONNECT,
    )  # fmt: skip


def test_nothing_happened_yet() -> None:
    assert Window(_Clock()).shown() == Deliveries()


def test_outcomes_reasons_and_receivers_are_counted() -> None:
    clock = _Clock()
    window = Window(clock)
    for outcome in (
        _sent(),
        _sent(receiver=2),
        _deferred(),
        _deferred(DeferralReason.SUSPENDED, tried=False),
    ):
        window.add(outcome)
    window.add(Outcome("bounced", tried=True, delays_s=(0.1,) * 4, receiver=1))
    window.finished()
    window.finished()
    clock.now += 10
    shown = window.shown()
    assert (shown.sent, shown.deferred, shown.bounced, shown.seconds) == (2, 2, 1, 10.0)
    assert shown.messages_per_s == 0.2
    assert set(shown.deferrals) == {
        Deferral(reason=DeferralReason.CONNECT_FAILED, stage=DeferralStage.CONNECT, recipients=1),
        Deferral(reason=DeferralReason.SUSPENDED, stage=DeferralStage.CONNECT, recipients=1),
    }
    assert shown.receivers == (
        ReceiverGroup(group=1, tried=2, failed=1),
        ReceiverGroup(group=2, tried=2, failed=1),
    )


def test_the_window_slides_and_the_totals_stay() -> None:
    clock = _Clock()
    window = Window(clock)
    window.add(_deferred())
    window.finished()
    clock.now += SPAN_S / 2
    window.add(_sent())
    assert (window.shown().deferred, window.shown().sent) == (1, 1)
    clock.now += SPAN_S / 2 + 1
    assert (window.shown().deferred, window.shown().sent) == (0, 1)
    clock.now += 100 * SPAN_S
    shown = window.shown()
    assert shown.idle_s == 100 * SPAN_S + SPAN_S / 2 + 1
    assert (shown.sent, shown.deferred, shown.receivers, shown.deferrals) == (0, 0, (), ())
    assert 0.9 * SPAN_S <= shown.seconds <= SPAN_S
    assert window.deferred() == {(DeferralReason.CONNECT_FAILED, DeferralStage.CONNECT): 1}
    assert window.finished_total == 1


@pytest.mark.parametrize("delay_s", [0.01, 0.05, 0.3, 1.0, 7.0, 30.0, 3600.0, 86_000.0])
def test_a_median_is_near(delay_s: float) -> None:
    window = Window(_Clock())
    for each in (0.0, delay_s, delay_s, delay_s, 1e9):
        window.add(_sent(each))
    delays = window.shown().delays
    assert delays.a == delays.d == pytest.approx(delay_s, rel=0.2)


def test_what_was_not_tried_has_no_delay() -> None:
    window = Window(_Clock())
    window.add(_deferred(DeferralReason.SUSPENDED, tried=False))
    assert window.shown().delays.c == 0.0
    window.add(_deferred())
    assert window.shown().delays.c == pytest.approx(30, rel=0.2)


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from(["sent", "deferred", "bounced"]))))
def test_every_outcome_of_the_last_minute_counts_once(steps: list[tuple[float, str]]) -> None:
    clock = _Clock()
    window = Window(clock)
    moments = []
    for pause_s, status in steps:
        clock.now += pause_s
        window.add(Outcome(status, tried=True, delays_s=(0.0,) * 4, receiver=0))
        moments.append(clock.now)
    shown = window.shown()
    counted = shown.sent + shown.deferred + shown.bounced
    ages = [clock.now - moment for moment in moments]
    assert sum(age <= SPAN_S * 11 / 12 for age in ages) <= counted <= sum(age <= SPAN_S for age in ages)


def test_one_thread_may_add_while_another_asks() -> None:
    window = Window(_Clock())

    def write() -> None:
        for receiver in range(500):
            window.add(_sent(receiver=receiver))

    writers = [Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        shown = window.shown()
        assert shown.sent == sum(group.tried for group in shown.receivers)
    for writer in writers:
        writer.join()
    assert window.shown().sent == 1500
