"""This relay among its siblings: what it gives them, and whether it takes from them.

Guarantees: a relay that gives never takes, for one that drains has no listener; it takes only while the newest table
names it, and for a while after; mail goes to siblings only while their certificate is there.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from smtpfleet.api.agent_status import HandOffStage, HandOffStatus, QueueCounts
from smtpfleet.api.routing import RouteState, RoutingTable, SubmissionTls
from smtpfleet.api.submission import TlsMode
from smtpfleet.relay.handedover import HandedOver
from smtpfleet.relay.handoff import NONE, Sight, step
from smtpfleet.relay.handoffconf import Identity, client
from smtpfleet.relay.keystore import Keystore
from smtpfleet.relay.ways import Ways

LINGER_S: Final = 600.0
"""So long the port for siblings stays open after it was last needed. To close it is a reload of Postfix, at which a
relay greets late for a moment, and a pool that has changed its size often does so again.
"""


class Siblings:
    """Use :meth:`update` with the newest table, then :meth:`advance`, each time the agent looks around.

    Args:
        relay: this relay's name.
        keystore: of the certificate by which relays of the pool know each other.
        outcomes: what the log says of mail that was given away.
        clock: seconds that only ever grow.
    """

    def __init__(
        self, *, relay: str, keystore: Keystore, outcomes: HandedOver, clock: Callable[[], float]
    ) -> None:
        self._relay, self._keystore, self._outcomes, self._clock = relay, keystore, outcomes, clock
        self._identity: Identity | None = None
        self._addresses: tuple[str, ...] = ()
        self._gives = False
        self._open_until_s = -math.inf
        self._state = NONE

    def update(self, table: RoutingTable | None) -> None:
        """Take what the newest table says of hand-offs."""
        if table is None:
            return
        secret = table.hand_off.secret_name
        mode = TlsMode.REQUIRED if secret else TlsMode.NONE
        self._keystore.update(SubmissionTls(mode=mode, secret_name=secret))
        if current := self._keystore.current:
            # The last one stays: a service that is taken out of master.cf loses its deliveries under way.
            self._identity = Identity(current.file, current.fingerprint)
        route = table.relay(self._relay)
        self._gives = route is not None and route.hand_off and route.state is RouteState.DRAINING
        if route is None or route.state is not RouteState.SERVING:
            self._open_until_s = -math.inf
        elif self._relay in table.hand_off.takers and self._keystore.current:
            self._open_until_s = self._clock() + LINGER_S
        self._addresses = tuple(
            relay.address
            for relay in table.relays
            if relay.name in table.hand_off.takers and relay.name != self._relay
        )

    def advance(self, queue: QueueCounts, *, closed: bool) -> bool:
        """Look how far it is; returns whether all mail is to be tried now."""
        self._state = step(
            self._state,
            Sight(
                now_s=self._clock(),
                wanted=closed and self._gives,
                obstacle=self._obstacle(),
                left=queue.backlog + queue.deferred,
            ),
        )
        return self._state.flush

    def lead(self, ways: Ways) -> Ways:
        """The ways that hold now: past the ordinary ones while mail goes to siblings.

        Only the route changes then: Postfix's master ends the processes of a service that leaves master.cf, and what
        a sibling has just taken would be sent once more.
        """
        if self._identity is None:
            return ways
        services = (*ways.services, client(self._identity))
        to_siblings = self._gives and self._state.to_siblings
        return replace(ways, services=services, siblings=self._addresses if to_siblings else ())

    @property
    def door(self) -> Identity | None:
        """By which certificate siblings are let in; None: nobody is."""
        return self._identity if self._clock() < self._open_until_s else None

    def status(self) -> HandOffStatus | None:
        """What ``/status`` says of it."""
        if self._state.stage is None:
            return None
        blocked = self._state.stage is HandOffStage.BLOCKED
        why = self._obstacle() or self._outcomes.why or "its siblings take nothing now"
        return HandOffStatus(stage=self._state.stage, why=why if blocked else "")

    def _obstacle(self) -> str:
        if not self._addresses:
            return "no sibling takes mail"
        return "" if self._identity else "the relays' own certificate is not there yet"
