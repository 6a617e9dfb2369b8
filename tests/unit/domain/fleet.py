"""A pool whose relays are probed over and over in made-up time, judged as the operator does it, status after status."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from smtpfleet.api.probes import ProbeResult, ProbeStage, ProbeTrouble
from smtpfleet.api.routing import RoutingTable
from smtpfleet.api.status import Condition, RelayEntry, SmtpPoolStatus
from smtpfleet.domain.facts import Pod, Pool, ProbeReport, Relay
from smtpfleet.domain.plan import Plan, plan
from smtpfleet.domain.status import report
from smtpfleet.domain.transitions import Note, notes
from tests.unit.domain.samples import pod, pool, relay
from tests.unit.domain.samples import report as report_of

BEGIN = datetime(2026, 5, 1, 12, tzinfo=UTC)
GOOD = ProbeResult(ProbeStage.QUIT, latency_s={ProbeStage.BANNER: 0.02})
REFUSED = ProbeResult(ProbeStage.MAIL, ProbeTrouble.REFUSED, code=452, enhanced="4.3.1", text="no storage")
SLOW = ProbeResult(ProbeStage.QUIT, latency_s={ProbeStage.BANNER: 2.0})

Answer = Callable[[], ProbeResult]


class Fleet:
    """``count`` relays, each probed every 5 s, one after the other in turn; judged after each probe.

    What is decided is done: new relays come, with pods that are ready unless they are ``barren``, those whose pod is
    deleted get another, and those that are removed are gone.
    """

    def __init__(self, count: int, *, interval_s: float = 5.0, **spec: Any) -> None:
        self.now_s = 0.0
        self.answers: dict[str, ProbeResult] = {}
        self.relays: dict[str, Mapping[str, Any]] = {}
        self.status = SmtpPoolStatus()
        self.table: RoutingTable | None = None
        self.tables: list[RoutingTable] = []
        self.notes: list[Note] = []
        self.writes = 0
        self.restarts: list[str] = []
        self.barren = False
        self.busy: list[str] = []
        self._numbers = list(range(count))
        self._spec, self._interval_s, self._count = spec, interval_s, count
        self._probes: dict[str, list[tuple[float, ProbeResult]]] = {}
        self._due = {self.name(i): interval_s * i / count for i in range(count)}

    @staticmethod
    def name(number: int) -> str:
        return f"outbound-relay-{number}"

    def entry(self, number: int) -> RelayEntry:
        return next(entry for entry in self.status.relays if entry.name == self.name(number))

    def states(self) -> list[str]:
        return [entry.state.value for entry in self.status.relays]

    def weights(self) -> list[int]:
        assert self.table is not None
        return [route.weight for route in self.table.relays]

    def condition(self, kind: str) -> Condition:
        return next(condition for condition in self.status.conditions if condition.type == kind)

    def set(self, number: int, **fields: Any) -> None:
        """Change what is seen of a relay besides its probes; a pod that is not ready is not probed."""
        self.relays[self.name(number)] = fields
        self.judge()

    def unready(self, number: int, **more: Any) -> None:
        name = self.name(number)
        self._probes.pop(name, None)
        found = pod(name, **({"ready": False} | more))
        self.set(number, pods=(found,), agent=report_of(name, pod_uid=found.uid))

    def anew(self, name: str) -> Mapping[str, Any]:
        """Its next pod, and what the agent in it says. The API server's clock is far behind."""
        uid = f"{name}-pod-{self.now_s}"
        return {"pods": (pod(name, uid=uid, created=BEGIN),), "agent": report_of(name, pod_uid=uid)}

    def restart_operator(self) -> None:
        """Only the status and the table survive."""
        self._probes.clear()
        self.judge()

    def run(self, seconds: float, *, probing: bool = True) -> None:
        """Probe each relay when it is due, and judge after each result and each second."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            name = min(self._due, key=self._due.__getitem__)
            step_s = min(self._due[name], self.now_s + 1.0, end_s)
            self.now_s = max(step_s, self.now_s)
            if self.now_s >= self._due[name]:
                self._due[name] += self._interval_s
                if probing and self._ready(name):
                    result = self.answers.get(name, GOOD)
                    self._probes.setdefault(name, []).insert(0, (self.now_s, result))
            self.judge()

    def judge(self) -> None:
        """One cycle of the operator."""
        seen = self.seen()
        planned = plan(seen)
        self._carry_out(planned)
        before, self.table = self.table, planned.table
        if self.table != before:
            self.tables.append(self.table)
        status = report(seen, planned, problems=(), now=seen.seen_at)
        if status != self.status:
            self.writes += 1
            self.notes += notes(self.status, status)
        self.status = status

    def _carry_out(self, planned: Plan) -> None:
        for number in planned.scale.new:
            name = self.name(number)
            self._numbers.append(number)
            self._due[name] = self.now_s
            self.relays[name] = {"pods": (pod(name, ready=False, running=False),)} if self.barren else {}
        if planned.removal:
            self._numbers = [number for number in self._numbers if self.name(number) != planned.removal.name]
        restart = planned.remedies.restart
        if restart:
            self.restarts.append(restart.relay)
            self._probes.pop(restart.relay, None)
            self.relays[restart.relay] = self.anew(restart.relay)
        self.busy.append(f"{planned.removal is not None:d}{restart is not None:d}")

    def seen(self) -> Pool:
        """What the operator sees now."""
        seen = pool(
            [self._relay(i) for i in sorted(self._numbers)],
            replicas=self._count,
            seen_at=BEGIN + timedelta(seconds=self.now_s),
            previous=self.status,
            table=self.table,
            spec_fields=self._spec,
        )
        return replace(seen, generation=1)

    def _relay(self, number: int) -> Relay:
        name = self.name(number)
        probes = tuple(
            ProbeReport(result, self.now_s - at_s, self.now_s - at_s)
            for at_s, result in self._probes.get(name, [])[:10]
        )
        return relay(number, **({"probes": probes} | dict(self.relays.get(name, {}))))

    def _ready(self, name: str) -> bool:
        pods: tuple[Pod, ...] = self.relays.get(name, {}).get("pods", (pod(name),))
        return any(found.ready for found in pods)


def well(count: int = 3, **spec: Any) -> Fleet:
    """A pool that has served for long."""
    fleet = Fleet(count, **spec)
    fleet.run(35)
    assert set(fleet.states()) == {"Serving"}
    assert set(fleet.weights()) == {100}
    fleet.tables.clear()
    fleet.notes.clear()
    fleet.writes = 0
    return fleet
