"""Delivery in Postfix's configuration: a pure function of the ways that hold now.

Guarantees: routes and next hops come from here alone; a destination's connections are counted once, through however
many services its mail goes.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smtpfleet.relay import handoffconf
from smtpfleet.relay.nexthop import BY_MX, Service


@dataclass(frozen=True, slots=True)
class Ways:
    """Everything that main.cf and master.cf need to know of delivery.

    Attributes:
        default: transport and next hop of mail that no route matches.
        recipients: map by recipient; None: no such route.
        senders: map by envelope sender; None: no such route.
        services: of next hops, those of earlier ones included that may still be at work.
        connections: most of this relay to one destination; 0: as Postfix has it.
        waiting: the map or the default has ``retry`` for a next hop without credentials.
        siblings: addresses of relays that take all mail instead; none: it goes the ways above.
    """

    default: str = BY_MX
    recipients: Path | None = None
    senders: Path | None = None
    services: tuple[Service, ...] = ()
    connections: int = 0
    waiting: bool = False
    siblings: tuple[str, ...] = ()

    def leads_elsewhere(self, before: "Ways") -> bool:
        """Whether mail that waits is worth a new try: it may go another way, or with other credentials."""
        if (self.default, self.recipients, self.senders) != (
            before.default,
            before.recipients,
            before.senders,
        ):
            return True
        known = {service.name: service for service in before.services}
        return any(known.get(service.name, service) != service for service in self.services)


BY_MX_ALONE: Final = Ways()
"""Without smarthost and routes."""


def parameters(ways: Ways, first: str) -> dict[str, str]:
    """main.cf parameters. ``first``: a map of recipients that is looked up before the routes.

    The smarthost is the default transport and never ``relayhost``, so that a route can lead past it to the MX.
    """
    routes = handoffconf.route(ways.siblings) or (f"regexp:{ways.recipients}" if ways.recipients else "")
    return {
        "default_transport": ways.default,
        "relayhost": "",
        "transport_maps": f"{first}, {routes}" if routes else first,
        "sender_dependent_default_transport_maps": f"regexp:{ways.senders}" if ways.senders else "",
        "sender_dependent_relayhost_maps": "",
        "smtp_sasl_auth_enable": "no",
        # Mail that has to wait for credentials waits here: smtpd would refuse it for a transport ``retry``.
        "smtpd_reject_unlisted_recipient": "no" if ways.waiting else "yes",
        **_limits(ways),
        **handoffconf.parameters(ways.services),
    }


def master_lines(services: Iterable[Service]) -> list[str]:
    """Lines of master.cf."""
    return [
        line
        for service in services
        for line in (
            f"{service.name} unix - - n - {service.processes or '-'} smtp",
            *(f"  -o {option}" for option in service.options),
        )
    ]


def _limits(ways: Ways) -> dict[str, str]:
    """The queue manager counts by transport and next hop, so services with one next hop share its connections."""
    if not ways.connections:
        return {}
    users = Counter(service.destination for service in ways.services if service.destination)
    shared = {
        f"{service.name}_destination_concurrency_limit": str(
            max(1, ways.connections // users[service.destination])
        )
        for service in ways.services
        if users[service.destination] > 1
    }
    return {
        "default_destination_concurrency_limit": str(ways.connections),
        "smtp_destination_concurrency_limit": "$default_destination_concurrency_limit",
        **shared,
    }
