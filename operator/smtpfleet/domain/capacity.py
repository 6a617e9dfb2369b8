"""Whether a pool can do without a relay: by what arrives, and by what one relay was seen to send. Pure.

Probes of a relay that is overloaded fail like those of one that is broken. To eject it would give its load to the
others, and they would follow. So a relay that still carries mail stays as long as the rest could not carry it all.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from smtpfleet.domain.facts import Relay
from smtpfleet.domain.findings import silent
from smtpfleet.domain.load import TOLERANCE, Load, arriving_per_s

CARRIES: Final = 0.1
"""A relay that takes or sends less than this part of what one relay can carries nothing: nobody needs it."""


def loads_of(relays: Iterable[Relay]) -> dict[str, Load]:
    """The loads of those whose agents tell of it now, by name."""
    return {
        relay.name: relay.agent.load
        for relay in relays
        if relay.agent and relay.agent.load and not silent(relay)
    }


def needed(name: str, loads: Mapping[str, Load], *, others: Collection[str], rate: float) -> bool:
    """Whether the load needs the relay of this name.

    Args:
        name: of the relay that is to be ejected.
        loads: of the relays that get mail, by name.
        others: names of those that would go on with all of it.
        rate: messages that one relay sends each second when it has enough to do; 0: nobody knows.

    Returns:
        False also where too little is known to say so.
    """
    own = loads.get(name)
    if rate <= 0 or own is None or not others or not all(other in loads for other in others):
        return False
    if min(own.taken_per_s, own.per_s) < CARRIES * rate:
        return False
    return math.ceil(arriving_per_s(loads.values()) / rate - TOLERANCE) > len(others)
