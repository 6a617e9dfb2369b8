"""What probes cost the operator, and how soon a fault shows as a weight: ``python -m bench probing``, no cluster.

The operator's own parts (prober, agents' reports, work queue, judgement, metrics) run in this process against light
responders in another one; only the API server is missing. So its CPU is what an operator spends for each relay and
interval.
"""

import asyncio
import ipaddress
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
from prometheus_client import CollectorRegistry

from bench.report import Report, Series, describe_machine
from scenario.load import ROOT
from smtpfleet.api.names import PoolKey
from smtpfleet.api.pool import SmtpPoolSpec
from smtpfleet.api.probes import ProbeResult
from smtpfleet.api.status import SmtpPoolStatus
from smtpfleet.controller.agents import INTERVAL_S as ASKED_EVERY_S
from smtpfleet.controller.agents import Agents, HttpAsker, open_session
from smtpfleet.controller.agents import Target as AgentTarget
from smtpfleet.controller.garbage import collect_seldom
from smtpfleet.controller.probes import Probes
from smtpfleet.controller.relay_metrics import RelayMetrics
from smtpfleet.controller.workqueue import Done, Pace, WorkQueue
from smtpfleet.domain.facts import Claim, Deployment, Pod, Pool, Relay
from smtpfleet.domain.plan import plan
from smtpfleet.domain.status import NUMBERS_S, report
from smtpfleet.probing.dialogue import Profile, probe
from smtpfleet.probing.prober import Target

SIZES: Final = (1, 10, 100, 1000)
POOL_SIZE: Final = 200
"""The largest pool; more relays are more pools."""
INTERVAL_S: Final = 5.0
TIMEOUT_S: Final = 3.0
WARM_S: Final = 20.0
"""Until what is new at the start has been decided: each relay was probed three times."""
MEASURE_S: Final = 20.0
FAULTS: Final = 5
NUMBERS_WAIT_S: Final = NUMBERS_S - ASKED_EVERY_S
"""How long the operator lets news wait that are only numbers."""
SETTLED: Final = Deployment(wanted=1, ready=1, current=True)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one size. Fault times are empty where no relay may be ejected.

    Attributes:
        rounds: probes of each relay in an interval; less than 1: the machine could not do them all.
        responders_percent: of a core, what the responders used.
        failed_s: from each fault to the third failed probe.
        fault_s: from each fault to the weight 0.
    """

    relays: int
    cpu_ms: float
    core_percent: float
    memory_mb: float
    latency_ms: float
    rounds: float
    responders_percent: float
    failed_s: tuple[float, ...] = ()
    fault_s: tuple[float, ...] = ()


class Fleet:
    """Pools of relays at addresses of the loopback, judged by the operator's parts."""

    def __init__(self, count: int, ports: tuple[int, int], session: aiohttp.ClientSession) -> None:
        self._smtp_port = ports[0]
        self._clock = asyncio.get_running_loop().time
        self.metrics = RelayMetrics(CollectorRegistry())
        self.agents = Agents(
            HttpAsker(session, port=ports[1]),
            changed=lambda key, more_than_numbers: self.queue.nudge(
                key, delay_s=0.0 if more_than_numbers else NUMBERS_WAIT_S
            ),
            clock=self._clock,
        )
        self.probes = Probes(
            self._probe,
            report=self.agents.report,
            changed=lambda key, wait_s: self.queue.nudge(key, delay_s=wait_s),
            metrics=self.metrics,
            clock=self._clock,
            jitter=random.random,
        )
        self.queue: WorkQueue[PoolKey] = WorkQueue(self.judge, workers=4, pace=Pace(), jitter=random.random)
        self.spec = SmtpPoolSpec.model_validate({"submission": {"trustedNetworks": ["10.0.0.0/8"]}})
        self._relays = _by_pool(count)
        self._statuses: dict[PoolKey, SmtpPoolStatus] = {}
        self.judged = asyncio.Event()
        self.out: dict[str, float] = {}
        """When each relay's weight was 0 for the first time."""
        self.failed: dict[str, list[float]] = {}
        """When each relay's probes failed."""
        self.latencies_s: list[float] = []

    async def _probe(self, target: Target, profile: Profile, canary: bytes) -> ProbeResult:
        result = await probe(
            target.address, replace(profile, port=self._smtp_port), canary, clock=self._clock
        )
        self.latencies_s.append(result.took_s)
        if not result.ok:
            self.failed.setdefault(target.relay, []).append(time.monotonic())
        return result

    async def follow(self) -> None:
        """Begin with every pool."""
        for key, relays in self._relays.items():
            self.queue.nudge(key)
            await self.agents.follow(
                key, [AgentTarget(r.name, r.pods[0].uid, r.pods[0].address) for r in relays]
            )

    async def judge(self, key: PoolKey) -> Done:
        """One cycle without the API server."""
        relays = tuple(replace(r, agent=self.agents.report(key, r.name)) for r in self._relays[key])
        seen = Pool(
            name=key[1],
            namespace=key[0],
            generation=1,
            spec=self.spec.model_copy(update={"replicas": len(relays)}),
            relays=relays,
            balancer=SETTLED,
            previous=self._statuses.get(key, SmtpPoolStatus()),
            seen_at=datetime.now(UTC),
        )
        seen = self.probes.look(key, seen)
        planned = plan(seen)
        status = report(seen, planned, problems=(), now=seen.seen_at)
        self.metrics.show(key, seen.previous, status)
        self._statuses[key] = status
        for route in planned.table.relays:
            if route.weight == 0:
                self.out.setdefault(route.name, time.monotonic())
        self.judged.set()
        return Done(again_s=planned.health.again_s)


def _by_pool(count: int) -> dict[PoolKey, tuple[Relay, ...]]:
    pools: dict[PoolKey, tuple[Relay, ...]] = {}
    for begin in range(0, count, POOL_SIZE):
        key = ("bench", f"pool-{begin // POOL_SIZE}")
        members = range(begin, min(begin + POOL_SIZE, count))
        pools[key] = tuple(_relay(number) for number in members)
    return pools


def _address(number: int) -> str:
    return str(ipaddress.ip_address("127.66.0.1") + number)


def _relay(number: int) -> Relay:
    name = f"relay-{number}"
    pod = Pod(uid=f"uid-{number}", node="n1", address=_address(number), running=True, ready=True)
    return Relay(
        name=name,
        number=number,
        deployment=SETTLED,
        claim=Claim(),
        service=True,
        address=_address(number),
        pods=(pod,),
    )


async def measure(count: int) -> Cost:
    """Cost of so many relays in a steady state, then the time from a fault to the weight."""
    names = {_address(number): f"relay-{number}" for number in range(count)}
    responders = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.responders", cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=2**20,
    )  # fmt: skip
    assert responders.stdin is not None
    assert responders.stdout is not None
    responders.stdin.write(f"{json.dumps(names)}\n".encode())
    ports: tuple[int, int] = tuple(json.loads(await responders.stdout.readline()))
    try:
        async with open_session() as session:
            fleet = Fleet(count, ports, session)
            async with asyncio.TaskGroup() as group:
                work = (fleet.probes.run(), fleet.agents.run(), fleet.queue.run())
                tasks = [group.create_task(each) for each in work]
                await fleet.follow()
                await asyncio.sleep(WARM_S)
                cost = await _steady(fleet, count, responders.pid)
                failed, faults = await _faults(fleet, count, responders.stdin)
                for task in tasks:
                    task.cancel()
        return replace(cost, failed_s=failed, fault_s=faults)
    finally:
        responders.kill()
        await responders.wait()


async def _steady(fleet: Fleet, count: int, responders: int) -> Cost:
    fleet.latencies_s.clear()
    began, cpu, theirs = time.monotonic(), time.process_time(), _cpu_s(responders)
    await asyncio.sleep(MEASURE_S)
    wall, used = time.monotonic() - began, time.process_time() - cpu
    probes = max(1, len(fleet.latencies_s))
    return Cost(
        relays=count,
        cpu_ms=1000 * used / (count * wall / INTERVAL_S),
        core_percent=100 * used / wall,
        memory_mb=_resident_mb(),
        latency_ms=1000 * sorted(fleet.latencies_s or [0.0])[probes // 2],
        rounds=len(fleet.latencies_s) / (count * wall / INTERVAL_S),
        responders_percent=100 * (_cpu_s(responders) - theirs) / wall,
    )


async def _faults(
    fleet: Fleet, count: int, responders: asyncio.StreamWriter
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Relays begin to refuse MAIL at random moments of an interval; how long until their third probe has failed, and
    until their weight is 0.

    What does not happen within three intervals counts with all the time that was waited for it.
    """
    if count < 2:
        return (), ()
    victims = random.sample(range(min(count, POOL_SIZE)), min(FAULTS, count // 2))
    began: dict[str, float] = {}
    fleet.out.clear()
    fleet.failed.clear()
    for number in victims:
        await asyncio.sleep(random.random() * INTERVAL_S / len(victims))
        responders.write(f"{_address(number)} 451 4.3.0 a fault\n".encode())
        await responders.drain()
        began[f"relay-{number}"] = time.monotonic()
    with suppress(TimeoutError):
        async with asyncio.timeout(3 * INTERVAL_S):
            while not began.keys() <= fleet.out.keys():
                fleet.judged.clear()
                await fleet.judged.wait()
    ended = time.monotonic()
    third = {name: times[2] for name, times in fleet.failed.items() if len(times) > 2}
    return (
        tuple(third.get(name, ended) - at for name, at in began.items()),
        tuple(fleet.out.get(name, ended) - at for name, at in began.items()),
    )


def _cpu_s(process: int) -> float:
    """What a process has used of processors until now."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mb() -> float:
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def run(runs: int, sizes: Sequence[int] = SIZES) -> Report:
    """All sizes in turn, each in a process of its own so that memory is its own."""
    found: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
    for number in range(runs):
        for size in sizes:
            done = subprocess.run(
                [sys.executable, "-m", "bench.probing", str(size)],
                cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=180,
            )  # fmt: skip
            found[size].append(json.loads(done.stdout))
            print(f"  run {number + 1}/{runs} {size} relays: {found[size][-1]}", flush=True)
    return Report(
        title="Probing: what it costs the operator",
        series=tuple(series for size in sizes for series in _series(size, found[size])),
        machine=describe_machine(),
        time=datetime.now(UTC),
        parameters={
            "interval": f"{INTERVAL_S:g} s",
            "timeout": f"{TIMEOUT_S:g} s",
            "tls": "STARTTLS, ECDSA P-256",
        },
    )


def _series(size: int, found: Sequence[dict[str, Any]]) -> Iterator[Series]:
    def values(name: str) -> tuple[float, ...]:
        return tuple(one[name] for one in found)

    name = f"{size} relays"
    yield Series(
        name=f"{name}: CPU per relay and interval", unit="ms", values=values("cpu_ms"), bar="≤ 2.5 ms"
    )
    yield Series(name=f"{name}: of a core", unit="%", values=values("core_percent"), bar="≤ 50 %")
    yield Series(name=f"{name}: memory", unit="MB", values=values("memory_mb"), bar="< 300 MB")
    yield Series(name=f"{name}: median duration of a probe", unit="ms", values=values("latency_ms"))
    yield Series(name=f"{name}: probes of each in an interval", unit="", values=values("rounds"))
    yield Series(name=f"{name}: responders, of a core", unit="%", values=values("responders_percent"))
    failed, faults = (
        tuple(seconds for one in found for seconds in one[which]) for which in ("failed_s", "fault_s")
    )
    if faults:
        bar = f"≤ {2 * INTERVAL_S + TIMEOUT_S:g} s"
        yield Series(name=f"{name}: fault to third failed probe", unit="s", values=failed)
        yield Series(name=f"{name}: fault to weight 0", unit="s", values=faults, bar=bar)


def main() -> None:
    """Measure one size, the only argument, and print JSON."""
    collect_seldom()
    cost = asyncio.run(measure(int(sys.argv[1])))
    print(json.dumps({name: getattr(cost, name) for name in Cost.__slots__}))


if __name__ == "__main__":
    main()
