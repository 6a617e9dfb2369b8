"""Who may log in now: the users of the pool's Secret, as far as it can be read.

Guarantees: no password in clear is kept (:meth:`UserBook.seal` is what the Secret goes through before anything holds
it); an entry that cannot be read is refused by itself and named, the others go on; while the API server is away the
last users stay; while the Secret is missing nobody is known, which is told apart from being nobody.
"""

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from smtpfleet.api.agent_status import RefusedUser, UsersProblem, UsersStatus
from smtpfleet.api.routing import SubmissionAuthentication
from smtpfleet.relay.keystore import Secrets
from smtpfleet.relay.users.entry import EntryError, User, opened, sealed
from smtpfleet.relay.users.hashes import Hash, ScramKey
from smtpfleet.relay.users.scram import decoy

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 10.0
"""How long the first Secret may take before the relay starts without users."""
NAMED: Final = 10
"""So many refused entries are named in the status."""
_SEALED_AT_ONCE: Final = 100

Content = Mapping[str, bytes]


class Accounts(Protocol):
    """Everybody who may log in. What the methods mean, says :class:`UserBook`."""

    @property
    def users(self) -> Mapping[str, User]:
        """The users, by name."""

    def find(self, name: str) -> User | None:
        """The user of a name; None: there is none."""

    def decoy(self, name: str) -> Hash:
        """A hash for a name that nobody has."""

    def scram_key(self, name: str) -> ScramKey:
        """The keys of a name."""


class UnavailableError(Exception):
    """Nothing is known of this name now; it may be a user's. The client is to try again later."""


class UserBook:
    """Use :meth:`update` now and then; it costs nothing while nothing changed.

    Args:
        clock: seconds that only ever grow.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._secret = ""
        self._content: Content | None = None
        self._users: dict[str, User] | None = None
        self._decoys: tuple[User, ...] = ()
        self._refused: dict[str, str] = {}
        self._error = ""
        self._missing = False
        self._waiting_since_s: float | None = None
        self._key = secrets.token_bytes(32)
        self._seals: dict[str, tuple[bytes, bytes]] = {}

    @property
    def enabled(self) -> bool:
        """Whether the pool has users at all."""
        return bool(self._secret)

    @property
    def settled(self) -> bool:
        """Whether the users are known, or there was enough time to know them."""
        if not self.enabled or self._users is not None or self._missing:
            return True
        return self._waiting_since_s is not None and self._clock() - self._waiting_since_s > PATIENCE_S

    @property
    def scram(self) -> bool:
        """Whether SCRAM may be offered. A client that can speak it does, before anybody knows for whom: so only
        where every user can.
        """
        return bool(self._users) and all(user.scram for user in (self._users or {}).values())

    @property
    def users(self) -> Mapping[str, User]:
        """The users, by name."""
        return self._users or {}

    def find(self, name: str) -> User | None:
        """The user of a name; None: there is none.

        Raises:
            UnavailableError: the Secret, or the entry of this name, is not known now.
        """
        if self._users is None:
            raise UnavailableError
        user = self._users.get(name)
        if user is None and name in self._refused:
            raise UnavailableError
        return user

    def decoy(self, name: str) -> Hash:
        """A hash that costs as much as a user's, for a name that nobody has: the same one for the same name."""
        if not self._decoys:
            return decoy(name, self._key, iterations=4096)
        drawn = hashlib.blake2b(name.encode(), key=self._key, digest_size=8).digest()
        return self._decoys[int.from_bytes(drawn, "big") % len(self._decoys)].hash

    def scram_key(self, name: str) -> ScramKey:
        """The keys of a user, or for whoever has none, keys that no password fits.

        Raises:
            UnavailableError: the Secret, or the entry of this name, is not known now.
        """
        user = self.find(name) if self.enabled else None
        if user is not None and isinstance(user.hash, ScramKey):
            return user.hash
        like = self.decoy(name)
        return decoy(name, self._key, like.iterations if isinstance(like, ScramKey) else 4096)

    async def seal(self, content: Content) -> Content:
        """The content as it may be kept. Entries that did not change keep what was made of them."""
        kept: dict[str, bytes] = {}
        seals: dict[str, tuple[bytes, bytes]] = {}
        entries = list(content.items())
        for start in range(0, len(entries), _SEALED_AT_ONCE):
            seals |= await asyncio.to_thread(self._sealed, dict(entries[start : start + _SEALED_AT_ONCE]))
        for key, (_, made) in seals.items():
            kept[key] = made
        self._seals = seals
        return kept

    def update(self, wanted: SubmissionAuthentication, known: Secrets) -> bool:
        """Take what is known of the Secret; returns whether the users changed."""
        if wanted.secret_name != self._secret:
            self._secret, self._content, self._users = wanted.secret_name, None, None
            self._refused, self._error, self._missing = {}, "", False
            self._waiting_since_s = self._clock()
        if not self._secret:
            return False
        content = known.get(self._secret)
        self._missing = content is None and known.missing(self._secret)
        self._error = known.error(self._secret) if content is None else ""
        if content is self._content:
            return False
        self._content = content
        self._read(content)
        return True

    def status(self) -> UsersStatus | None:
        """What ``/status`` says of it; None: the pool has no users."""
        if not self.enabled:
            return None
        problem = UsersProblem.NONE
        if self._missing:
            problem = UsersProblem.MISSING
        elif self._users is None:
            problem = UsersProblem.UNKNOWN
        elif not self._users and not self._refused:
            problem = UsersProblem.EMPTY
        return UsersStatus(
            secret=self._secret,
            users=len(self.users),
            refused=tuple(
                RefusedUser(key=key, reason=reason) for key, reason in sorted(self._refused.items())[:NAMED]
            ),
            refused_total=len(self._refused),
            problem=problem,
            error=self._error,
        )

    def _sealed(self, entries: Content) -> dict[str, tuple[bytes, bytes]]:
        return {key: self._seal_one(key, value) for key, value in entries.items()}

    def _seal_one(self, key: str, value: bytes) -> tuple[bytes, bytes]:
        digest = hashlib.blake2b(value, key=self._key, digest_size=32).digest()
        before = self._seals.get(key)
        if before is not None and before[0] == digest:
            return before
        return digest, sealed(key, value, salt=secrets.token_bytes(16))

    def _read(self, content: Content | None) -> None:
        self._refused = {}
        self._users = None if content is None else self._opened(content)
        self._decoys = tuple(self.users.values())
        if content is not None:
            for key, reason in sorted(self._refused.items()):
                logger.error(
                    "a user cannot be read", extra={"secret": self._secret, "key": key, "reason": reason}
                )
            logger.info(
                "users received",
                extra={"secret": self._secret, "users": len(self.users), "refused": len(self._refused)},
            )

    def _opened(self, content: Content) -> dict[str, User]:
        """Users by name. Of two entries with one name, that whose key it is stays, else the first by key."""
        users: dict[str, User] = {}
        owners: dict[str, str] = {}
        read: list[tuple[str, User]] = []
        for key, kept in sorted(content.items()):
            try:
                read.append((key, opened(key, kept)))
            except EntryError as error:
                self._refused[key] = str(error)
        for key, user in sorted(read, key=lambda entry: (entry[0] != entry[1].name, entry[0])):
            if user.name in users:
                self._refused[key] = f"its name is that of the entry {owners[user.name]}"
            else:
                users[user.name], owners[user.name] = user, key
        return users
