"""What a queue's movement says of a relay, and of those who are to receive its mail."""

import pytest

from smtpfleet.domain.load import Limit, Load, Sample, flow, refuse


def _samples(*points: tuple[float, int, int]) -> list[Sample]:
    """Samples of a time, a backlog that is all there is in the queue, and the messages finished."""
    return [Sample(at_s, backlog, backlog, finished) for at_s, backlog, finished in points]


@pytest.mark.parametrize(
    ("load", "limit"),
    [
        (Load(), Limit.NOTHING),
        (Load(backlog=0, queued_s=9.0, receiver_s=0.01), Limit.NOTHING),
        (Load(backlog=900, queued_s=0.9, receiver_s=0.01), Limit.NOTHING),
        (Load(backlog=1, queued_s=1.0, receiver_s=0.01), Limit.RELAY),
        (Load(backlog=1359, queued_s=10.0, receiver_s=0.30), Limit.SLOW_RECEIVER),
        (Load(backlog=1008, queued_s=2.2, receiver_s=0.0), Limit.RELAY),
        (Load(backlog=1008, queued_s=2.2, receiver_s=0.1), Limit.RELAY),
        (Load(backlog=1008, queued_s=2.2, receiver_s=0.11), Limit.SLOW_RECEIVER),
        (Load(backlog=900, queued_s=2.0, per_s=49.0, minute_per_s=100.0), Limit.SLOW_RECEIVER),
        (Load(backlog=900, queued_s=2.0, per_s=50.0, minute_per_s=100.0), Limit.RELAY),
        (Load(backlog=900, queued_s=2.0, reached=10, put_off=11), Limit.REFUSING_RECEIVER),
        (Load(backlog=0, queued_s=0.6, put_off=1500), Limit.REFUSING_RECEIVER),
        (Load(backlog=900, queued_s=2.0, reached=11, put_off=11), Limit.RELAY),
        (Load(backlog=3, queued_s=0.1, reached=0, put_off=9), Limit.NOTHING),
    ],
)
def test_delays_tell_what_mail_waits_for(load: Load, limit: Limit) -> None:
    assert load.limit is limit


@pytest.mark.parametrize(
    ("loads", "began", "lasts"),
    [
        ([], False, False),
        ([(0, 10)], True, True),
        ([(0, 9)], False, True),
        ([(0, 5)], False, True),
        ([(0, 4)], False, False),
        ([(100, 101)], True, True),
        ([(100, 100)], False, True),
        ([(100, 50)], False, False),
        ([(0, 60), (100, 0)], False, True),
        ([(0, 6), (0, 6)], True, True),
    ],
)
def test_receivers_refuse_by_what_all_relays_say_and_a_while_longer(
    loads: list[tuple[int, int]], began: bool, lasts: bool
) -> None:
    seen = [Load(reached=reached, put_off=put_off) for reached, put_off in loads]
    assert (refuse(seen), refuse(seen, before=True)) == (began, lasts)


def test_a_rate_is_that_of_the_time_in_which_there_was_something_to_send() -> None:
    seen = flow(_samples((0, 0, 0), (5, 0, 0), (10, 500, 100), (15, 250, 350)))
    assert seen is not None
    assert (seen.per_s, seen.busy) == (50.0, True)


def test_a_rate_without_a_backlog_is_that_of_the_last_quarter_of_a_minute() -> None:
    seen = flow(_samples((0, 0, 0), (5, 0, 900), (10, 0, 1000), (15, 0, 1100), (20, 0, 1200)))
    assert seen is not None
    assert (seen.per_s, seen.busy) == (20.0, False)


def test_a_backlog_that_has_just_begun_says_nothing_of_what_the_relay_can_do() -> None:
    seen = flow(_samples((0, 0, 0), (5, 0, 100), (10, 400, 200)))
    assert seen is not None
    assert (seen.per_s, seen.busy) == (20.0, False)


def test_what_arrived_is_what_left_and_what_is_there_more() -> None:
    seen = flow([Sample(0, 10, 100, 0), Sample(30, 0, 160, 500), Sample(60, 5, 130, 900)])
    assert seen is not None
    assert (seen.taken, seen.seconds) == (930, 60)


def test_a_queue_that_lost_mail_by_hand_took_no_negative_number() -> None:
    seen = flow([Sample(0, 0, 900, 0), Sample(10, 0, 0, 5)])
    assert seen is not None
    assert seen.taken == 0


def test_older_than_a_minute_counts_no_more() -> None:
    seen = flow(_samples((0, 0, 0), (100, 0, 700), (130, 0, 1000), (160, 0, 1600)))
    assert seen is not None
    assert (seen.taken, seen.seconds) == (900, 60)


@pytest.mark.parametrize("points", [[], [(0, 5, 5)], [(0, 5, 5), (3.9, 5, 5)], [(0, 5, 5), (90, 5, 5)]])
def test_too_few_samples_say_nothing(points: list[tuple[float, int, int]]) -> None:
    assert flow(_samples(*points)) is None
