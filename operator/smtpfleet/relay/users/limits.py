"""What users may send: their envelope senders and messages per minute, asked by smtpd at each MAIL.

A policy service of its own beside :mod:`smtpfleet.relay.policy`: that one only speeds sessions out, so mail goes on
when it does not answer; this one guards, so an authenticated client is told to come back later when it does not.

A limit is the whole pool's. Relays do not talk to each other at each message, so each takes its share: the limit
divided by the relays that take mail. Guarantees: a sender that is not listed is refused for good (553 5.7.1), too
many messages only for now (450 4.7.1); a session of a user who is no longer one ends at its next message.
"""

import time
from collections.abc import Callable
from typing import Final

from smtpfleet.api.routing import RouteState, RoutingTable
from smtpfleet.relay.policy import GO_ON, attributes
from smtpfleet.relay.users.book import Accounts, UnavailableError
from smtpfleet.relay.users.entry import User
from smtpfleet.relay.users.saslprep import prepared

NOT_THEIRS: Final = "553 5.7.1 Not a sender address of the authenticated user"
TOO_MANY: Final = "450 4.7.1 Too many messages of the authenticated user, try again later"
GONE: Final = "421 4.7.0 The authenticated user is no longer known, please connect again"
UNKNOWN: Final = "450 4.7.1 The users of this relay are not known now, try again later"
_MINUTE_S: Final = 60.0


class Allowance:
    """Messages that one user may still send through this relay: a bucket that holds a minute's worth."""

    def __init__(self, per_minute: float, now_s: float) -> None:
        self._per_minute, self._since_s = per_minute, now_s
        self._left = self._most

    @property
    def _most(self) -> float:
        """At least one message, or a small share would never be used."""
        return max(1.0, self._per_minute)

    def take(self, per_minute: float, now_s: float) -> bool:
        """Whether one more may go; ``per_minute`` may have changed."""
        self._per_minute = per_minute
        gained = (now_s - self._since_s) * per_minute / _MINUTE_S
        self._left, self._since_s = min(self._most, self._left + gained), now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Limits:
    """Use :meth:`decide` for each message of an authenticated client.

    Args:
        table: the routing table in use.
        clock: seconds that only ever grow.
    """

    def __init__(
        self,
        book: Accounts,
        table: Callable[[], RoutingTable | None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._book, self._table, self._clock = book, table, clock
        self._allowances: dict[str, Allowance] = {}

    def answer(self, request: bytes) -> str:
        """The action for one request of smtpd's."""
        told = attributes(request, "sasl_username", "sender")
        return self.decide(told["sasl_username"], told["sender"])

    def decide(self, name: str, sender: str) -> str:
        """The action for a message of a user with an envelope sender (empty: the null sender)."""
        try:
            user = self._book.find(prepared(name))
        except UnavailableError:
            return UNKNOWN
        if user is None:
            return GONE
        if not user.may_send_as(sender):
            return NOT_THEIRS
        return GO_ON if self._may_go(user) else TOO_MANY

    def _may_go(self, user: User) -> bool:
        if user.messages_per_minute is None:
            return True
        now_s, share = self._clock(), user.messages_per_minute / relays_that_take_mail(self._table())
        allowance = self._allowances.setdefault(user.name, Allowance(share, now_s))
        return allowance.take(share, now_s)

    def keep(self) -> None:
        """Forget whoever is no user any more."""
        users = self._book.users
        self._allowances = {name: one for name, one in self._allowances.items() if name in users}


def relays_that_take_mail(table: RoutingTable | None) -> int:
    """Among how many relays a limit of the pool is divided: at least one."""
    relays = table.relays if table else ()
    return max(1, sum(relay.state is RouteState.SERVING and relay.weight > 0 for relay in relays))
