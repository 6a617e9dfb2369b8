"""The configurations that the golden tests compare; run as a module (``python -m``) it writes their files anew."""

from pathlib import Path
from typing import Final

from smtpfleet.api.balancing import BalancingMethod
from smtpfleet.api.routing import (
    DeliveryTable,
    RelayRoute,
    RouteState,
    RoutingTable,
    SubmissionTable,
    SubmissionTls,
)
from smtpfleet.api.submission import TlsMode
from smtpfleet.balancer.config import render

FILES: Final = Path(__file__).parent / "golden"


def table(
    *weights: int,
    method: BalancingMethod = BalancingMethod.LEAST_CONNECTIONS,
    network: str = "10.96.0.",
    tls: TlsMode = TlsMode.OPTIONAL,
) -> RoutingTable:
    """A table of the pool ``mail/outbound``: a relay for each weight; weight 0 drains."""
    return RoutingTable(
        pool="outbound",
        namespace="mail",
        hostname="relay.example.com",
        method=method,
        submission=SubmissionTable(
            trusted_networks=("10.0.0.0/8",),
            message_size_limit_bytes=25 * 2**20,
            tls=SubmissionTls(mode=tls, secret_name="outbound-tls"),
        ),
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
    }


def main() -> None:
    """Write the files."""
    FILES.mkdir(exist_ok=True)
    for name, text in texts().items():
        (FILES / name).write_text(text)


if __name__ == "__main__":
    main()
