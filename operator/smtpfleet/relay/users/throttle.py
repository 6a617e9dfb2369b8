"""Slows down who guesses passwords: by client address, and by user. Pure: time comes in as an argument.

Failures fill a bucket that leaks. An address whose bucket is full is told to come back later (fail2ban's way, for as
long as the bucket leaks, not for an hour). A user whose bucket is full is not locked, or anybody could lock anybody:
attempts for that name wait a little before they are looked at, whoever makes them (as Dovecot delays). An address
from which the user has logged in before has a bucket of its own for that user and knows nothing of the other two: a
client that works goes on working, whatever others do under its name or from behind the same address.

Guarantees: memory is bounded, and what is forgotten first is what was quiet longest. Right passwords cost nothing,
however many users log in at once behind one address; attempts under way are bounded, so that many at once are no way
round.
"""

import hashlib
import ipaddress
from collections import Counter, OrderedDict
from typing import Final

FREE: Final = 10
"""Failures that cost nothing: a person who tries old passwords, a device with the wrong one."""
LEAK_PER_S: Final = 10 / 60
"""So ten guesses a minute from each address, in the long run."""
AT_ONCE: Final = 32
"""Attempts of one address that may be under way."""
MOST: Final = FREE + AT_ONCE
"""A bucket holds no more, so that it is empty again after four minutes."""
STEP_S: Final = 0.5
MOST_DELAY_S: Final = 5.0
_REMEMBERED: Final = 2048
"""Addresses, users, pairs and known pairs, each: about two megabytes in all."""
_NETWORK_BITS: Final = 64
"""Of an IPv6 address: whoever has one has all of its /64."""


class Buckets:
    """Leaking buckets by key, the quietest forgotten first."""

    def __init__(self) -> None:
        self._levels: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def level(self, key: bytes, now_s: float) -> float:
        """Failures in the bucket now."""
        level, since_s = self._levels.get(key, (0.0, now_s))
        return max(0.0, level - (now_s - since_s) * LEAK_PER_S)

    def add(self, key: bytes, now_s: float) -> None:
        """One more failure."""
        level = min(float(MOST), self.level(key, now_s) + 1)
        self._levels.pop(key, None)
        self._levels[key] = (level, now_s)
        while len(self._levels) > _REMEMBERED:
            self._levels.popitem(last=False)

    def __len__(self) -> int:
        return len(self._levels)


class Throttle:
    """Use :meth:`admit` before each attempt, and :meth:`succeeded`, :meth:`failed` or :meth:`abandoned` after it."""

    def __init__(self) -> None:
        self._addresses, self._users, self._pairs = Buckets(), Buckets(), Buckets()
        self._known: OrderedDict[bytes, bytes] = OrderedDict()
        self._homes: Counter[bytes] = Counter()
        self._under_way: Counter[bytes] = Counter()

    def admit(self, address: str, user: str, now_s: float) -> float | None:
        """Seconds to wait before the attempt is looked at; None: not now, for the client has failed too often."""
        host, name, pair = _keys(address, user)
        known = pair in self._known
        level = self._pairs.level(pair, now_s) if known else self._addresses.level(host, now_s)
        if level >= FREE or self._under_way[host] >= AT_ONCE:
            return None
        self._under_way[host] += 1
        excess = 0.0 if known else self._users.level(name, now_s) - FREE + 1
        return min(MOST_DELAY_S, max(0.0, excess * STEP_S))

    def succeeded(self, address: str, user: str) -> None:
        """The password was right: know this client from now on."""
        host, _, pair = _keys(address, user)
        self._ended(host)
        if pair not in self._known:
            self._known[pair] = host
            self._homes[host] += 1
        self._known.move_to_end(pair)
        while len(self._known) > _REMEMBERED:
            _, left = self._known.popitem(last=False)
            _one_less(self._homes, left)

    def failed(self, address: str, user: str, now_s: float) -> None:
        """The password was wrong."""
        host, name, pair = _keys(address, user)
        self._ended(host)
        if pair in self._known:
            self._pairs.add(pair, now_s)
        else:
            self._addresses.add(host, now_s)
            self._users.add(name, now_s)

    def abandoned(self, address: str, user: str) -> None:
        """The attempt was not looked at."""
        self._ended(_keys(address, user)[0])

    def only_guesses(self, address: str, now_s: float) -> bool:
        """Whether an address has failed too often, and no user has logged in from it lately."""
        host = _digest(_host(address))
        return self._addresses.level(host, now_s) >= FREE and host not in self._homes

    def _ended(self, host: bytes) -> None:
        _one_less(self._under_way, host)

    def __len__(self) -> int:
        return len(self._addresses) + len(self._users) + len(self._pairs) + len(self._known)


def _keys(address: str, user: str) -> tuple[bytes, bytes, bytes]:
    """Of one size each, whatever names clients make up."""
    host = _host(address)
    return (
        _digest(host),
        _digest(user),
        _digest(f"{host} {user}"),
    )


def _one_less(counts: Counter[bytes], key: bytes) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=12).digest()


def _host(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped or ipaddress.IPv6Network((parsed, _NETWORK_BITS), strict=False))
    return str(parsed)
