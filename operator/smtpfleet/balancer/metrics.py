"""``smtpfleet_balancer_…``: what the agent knows, read at each scrape, so series of removed relays vanish."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from smtpfleet.balancer.agent import Agent
from smtpfleet.balancer.config import UNCHECKED


class BalancerCollector(Collector):
    """One agent's figures."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def collect(self) -> Iterator[Metric]:
        """Gauges per relay, counters of what the agent did."""
        status, counters = self._agent.status(), self._agent.counters
        table = GaugeMetricFamily(
            "smtpfleet_balancer_table_info", "Revision of the routing table applied.", labels=["revision"]
        )
        table.add_metric([status.table_revision], 1)
        yield table
        yield GaugeMetricFamily(
            "smtpfleet_balancer_table_error",
            "1 while the newest routing table is not in use.",
            value=float(bool(status.table_error)),
        )
        yield from self._servers()
        yield GaugeMetricFamily(
            "smtpfleet_balancer_on_backups",
            "1 while no relay is available and a backup takes the connections.",
            value=float(status.on_backups),
        )
        for name, text, value in (
            ("reloads", "Reloads of HAProxy.", counters.reloads),
            ("weight_changes", "Weights changed without a reload.", counters.weight_changes),
            ("refused_tables", "Routing tables that HAProxy refused.", counters.refused_tables),
        ):
            yield CounterMetricFamily(f"smtpfleet_balancer_{name}", text, value=float(value))

    def _servers(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("smtpfleet_balancer_relay_up", "1 while the checks pass.", labels=["relay"])
        weight = GaugeMetricFamily("smtpfleet_balancer_relay_weight", "Weight in use.", labels=["relay"])
        sessions = GaugeMetricFamily("smtpfleet_balancer_relay_sessions", "Open sessions.", labels=["relay"])
        for server in self._agent.servers:
            if server.name.endswith(UNCHECKED):
                continue
            up.add_metric([server.name], float(not server.down))
            weight.add_metric([server.name], float(server.weight))
            sessions.add_metric([server.name], float(server.sessions))
        yield from (up, weight, sessions)


def registry(agent: Agent) -> CollectorRegistry:
    """A registry with this agent's figures only."""
    found = CollectorRegistry()
    found.register(BalancerCollector(agent))
    return found
