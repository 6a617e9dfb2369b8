"""What Postfix was told last, and when it is told something new.

A reload replaces all of Postfix's processes, so a relay greets late for a moment. What all relays are to load because
the pool changes its size (connections divided anew, the port for siblings), while others are just starting, is loaded
by one after the other: so the balancers always find a relay that greets in time. Nothing else is put off.

Guarantees: such a change is put off for less than ``TURNS * TURN_S`` seconds, however many follow it.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smtpfleet.api.routing import RoutingTable
from smtpfleet.relay.mainconf import Configuration, Phase
from smtpfleet.relay.postfix import write
from smtpfleet.relay.ways import BY_MX_ALONE, Ways

logger = logging.getLogger(__name__)

TURN_S: Final = 1.0
"""Between two relays that load the same change: Postfix has its first new processes after some tenths of a second."""
TURNS: Final = 5
"""So many turns, then the first again: a change is to be everywhere within seconds, in the largest pools, too."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What Postfix was told. ``rest``: the same without what the size of the pool decides."""

    configuration: Configuration | None = None
    rest: Configuration | None = None
    phase: Phase | None = None
    revision: str = ""
    ways: Ways = BY_MX_ALONE
    probes: str = ""
    """The user that probes are, and what he may not do; empty: they do not log in."""

    def at_once(self, wanted: "Loaded") -> bool:
        """Whether ``wanted`` is more than what another size of the pool brings to all."""
        return self.rest != wanted.rest or self.ways.siblings != wanted.ways.siblings


def wait_s(table: RoutingTable, relay: str) -> float:
    """How long a relay puts off what can wait: by its place in the table, so neighbours never load together."""
    listed = [route.name for route in table.relays]
    return TURN_S * (listed.index(relay) % TURNS) if relay in listed else 0.0


class Loading:
    """Use :meth:`load` with what is wanted now, each time the agent looks around.

    Args:
        directory: where Postfix reads its configuration.
        reload: tells Postfix to read it.
        clock: seconds that only ever grow.
    """

    def __init__(self, *, directory: Path, reload: Callable[[], None], clock: Callable[[], float]) -> None:
        self.now = Loaded()
        self._directory, self._reload, self._clock = directory, reload, clock
        self._wanted_s: float | None = None

    def load(self, wanted: Loaded, *, wait_s: float) -> bool:
        """Tell Postfix, unless it can wait; returns whether mail that waits is worth a new try now.

        Raises:
            OSError: the directory is not writable.
        """
        before = self.now
        if wanted.configuration is None or wanted.configuration == before.configuration:
            self.now, self._wanted_s = wanted, None
            return False
        if not before.at_once(wanted) and not self._is_due(wait_s):
            return False
        write(wanted.configuration, self._directory)
        self.now, self._wanted_s = wanted, None
        if before.configuration is None:
            return False
        logger.info("Postfix reloads", extra={"revision": wanted.revision, "phase": wanted.phase})
        self._reload()
        return wanted.ways.leads_elsewhere(before.ways)

    def _is_due(self, wait_s: float) -> bool:
        now_s = self._clock()
        if self._wanted_s is None:
            self._wanted_s = now_s
        return now_s - self._wanted_s >= wait_s
