"""The configurations that the golden tests compare; run as a module (``python -m``) it writes their files anew."""

from pathlib import Path
from typing import Final

from smtpfleet.api.balancing import BalancingMethod
from smtpfleet.api.routing import (
    BackupRoute,
    BalancerPeer,
    BalancingTable,
    DeliveryTable,
    RelayRoute,
    RouteState,
    RoutingTable,
    SubmissionTable,
    SubmissionTls,
)
from smtpfleet.api.submission import TlsMode
from smtpfleet.balancer.config import render
from smtpfleet.balancer.place import Place

FILES: Final = Path(__file__).parent / "golden"


HERE: Final = Place(pod="outbound-balancer-1", address="10.244.1.5")
BACKUPS: Final = BalancingTable(
    backups=(
        BackupRoute(host="192.0.2.25"),
        BackupRoute(host="other.mail.svc", port=587, submissions_port=465, proxy_protocol=True),
    )
)
BEHIND_PROXY: Final = BalancingTable(proxy_protocol_sources=("192.0.2.0/28", "fd00::/8"))
PEERS: Final = BalancingTable(
    peers=(
        BalancerPeer(name="outbound-balancer-1", address="10.244.1.5"),
        BalancerPeer(name="outbound-balancer-2", address="fd00::6"),
    )
)


def table(
    *weights: int,
    method: BalancingMethod = BalancingMethod.LEAST_CONNECTIONS,
    network: str = "10.96.0.",
    tls: TlsMode = TlsMode.OPTIONAL,
    balancing: BalancingTable | None = None,
    limit: int = 0,
    bandwidth: int = 0,
    trusted: str = "10.0.0.0/8",
) -> RoutingTable:
    """A table of the pool ``mail/outbound``: a relay for each weight; weight 0 drains."""
    return RoutingTable(
        pool="outbound",
        namespace="mail",
        hostname="relay.example.com",
        method=method,
        submission=SubmissionTable(
            trusted_networks=(trusted,),
            message_size_limit_bytes=25 * 2**20,
            tls=SubmissionTls(mode=tls, secret_name="outbound-tls"),
            max_connections_per_client=limit,
            max_bandwidth_per_client_bytes=bandwidth,
        ),
        balancing=balancing or BalancingTable(),
        delivery=DeliveryTable(queue_lifetime_s=5 * 86400),
        relays=tuple(
            RelayRoute(
                name=f"outbound-relay-{number}",
                address=f"{network}{number + 1}",
                weight=weight,
                state=RouteState.SERVING if weight else RouteState.DRAINING,
            )
            for number, weight in enumerate(weights)
        ),
    )


def texts() -> dict[str, str]:
    """Text by name of file."""
    methods = {f"{method.value}.cfg": render(table(100, 30, method=method)) for method in BalancingMethod}
    return methods | {
        "ipv6.cfg": render(table(100, network="fd00::")),
        "no-relay.cfg": render(table()),
        "no-tls.cfg": render(table(100, tls=TlsMode.NONE)),
        "one-drains.cfg": render(table(100, 0)),
        "backups.cfg": render(table(100, balancing=BACKUPS), HERE),
        "behind-proxy.cfg": render(table(100, balancing=BEHIND_PROXY), HERE),
        "client-limit.cfg": render(table(100, balancing=PEERS, limit=20), HERE),
        "bandwidth.cfg": render(table(100, bandwidth=4 * 2**20)),
    }


def main() -> None:
    """Write the files."""
    FILES.mkdir(exist_ok=True)
    for name, text in texts().items():
        (FILES / name).write_text(text)


if __name__ == "__main__":
    main()
