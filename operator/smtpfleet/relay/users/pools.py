"""Other pools, and the operator's probes, as users: each has a Secret with a login of its own, which the operator made.

Guarantees: no password in clear is kept (:func:`seal`); a pool logs in only while the routing table lists it, so do
probes; one whose Secret is not known now is told to come back later; no user of a users' Secret can be taken for one.
"""

import secrets
from collections.abc import Mapping

from smtpfleet.api.names import PASSWORD_KEY, login_name, login_user, probe_user
from smtpfleet.api.routing import SubmissionTable
from smtpfleet.relay.keystore import Secrets
from smtpfleet.relay.users.book import Content, UnavailableError, UserBook
from smtpfleet.relay.users.entry import ITERATIONS, User
from smtpfleet.relay.users.hashes import Hash, HashError, ScramKey, parse, scram_key

_SEALED = "scram"


async def seal(content: Content) -> Content:
    """The content as it may be kept; empty if it has no password."""
    try:
        password = content[PASSWORD_KEY].decode("ascii")
    except (KeyError, UnicodeDecodeError):
        return {}
    key = scram_key(password, salt=secrets.token_bytes(16), iterations=ITERATIONS)
    return {_SEALED: str(key).encode()}


class PoolBook:
    """Use :meth:`update` now and then; it costs little while nothing changes."""

    def __init__(self) -> None:
        self._users: dict[str, User | None] = {}
        self._read: dict[str, tuple[Content | None, User | None]] = {}

    def __contains__(self, name: object) -> bool:
        """Whether it is the name of a pool that may log in, or of probes."""
        return name in self._users

    @property
    def users(self) -> Mapping[str, User]:
        """Those that can log in now, by user name."""
        return {name: user for name, user in self._users.items() if user}

    def find(self, name: str) -> User:
        """Who has a user name that is in here.

        Raises:
            UnavailableError: its Secret is not known now.
        """
        user = self._users[name]
        if user is None:
            raise UnavailableError
        return user

    def update(self, logins: Mapping[str, str], known: Secrets) -> bool:
        """Take what is known of these Secrets, by user name; returns whether anything changed."""
        read: dict[str, tuple[Content | None, User | None]] = {}
        for name, secret in logins.items():
            content = known.get(secret)
            before = self._read.get(name)
            unchanged = before is not None and before[0] is content
            read[name] = before if before and unchanged else (content, _user(name, content))
        self._read = read
        users = {name: user for name, (_, user) in read.items()}
        changed = users != self._users
        self._users = users
        return changed


def logins(table: SubmissionTable, pool: str) -> dict[str, str]:
    """Names of the Secrets of those who may log in to ``pool`` besides its users, by user name."""
    found = {login_user(each): login_name(each) for each in table.pools}
    return found | ({probe_user(pool): table.probe_secret_name} if table.probe_secret_name else {})


class Everybody:
    """Users of the users' Secret, and other pools."""

    def __init__(self, book: UserBook, pools: PoolBook) -> None:
        self._book, self._pools = book, pools

    @property
    def users(self) -> Mapping[str, User]:
        """All of them, by name."""
        return {**self._book.users, **self._pools.users}

    def find(self, name: str) -> User | None:
        """The user of a name; None: there is none.

        Raises:
            UnavailableError: it may be a user's, and is not known now.
        """
        if name in self._pools:
            return self._pools.find(name)
        return self._book.find(name) if self._book.enabled else None

    def decoy(self, name: str) -> Hash:
        """See :meth:`UserBook.decoy`."""
        return self._book.decoy(name)

    def scram_key(self, name: str) -> ScramKey:
        """The keys of a user, or for whoever has none, keys that no password fits.

        Raises:
            UnavailableError: it may be a user's, and is not known now.
        """
        if name in self._pools:
            key = self._pools.find(name).hash
            assert isinstance(key, ScramKey)
            return key
        return self._book.scram_key(name)


def _user(name: str, content: Content | None) -> User | None:
    try:
        found = parse((content or {}).get(_SEALED, b"").decode())
    except (HashError, UnicodeDecodeError):
        return None
    return User(name, found) if isinstance(found, ScramKey) else None
