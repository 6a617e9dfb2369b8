"""What a probe of the operator is: whom it claims to be, how far it came, and what it saw.

A probe has no privilege that a client lacks: it names a client address of a trusted network in its PROXY header, so
it is permitted exactly if a client of that network is. The address is one that no host has, so that relays can leave
probes out of their log. Where there are users it logs in as one that may name a single recipient and hand in nothing.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

EHLO_NAME: Final = "probe.smtpfleet.invalid"
RECIPIENT: Final = "probe@smtpfleet.invalid"
"""Never delivered: no probe sends DATA. ``.invalid`` exists nowhere (RFC 2606)."""
CANARY_DOMAIN: Final = "canary.smtpfleet.invalid"
CANARY: Final = f"canary@{CANARY_DOMAIN}"
"""Where canaries go: each relay takes this address from probes alone, and delivers it to its own agent."""
CLOSING: Final = 421
"""Reply code of a server that closes the connection (RFC 5321, 3.8)."""
CANARY_BYTES: Final = 4096
"""Every canary is smaller."""
STRANGERS: Final = {4: "192.0.2.1", 6: "2001:db8::1"}
"""Documentation addresses (RFC 5737, RFC 3849): whom a probe claims to be where no network is trusted."""

# Shorter prefixes have a first address that stands for the network (IPv4) or any router of it (RFC 4291, 2.6.1).
_LONGEST: Final = {4: 30, 6: 126}


class ProbeStage(StrEnum):
    """Steps of a probe, in their order."""

    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    RSET = "rset"
    DATA = "data"
    """A canary, from MAIL to the end of its content."""
    QUIT = "quit"


class ProbeTrouble(StrEnum):
    """How a probe failed: unreachable, too slow, cut off, refused by a reply, or without TLS that works."""

    NONE = ""
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    CLOSED = "closed"
    REFUSED = "refused"
    TLS = "tls"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One probe.

    Attributes:
        stage: the last one that was begun; with trouble, the one that failed.
        trouble: what went wrong.
        code: reply code of the stage that failed, 0 without one.
        enhanced: enhanced status code of that reply (RFC 3463), such as ``4.3.1``; empty without one.
        text: the reply without its codes, or the error's words.
        latency_s: seconds of each stage that was begun.
        not_before: begin of the certificate's validity, if TLS was made.
        not_after: end of it.
        handed_in: whether the relay took the canary that the probe had.
        took_s: seconds that the relay needed. The farewell does not count: clients need not wait for it.
    """

    stage: ProbeStage
    trouble: ProbeTrouble = ProbeTrouble.NONE
    code: int = 0
    enhanced: str = ""
    text: str = ""
    latency_s: Mapping[ProbeStage, float] = field(default_factory=dict)
    not_before: datetime | None = None
    not_after: datetime | None = None
    handed_in: bool = False
    took_s: float = field(init=False)

    def __post_init__(self) -> None:
        """Add up once what is compared with siblings in every cycle."""
        needed = (seconds for stage, seconds in self.latency_s.items() if stage is not ProbeStage.QUIT)
        object.__setattr__(self, "took_s", sum(needed))

    @property
    def ok(self) -> bool:
        """Whether the relay did all that was asked."""
        return self.trouble is ProbeTrouble.NONE

    @property
    def refused(self) -> bool:
        """Whether the relay itself said no. A 421 says that it closes the connection: it may have waited too long."""
        return self.trouble is ProbeTrouble.REFUSED and self.code != CLOSING

    def expired(self, now: datetime) -> bool:
        """Whether the relay showed a certificate that is valid no more."""
        return self.not_after is not None and self.not_after <= now


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """One canary of a relay.

    Attributes:
        sent_s: how long ago it was handed in.
        waited_s: how long it had been away when its agent was asked last.
        took_s: how long it was in the queue; None: it has not come back.
        intact: it came back unchanged, or not yet.
    """

    sent_s: float
    waited_s: float
    took_s: float | None = None
    intact: bool = True


def probe_client(trusted_networks: Iterable[str], version: int) -> str:
    """The address of IP version 4 or 6 that probes name as their client's; empty: no such network is trusted."""
    networks = [
        network for network in map(ipaddress.ip_network, trusted_networks) if network.version == version
    ]
    networks.sort(key=lambda network: network.prefixlen > _LONGEST[version])
    return str(networks[0].network_address) if networks else ""


def nobodys_addresses(trusted_networks: Iterable[str]) -> frozenset[str]:
    """The addresses that probes name and no client can have: what relays need not log.

    A pool that trusts single hosts only is probed in the name of one of them, and that is logged.
    """
    networks = list(trusted_networks)
    named = {probe_client(networks, version) for version in STRANGERS}
    hosts = {
        str(network.network_address)
        for network in map(ipaddress.ip_network, networks)
        if network.prefixlen > _LONGEST[network.version]
    }
    return frozenset((named | set(STRANGERS.values())) - hosts - {""})


def canary_clients(trusted_networks: Iterable[str]) -> frozenset[str]:
    """The addresses that canaries may come from: what probes name, where no client can have it. Empty: nowhere."""
    networks = list(trusted_networks)
    named = {probe_client(networks, version) for version in STRANGERS}
    return frozenset(named & nobodys_addresses(networks))
