"""Joins the probes to the control loop: which relays are probed, what is told of the results, and when to look again.

A pool is looked at again when a result says something new of a relay, and for as many further results as may make that
certain; a relay whose probes go on as before costs nothing but the probes.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from smtpfleet.api.names import PoolKey, probe_user
from smtpfleet.api.pool import SmtpPoolSpec
from smtpfleet.api.probes import ProbeResult, probe_client
from smtpfleet.api.reasons import Reason
from smtpfleet.api.submission import TlsMode
from smtpfleet.api.values import duration_seconds
from smtpfleet.controller.relay_metrics import RelayMetrics
from smtpfleet.domain import passive
from smtpfleet.domain.facts import AgentReport, Pool, ProbeReport, Relay, Wish
from smtpfleet.domain.findings import SLOW_S, Finding, Seen, of_probe
from smtpfleet.domain.scaling import marked_before
from smtpfleet.probing.canaries import Canaries, Heard
from smtpfleet.probing.dialogue import Credentials, Profile
from smtpfleet.probing.prober import Pace, Probe, Prober, Target

GATHER_S: Final = 2.0
"""How long good news may wait for more of it."""
PASSED: Final = "Passed"
"""Result of a probe that found nothing."""
SENT: Final = "Sent"
"""Result of a canary that the relay took."""
MISSED: Final = "Missed"
"""Result of one that is late or altered; counted once until all of the relay's are well."""
SPOILT: Final = "Spoilt"
"""Result of a probe that does not count, because this process itself was too slow."""


class Probes:
    """The probes of one operator process. :meth:`run` must run beside.

    Args:
        probe: probes one relay.
        report: the last answer of a relay's agent.
        changed: is called with a pool's key when there may be something to decide, and how many seconds that may wait.
        metrics: are kept up to date.
        clock: seconds that only ever grow.
        jitter: gives numbers from 0 to 1.
        now: the time of day.
    """

    def __init__(
        self,
        probe: Probe,
        *,
        report: Callable[[PoolKey, str], AgentReport | None],
        changed: Callable[[PoolKey, float], None],
        metrics: RelayMetrics,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._changed, self._metrics, self._clock, self._now = changed, metrics, clock, now
        self._canaries = Canaries(
            lambda key, relay: _heard(report(key, relay)), clock=clock, random=os.urandom
        )
        self._prober = Prober(
            probe, canaries=self._canaries, told=self._told, clock=clock, jitter=jitter, now=now
        )
        self._late_s: dict[PoolKey, float] = {}
        self._late: dict[PoolKey, frozenset[str]] = {}
        self._certain: dict[PoolKey, int] = {}

    async def run(self) -> None:
        """Watch over the probes until cancelled; ends them all."""
        await self._prober.run()

    def look(self, key: PoolKey, seen: Pool, password: str = "") -> Pool:
        """Set which relays are probed by what is seen of their pool, and add what is known of them.

        ``password``: of the probes' user; empty: there is none.
        """
        spec = seen.spec
        self._certain[key] = max(spec.health.unhealthy_threshold, spec.health.healthy_threshold)
        late_s = self._late_s[key] = passive.late_s(spec.health)
        self._canaries.follow(key, passive.canary_interval_s(spec), late_s=late_s)
        self._prober.follow(key, targets(seen), profile(seen, password), pace(spec))
        relays = tuple(
            replace(
                relay,
                probes=self._reports(key, relay.name),
                canaries=self._canaries.reports(key, relay.name),
                unprobed_s=self._prober.silent_s(key, relay.name),
                passed_s=self._prober.passed_s(key, relay.name),
            )
            for relay in seen.relays
        )
        return replace(seen, relays=relays)

    def forget(self, key: PoolKey) -> None:
        """The pool is gone."""
        self._prober.forget(key)
        self._canaries.forget(key)
        self._certain.pop(key, None)
        self._late.pop(key, None)
        self._late_s.pop(key, None)

    def _reports(self, key: PoolKey, relay: str) -> tuple[ProbeReport, ...]:
        now = self._clock()
        return tuple(
            ProbeReport(timed.result, began_s=now - timed.began, ended_s=now - timed.ended)
            for timed in self._prober.results(key, relay)
        )

    def _told(self, key: PoolKey, relay: str, result: ProbeResult | None) -> None:
        self._look_for_canary(key, relay)
        if result is None:
            self._metrics.probed(key, relay, SPOILT, None)
            return
        if result.handed_in:
            self._metrics.canaries.labels(*key, relay, SENT).inc()
        finding = _finding(result, self._now())
        self._metrics.probed(key, relay, finding.reason if finding else PASSED, result)
        if self._is_news(key, relay):
            # What is bad is decided at once. The rest may wait for more: on a slow machine many relays waver.
            self._changed(key, 0.0 if finding else GATHER_S)

    def _look_for_canary(self, key: PoolKey, relay: str) -> None:
        """That a canary is missing, or has come back after all, is worth a look at the pool."""
        canaries = self._canaries.reports(key, relay)
        if canaries and canaries[0].took_s is not None:
            self._metrics.canary_seconds.labels(*key, relay).set(canaries[0].took_s)
        before = self._late.get(key, frozenset())
        after = (
            before | {relay} if passive.suspicious(canaries, self._late_s.get(key, 0.0)) else before - {relay}
        )
        self._late[key] = after
        if after != before:
            self._changed(key, 0.0)
        if after > before:
            self._metrics.canaries.labels(*key, relay, MISSED).inc()

    def _is_news(self, key: PoolKey, relay: str) -> bool:
        """Whether the last results of a relay's present pod differ, or are not more yet than make it certain."""
        certain = self._certain.get(key, 0)
        last = self._prober.results(key, relay)[: certain + 1]
        clock, now = self._clock(), self._now()
        words = {_word(timed.result, now - timedelta(seconds=clock - timed.ended)) for timed in last}
        return len(last) <= certain or len(words) > 1


def _finding(result: ProbeResult, ended: datetime) -> Finding | None:
    """What a result says by itself; whether one that took long is slow, depends on the siblings."""
    return of_probe(Seen(result, None, ended))


def _word(result: ProbeResult, ended: datetime) -> tuple[str, datetime | None]:
    """What tells a result from others: what was found, and until when the certificate is valid."""
    finding = _finding(result, ended)
    slow = Reason.PROBE_SLOW if result.took_s > SLOW_S else PASSED
    return finding.reason if finding else slow, result.not_after


def targets(seen: Pool) -> Iterator[Target]:
    """The pods that are probed: of relays that take mail, or should.

    One that is not ready is none: it has not started yet, or the cluster knows that it does not work. One that drains
    is none either, for it closes its ports.
    """
    leaving = marked_before(seen.previous)
    for relay in seen.relays:
        if relay.exists and not _leaves(relay) and relay.name not in leaving:
            pod = relay.pod
            if relay.ready and pod is not None and pod.address:
                yield Target(relay.name, pod.uid, pod.address)


def _leaves(relay: Relay) -> bool:
    return relay.wish is Wish.DRAIN or relay.doomed


def profile(seen: Pool, password: str) -> Profile:
    """How the relays of a pool are probed. They log in where an agent has said that it knows their user."""
    spec = seen.spec
    trusted = spec.submission.trusted_networks
    knowing = {relay.name for relay in seen.relays if relay.agent and relay.agent.status.probe_login}
    return Profile(
        timeout_s=duration_seconds(spec.health.timeout),
        clients=(probe_client(trusted, 4), probe_client(trusted, 6)),
        tls=spec.submission.tls.mode is not TlsMode.NONE,
        login=Credentials(probe_user(seen.name), password) if password else None,
        knows=frozenset(knowing) if password else frozenset(),
    )


def _heard(report: AgentReport | None) -> Heard | None:
    if report is None or report.status.canary is None:
        return None
    return Heard(report.status.canary, report.pod_uid, report.age_s)


def pace(spec: SmtpPoolSpec) -> Pace:
    """How often they are."""
    return Pace(duration_seconds(spec.health.interval), certain=spec.health.unhealthy_threshold)
