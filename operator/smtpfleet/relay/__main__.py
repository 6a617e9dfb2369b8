"""``python3 -m smtpfleet.relay``: puts the agent's parts together and runs them as PID 1 of a relay's pod."""

import signal

# Held back until the agent can obey it: to PID 1 a signal without a handler is lost, and the stop with it.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})

import asyncio
import logging
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path

from smtpfleet import logs
from smtpfleet.api import names
from smtpfleet.api.probes import nobodys_addresses
from smtpfleet.api.routing import RoutingTable
from smtpfleet.feed import web
from smtpfleet.feed.access import in_cluster
from smtpfleet.feed.secrets import Seal
from smtpfleet.feed.secretset import SecretSet
from smtpfleet.feed.table import TableFollower
from smtpfleet.relay import agentcheck, canary, incarnation, metrics, network, policy
from smtpfleet.relay.agent import Agent
from smtpfleet.relay.children import Children
from smtpfleet.relay.expiry import Expiry
from smtpfleet.relay.keystore import Keystore
from smtpfleet.relay.logpump import LogPump
from smtpfleet.relay.logreader import LogReader
from smtpfleet.relay.mainconf import Host
from smtpfleet.relay.outbound import Outbound
from smtpfleet.relay.postfix import Postfix, mail_owner, prepare
from smtpfleet.relay.rehearsal import rehearse
from smtpfleet.relay.settings import Paths, Settings, SettingsError
from smtpfleet.relay.siblings import Siblings
from smtpfleet.relay.signing import Signing
from smtpfleet.relay.tables import AcceptedTable
from smtpfleet.relay.users import pools
from smtpfleet.relay.users.book import UserBook
from smtpfleet.relay.users.service import Users

logger = logging.getLogger("smtpfleet.relay")

_LOOK_S = 1.0


def main() -> int:
    """Run until the relay has stopped; returns the exit code."""
    logs.configure(names.COMPONENT_RELAY)
    try:
        settings = Settings.from_environment(os.environ)
        asyncio.run(_run(settings, Paths()))
    except (SettingsError, incarnation.IncarnationError, OSError) as error:
        logger.critical("the relay cannot run", extra={"reason": str(error)})
        return 1
    return 0


class _Relay:
    """The parts of one relay's agent, made in the order in which they need each other."""

    def __init__(self, settings: Settings, paths: Paths) -> None:
        prepare(paths)
        self.reader = LogReader(mask_addresses=settings.mask_addresses)
        self.pump = LogPump(self.reader, owner=mail_owner())
        self.polls = agentcheck.Polls(self.reader.isolation.heard)
        self.canaries = canary.Canaries()
        self._children = Children()
        self._host = Host(
            name=f"{settings.relay}.{settings.namespace}",
            protocols=network.protocols(settings.pod_address),
            paths=paths,
        )
        api = in_cluster(os.environ)
        self.follower = TableFollower(
            namespace=settings.namespace,
            name=names.routing_name(settings.pool),
            file=Path(names.ROUTING_DIRECTORY) / names.ROUTING_KEY,
            api=api,
        )
        book = UserBook()
        self.secrets = SecretSet(
            namespace=settings.namespace,
            api=api,
            changed=self._secret_changed,
            copies=paths.secrets,
            seal=lambda name: self._seal(book, name),
        )
        self.tables = AcceptedTable(
            relay=settings.relay,
            follower=self.follower,
            rehearse=lambda table: rehearse(table, self._host, self._children),
            last_good=paths.last_good,
            changed=self._table_changed,
        )
        self.users = Users(book, self.secrets, lambda: self.tables.current)
        self.agent = Agent(
            relay=settings.relay,
            incarnation=incarnation.read_or_create(paths.incarnation),
            host=self._host,
            children=self._children,
            tables=self.tables,
            polls=self.polls,
            keystore=Keystore(paths.certificates, self.secrets),
            users=self.users,
            outbound=Outbound(
                relay=settings.relay,
                directory=paths.delivery,
                secrets=self.secrets,
                refusals=self.reader.refusals,
            ),
            signing=Signing(
                paths.dkim,
                self.secrets,
                children=self._children,
                output=self.pump.input,
                changed=self._secret_changed,
            ),
            siblings=Siblings(
                relay=settings.relay,
                keystore=Keystore(paths.hand_off, self.secrets),
                outcomes=self.reader.handed_over,
                clock=time.monotonic,
            ),
            expiry=Expiry(
                queue=paths.queue,
                configuration=paths.configuration,
                children=self._children,
                taken=lambda: self.reader.handed_over.taken,
            ),
            held=self.reader.held,
            recent=self.reader.recent.shown,
            canaries=self.canaries.status,
            make_postfix=self._postfix,
        )

    def _table_changed(self) -> None:
        """The accepted table and the newest one may name different Secrets: both are followed."""
        self.secrets.follow({name for table in self._tables() for name in table.secrets})
        if table := self.tables.current:
            self.reader.leave_out(nobodys_addresses(table.submission.trusted_networks))
        self.agent.wake()

    def _tables(self) -> list[RoutingTable]:
        return [table for table in (self.tables.current, self.follower.current) if table is not None]

    def _seal(self, book: UserBook, secret: str) -> Seal | None:
        tables = self._tables()
        if any(table.submission.authentication.secret_name == secret for table in tables):
            return book.seal
        logins = [pools.logins(table.submission, table.pool).values() for table in tables]
        return pools.seal if any(secret in each for each in logins) else None

    def _secret_changed(self) -> None:
        self.agent.wake()

    def _postfix(self, agent: Agent) -> Postfix:
        return Postfix(
            paths=self._host.paths, children=self._children, output=self.pump.input, on_up=agent.came_up
        )

    async def watch_network(self) -> None:
        """Look every second whether the network was away and is back, for ever."""
        isolation = self.reader.isolation
        while True:
            if self.follower.watching:
                isolation.heard("the API server")
            if isolation.is_over():
                self.follower.hurry()
                self.agent.network_is_back()
            await asyncio.sleep(_LOOK_S)

    def healthy(self) -> str:
        """What ``/healthz`` answers."""
        return self.agent.healthy() or ("" if self.pump.alive else "nobody reads Postfix's log")

    def snapshot(self) -> metrics.Snapshot:
        """What ``/metrics`` shows."""
        return metrics.Snapshot(
            status=self.agent.status(),
            restarts=self.agent.restarts,
            refused_tables=self.tables.refused_total + self.follower.errors_total,
            deliveries=dict(self.reader.deliveries),
            deferrals=self.reader.recent.deferred(),
            finished=self.reader.recent.finished_total,
            logins=self.users.logins,
            signed=self.reader.signed,
            sign_failures=self.reader.milter_rejects,
            handed_over=self.reader.handed_over.count,
            taken_over=self.reader.handed_over.taken,
            unlogged=self.pump.dropped,
        )


async def _run(settings: Settings, paths: Paths) -> None:
    relay = _Relay(settings, paths)
    loop = asyncio.get_running_loop()
    # File scans take turns; by default each processor would get threads, each with memory of its own.
    loop.set_default_executor(ThreadPoolExecutor(max_workers=2, thread_name_prefix="files"))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, relay.agent.stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
    relay.pump.start()
    async with AsyncExitStack() as stack:
        await _open_ports(relay, paths, stack)
        async with asyncio.TaskGroup() as group:
            work = (relay.follower.run(), relay.tables.run(), relay.secrets.run(), relay.watch_network())
            background = [group.create_task(each) for each in work]
            await relay.agent.run()
            for task in background:
                task.cancel()
    relay.pump.finish()
    logger.info("stopped")


async def _open_ports(relay: _Relay, paths: Paths, stack: AsyncExitStack) -> None:
    def leaving() -> bool:
        return relay.agent.leaving

    def unavailable() -> bool:
        agent = relay.agent
        return agent.leaving or agent.low or agent.lacks_certificate or bool(agent.cannot_sign)

    site = await web.serve(
        port=names.HTTP_PORT,
        status=relay.agent.status,
        registry=metrics.registry(relay.snapshot),
        healthy=relay.healthy,
        ready=relay.agent.ready,
    )
    stack.push_async_callback(site.close)
    check = await agentcheck.serve(
        port=names.AGENT_CHECK_PORT, draining=unavailable, polls=relay.polls, clock=time.monotonic
    )
    stack.callback(check.close)
    canaries = await canary.serve(paths.canary_socket, relay.canaries, owner=mail_owner())
    stack.callback(canaries.close)
    sessions = await policy.serve(paths.policy_socket, draining=leaving, owner=mail_owner())
    stack.callback(sessions.close)
    await relay.users.serve(paths, stack, owner=mail_owner())


if __name__ == "__main__":
    sys.exit(main())
