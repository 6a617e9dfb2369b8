"""What a probe of the operator is: whom it claims to be, how far it came, and what it saw.

A probe has no privilege that a client lacks: it names a client address of a trusted network in its PROXY header, so
it is permitted exactly if a client of that network is. The address is one that no host has, so that relays can leave
probes out of their log.
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
    MAIL = "mail"
    RCPT = "rcpt"
    RSET = "rset"
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
    """

    stage: ProbeStage
    trouble: ProbeTrouble = ProbeTrouble.NONE
    code: int = 0
    enhanced: str = ""
    text: str = ""
    latency_s: Mapping[ProbeStage, float] = field(default_factory=dict)
    not_before: datetime | None = None
    not_after: datetime | None = None

    @property
    def ok(self) -> bool:
        """Whether the relay did all that was asked."""
        return self.trouble is ProbeTrouble.NONE

    @property
    def took_s(self) -> float:
        """Seconds that the relay needed. The farewell does not count: clients need not wait for it."""
        return sum(seconds for stage, seconds in self.latency_s.items() if stage is not ProbeStage.QUIT)


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
