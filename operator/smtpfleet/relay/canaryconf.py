"""Postfix's parameters for canaries: who may send to their address, and where it leads. Pure.

Guarantees: the address is taken only from clients that no host can be, at every port; its route is looked up before
those of the spec, so that none of them can lead it out of the pod.
"""

from collections.abc import Iterable
from typing import Final

from smtpfleet.api.probes import CANARY
from smtpfleet.relay.settings import Paths

CANARY_SERVICE: Final = "canary"
"""Delivers canaries to the agent, and nothing else."""
CLASS: Final = "smtpfleet_canary"
"""The restriction class that decides about a canary."""
RESTRICTION: Final = f"check_recipient_access inline:{{{{{CANARY} = {CLASS}}}}}"
"""Stands before everything else that decides about recipients."""


def clients(addresses: Iterable[str]) -> str:
    """The restrictions of :data:`CLASS`; none of these addresses: nobody may."""
    entries = ", ".join(f"{{{address} = OK}}" for address in sorted(addresses))
    return f"check_client_access inline:{{{entries}}}, reject" if entries else "reject"


def route(paths: Paths) -> str:
    """The map for ``transport_maps``, by the whole address."""
    return f"inline:{{{{{CANARY} = {CANARY_SERVICE}:unix:{paths.canary_socket}}}}}"
