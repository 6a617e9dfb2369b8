"""Users of one relay, put together: their book, who judges them, and the sockets at which Postfix asks."""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from smtpfleet.api.names import probe_user
from smtpfleet.api.routing import RoutingTable
from smtpfleet.relay import policy
from smtpfleet.relay.keystore import Secrets
from smtpfleet.relay.settings import Paths
from smtpfleet.relay.users import dovecot
from smtpfleet.relay.users.book import UserBook
from smtpfleet.relay.users.door import Door
from smtpfleet.relay.users.judge import Judge
from smtpfleet.relay.users.limits import Limits
from smtpfleet.relay.users.pools import Everybody, PoolBook, logins
from smtpfleet.relay.users.verifier import Verifier


class Users:
    """Use :meth:`update` now and then.

    Args:
        secrets: where sealed Secrets come from.
        table: the routing table in use.
    """

    def __init__(self, book: UserBook, secrets: Secrets, table: Callable[[], RoutingTable | None]) -> None:
        self.book, self._secrets, self._table = book, secrets, table
        self._pools = PoolBook()
        self._everybody = Everybody(book, self._pools)
        self._verifier = Verifier()
        self._judge = Judge(
            self._everybody, self._verifier, exempt=self._pools.__contains__, unseen=self._is_probe
        )
        self._limits = Limits(self._everybody, table)
        self._door = Door(table, self._judge.only_guesses)
        self._scram = False

    @property
    def scram(self) -> bool:
        """Whether SCRAM is to be offered. While the users are not known, that stays as it was: nobody can log in."""
        return self._scram

    @property
    def logins(self) -> Mapping[str, int]:
        """Attempts to log in, by what the client was told."""
        return dict(self._judge.counts)

    @property
    def probe_login(self) -> bool:
        """Whether the operator's probes can log in."""
        return any(map(self._is_probe, self._pools.users))

    def _is_probe(self, name: str) -> bool:
        table = self._table()
        return table is not None and name == probe_user(table.pool)

    def update(self, table: RoutingTable) -> None:
        """Take what is known of the Secrets now."""
        submission = table.submission
        others_changed = self._pools.update(logins(submission, table.pool), self._secrets)
        if self.book.update(submission.authentication, self._secrets) or others_changed:
            self._verifier.keep(frozenset(self._everybody.users.values()))
            self._limits.keep()
            self._judge.forget()
            if self.book.users:
                self._scram = self.book.scram

    async def serve(self, paths: Paths, stack: AsyncExitStack, *, owner: tuple[int, int]) -> None:
        """Answer Postfix until the stack is closed.

        Raises:
            OSError: a socket cannot be made.
        """
        stack.callback(self._verifier.close)
        logins = await dovecot.serve(paths.auth_socket, self._judge, self._everybody, owner=owner)
        stack.callback(logins.close)
        messages = await policy.serve_answers(paths.limits_socket, lambda: self._limits.answer, owner=owner)
        stack.callback(messages.close)
        connections = await policy.serve_answers(paths.door_socket, lambda: self._door.answer, owner=owner)
        stack.callback(connections.close)
