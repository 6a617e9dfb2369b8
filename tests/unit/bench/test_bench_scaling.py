"""The simulation of sizing: it loses nothing, and shows what it is there to show."""

from itertools import islice

import pytest

from bench.scaling.comparison import play
from bench.scaling.relays import RATE, Fleet, Receiver, percentile
from bench.scaling.scalers import SCALERS, Hpa, Operator
from bench.scaling.traces import TRACES, Trace

BY_NAME = {trace.name: trace for trace in TRACES}


def _all_out(fleet: Fleet, seconds: int) -> int:
    for _ in range(seconds):
        fleet.second(0, Receiver())
    return sum(count for _, count in fleet.delays)


def test_a_relay_sends_no_more_than_its_rate_and_a_slow_receiver_takes_what_connections_allow() -> None:
    fleet = Fleet(1, seed=0)
    fleet.second(1000, Receiver())
    assert sum(count for _, count in fleet.delays) == RATE
    for size in (1, 4):
        slow = Fleet(size, seed=0)
        slow.second(4000, Receiver())
        before = sum(count for _, count in slow.delays)
        for _ in range(30):
            slow.second(0, Receiver(latency_s=0.5))
        assert sum(count for _, count in slow.delays) - before == pytest.approx(30 * 40, rel=0.1)


def test_mail_that_is_put_off_comes_again_and_a_relay_that_leaves_takes_none_with_it() -> None:
    fleet = Fleet(3, seed=0)
    for _ in range(20):
        fleet.second(150, Receiver(out=True))
    fleet.resize(1)
    assert _all_out(fleet, 300) == 3000
    assert len(fleet.relays) == 1


def test_a_new_relay_takes_mail_only_after_its_start() -> None:
    fleet = Fleet(1, seed=0)
    fleet.resize(2)
    fleet.second(10, Receiver())
    assert fleet.relays[1].backlog == fleet.relays[1].finished == 0
    for _ in range(60):
        fleet.second(10, Receiver())
    assert fleet.relays[1].finished > 0


@pytest.mark.parametrize("name", ["slow receiver", "receiver outage"])
def test_receivers_add_no_relay_as_long_as_they_are_the_cause(name: str) -> None:
    fleet, operator = Fleet(2, seed=1), Operator()
    for arriving, receiver in islice(BY_NAME[name].play(1), 900):
        fleet.resize(operator(fleet))
        fleet.second(arriving, receiver)
        assert operator.size == 2


def test_an_autoscaler_holds_its_target_and_its_window() -> None:
    ratios = iter([2.0, *[0.1] * 30])
    hpa, fleet, sizes = Hpa(lambda _: next(ratios)), Fleet(2, seed=0), []
    for fleet.now in range(0, 31 * 15, 15):
        sizes.append(hpa(fleet))
    assert sizes[:21] == [4] * 20 + [2]


def test_every_scaler_delivers_all_of_a_short_burst() -> None:
    burst = Trace("short", "", 120, lambda second: 400.0 if second < 30 else 20.0)
    for make in SCALERS.values():
        cost = play(burst, make(), seed=3)
        assert cost.minutes > 3.9
        assert cost.p50_s <= cost.p99_s


def test_percentiles_count_messages() -> None:
    assert percentile([(9.0, 1), (1.0, 99)], 0.99) == 1.0
    assert percentile([(9.0, 2), (1.0, 98)], 0.99) == 9.0
