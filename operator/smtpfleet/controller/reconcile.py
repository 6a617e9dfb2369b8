"""One cycle of work on one pool: observe, plan, carry out, report. Level-triggered: it needs no event's content.

Guarantees: what it does depends only on what it reads in this cycle; run again without a change of the
cluster, it writes nothing; a pool whose spec cannot be read is told so and otherwise left as it is.
"""

import asyncio
import dataclasses
import functools
import logging
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from pydantic import ValidationError

from smtpfleet.api import names
from smtpfleet.api.names import PoolKey
from smtpfleet.api.pool import DeletionPolicy, SmtpPoolSpec
from smtpfleet.api.secret_names import certificate_secret, login_secret, made_secrets, probe_secret
from smtpfleet.api.status import SmtpPoolStatus
from smtpfleet.cluster.client import Cluster
from smtpfleet.cluster.errors import ClusterError
from smtpfleet.cluster.events import About, EventRecorder
from smtpfleet.cluster.kinds import CHILDREN, POOL, SECRET, Kind
from smtpfleet.controller.agents import Agents, Target
from smtpfleet.controller.carryout import Carrier, Outcome
from smtpfleet.controller.dkimkeys import made_keys
from smtpfleet.controller.facts import (
    Children,
    balancer_pods,
    deleted_at,
    is_deleted,
    is_paused,
    pool_facts,
    relay_pods,
    stored_status,
)
from smtpfleet.controller.hold import is_held, loses_children, set_hold
from smtpfleet.controller.ledger import WatchLedger
from smtpfleet.controller.metrics import Metrics
from smtpfleet.controller.neighbours import neighbours
from smtpfleet.controller.probes import Probes
from smtpfleet.controller.selfsigned import current_pair
from smtpfleet.controller.wanted import Live, Made, wanted
from smtpfleet.controller.workqueue import Done
from smtpfleet.domain import facts
from smtpfleet.domain.deletion import deletion, farewell, goes_unseen
from smtpfleet.domain.neighbours import Neighbour, certificates
from smtpfleet.domain.plan import Plan, plan
from smtpfleet.domain.status import report, unreadable, write_delay_s
from smtpfleet.domain.table import sending_pools
from smtpfleet.domain.transitions import Note, is_settled, notes
from smtpfleet.resources.certificate import Pair, siblings_names, stored_pair, subject_names
from smtpfleet.resources.login import PASSWORD_BYTES, Login, stored_password
from smtpfleet.resources.pool import Images, Object, Pool

logger = logging.getLogger(__name__)

WAIT_S: Final = 2.0
"""What goes by itself is looked at again after this time."""
PROBLEM_S: Final = 20.0
"""What only a person can put right is looked at again after this time: objects of others are not watched."""
_AT_ONCE: Final = Done(again_s=0.0)


class Reconciler:
    """Works on pools, one cycle a call.

    Args:
        cluster: the API server, behind the fence.
        images: the release's images.
        namespace: the operator's own.
        agents: the relays' own reports.
        probes: what probes find of relays.
        ledger: is told what lists show.
        events: posts what is news.
        metrics: are kept up to date.
        goes_on: is called at each step of a cycle, so that a long one is not taken for one that hangs.
        clock: seconds that only ever grow.
        now: the time of day.
    """

    def __init__(
        self,
        *,
        cluster: Cluster,
        images: Images,
        namespace: str,
        agents: Agents,
        probes: Probes,
        ledger: WatchLedger,
        events: EventRecorder,
        metrics: Metrics,
        goes_on: Callable[[PoolKey], None],
        clock: Callable[[], float],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster, self._images, self._namespace = cluster, images, namespace
        self._agents, self._probes, self._ledger = agents, probes, ledger
        self._events, self._metrics, self._goes_on = events, metrics, goes_on
        self._clock, self._now = clock, now
        self._numbers_at: dict[PoolKey, float] = {}

    async def __call__(self, key: PoolKey) -> Done:
        """Work on the pool of this namespace and name.

        Raises:
            ClusterError: the API server is not available; nothing is lost by trying again later.
        """
        started = self._clock()
        result = "error"
        try:
            done = await self._cycle(key)
            result = "success"
            self._metrics.last_success.set_to_current_time()
            return done
        finally:
            self._metrics.reconciles.labels(result).inc()
            self._metrics.reconcile_seconds.observe(self._clock() - started)

    async def _cycle(self, key: PoolKey) -> Done:
        stored = await self._cluster.get(POOL, *key)
        if stored is None:
            return self._forget(key)
        if is_deleted(stored) and not is_held(stored):
            return Done()  # owner references do the rest
        try:
            spec = SmtpPoolSpec.model_validate(stored["spec"])
        except ValidationError as error:
            return await self._refuse(key, stored, error)
        pool = Pool(
            key[1], key[0], stored["metadata"]["uid"], spec, self._images, operator_namespace=self._namespace
        )
        deleted = deleted_at(stored)
        if deleted is not None and (loses_children(stored) or goes_unseen(spec, deleted, now=self._now())):
            return await self._let_go(key, stored, pool)
        children = await self._children(key)
        self._goes_on(key)
        balancers = _balancers(children) if spec.balancing.backups else []
        await self._agents.follow(key, [*_targets(children), *balancers])
        self._goes_on(key)
        known = pool_facts(
            pool,
            stored,
            children,
            lambda relay: self._agents.report(key, relay),
            on_backups=self._agents.on_backups(key),
            neighbours=await self._neighbours(key, spec),
        )
        password = stored_password(_secret(children, probe_secret(key[1], spec)))
        seen = self._probes.look(key, dataclasses.replace(known, seen_at=self._now()), password or "")
        pool = dataclasses.replace(pool, senders=sending_pools(seen))
        planned = plan(seen)
        outcome = Outcome()
        if not is_paused(stored):
            outcome = await self._carry_out(pool, seen, planned, children)
        done = await self._report(key, stored, seen, planned, outcome)
        return done if await self._hold_or_let_go(key, stored, seen, outcome) else _AT_ONCE

    async def _children(self, key: PoolKey) -> Children:
        """All objects of the pool, by kind, as the API server has them now."""

        async def read(kind: Kind) -> list[Object]:
            labels = {names.MANAGED_BY_LABEL: names.FIELD_MANAGER, names.POOL_LABEL: key[1]}
            found = await self._cluster.list(kind, key[0], labels)
            self._ledger.listed((kind.kind, *key), found)
            return found

        found = await asyncio.gather(*map(read, CHILDREN))
        return {kind.kind: things for kind, things in zip(CHILDREN, found, strict=True)}

    async def _neighbours(self, key: PoolKey, spec: SmtpPoolSpec) -> tuple[Neighbour, ...]:
        """The other pools of the namespace, with the certificates of those that routes lead to."""
        found = neighbours(await self._cluster.list(POOL, key[0], {}), key[1])
        led_to = {route.pool for route in spec.delivery.routes}
        return tuple(
            [
                dataclasses.replace(each, certificate=await self._certificate(key, each.name))
                if each.name in led_to and each.self_signed
                else each
                for each in found
            ]
        )

    async def _certificate(self, key: PoolKey, pool: str) -> str:
        """The certificate that the operator made for a neighbour of ``key``, in PEM; empty: there is none (yet)."""
        self._goes_on(key)
        labels = {names.MANAGED_BY_LABEL: names.FIELD_MANAGER, names.POOL_LABEL: pool}
        secrets_of_pool = await self._cluster.list(SECRET, key[0], labels)
        own = names.certificate_name(pool)
        stored = next((each for each in secrets_of_pool if each["metadata"]["name"] == own), None)
        pair = stored_pair(stored)
        return pair.certificate.decode("ascii", errors="ignore") if pair else ""

    async def _carry_out(self, pool: Pool, seen: facts.Pool, planned: Plan, children: Children) -> Outcome:
        live = {
            (thing["kind"], thing["metadata"]["name"]): thing
            for things in children.values()
            for thing in things
        }
        await self._add_unlisted_secrets(pool, live)
        settled = is_settled(seen.previous, seen.generation, planned.desired)
        goes_on = functools.partial(self._goes_on, (pool.namespace, pool.name))
        carrier = Carrier(self._cluster, pool, live, settled=settled, goes_on=goes_on)
        # In a thread: an RSA key takes a tenth of a second to make.
        keys = await asyncio.to_thread(made_keys, pool, live)
        made = Made(
            pair=self._own_pair(pool, live),
            hand_off=self._pair(live, names.hand_off_name(pool.name), siblings_names(pool)),
            keys=keys,
            logins=_logins(pool, live, certificates(seen.neighbours)),
        )
        try:
            await carrier.bring_about(wanted(pool, planned, live, made))
            await carrier.remove(planned.removal, planned.remnants)
            await carrier.restart(planned.remedies.restart)
        finally:
            self._metrics.writes.inc(carrier.outcome.writes)
            if carrier.outcome.writes:
                self._agents.changes((pool.namespace, pool.name))
        return carrier.outcome

    async def _add_unlisted_secrets(self, pool: Pool, live: Live) -> None:
        """Add the Secrets of the operator's making that no list shows, for somebody changed their labels.

        What is in them is published or known to others, so it is kept: nothing is made before all were looked for.
        """
        for name in made_secrets(pool.name, pool.spec):
            if ("Secret", name) not in live:
                self._goes_on((pool.namespace, pool.name))
                found = await self._cluster.get(SECRET, pool.namespace, name)
                if found is not None:
                    live["Secret", name] = found

    def _own_pair(self, pool: Pool, live: Live) -> Pair | None:
        """The certificate that the operator makes itself; None if the pool names another, or wants no TLS."""
        own = names.certificate_name(pool.name)
        if pool.spec.submission.tls.secret_name or certificate_secret(pool.name, pool.spec) != own:
            return None
        return self._pair(live, own, subject_names(pool))

    def _pair(self, live: Live, secret: str, subjects: Sequence[str]) -> Pair:
        """That of a Secret, or a new one if that does not fit."""
        return current_pair(stored_pair(live.get(("Secret", secret))), subjects, now=self._now())

    async def _report(
        self, key: PoolKey, stored: Object, seen: facts.Pool, planned: Plan, outcome: Outcome
    ) -> Done:
        status = report(seen, planned, problems=outcome.problems, now=self._now())
        self._metrics.show(*key, status)
        self._metrics.of_relays.show(key, seen.previous, status)
        since_s = self._clock() - self._numbers_at.get(key, float("-inf"))
        wait_s = write_delay_s(seen.previous, status, since_numbers_s=since_s)
        told: tuple[Note, ...] = ()
        if wait_s == 0.0:
            await self._write_status(key, stored, status)
            told = notes(seen.previous, status)
        await self._tell(key, stored, (*outcome.notes, *told))
        sizing_s = planned.sizing.again_s if planned.sizing else None
        left_s = deletion(seen).left_s
        waits_s = (planned.health.again_s, planned.remedies.again_s)
        return Done(again_s=_again_s(outcome, wait_s, *waits_s, sizing_s, left_s))

    async def _hold_or_let_go(self, key: PoolKey, stored: Object, seen: facts.Pool, outcome: Outcome) -> bool:
        """Returns whether it is held, or not, as it is to be; False: the pool changed meanwhile."""
        held = deletion(seen).held
        # Claims that are to go with the pool have its owner reference first: another cycle without a write says so.
        owned = seen.spec.deletion_policy is not DeletionPolicy.DELETE or not (
            outcome.writes or outcome.again
        )
        if held is is_held(stored) or not (held or owned):
            return True
        if is_deleted(stored):
            await self._tell(key, stored, (farewell(seen),))
        return await self._set_hold(stored, held=held)

    async def _let_go(self, key: PoolKey, stored: Object, pool: Pool) -> Done:
        """Let a deleted pool go, and tell what stays as far as it can be seen: nothing else may keep it here."""
        try:
            children = await self._children(key)
        except ClusterError as error:
            logger.warning("a pool goes unseen", extra={"pool": key[1], "reason": str(error)})
        else:
            known = pool_facts(pool, stored, children, lambda relay: self._agents.report(key, relay))
            await self._tell(key, stored, (farewell(known),))
        return Done() if await self._set_hold(stored, held=False) else _AT_ONCE

    async def _set_hold(self, stored: Object, *, held: bool) -> bool:
        self._metrics.writes.inc()
        return await set_hold(self._cluster, stored, held=held)

    async def _refuse(self, key: PoolKey, stored: Object, error: ValidationError) -> Done:
        if is_deleted(stored):
            # Nobody knows what it was to wait for; and telling that it cannot be read may be refused.
            return Done() if await self._set_hold(stored, held=False) else _AT_ONCE
        previous = stored_status(stored)
        status = unreadable(previous, error, generation=stored["metadata"]["generation"], now=self._now())
        if status != previous:
            await self._write_status(key, stored, status)
            await self._tell(key, stored, notes(previous, status))
        return Done()

    async def _write_status(self, key: PoolKey, stored: Object, status: SmtpPoolStatus) -> None:
        body = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"namespace": key[0], "name": key[1], "uid": stored["metadata"]["uid"]},
            "status": status.model_dump(mode="json", by_alias=True, exclude_none=True),
        }
        await self._cluster.apply_status(POOL, body)
        self._numbers_at[key] = self._clock()
        self._metrics.writes.inc()

    async def _tell(self, key: PoolKey, stored: Object, told: tuple[Note, ...]) -> None:
        about = About(namespace=key[0], name=key[1], uid=stored["metadata"]["uid"])
        for note in told:
            self._goes_on(key)
            await self._events.tell(
                about, severity=note.severity, reason=note.reason, action=note.action, message=note.message
            )

    def _forget(self, key: PoolKey) -> Done:
        self._agents.forget(key)
        self._probes.forget(key)
        self._ledger.forget(*key)
        self._metrics.forget(*key)
        self._numbers_at.pop(key, None)
        logger.info("pool is gone", extra={"namespace": key[0], "pool": key[1]})
        return Done(forget=True)


def _logins(pool: Pool, live: Live, authorities: str) -> dict[str, Login]:
    """The pool's logins by the name of the Secret: at other pools if a route leads to one, and of probes if there are
    users. A password is kept while it can be read.
    """
    found = {
        login_secret(pool.name, pool.spec.delivery): (names.login_user(pool.name), authorities),
        probe_secret(pool.name, pool.spec): (names.probe_user(pool.name), ""),
    }
    return {
        secret: Login(user, stored_password(live.get(("Secret", secret))) or _password(), trusted)
        for secret, (user, trusted) in found.items()
        if secret
    }


def _password() -> str:
    return secrets.token_urlsafe(PASSWORD_BYTES)


def _secret(children: Children, name: str) -> Object | None:
    return next((each for each in children[SECRET.kind] if each["metadata"]["name"] == name), None)


def _again_s(outcome: Outcome, *others_s: float | None) -> float | None:
    """When to look again: at once after a write, as its effects decide what comes next.

    ``others_s``: when time alone may change something.
    """
    if outcome.again or outcome.writes:
        return 0.0
    waits_s = [WAIT_S] if outcome.waits else []
    waits_s += [PROBLEM_S] if outcome.problems else []
    waits_s += [wait_s for wait_s in others_s if wait_s]
    return min(waits_s, default=None)


def _targets(children: Children) -> list[Target]:
    """The pods whose agents may answer: one a relay, one that stays before one that goes."""
    targets = []
    for relay, pods in relay_pods(children).items():
        running = [pod for pod in pods if pod["status"].get("podIP") and _is_running(pod)]
        if running:
            pod = min(running, key=is_deleted)
            targets.append(Target(relay, pod["metadata"]["uid"], pod["status"]["podIP"]))
    return targets


def _balancers(children: Children) -> list[Target]:
    return [
        Target(pod["metadata"]["name"], pod["metadata"]["uid"], pod["status"]["podIP"], balancer=True)
        for pod in balancer_pods(children)
        if _is_running(pod) and not is_deleted(pod)
    ]


def _is_running(pod: Object) -> bool:
    statuses = pod["status"].get("containerStatuses") or ()
    return any("running" in (status.get("state") or {}) for status in statuses)
