"""Probes and control loop: who is probed, how, when a pool is looked at again, and what is counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from smtpfleet.api.agent_status import Canary, CanaryStatus
from smtpfleet.api.probes import ProbeResult, ProbeStage, ProbeTrouble
from smtpfleet.api.reasons import Reason, RelayState
from smtpfleet.api.status import RelayOutage, SmtpPoolStatus
from smtpfleet.controller.probes import GATHER_S, Probes, pace, profile, targets
from smtpfleet.controller.relay_metrics import RelayMetrics
from smtpfleet.domain.facts import AgentReport, Claim, Pool, Wish
from smtpfleet.domain.passive import canary_interval_s
from smtpfleet.probing.dialogue import Credentials, Profile
from smtpfleet.probing.prober import Target
from tests.unit.domain.samples import entry, pod, pool, relay, report, spec

KEY = ("mail", "outbound")
GOOD = ProbeResult(ProbeStage.QUIT, latency_s={ProbeStage.BANNER: 0.01, ProbeStage.QUIT: 0.01})
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
EXPIRED = replace(GOOD, not_after=NOON - timedelta(days=1))
BAD = ProbeResult(ProbeStage.MAIL, ProbeTrouble.REFUSED, code=451, latency_s={ProbeStage.MAIL: 0.02})


class Fleet:
    """Relays 0 and 1 of a pool, and what the probes tell of them."""

    def __init__(self) -> None:
        self.says = {"outbound-relay-0": GOOD, "outbound-relay-1": GOOD}
        self.agents: dict[str, AgentReport] = {}
        self.nudges: list[float] = []
        self.waits_s: list[float] = []
        self.registry = CollectorRegistry()
        self.metrics = RelayMetrics(self.registry)
        loop = asyncio.get_running_loop()
        self.probes = Probes(
            self._probe,
            report=lambda _, relay: self.agents.get(relay),
            changed=self._changed,
            metrics=self.metrics,
            clock=loop.time,
            jitter=lambda: 0.0,
            now=lambda: NOON + timedelta(seconds=loop.time()),
        )

    async def _probe(self, target: Target, profile: Profile, canary: bytes) -> ProbeResult:
        says = self.says[target.relay]
        return replace(says, handed_in=says.handed_in and bool(canary))

    def _changed(self, key: tuple[str, str], wait_s: float) -> None:
        assert key == KEY
        self.waits_s.append(wait_s)
        self.nudges.append(round(asyncio.get_running_loop().time(), 2))

    def look(self, seen: Pool | None = None) -> Pool:
        return self.probes.look(KEY, seen or pool([relay(0, probes=()), relay(1, probes=())]))


@asynccontextmanager
async def running(fleet: Fleet) -> AsyncIterator[None]:
    task = asyncio.create_task(fleet.probes.run())
    yield
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_probed_is_who_takes_mail_or_should() -> None:
    seen = pool(
        [
            relay(0),
            relay(1, wish=Wish.DRAIN),
            relay(2, pods=(pod("outbound-relay-2", ready=False),)),
            relay(3, pods=()),
            relay(4, claim=Claim(leaving=True)),
            relay(5, pods=(pod("outbound-relay-5", leaving=True),)),
            relay(6),
        ],
        previous=SmtpPoolStatus(relays=(entry(6, RelayState.DRAINING, reason=Reason.SURPLUS),)),
    )
    assert list(targets(seen)) == [Target("outbound-relay-0", "outbound-relay-0-pod", "10.244.0.9")]


def test_how_it_is_probed_follows_from_the_spec() -> None:
    given = spec(health={"interval": "10s", "timeout": "4s", "unhealthyThreshold": 2})
    assert profile(pool(spec=given), "") == Profile(timeout_s=4.0, clients=("10.0.0.0", ""), tls=True)
    assert (pace(given).interval_s, pace(given).certain) == (10.0, 2)
    plain = spec(submission={"trustedNetworks": ["fd00::/8"], "tls": {"mode": "None"}})
    assert profile(pool(spec=plain), "") == Profile(timeout_s=3.0, clients=("", "fd00::"), tls=False)


def test_probes_log_in_only_where_an_agent_says_that_it_knows_them() -> None:
    knowing, newer = (report(f"outbound-relay-{i}", probe_login=bool(i)) for i in (1, 0))
    seen = pool([relay(0, agent=newer), relay(1, agent=knowing), relay(2, agent=None)])
    found = profile(seen, "password-of-the-test")
    assert found.login == Credentials("probe;outbound", "password-of-the-test")
    assert found.knows == {"outbound-relay-1"}
    assert [found.of(f"outbound-relay-{i}").login is not None for i in range(3)] == [False, True, False]
    assert "password-of-the-test" not in repr(found)
    without = profile(seen, "")
    assert (without.login, without.knows) == (None, frozenset())


@pytest.mark.looptime
async def test_results_come_with_their_age() -> None:
    fleet = Fleet()
    async with running(fleet):
        assert fleet.look().relays[0].probes == ()
        await asyncio.sleep(6)
        seen = fleet.look()
        assert [(probe.result, probe.began_s) for probe in seen.relays[0].probes] == [
            (GOOD, 1.0),
            (GOOD, 6.0),
        ]
        assert seen.relays[0].unprobed_s == 1.0


@pytest.mark.looptime
async def test_a_pool_is_looked_at_again_while_results_may_make_something_certain_and_then_no_more() -> None:
    fleet = Fleet()
    async with running(fleet):
        fleet.look()
        await asyncio.sleep(61)
        assert sorted(set(fleet.nudges)) == [0.0, 5.0, 10.0]
        assert set(fleet.waits_s) == {GATHER_S}
        fleet.nudges.clear()
        fleet.waits_s.clear()
        fleet.says["outbound-relay-1"] = BAD
        await asyncio.sleep(60)
        assert fleet.nudges == [65.0, 67.5, 70.0]
        assert set(fleet.waits_s) == {0.0}


@pytest.mark.looptime
async def test_a_certificate_that_has_expired_is_bad_news_at_once() -> None:
    fleet = Fleet()
    fleet.says["outbound-relay-1"] = replace(GOOD, not_after=NOON + timedelta(days=300))
    async with running(fleet):
        fleet.look()
        await asyncio.sleep(61)
        fleet.nudges.clear()
        fleet.waits_s.clear()
        fleet.says["outbound-relay-1"] = EXPIRED
        await asyncio.sleep(60)
        assert fleet.nudges == [65.0, 67.5, 70.0]
        assert set(fleet.waits_s) == {0.0}
    labels = {"namespace": "mail", "pool": "outbound", "relay": "outbound-relay-1"}
    counted = fleet.registry.get_sample_value
    assert counted("smtpfleet_operator_probes_total", labels | {"result": "CertificateExpired"}) == 13


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(timedelta(seconds=63), timedelta(seconds=63), id="expires while it is served"),
        pytest.param(timedelta(days=3), timedelta(days=300), id="is another one"),
    ],
)
async def test_a_certificate_that_is_not_what_it_was_is_news(before: timedelta, after: timedelta) -> None:
    fleet = Fleet()
    fleet.says["outbound-relay-1"] = replace(GOOD, not_after=NOON + before)
    async with running(fleet):
        fleet.look()
        await asyncio.sleep(61)
        fleet.nudges.clear()
        fleet.says["outbound-relay-1"] = replace(GOOD, not_after=NOON + after)
        await asyncio.sleep(60)
        assert fleet.nudges == [65.0, 70.0, 75.0]


@pytest.mark.looptime
async def test_a_relay_that_was_no_target_for_a_while_is_news_again() -> None:
    fleet = Fleet()
    async with running(fleet):
        fleet.look()
        await asyncio.sleep(61)
        fleet.look(pool([relay(0, probes=()), relay(1, probes=(), wish=Wish.DRAIN)]))
        fleet.look()
        fleet.nudges.clear()
        await asyncio.sleep(60)
        assert fleet.nudges == [61.0, 66.0, 71.0]


@pytest.mark.looptime
@pytest.mark.parametrize("threshold", [1, 10])
async def test_however_many_probes_are_asked_for_it_ends(threshold: int) -> None:
    fleet = Fleet()
    health = {"unhealthyThreshold": threshold, "healthyThreshold": threshold}
    async with running(fleet):
        fleet.look(pool([relay(0, probes=())], spec_fields={"health": health}))
        await asyncio.sleep(200)
    assert len(fleet.nudges) == threshold


@pytest.mark.looptime
async def test_probes_are_counted_by_result_and_timed_by_step() -> None:
    fleet = Fleet()
    async with running(fleet):
        fleet.look()
        await asyncio.sleep(1)
        fleet.says["outbound-relay-1"] = BAD
        await asyncio.sleep(5)
    sample = fleet.registry.get_sample_value
    labels = {"namespace": "mail", "pool": "outbound"}
    one, two = ({**labels, "relay": f"outbound-relay-{number}"} for number in (0, 1))
    assert sample("smtpfleet_operator_probes_total", one | {"result": "Passed"}) == 2
    assert sample("smtpfleet_operator_probes_total", two | {"result": "Passed"}) == 1
    assert sample("smtpfleet_operator_probes_total", two | {"result": "SenderRefused"}) == 1
    assert sample("smtpfleet_operator_probe_duration_seconds", one) == pytest.approx(0.01)
    stage = labels | {"stage": "banner"}
    assert sample("smtpfleet_operator_probe_stage_duration_seconds_count", stage) == 3


@pytest.mark.looptime
async def test_a_pool_that_is_gone_is_probed_no_more() -> None:
    fleet = Fleet()
    async with running(fleet):
        fleet.look()
        await asyncio.sleep(1)
        fleet.probes.forget(KEY)
        fleet.nudges.clear()
        fleet.says["outbound-relay-0"] = BAD
        await asyncio.sleep(30)
        assert fleet.nudges == []


def test_relays_are_shown_as_the_status_has_them_and_ejections_counted_once() -> None:
    registry = CollectorRegistry()
    metrics, sample = RelayMetrics(registry), registry.get_sample_value
    well = SmtpPoolStatus(relays=(entry(0), entry(1)))
    out = SmtpPoolStatus(
        relays=(entry(0), entry(1, RelayState.EJECTED, weight=0, reason=Reason.SENDER_REFUSED))
    )
    metrics.show(KEY, SmtpPoolStatus(), well)
    for old, new in ((well, out), (out, out)):
        metrics.show(KEY, old, new)
    labels = {"namespace": "mail", "pool": "outbound", "relay": "outbound-relay-1"}
    assert sample("smtpfleet_operator_relay_state", labels | {"state": "Ejected"}) == 1
    assert sample("smtpfleet_operator_relay_state", labels | {"state": "Serving"}) == 0
    assert sample("smtpfleet_operator_relay_weight", labels) == 0
    assert sample("smtpfleet_operator_ejections_total", labels | {"reason": "SenderRefused"}) == 1


def test_what_is_decided_about_a_relay_that_stays_bad_is_counted_once() -> None:
    registry = CollectorRegistry()
    metrics, sample = RelayMetrics(registry), registry.get_sample_value
    since = "2026-05-01T12:00:00Z"
    outages = [
        RelayOutage(since=since),
        RelayOutage(since=since, restarted=since),
        RelayOutage(since=since, restarted=since, replaced=since),
    ]
    seen = [
        SmtpPoolStatus(relays=(entry(1, RelayState.EJECTED, weight=0).model_copy(update={"outage": outage}),))
        for outage in outages
    ]
    for old, new in ((seen[0], seen[1]), (seen[1], seen[1]), (seen[1], seen[2]), (seen[2], seen[2])):
        metrics.show(KEY, old, new)
    labels = {"namespace": "mail", "pool": "outbound", "relay": "outbound-relay-1"}
    for remedy in ("Restarting", "Replacing"):
        assert sample("smtpfleet_operator_remedies_total", labels | {"remedy": remedy}) == 1


def test_series_of_relays_and_pools_that_are_gone_disappear() -> None:
    registry = CollectorRegistry()
    metrics = RelayMetrics(registry)
    both = SmtpPoolStatus(relays=(entry(0), entry(1)))
    metrics.show(KEY, SmtpPoolStatus(), both)
    metrics.probed(KEY, "outbound-relay-1", "Passed", GOOD)
    metrics.show(KEY, both, replace_relays(both, 0))
    text = generate_latest(registry).decode()
    assert "outbound-relay-0" in text
    assert "outbound-relay-1" not in text
    metrics.forget(KEY)
    assert 'pool="outbound"' not in generate_latest(registry).decode()


def replace_relays(status: SmtpPoolStatus, *numbers: int) -> SmtpPoolStatus:
    return status.model_copy(update={"relays": tuple(entry(number) for number in numbers)})


def test_a_relay_keeps_its_ejection_in_the_metrics_when_another_operator_takes_over() -> None:
    registry = CollectorRegistry()
    metrics = RelayMetrics(registry)
    out = SmtpPoolStatus(relays=(entry(1, RelayState.EJECTED, weight=0, reason="SenderRefused"),))
    metrics.show(KEY, out, out)
    assert "ejections_total{" not in generate_latest(registry).decode()


@pytest.mark.looptime
async def test_a_canary_that_does_not_come_back_is_news_once_and_that_it_did_is_too() -> None:
    fleet = Fleet()
    name = "outbound-relay-0"
    fleet.says[name] = replace(GOOD, handed_in=True)

    def tell(*returned: Canary) -> None:
        status = CanaryStatus(up_s=500.0, returned=returned)
        fleet.agents[name] = report(name, age_s=0.0, canary=status)

    tell()
    async with running(fleet):
        fleet.look()
        await asyncio.sleep(14)
        fleet.nudges.clear()
        await asyncio.sleep(40)
        assert [
            at
            for at, wait_s in zip(fleet.nudges, fleet.waits_s[-len(fleet.nudges) :], strict=True)
            if not wait_s
        ] == [15.0]
        seen = fleet.look().relays[0]
        late = seen.canaries[-1]
        assert late.took_s is None
        assert late.waited_s >= 40
        assert {each.canaries for each in fleet.look().relays[1:]} == {()}
        tell(Canary(id="0" * 32, digest=""))  # none of ours
        assert fleet.look().relays[0].canaries[0].took_s is None
    text = generate_latest(fleet.registry).decode()
    labels = 'namespace="mail",pool="outbound",relay="outbound-relay-0"'
    assert f'smtpfleet_operator_canaries_total{{{labels},result="Missed"}} 1.0' in text
    assert f'smtpfleet_operator_canaries_total{{{labels},result="Sent"}} 2.0' in text
    assert "canary_duration_seconds{" not in text


def test_canaries_are_sent_only_where_no_client_can_have_their_address() -> None:
    assert canary_interval_s(spec()) == 30.0
    assert canary_interval_s(spec(health={"canaryInterval": "0s"})) == 0.0
    assert canary_interval_s(spec(submission={"trustedNetworks": ["10.1.2.3/32"]})) == 0.0
    assert canary_interval_s(spec(submission={"trustedNetworks": []})) == 0.0
    small = {"trustedNetworks": ["10.0.0.0/8"], "messageSizeLimit": "4095"}
    assert canary_interval_s(spec(submission=small)) == 0.0
