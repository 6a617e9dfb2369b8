"""When relays are probed, in virtual time: regularly, out of step, sooner while a fault is uncertain."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from smtpfleet.api.agent_status import CanaryStatus
from smtpfleet.api.probes import ProbeResult, ProbeStage, ProbeTrouble
from smtpfleet.probing import prober as module
from smtpfleet.probing.canaries import Canaries, Heard
from smtpfleet.probing.dialogue import Profile
from smtpfleet.probing.prober import Pace, Prober, Target

KEY = ("mail", "outbound")
ONE, TWO = Target("r0", "uid-0", "10.0.0.1"), Target("r1", "uid-1", "10.0.0.2")
PROFILE = Profile(timeout_s=3.0, clients=("10.0.0.0", ""), tls=False)
PACE = Pace(interval_s=5.0, certain=3)
GOOD = ProbeResult(ProbeStage.QUIT, latency_s={ProbeStage.BANNER: 0.01})
BAD = ProbeResult(ProbeStage.MAIL, ProbeTrouble.REFUSED, code=451)


class Fleet:
    """Relays whose probes give what ``says`` holds, after ``takes_s``."""

    def __init__(self, jitter: Callable[[], float] = lambda: 0.0) -> None:
        self.says = {"r0": GOOD, "r1": GOOD}
        self.takes_s = 0.0
        self.probed: list[tuple[float, str]] = []
        self.told: list[tuple[str, ProbeResult | None]] = []
        self.at_once = self.most_at_once = 0
        clock = asyncio.get_running_loop().time
        self.heard: dict[str, Heard] = {}
        self.canaries = Canaries(
            lambda _, relay: self.heard.get(relay), clock=clock, random=lambda count: b"x" * count
        )
        self.handed: list[tuple[float, str]] = []
        self.prober = Prober(self._probe, canaries=self.canaries, told=self._told, clock=clock, jitter=jitter)

    async def _probe(self, target: Target, profile: Profile, canary: bytes) -> ProbeResult:
        if canary:
            self.handed.append((self.now(), target.relay))
        assert profile is PROFILE
        self.probed.append((self.now(), target.relay))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.takes_s)
        self.at_once -= 1
        return self.says.get(target.relay, GOOD)

    def _told(self, key: tuple[str, str], relay: str, result: ProbeResult | None) -> None:
        assert key == KEY
        self.told.append((relay, result))

    @staticmethod
    def now() -> float:
        return round(asyncio.get_running_loop().time(), 2)

    def times(self, relay: str) -> list[float]:
        return [at for at, probed in self.probed if probed == relay]


@asynccontextmanager
async def running(fleet: Fleet) -> AsyncIterator[None]:
    task = asyncio.create_task(fleet.prober.run())
    yield
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.looptime
async def test_every_relay_is_probed_once_an_interval() -> None:
    fleet = Fleet()
    async with running(fleet):
        fleet.prober.follow(KEY, [ONE, TWO], PROFILE, PACE)
        await asyncio.sleep(14.9)
    assert fleet.times("r0") == fleet.times("r1") == [0.0, 5.0, 10.0]


@pytest.mark.looptime
async def test_jitter_puts_relays_out_of_step_and_never_makes_a_pause_longer() -> None:
    numbers = iter([0.5, 0.0, 1.0, 0.0] * 50)
    fleet = Fleet(jitter=lambda: next(numbers))
    async with running(fleet):
        fleet.prober.follow(KEY, [ONE, TWO], PROFILE, PACE)
        await asyncio.sleep(60)
    first, second = fleet.times("r0"), fleet.times("r1")
    assert first[0] != second[0]
    for times in (first, second):
        gaps = [round(b - a, 2) for a, b in itertools.pairwise(times)]
        assert len(set(gaps)) > 1
        assert all(4.5 <= gap <= 5.0 for gap in gaps)


@pytest.mark.looptime
async def test_while_a_fault_is_uncertain_the_relay_is_probed_twice_as_often_and_then_as_usual() -> None:
    fleet = Fleet()
    fleet.says["r0"] = BAD
    async with running(fleet):
        fleet.prober.follow(KEY, [ONE], PROFILE, PACE)
        await asyncio.sleep(16)
    assert fleet.times("r0") == [0.0, 2.5, 5.0, 10.0, 15.0]


@pytest.mark.looptime
async def test_a_probe_that_takes_long_delays_only_the_next_one_of_its_relay() -> None:
    fleet = Fleet()
    fleet.says["r0"], fleet.takes_s = BAD, 3.0
    async with running(fleet):
        fleet.prober.follow(KEY, [ONE], PROFILE, PACE)
        await asyncio.sleep(15)
    assert fleet.times("r0") == [0.0, 3.0, 6.0, 11.0]


@pytest.mark.looptime
async def test_results_are_kept_newest_first_with_their_times_and_only_so_many() -> None:
    fleet = Fleet()
    async with running(fleet):
        fleet.prober.follow(KEY, [ONE], PROFILE, PACE)
        await asyncio.sleep(1)
        fleet.says["r0"] = BAD
        await asyncio.sleep(100)
        kept = fleet.prober.results(KEY, "r0")
        assert len(kept) == module.KEPT
        assert [timed.result for timed in kept] == [BAD] * module.KEPT
        assert kept[0].began > kept[1].began
        assert fleet.prober.results(KEY, "r1") == ()


@pytest.mark.looptime
async def test_a_new_pod_of_a_relay_begins_with_nothing_known_of_it() -> None:
    fleet = Fleet()
    async with running(fleet):
        fleet.prober.follow(KEY, [ONE], PROFILE, PACE)
        await asyncio.sleep(7)
        assert len(fleet.prober.results(KEY, "r0")) == 2
        fleet.prober.follow(KEY, [ONE], PROFILE, PACE)
        assert len(fleet.prober.results(KEY, "r0")) == 2
        fleet.prober.follow(KEY, [Target("r0", "uid-9", "10.0.0.1")], PROFILE, PACE)
        assert fleet.prober.results(KEY, "r0") == ()
        assert fleet.prober.silent_s(KEY, "r0") == 0.0


@pytest.mark.looptime
async def test_a_relay_that_is_no_target_any_more_is_not_probed_nor_one_of_a_pool_that_is_gone() -> None:
    fleet = Fleet()
    async with running(fleet):
        fleet.prober.follow(KEY, [ONE, TWO], PROFILE, PACE)
        await asyncio.sleep(1)
        fleet.prober.follow(KEY, [TWO], PROFILE, PACE)
        await asyncio.sleep(5)
        fleet.prober.forget(KEY)
        await asyncio.sleep(20)
    assert (fleet.times("r0"), fleet.times("r1")) == ([0.0], [0.0, 5.0])
    assert fleet.prober.silent_s(KEY, "r0") is None


@pytest.mark.looptime
async def test_another_interval_holds_from_the_next_probe_on() -> None:
    fleet = Fleet()
    async with running(fleet):
        fleet.prober.follow(KEY, [ONE], PROFILE, PACE)
        await asyncio.sleep(1)
        fleet.prober.follow(KEY, [ONE], PROFILE, Pace(interval_s=20.0, certain=3))
        await asyncio.sleep(44)
    assert fleet.times("r0") == [0.0, 5.0, 25.0, 45.0]


@pytest.mark.looptime
async def test_only_so_many_probes_run_at_once() -> None:
    fleet = Fleet()
    fleet.takes_s = 10.0
    async with running(fleet):
        many = [Target(f"many-{i}", f"uid-{i}", "10.0.0.9") for i in range(module.AT_ONCE + 40)]
        fleet.prober.follow(KEY, many, PROFILE, PACE)
        await asyncio.sleep(20)
    assert fleet.most_at_once == module.AT_ONCE
    assert len({relay for _, relay in fleet.probed}) == len(many)


@pytest.mark.looptime
async def test_a_process_that_has_fallen_behind_first_probes_relays_that_may_have_a_fault() -> None:
    fleet = Fleet()
    many = [Target(f"many-{i}", f"uid-{i}", "10.0.0.9") for i in range(module.BEGINNING)]
    fleet.says["r0"] = BAD
    async with running(fleet):
        fleet.prober.follow(KEY, [ONE], PROFILE, PACE)
        await asyncio.sleep(2.4)
        fleet.takes_s = 0.9
        fleet.prober.follow(KEY, [*many, *(replace(each, relay=f"{each.relay}b") for each in many), ONE],
            PROFILE, PACE)  # fmt: skip
        await asyncio.sleep(5)
    begun = [relay for _, relay in fleet.probed]
    assert begun.index("r0", 1) == 1 + module.BEGINNING
    assert fleet.times("r0")[1] == 3.3


@pytest.mark.looptime
async def test_a_fifth_of_a_large_fleet_may_hang_and_the_others_are_probed_as_always() -> None:
    numbers = random.Random(1)
    fleet = Fleet(jitter=numbers.random)
    hanging = ProbeResult(ProbeStage.CONNECT, ProbeTrouble.TIMEOUT)

    async def probe(target: Target, profile: Profile, canary: bytes) -> ProbeResult:
        fleet.probed.append((fleet.now(), target.relay))
        hangs = int(target.relay) % 5 == 0
        await asyncio.sleep(PROFILE.timeout_s if hangs else 0.05)
        return hanging if hangs else GOOD

    fleet.prober._probe = probe
    async with running(fleet):
        many = [Target(str(number), f"uid-{number}", "10.0.0.9") for number in range(1000)]
        fleet.prober.follow(KEY, many, PROFILE, PACE)
        await asyncio.sleep(20)
    times: dict[str, list[float]] = {}
    for at, relay in fleet.probed:
        times.setdefault(relay, []).append(at)
    gaps = [b - a for each in times.values() for a, b in itertools.pairwise([0.0, *each])]
    assert len(times) == 1000
    assert max(gaps) <= 5.2


@pytest.mark.looptime
async def test_a_fault_of_a_probe_itself_is_nobodys_result_and_probing_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fleet = Fleet()

    async def broken(target: Target, profile: Profile, canary: bytes) -> ProbeResult:
        raise RuntimeError("a fault of ours")

    fleet.prober._probe = broken
    async with running(fleet):
        fleet.prober.follow(KEY, [ONE], PROFILE, PACE)
        await asyncio.sleep(11)
        assert fleet.prober.results(KEY, "r0") == ()
        assert fleet.prober.silent_s(KEY, "r0") == pytest.approx(11)
    assert fleet.told == [("r0", None)] * 3
    assert "a probe failed by itself" in caplog.text


@pytest.mark.looptime
@pytest.mark.parametrize("place", ["next", "sent", "told"])
async def test_a_fault_around_a_probe_is_logged_and_does_not_end_the_task_either(
    place: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is told goes into metrics and canary reports: a fault there must not stop probing in silence."""
    fleet = Fleet()
    fleet.heard["r0"] = Heard(CanaryStatus(), "uid-0", 0.0)
    fleet.canaries.follow(KEY, 5.0, late_s=20.0)
    fleet.says["r0"] = replace(GOOD, handed_in=True)

    def fault(*_: object) -> None:
        raise RuntimeError(f"a fault of {place}")

    where = fleet.prober if place == "told" else fleet.canaries
    with monkeypatch.context() as patched:
        patched.setattr(where, "_told" if place == "told" else place, fault)
        async with running(fleet):
            fleet.prober.follow(KEY, [ONE], PROFILE, PACE)
            await asyncio.sleep(9.9)
            patched.undo()
            await asyncio.sleep(10)
            (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "probe r0"]
            fleet.prober.forget(KEY)
            await asyncio.sleep(0)
            assert task.cancelled()
    assert fleet.told == [("r0", fleet.says["r0"])] * 2
    assert caplog.text.count(f"RuntimeError: a fault of {place}") == 2


class SlowClock:
    """The loop's time, but it can jump as if the process had been busy."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead_s


@asynccontextmanager
async def late(fleet: Fleet, *jumps_s: float) -> AsyncIterator[None]:
    """Probes of both relays that take two seconds, in which timers are late by so much in all."""
    clock = SlowClock()
    fleet.prober = Prober(
        fleet._probe, canaries=fleet.canaries, told=fleet._told, clock=clock, jitter=lambda: 0.0
    )
    fleet.takes_s = 2.0
    async with running(fleet):
        fleet.prober.follow(KEY, [ONE, TWO], PROFILE, PACE)
        await asyncio.sleep(0.3)
        for jump_s in jumps_s:
            clock.ahead_s += jump_s
            await asyncio.sleep(0.3)
        await asyncio.sleep(2.0 - 0.3 * len(jumps_s))
        yield


@pytest.mark.looptime
@pytest.mark.parametrize("jumps_s", [(0.9,), (0.3, 0.3, 0.3)])
async def test_what_this_process_own_slowness_may_have_spoilt_does_not_count(
    jumps_s: Sequence[float],
) -> None:
    fleet = Fleet()
    fleet.says["r0"] = ProbeResult(ProbeStage.BANNER, ProbeTrouble.TIMEOUT)
    async with late(fleet, *jumps_s):
        assert fleet.prober.results(KEY, "r0") == ()
        assert [timed.result for timed in fleet.prober.results(KEY, "r1")] == [GOOD]
        await asyncio.sleep(5)
        assert len(fleet.prober.results(KEY, "r0")) == 1
    assert next(result for relay, result in fleet.told if relay == "r0") is None


@pytest.mark.looptime
async def test_a_process_that_is_a_little_late_as_always_spoils_nothing() -> None:
    fleet = Fleet()
    fleet.says["r0"] = ProbeResult(ProbeStage.BANNER, ProbeTrouble.TIMEOUT)
    async with late(fleet, *(0.099 for _ in range(6))):
        assert len(fleet.prober.results(KEY, "r0")) == 1


@pytest.mark.looptime
async def test_what_a_relay_says_counts_however_late_it_is_read() -> None:
    fleet = Fleet()
    fleet.says = {"r0": BAD, "r1": ProbeResult(ProbeStage.MAIL, ProbeTrouble.REFUSED, code=421)}
    async with late(fleet, 0.9):
        assert [timed.result for timed in fleet.prober.results(KEY, "r0")] == [BAD]
        assert fleet.prober.results(KEY, "r1") == ()  # it would wait no longer, and perhaps for us


@pytest.mark.looptime
async def test_a_certificate_that_has_expired_counts_however_long_it_took_to_be_seen() -> None:
    fleet, long = Fleet(), {ProbeStage.BANNER: 1.9}
    yesterday, tomorrow = (datetime.now(UTC) + timedelta(days=days) for days in (-1, 1))
    expired = ProbeResult(ProbeStage.QUIT, latency_s=long, not_after=yesterday)
    fleet.says = {"r0": expired, "r1": ProbeResult(ProbeStage.QUIT, latency_s=long, not_after=tomorrow)}
    async with late(fleet, 0.9):
        assert [timed.result for timed in fleet.prober.results(KEY, "r0")] == [expired]
        assert fleet.prober.results(KEY, "r1") == ()


@pytest.mark.looptime
async def test_that_a_probe_was_passed_is_known_though_the_time_that_it_took_is_not() -> None:
    fleet = Fleet()
    fleet.says["r0"] = ProbeResult(ProbeStage.QUIT, latency_s={ProbeStage.BANNER: 1.9})
    fleet.says["r1"] = ProbeResult(ProbeStage.BANNER, ProbeTrouble.TIMEOUT)
    async with late(fleet, 0.9):
        assert fleet.prober.results(KEY, "r0") == ()
        assert fleet.prober.passed_s(KEY, "r0") == pytest.approx(3.2)
        assert fleet.prober.passed_s(KEY, "r1") is None
        fleet.prober.follow(KEY, [Target("r0", "uid-9", "10.0.0.1")], PROFILE, PACE)
        assert fleet.prober.passed_s(KEY, "r0") is None


@pytest.mark.looptime
async def test_a_canary_goes_with_a_probe_once_an_interval_until_it_was_taken() -> None:
    fleet = Fleet()
    fleet.heard["r0"] = Heard(CanaryStatus(), "uid-0", 0.0)
    fleet.canaries.follow(KEY, 12.0, late_s=20.0)
    async with running(fleet):
        fleet.prober.follow(KEY, [ONE, TWO], PROFILE, PACE)
        await asyncio.sleep(7)
        assert fleet.handed == [(0.0, "r0"), (5.0, "r0")]  # it was not taken: the relay's table is another
        fleet.says["r0"] = ProbeResult(ProbeStage.QUIT, handed_in=True)
        await asyncio.sleep(30)
    assert fleet.handed[2:] == [(10.0, "r0"), (25.0, "r0")]
