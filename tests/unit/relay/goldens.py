"""The configurations that the golden tests compare, and how their files are written anew: ``python -m`` this module."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from smtpfleet.api.balancing import BalancingMethod
from smtpfleet.api.delivery import DeliveryTls, Smarthost
from smtpfleet.api.routing import (
    DeliveryTable,
    RelayRoute,
    RouteState,
    RoutingTable,
    SubmissionAuthentication,
    SubmissionTable,
    SubmissionTls,
)
from smtpfleet.api.submission import TlsMode
from smtpfleet.relay.handoffconf import Identity, client
from smtpfleet.relay.mainconf import Configuration, Host, Phase, render, render_rehearsal
from smtpfleet.relay.nexthop import Credentials, NextHop, next_hop, service
from smtpfleet.relay.settings import Paths
from smtpfleet.relay.ways import Ways

FILES: Final = Path(__file__).parent / "golden"
HOST: Final = Host(name="outbound-relay-0.mail", protocols=("ipv4",), paths=Paths())
DUAL_STACK: Final = Host(name="outbound-relay-0.mail", protocols=("ipv4", "ipv6"), paths=Paths())
CHAIN: Final = Path("/run/smtpfleet/tls/0123456789abcdef.pem")
SMARTHOST: Final = Smarthost(
    host="smtp.provider.example", port=587, tls=DeliveryTls.VERIFIED, secret_name="provider"
)
MAPS: Final = Path("/run/smtpfleet/delivery")
OTHER_ACCOUNT: Final = NextHop("smtp.provider.example", 587, DeliveryTls.VERIFIED, "bulk")
PARTNER: Final = NextHop("mx.partner.example", 465, DeliveryTls.REQUIRED)
WAYS: Final = Ways(
    default=next_hop(SMARTHOST).transport,
    recipients=MAPS / "0123456789abcdef.regexp",
    senders=MAPS / "fedcba9876543210.regexp",
    services=(
        service(next_hop(SMARTHOST), Credentials(MAPS / "a" / "login", MAPS / "a" / "authorities.pem")),
        service(OTHER_ACCOUNT, Credentials(MAPS / "b" / "login")),
        service(PARTNER, Credentials()),
    ),
    connections=7,
)
"""A smarthost, another account of the same provider, and a route with TLS from the first byte."""

IDENTITY: Final = Identity(Path("/run/smtpfleet/hand-off/0123456789abcdef.pem"), "ab12" * 16)
LEAVING: Final = replace(
    WAYS, services=(*WAYS.services, client(IDENTITY)), siblings=("10.96.0.2", "10.96.0.3", "fd00::4")
)
"""Of a relay that gives its queue to three siblings."""


def table(
    *,
    relay: str = "outbound-relay-0",
    state: RouteState = RouteState.SERVING,
    networks: tuple[str, ...] = ("10.0.0.0/8",),
    smarthost: Smarthost | None = None,
    postfix: dict[str, str] | None = None,
    tls: TlsMode = TlsMode.NONE,
    users: str = "",
    pools: tuple[str, ...] = (),
) -> RoutingTable:
    """A table of the pool ``mail/outbound`` with one relay."""
    return RoutingTable(
        pool="outbound",
        namespace="mail",
        hostname="relay.example.com",
        method=BalancingMethod.LEAST_CONNECTIONS,
        submission=SubmissionTable(
            trusted_networks=networks,
            message_size_limit_bytes=25 * 2**20,
            tls=SubmissionTls(mode=tls, secret_name="outbound-tls"),
            authentication=SubmissionAuthentication(secret_name=users),
            pools=pools,
            probe_secret_name="outbound-probe" if users else "",
        ),
        delivery=DeliveryTable(smarthost=smarthost, queue_lifetime_s=5 * 86400),
        postfix=postfix or {},
        relays=(RelayRoute(name=relay, address="10.96.0.1", weight=100, state=state),),
    )


CONFIGURATIONS: Final[dict[str, Callable[[], Configuration]]] = {
    "open": lambda: render(table(), HOST, Phase.OPEN),
    "closed": lambda: render(table(), HOST, Phase.CLOSED),
    "frozen": lambda: render(
        table(networks=("10.0.0.0/8", "fd00:1::/32")), DUAL_STACK, Phase.FROZEN, ways=WAYS
    ),
    "delivery": lambda: render(table(), HOST, Phase.OPEN, ways=WAYS),
    "tls-optional": lambda: render(table(tls=TlsMode.OPTIONAL), HOST, Phase.OPEN, chain=CHAIN),
    "tls-required": lambda: render(table(tls=TlsMode.REQUIRED), HOST, Phase.OPEN, chain=CHAIN),
    "tls-lacking": lambda: render(table(tls=TlsMode.REQUIRED), HOST, Phase.OPEN),
    "users": lambda: render(
        table(tls=TlsMode.OPTIONAL, users="outbound-users"), HOST, Phase.OPEN, chain=CHAIN, scram=True
    ),
    "pools": lambda: render(table(tls=TlsMode.OPTIONAL, pools=("news",)), HOST, Phase.OPEN, chain=CHAIN),
    "users-lacking-tls": lambda: render(
        table(tls=TlsMode.OPTIONAL, users="outbound-users"), HOST, Phase.OPEN
    ),
    "signing": lambda: render(
        table(),
        HOST,
        Phase.OPEN,
        milters=("unix:/run/smtpfleet/dkim/rsa.sock", "unix:/run/smtpfleet/dkim/ed25519.sock"),
    ),
    "giving": lambda: render(table(), HOST, Phase.CLOSED, ways=LEAVING),
    "taking": lambda: render(table(), HOST, Phase.OPEN, door=IDENTITY),
    "rehearsal": lambda: render_rehearsal(
        table(postfix={"smtp_helo_timeout": "100s"}),
        HOST,
        queue=Path("/run/smtpfleet/rehearsal/queue"),
        data=Path("/run/smtpfleet/rehearsal/data"),
        login=Path("/run/smtpfleet/rehearsal/configuration/login"),
    ),
}


def parameters(configuration: Configuration) -> dict[str, str]:
    """The parameters of a main.cf."""
    lines = [line for line in configuration.main_cf.splitlines() if not line.startswith("#")]
    return {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}


def texts() -> dict[str, str]:
    """What belongs into each golden file."""
    found: dict[str, Any] = {}
    for name, make in CONFIGURATIONS.items():
        configuration = make()
        found[f"{name}.main.cf"] = configuration.main_cf
        found[f"{name}.master.cf"] = configuration.master_cf
    return found


if __name__ == "__main__":
    FILES.mkdir(exist_ok=True)
    for name, text in texts().items():
        (FILES / name).write_text(text)
