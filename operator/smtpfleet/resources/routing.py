"""The ConfigMap that carries the routing table: watched by the agents, and mounted for when they cannot."""

from smtpfleet.api import names
from smtpfleet.api.routing import RoutingTable
from smtpfleet.resources.marks import metadata
from smtpfleet.resources.pool import Object, Pool


def routing_config_map(pool: Pool, table: RoutingTable) -> Object:
    """The table of one pool. It stays under the 1 MiB of a ConfigMap: 200 relays take about 30 kB."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(pool, names.routing_name(pool.name)),
        "data": {names.ROUTING_KEY: table.text},
    }
