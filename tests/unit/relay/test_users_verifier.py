"""Passwords are tried in threads, remembered when right, and wrong ones get a bounded share of the processor."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator

import pytest

from smtpfleet.relay.users.entry import User
from smtpfleet.relay.users.hashes import Hash, ScramKey, scram_key
from smtpfleet.relay.users.verifier import (
    AT_ONCE,
    BURST_S,
    MOST_WAITING,
    NICENESS,
    SHARE,
    Budget,
    BusyError,
    Verifier,
)

KEY = scram_key("secret", salt=b"salt", iterations=4096)
ALICE = User(name="alice", hash=KEY)


class Trials:
    """Stands for hashes: the password ``secret`` is right, and each trial waits until it is let go."""

    def __init__(self) -> None:
        self.made = 0
        self.running = 0
        self.most = 0
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.go.set()
        self._lock = threading.Lock()

    async def wait(self, number: int) -> None:
        """Until so many trials have begun."""
        for _ in range(number):
            await asyncio.to_thread(self.begun.acquire)

    def __call__(self, stored: Hash, password: str) -> bool:
        with self._lock:
            self.made += 1
            self.running += 1
            self.most = max(self.most, self.running)
        self.begun.release()
        self.go.wait()
        with self._lock:
            self.running -= 1
        return password == "secret"


@pytest.fixture
async def trials() -> Trials:
    return Trials()


@pytest.fixture
async def verifier(trials: Trials) -> AsyncIterator[Verifier]:
    made = Verifier(clock=lambda: 0.0, trial=trials)
    yield made
    trials.go.set()
    made.close()


async def test_a_right_password_is_tried_once(verifier: Verifier, trials: Trials) -> None:
    assert [await verifier.check(ALICE, "secret") for _ in range(5)] == [True] * 5
    assert trials.made == 1


async def test_a_wrong_password_is_tried_each_time(verifier: Verifier, trials: Trials) -> None:
    assert [await verifier.check(ALICE, "wrong") for _ in range(3)] == [False] * 3
    assert trials.made == 3


async def test_an_entry_that_changes_forgets_the_password_and_another_ones_does_not(
    verifier: Verifier, trials: Trials
) -> None:
    await verifier.check(ALICE, "secret")
    bob = User(name="bob", hash=KEY)
    await verifier.check(bob, "secret")
    changed = User(name="alice", hash=scram_key("other", salt=b"salt", iterations=4096))
    verifier.keep(frozenset({changed, bob}))
    await verifier.check(bob, "secret")
    assert trials.made == 2
    await verifier.check(ALICE, "secret")
    assert trials.made == 3


async def test_so_many_are_tried_at_once_and_no_more(verifier: Verifier, trials: Trials) -> None:
    trials.go.clear()
    running = [asyncio.ensure_future(verifier.spend(KEY, f"wrong {number}")) for number in range(10)]
    await trials.wait(AT_ONCE)
    trials.go.set()
    await asyncio.gather(*running)
    assert (trials.made, trials.most) == (10, AT_ONCE)


async def test_who_would_make_the_queue_too_long_is_told_so(verifier: Verifier, trials: Trials) -> None:
    trials.go.clear()
    running = [asyncio.ensure_future(verifier.spend(KEY, "wrong")) for _ in range(AT_ONCE)]
    await trials.wait(AT_ONCE)
    running += [asyncio.ensure_future(verifier.spend(KEY, "wrong")) for _ in range(MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(BusyError):
        await verifier.spend(KEY, "one more")
    trials.go.set()
    await asyncio.gather(*running)


async def test_the_event_loop_goes_on_while_a_password_is_tried(verifier: Verifier, trials: Trials) -> None:
    trials.go.clear()
    running = asyncio.ensure_future(verifier.check(ALICE, "secret"))
    await trials.wait(1)
    assert not running.done()
    trials.go.set()
    assert await running


async def test_the_threads_give_way_to_mail() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = niceness()
    verifier = Verifier(trial=lambda *_: niceness() == max(NICENESS, before))
    assert await verifier.spend(KEY, "any")
    assert niceness() == before
    verifier.close()


def test_failures_use_a_share_of_one_core_in_the_long_run() -> None:
    budget, now_s, used_s = Budget(), 0.0, 0.0
    while now_s < 600:
        now_s += budget.wait_s(now_s)
        budget.spend(0.25, now_s)
        used_s += 0.25
    assert used_s <= 600 * SHARE + BURST_S + 0.5


def test_a_pause_gives_back_a_burst_and_no_more() -> None:
    budget = Budget()
    budget.spend(BURST_S, 0.0)
    assert budget.wait_s(0.0) == 0.0
    budget.spend(1.0, 0.0)
    assert budget.wait_s(0.0) == pytest.approx(1.0 / SHARE)
    budget.spend(0.0, 1e6)
    budget.spend(BURST_S, 1e6)
    assert budget.wait_s(1e6) == 0.0


@pytest.mark.looptime
async def test_nobody_waits_longer_than_smtpd_does() -> None:
    verifier = Verifier(clock=lambda: 0.0, trial=lambda *_: False)
    verifier._budget.spend(BURST_S + 100 * SHARE, 0.0)
    with pytest.raises(BusyError):
        await verifier.spend(KEY, "any")
    verifier.close()


def test_digests_of_two_processes_have_nothing_in_common() -> None:
    one, other = Verifier(), Verifier()
    assert one.digest("alice", "secret") == one.digest("alice", "secret")
    assert one.digest("alice", "secret") != other.digest("alice", "secret")
    assert one.digest("ab", "c") != one.digest("a", "bc")
    assert isinstance(KEY, ScramKey)
