"""The relay's agent: observes, decides, and acts, a few times a second.

One tick: look at sockets and processes, let :mod:`smtpfleet.relay.intake` decide, make Postfix's configuration what
routing table and stage say, count the queue, publish. Nothing depends on a step having been taken before, so a tick
that fails to do something is simply followed by the next.

Guarantees: ``Closed`` is published only with a count of the queue that began after the last listener was gone;
the status never says less than what a client or a balancer can see.
"""

import asyncio
import functools
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from smtpfleet.api.agent_status import (
    CanaryStatus,
    Deliveries,
    Intake,
    PostfixState,
    QueueVolume,
    RelayStatus,
)
from smtpfleet.relay.agentcheck import Polls
from smtpfleet.relay.children import Children
from smtpfleet.relay.expiry import Expiry
from smtpfleet.relay.intake import (
    Effect,
    Observation,
    Stage,
    first_stage,
    intake_of,
    phase_of,
    transition,
)
from smtpfleet.relay.keystore import Keystore
from smtpfleet.relay.loading import Loaded, Loading, wait_s
from smtpfleet.relay.mainconf import PORTS, Host, minfree_bytes, open_ports, probing_user, render
from smtpfleet.relay.network import PortReader, Ports
from smtpfleet.relay.outbound import Outbound
from smtpfleet.relay.postfix import Postfix
from smtpfleet.relay.queuescan import Memory, QueueScan, deliveries, scan
from smtpfleet.relay.retries import Retries
from smtpfleet.relay.room import is_low, read
from smtpfleet.relay.siblings import Siblings
from smtpfleet.relay.signing import Signing
from smtpfleet.relay.tables import AcceptedTable
from smtpfleet.relay.tlsconf import lacking
from smtpfleet.relay.users.service import Users
from smtpfleet.relay.ways import BY_MX_ALONE

logger = logging.getLogger(__name__)

_TICK_S: Final = 1.0
_BUSY_TICK_S: Final = 0.1
_SETTLED: Final = frozenset({Stage.SERVING, Stage.CLOSED})
_STALLED_S: Final = 15.0


class Agent:
    """Use :meth:`run`; the rest answers questions of the ports."""

    def __init__(
        self,
        *,
        relay: str,
        incarnation: str,
        host: Host,
        children: Children,
        tables: AcceptedTable,
        polls: Polls,
        keystore: Keystore,
        users: Users,
        outbound: Outbound,
        signing: Signing,
        siblings: Siblings,
        expiry: Expiry,
        held: "SimpleQueue[str]",
        recent: Callable[[], Deliveries],
        canaries: Callable[[], CanaryStatus],
        make_postfix: Callable[["Agent"], Postfix],
    ) -> None:
        self._host, self._children, self._tables, self._polls = host, children, tables, polls
        self._relay, self._incarnation, self._keystore = relay, incarnation, keystore
        self._users = users
        self._outbound, self._ways = outbound, BY_MX_ALONE
        self._signing, self._siblings, self._expiry = signing, siblings, expiry
        self._postfix = make_postfix(self)
        self._supervision: asyncio.Task[None] | None = None
        self._retries = Retries(self._postfix, held)
        self._stage = Stage.SERVING
        self._stage_since_s = self._noisy_s = self._ticked_s = time.monotonic()
        self._stopping = False
        self._loading = Loading(
            directory=host.paths.configuration, reload=self._postfix.reload, clock=time.monotonic
        )
        self._port_reader, self._ports = PortReader(PORTS), Ports(0, frozenset())
        self._memory = Memory()
        self._scan = QueueScan(RelayStatus(relay=relay).queue)
        self._scan_due_s = 0.0
        self._shown_intake = Intake.DRAINING
        self._followed = self._shown_followed = ""
        self._low = False
        self._volume: QueueVolume | None = None
        self._recent, self._canaries = recent, canaries
        self._chain: Path | None = None
        self._wake = asyncio.Event()

    @property
    def leaving(self) -> bool:
        """Whether clients are to go elsewhere: the answer to agent checks and long sessions."""
        return self._stopping or self._stage is not Stage.SERVING

    @property
    def low(self) -> bool:
        """Whether the volume has so little room that clients are to go to siblings, if those have more."""
        return self._low

    @property
    def lacks_certificate(self) -> bool:
        """Whether every message is refused because TLS is required and there is no certificate for it."""
        table = self._tables.current
        return table is not None and lacking(table.submission.tls, self._chain)

    @property
    def cannot_sign(self) -> str:
        """Why mail that must be signed is refused; empty: it is not."""
        return self._signing.trouble

    @property
    def restarts(self) -> int:
        """How often Postfix ended unasked."""
        return self._postfix.restarts

    def stop(self) -> None:
        """Begin to leave; :meth:`run` returns when all is done."""
        logger.info("told to stop", extra={"stage": self._stage, "sessions": self._ports.sessions})
        self._stopping = True
        self._retries.stop()
        self.wake()

    def wake(self) -> None:
        """Do not wait for the next tick."""
        self._wake.set()

    async def run(self) -> None:
        """Tick until Postfix is gone after :meth:`stop`.

        Raises:
            OSError: the volume or the run directory is broken; the container must be started anew.
        """
        while self._stage is not Stage.GONE:
            self._wake.clear()
            await self._tick()
            if self._supervision is not None and self._supervision.done() and not self._stopping:
                break  # its error is raised below
            try:
                async with asyncio.timeout(_TICK_S if self._settled else _BUSY_TICK_S):
                    await self._wake.wait()
            except TimeoutError:
                continue
        self._signing.stop()
        if self._supervision is not None:
            await self._supervision

    async def came_up(self) -> None:
        """Postfix runs (again): what a freeze or a crash left waiting is tried now."""
        if not self._stopping:
            self._retries.everything()
        self.wake()

    def network_is_back(self) -> None:
        """What Postfix knows of next hops is wrong now."""
        if not self._stopping:
            logger.warning("the network was away and is back: all mail is tried")
            self._retries.everything()

    def status(self) -> RelayStatus:
        """What ``/status`` answers."""
        return RelayStatus(
            relay=self._relay,
            incarnation=self._incarnation,
            table_revision=self._loading.now.revision,
            table_error=self._tables.error,
            intake=self._shown_intake,
            intake_revision=self._shown_followed,
            postfix=self._postfix.state,
            queue=self._scan.counts,
            sessions=self._ports.sessions,
            oldest_active_s=round(self._scan.oldest_active_s, 1),
            oldest_incoming_s=round(self._scan.oldest_incoming_s, 1),
            postfix_restarts=self._postfix.restarts,
            volume=self._volume,
            storage_low=self._low,
            deliveries=self._recent(),
            canary=self._canaries(),
            certificate=self._keystore.status(),
            users=self._users.book.status(),
            probe_login=self._users.probe_login and bool(self._loading.now.probes),
            delivery=self._outbound.status(),
            signing=self._signing.status(),
            hand_off=self._siblings.status(),
        )

    def ready(self) -> str:
        """Why this relay takes no mail; empty while it does."""
        table = self._tables.current
        if table is None:
            return self._tables.error or "no routing table yet"
        if self._shown_intake is not Intake.OPEN:
            return f"intake is {self._shown_intake}"
        if self._postfix.state is not PostfixState.RUNNING:
            return f"Postfix is {self._postfix.state}"
        if self.lacks_certificate or self.cannot_sign:
            return self.cannot_sign or "TLS is required and there is no certificate"
        if not self._ports.listening.issuperset(open_ports(table, self._chain)):
            return "Postfix does not listen yet"
        return ""

    def healthy(self) -> str:
        """Why the agent itself must be started anew; empty while it works."""
        late_s = time.monotonic() - self._ticked_s
        if late_s > _STALLED_S:
            return f"the last look at Postfix was {late_s:.0f} s ago"
        if self._supervision is not None and self._supervision.done() and not self._stopping:
            return "nothing watches Postfix"
        return ""

    @property
    def _settled(self) -> bool:
        return self._stage in _SETTLED and not self._stopping and bool(self._ports.listening or self._closed)

    @property
    def _closed(self) -> bool:
        return self._stage is Stage.CLOSED

    async def _tick(self) -> None:
        self._children.reap()
        self._look_for_secrets()
        await self._look_for_signing_keys()
        self._begin()
        self._look_for_room()
        stage, effect = transition(self._stage, await self._observe())
        self._enter(stage)
        self._hand_off()
        if self._shown_intake is Intake.CLOSED and not self._closed:
            self._shown_intake = intake_of(stage)  # before anything opens again
        self._configure()
        self._perform(effect)
        if not self._stopping:
            self._retries.tend()
        await self._count()
        self._shown_intake, self._shown_followed = self._intake(), self._followed
        self._ticked_s = time.monotonic()

    def _begin(self) -> None:
        """Start Postfix once there is a table, and the Secrets that it names, if they can be had soon."""
        if self._supervision is None and self._tables.current is not None and not self._stopping:
            if not self._secrets_settled:
                return
            self._enter(first_stage(draining=self._tables.draining))
            self._configure()
            self._supervision = asyncio.create_task(self._postfix.supervise(), name="postfix")

    def _look_for_secrets(self) -> None:
        table = self._tables.current
        if table is not None:
            self._chain = self._keystore.update(table.submission.tls)
            self._users.update(table)
            self._ways = self._outbound.update(table)

    @property
    def _secrets_settled(self) -> bool:
        held = (self._keystore, self._users.book, self._outbound, self._signing)
        return all(each.settled for each in held)

    async def _look_for_signing_keys(self) -> None:
        table = self._tables.current
        if table is not None:
            await self._signing.update(table.signing)

    def _hand_off(self) -> None:
        """A relay that is being stopped changes no way: its freeze is what matters."""
        if self._stopping:
            return
        self._siblings.update(self._tables.newest)
        if self._siblings.advance(self._scan.counts, closed=self._closed):
            over = self._siblings.status() is None
            # What is on its way to a sibling that is gone fails only after a while, and would then sleep for long.
            self._retries.everything() if over else self._retries.once()
        if table := self._tables.current:
            self._expiry.tend(lifetime_s=table.delivery.queue_lifetime_s)

    def _look_for_room(self) -> None:
        table = self._tables.current
        if table is None:
            return
        room = read(self._host.paths.queue)
        self._volume = room.volume()
        low = is_low(room, minfree_bytes=minfree_bytes(table), before=self._low)
        if low is not self._low:
            logger.warning("the queue volume is nearly full" if low else "the queue volume has room again")
        self._low = low

    async def _observe(self) -> Observation:
        now_s = time.monotonic()
        self._ports = self._port_reader.read()
        if self._ports.sessions:
            self._noisy_s = now_s
        freezing = self._stage is Stage.FREEZING
        self._followed = newest.revision if (newest := self._tables.newest) else ""
        return Observation(
            stopping=self._stopping,
            draining=self._tables.draining,
            applied=self._loading.now.phase,
            listening=bool(self._ports.listening),
            told=self._polls.told(now_s=now_s),
            quiet_s=now_s - self._noisy_s,
            delivering=await asyncio.to_thread(deliveries, self._host.paths.queue) if freezing else 0,
            running=self._postfix.running,
            elapsed_s=now_s - self._stage_since_s,
        )

    def _enter(self, stage: Stage) -> None:
        if stage is self._stage:
            return
        now_s = time.monotonic()
        logger.info(
            "intake changes",
            extra={
                "stage": stage,
                "before": self._stage,
                "after_s": round(now_s - self._stage_since_s, 2),
                "sessions": self._ports.sessions,
            },
        )
        self._stage, self._stage_since_s = stage, now_s

    def _configure(self) -> None:
        """Make Postfix's configuration what table and stage say; unchanged text is no reason to reload."""
        table = self._tables.current
        if table is None or not (self._secrets_settled or self._stopping):
            return
        phase, ways = phase_of(self._stage), self._siblings.lead(self._ways)
        rendered = functools.partial(
            render,
            table,
            self._host,
            phase,
            chain=self._chain,
            scram=self._users.scram,
            milters=self._signing.milters(),
        )
        wanted = Loaded(
            configuration=rendered(ways=ways, door=self._siblings.door),
            rest=rendered(ways=replace(self._ways, connections=0)),
            phase=phase,
            revision=table.revision,
            ways=ways,
            probes=probing_user(table),
        )
        if self._loading.load(wanted, wait_s=wait_s(table, self._relay)) and not self._stopping:
            self._retries.everything()

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Effect.TERMINATE:
                self._postfix.terminate()
            case Effect.KILL:
                self._postfix.kill()
            case Effect.NONE:
                pass

    async def _count(self) -> None:
        """Scan the queue if it is time, and always before ``Closed`` is shown for the first time."""
        closing = self._closed and self._shown_intake is not Intake.CLOSED
        if time.monotonic() < self._scan_due_s and not closing:
            return
        began_s = time.monotonic()
        self._scan = await asyncio.to_thread(
            scan, self._host.paths.queue, since=self._postfix.started_at, memory=self._memory
        )
        self._scan_due_s = began_s + self._scan.pause_s

    def _intake(self) -> Intake:
        """What may be shown now: open only while Postfix listens for clients."""
        shown = intake_of(self._stage)
        if self._stopping and shown is Intake.OPEN:
            return Intake.DRAINING
        return shown
