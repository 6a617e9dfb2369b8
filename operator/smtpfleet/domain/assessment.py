"""How all relays of a pool stand: who gets mail, who is out, and what is told of the probes. Pure.

Guarantees: no ejection leaves more relays out than ``maxEjectedPercent`` allows, where those that are not ready count
as out, nor fewer in than the load needs; a relay is ejected only if each of its siblings was probed after its own first
failure, so a probe that fails everywhere (a network policy, a broken operator) ejects nobody; without fresh probes
nothing changes; what agents tell counts only beside what their siblings' tell; what is paused stays as it is.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from smtpfleet.api.reasons import LEAVING_REASONS, Reason, RelayState
from smtpfleet.api.values import duration_seconds
from smtpfleet.domain import passive, weights
from smtpfleet.domain.capacity import loads_of, needed
from smtpfleet.domain.facts import Pod, Pool, ProbeReport, Relay, Wish
from smtpfleet.domain.findings import FATAL, NOTICE, REASONS, Finding, Seen, Usual, notices, of_probe, silent
from smtpfleet.domain.health import (
    SERVED,
    Rules,
    Sight,
    Standing,
    certain,
    certain_before,
    row,
    step,
    was_back,
)
from smtpfleet.domain.load import limited_rate
from smtpfleet.domain.others import OthersMedian
from smtpfleet.domain.share import Share, follow
from smtpfleet.domain.standings import standing_of

SIBLINGS_WAIT_S: Final = 1.0
"""A sibling's probe is under way: look again after this time."""
COMPARED_AGAIN_S: Final = 5.0
"""One that a comparison may tell something of is compared again after this time, as often as all agents are asked."""
_STALE_ROUNDS: Final = 3
"""Probes that are older than so many intervals, and a timeout, say nothing any more."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What is known of the health of a pool's relays.

    Attributes:
        standings: of each relay that exists, by name.
        weights: for the routing table, before the bounds that people set.
        members: relays that get mail, or would if they were not out.
        bad: those of them that are not ready, out, or failed their last probe.
        held: relays that would be ejected if that were not too many.
        needed: relays that would be ejected if the load did not need them.
        sick: relays that are out, and of which something that is seen now says that they must be.
        probed: relays of which a fresh probe tells something.
        unprobed: relays that are to be probed and of which none does, and for how many seconds.
        again_s: seconds until time alone may change something.
    """

    standings: Mapping[str, Standing] = field(default_factory=dict)
    weights: Mapping[str, int] = field(default_factory=dict)
    members: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    sick: tuple[str, ...] = ()
    probed: tuple[str, ...] = ()
    unprobed: Mapping[str, float] = field(default_factory=dict)
    again_s: float | None = None

    @property
    def ejected(self) -> frozenset[str]:
        """Names of the relays that are out."""
        return frozenset(
            name for name, standing in self.standings.items() if standing.state is RelayState.EJECTED
        )


def stale_s(pool: Pool) -> float:
    """After how many seconds a probe says nothing any more."""
    health = pool.spec.health
    return _STALE_ROUNDS * duration_seconds(health.interval) + duration_seconds(health.timeout)


def assess(pool: Pool) -> Assessment:
    """Judge every relay of a pool, by its previous status and by what is seen now."""
    return _Judgement(pool).assessment()


@dataclass(frozen=True, slots=True)
class _View:
    """One relay, as far as its health goes.

    Attributes:
        findings: of its fresh probes, the newest first.
        passive: of the comparison with its siblings.
        before: the factor that was certain until now.
        by_probes: the one that is certain by its probes alone.
        share: of its weight, by its load beside its siblings'; None: all.
        factor: the one that is certain by all.
    """

    relay: Relay
    old: Standing | None
    probes: tuple[ProbeReport, ...]
    findings: tuple[Finding | None, ...]
    passive: Finding | None
    before: int
    by_probes: int
    share: Share | None
    factor: int
    leaves: bool
    ready: bool

    @property
    def member(self) -> bool:
        """Whether it is one of those that get mail, or would if it were not out."""
        return not self.leaves and self.old is not None and (self.old.state in SERVED or self.out)

    @property
    def out(self) -> bool:
        return self.old is not None and self.old.state is RelayState.EJECTED

    @property
    def absent(self) -> bool:
        """Whether its pod is there, ended by nobody, and not ready."""
        pod = self.relay.pod
        return not self.ready and pod is not None and not pod.leaving

    @property
    def fails(self) -> bool:
        """Whether its last probe failed, or it is certain that it is bad."""
        newest = self.findings[0] if self.findings else None
        return self.factor == FATAL or (newest is not None and newest.fatal)

    @property
    def heard_s(self) -> float:
        """How long ago the last probe began that said whether it works."""
        counted = self.probes[0].began_s if self.probes else math.inf
        return counted if self.relay.passed_s is None else min(counted, self.relay.passed_s)

    def row(self) -> Sequence[ProbeReport]:
        """Its last probes, as far as they failed."""
        length = next((i for i, found in enumerate(self.findings) if not (found and found.fatal)), None)
        return self.probes[:length]

    def found(self) -> Finding | None:
        """The newest finding that is as bad as is certain; of a probe, if there is one."""
        by_probes = self.findings if self.by_probes == self.factor else ()
        known = (*by_probes, self.passive, self.share.finding if self.share else None)
        return next((found for found in known if found and found.factor == self.factor), None)


class _Judgement:
    """The steps of :func:`assess`."""

    def __init__(self, pool: Pool) -> None:
        self._pool, self._now = pool, pool.seen_at
        self._rules = Rules.of(pool.spec.health)
        self._stale_s = stale_s(pool)
        previous = {entry.name: standing_of(entry) for entry in pool.previous.relays}
        existing = [relay for relay in pool.relays if relay.exists]
        usual = Usual(existing)
        serving = [relay for relay in existing if relay.ready and _serves(previous.get(relay.name))]
        self._loads = loads_of(serving)
        self._backlogs = OthersMedian({name: load.backlog for name, load in self._loads.items()})
        self._siblings = passive.Siblings(serving, passive.late_s(pool.spec.health))
        self._views = [
            self._view(relay, previous.get(relay.name), usual.of_others_s(relay.name)) for relay in existing
        ]
        self._members = [view for view in self._views if view.member]
        self._bad = [view for view in self._members if not view.ready or view.out or view.fails]
        self._warm = frozenset(_names(filter(self._is_warm, self._members)))
        self._waits = False
        self._needed: set[str] = set()

    def assessment(self) -> Assessment:
        standings = {view.relay.name: self._standing(view) for view in self._views}
        return Assessment(
            standings=standings,
            weights={view.relay.name: self._weight(view, standings[view.relay.name]) for view in self._views},
            members=_names(self._members),
            bad=_names(self._bad),
            held=_names(
                view
                for view in self._members
                if view.relay.name not in self._needed
                and standings[view.relay.name].state in SERVED
                and certain_before(standings[view.relay.name]) == FATAL
            ),
            needed=_names(view for view in self._members if view.relay.name in self._needed),
            sick=_names(view for view in self._views if _is_sick(view, standings[view.relay.name])),
            probed=_names(view for view in self._views if view.probes),
            unprobed={
                view.relay.name: view.relay.unprobed_s or 0.0
                for view in self._views
                if view.ready and not view.leaves and not view.probes
            },
            again_s=self._again_s(standings.values()),
        )

    def _view(self, relay: Relay, old: Standing | None, siblings_s: float | None) -> _View:
        fresh = bool(relay.probes) and relay.probes[0].ended_s <= self._stale_s
        probes = relay.probes if fresh else ()
        findings = tuple(of_probe(Seen(probe.result, siblings_s, self._now)) for probe in probes)
        before = certain_before(old)
        reason = old.reason if old is not None else None
        factors = [finding.factor if finding else NOTICE for finding in findings]
        by_probes = certain(before if reason in REASONS else NOTICE, factors, self._rules)
        compared = passive.of_comparison(relay, self._siblings, reason)
        by_comparison = compared.factor if compared else NOTICE
        if reason in passive.REASONS and (silent(relay) or self._awaits_canary(relay, reason)):
            by_comparison = before  # nothing is known that could change it
        leaves = relay.wish is Wish.DRAIN or relay.doomed or reason in LEAVING_REASONS
        share = None if leaves else self._share(relay, old)
        return _View(
            relay=relay,
            old=old,
            probes=probes,
            findings=findings,
            passive=compared,
            before=before,
            by_probes=by_probes,
            share=share,
            factor=min(by_probes, by_comparison, share.percent if share else NOTICE),
            leaves=leaves,
            ready=relay.ready,
        )

    def _share(self, relay: Relay, old: Standing | None) -> Share | None:
        """A relay that is out, or starts, begins anew; one that is not ready for a moment keeps its share."""
        if old is None or old.state not in SERVED:
            return None
        backlog = self._backlogs.without(relay.name)
        return follow(old.share, self._loads.get(relay.name), backlog, self._now)

    def _awaits_canary(self, relay: Relay, reason: Reason | None) -> bool:
        """Whether it was found by a canary, and the next one (of an operator that has just started) is still away."""
        spec = self._pool.spec
        sent = passive.canary_interval_s(spec) > 0
        return sent and reason in passive.CANARY_REASONS and passive.undecided(relay)

    def _standing(self, view: _View) -> Standing:
        old = view.old
        paused = self._pool.paused or view.relay.paused
        if paused and view.ready and old is not None and (old.state in SERVED or view.out):
            return old
        may_eject = self._may_eject(view)
        # Until the siblings' probes are there, nothing new is said of it.
        known = min(view.before, view.share.percent if view.share else NOTICE)
        factor = known if may_eject is None else view.factor
        finding = view.found() if factor < NOTICE else notices(view.relay, self._now)
        heard = view.findings[: self._rules.healthy]
        sight = Sight(
            ready=view.ready,
            absent=absent(view.relay, old.state if old else None),
            factor=factor,
            finding=finding,
            heard=len(heard) == self._rules.healthy and not any(heard),
            may_eject=bool(may_eject),
            company=self._has_company(view),
        )
        new = replace(step(old, sight, self._rules, self._now), share=view.share)
        if old is None or not view.leaves:
            return new
        # A person or a scale-down wants it out. It serves nobody meanwhile: its row of ejections stands still.
        kept = old.outage if old.outage and old.outage.replaced else None
        return replace(new, outage=kept, ejections=row(old, self._rules, self._now), readmitted=None)

    def _may_eject(self, view: _View) -> bool | None:
        """Whether a bad relay may be ejected now; None: that cannot be said yet."""
        if not view.ready:
            return self._comes_and_goes(view) and self._can_be_spared(view)
        row = view.row()
        compared = view.passive is not None and view.passive.fatal
        if view.factor != FATAL or view.out or (len(row) < self._rules.unhealthy and not compared):
            return False
        if not self._can_be_spared(view):
            return False
        if compared:
            return True
        others = [other for other in self._members if other.ready and not other.out and other is not view]
        late = [other for other in others if other.heard_s >= row[-1].began_s]
        if not late:
            return True
        # One of which nothing is heard for longer is told of by the condition; a probe of it nudges the pool.
        self._waits = self._waits or all(
            min(other.relay.unprobed_s or 0.0, other.heard_s) <= self._stale_s for other in late
        )
        return None

    def _comes_and_goes(self, view: _View) -> bool:
        """Whether it is away again, soon after it was back, and nobody wants it so."""
        wanted = view.leaves or self._pool.paused or view.relay.paused
        return view.absent and not wanted and was_back(view.old, self._rules, self._now)

    def _can_be_spared(self, view: _View) -> bool:
        """Whether neither ``maxEjectedPercent`` nor the load is against it."""
        allowed = len(self._members) * self._pool.spec.health.max_ejected_percent // 100
        if len(self._bad) > allowed:
            return False
        if self._is_needed(view):
            self._needed.add(view.relay.name)
            return False
        return True

    def _is_needed(self, view: _View) -> bool:
        """Whether the others could not carry the load; what a relay alters is better not carried at all."""
        if view.passive is not None and view.passive.reason is Reason.CANARY_ALTERED:
            return False
        loads = loads_of(each.relay for each in self._members)
        bad = {each.relay.name for each in (*self._bad, view)}
        others = [each.relay.name for each in self._members if each.relay.name not in bad]
        sized = self._pool.previous.autoscaling
        rate = sized.relay_rate if sized else 0
        known = limited_rate([loads[name] for name in others if name in loads])
        return needed(view.relay.name, loads, others=others, rate=rate or known or 0.0)

    def _has_company(self, view: _View) -> bool:
        """Whether siblings take the share that a slow start leaves: in a pool whose relays are all new, none does."""
        return len(self._warm) > (view.relay.name in self._warm)

    def _is_warm(self, view: _View) -> bool:
        """Whether a relay has served for as long as a slow start lasts, or is in its own."""
        if view.old is None or not view.ready or view.out:
            return False
        least = timedelta(seconds=self._rules.slow_start_s)
        return view.old.state is RelayState.SLOW_START or self._now - view.old.since >= least

    def _weight(self, view: _View, standing: Standing) -> int:
        own = weights.weight(
            standing.state,
            standing.reason,
            elapsed_s=(self._now - standing.since).total_seconds(),
            slow_start_s=self._rules.slow_start_s,
            others_serve=self._has_company(view),
        )
        return min(own, standing.share.percent) if standing.share else own

    def _is_watched(self, view: _View) -> bool:
        """Whether its figures are to be compared again soon."""
        agent, old = view.relay.agent, view.old
        alarmed = agent is not None and any(passive.alarm(agent.status))
        slow = view.share is not None and view.share.percent < NOTICE
        return (
            slow or view.passive is not None or alarmed or (old is not None and old.reason in passive.REASONS)
        )

    def _again_s(self, standings: Iterable[Standing]) -> float | None:
        waits_s = [SIBLINGS_WAIT_S] if self._waits else []
        if self._needed or any(map(self._is_watched, self._views)):
            waits_s.append(COMPARED_AGAIN_S)
        for standing in standings:
            due = standing.due(self._rules)
            waits_s += [(due - self._now).total_seconds()] if due and due > self._now else []
            elapsed_s = (self._now - standing.since).total_seconds()
            if standing.state is RelayState.SLOW_START and elapsed_s < self._rules.slow_start_s:
                waits_s.append(weights.next_step_s(elapsed_s, self._rules.slow_start_s))
        return min(waits_s, default=None)


def _serves(standing: Standing | None) -> bool:
    return standing is not None and standing.state in SERVED


def _is_sick(view: _View, standing: Standing) -> bool:
    """By the cluster, while its pod is not ready, else by a fresh probe or comparison: old news decides nothing."""
    if view.leaves or standing.outage is None:
        return False
    ejected = standing.state is RelayState.EJECTED
    return not view.ready or (ejected and bool(view.probes) and view.factor == FATAL)


def absent(relay: Relay, before: RelayState | None) -> tuple[RelayState, Reason, str]:
    """State, reason and message of a relay whose pod is not ready."""
    pod: Pod | None = relay.pod
    if pod is None:
        return RelayState.STARTING, Reason.POD_MISSING, "no pod of it exists yet"
    if not pod.node:
        return RelayState.STARTING, Reason.POD_UNSCHEDULABLE, pod.trouble or "waits for a node"
    if pod.running and before in SERVED:
        return RelayState.DEGRADED, Reason.POD_NOT_READY, pod.trouble or "its pod is not ready"
    return RelayState.STARTING, Reason.POD_STARTING, pod.trouble or "its pod is starting"


def _names(views: Iterable[_View]) -> tuple[str, ...]:
    return tuple(view.relay.name for view in views)
