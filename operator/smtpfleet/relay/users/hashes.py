"""What an entry can hold instead of a password, and how a password is tried against it.

Forms: SCRAM-SHA-256 keys as PostgreSQL writes them (RFC 5803 in one line), bcrypt, scrypt as passlib writes it (PHC)
and as crypt(5) does (``$7$``). Guarantees: what looks like a hash but is none of these is refused and never taken for
a password; nothing is accepted whose trial costs more than a second or 64 MiB; no error tells a part of a value.
"""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final, assert_never

import bcrypt

from smtpfleet.relay.users.saslprep import prepared

DIGEST: Final = "sha256"
MIN_ITERATIONS: Final = 4096
"""RFC 7677, section 4."""
MAX_ITERATIONS: Final = 1_000_000
MAX_BCRYPT_COST: Final = 14
MAX_SCRYPT_BYTES: Final = 64 * 2**20
"""What one trial may take of the pod's memory: 128 * N * r (RFC 7914)."""
MAX_SCRYPT_WORK: Final = 2**20
"""N * r * p: about a second."""
_BCRYPT_BYTES: Final = 72
"""bcrypt looks at so many bytes of a password: whoever made the hash had the same limit."""
_SCRAM: Final = re.compile(r"SCRAM-SHA-256\$(\d{1,9}):([^:$\s]+)\$([^:$\s]+):([^:$\s]+)")
_BCRYPT: Final = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_PHC: Final = re.compile(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,3})\$([A-Za-z0-9+/.]+)\$([A-Za-z0-9+/.]+)"
)
_CRYPT: Final = re.compile(
    r"\$7\$([./A-Za-z0-9])([./A-Za-z0-9]{5})([./A-Za-z0-9]{5})([^$\s]*)\$([./A-Za-z0-9]{43})"
)
_LIKE_A_HASH: Final = re.compile(r"\$[A-Za-z0-9-]{1,16}\$|\{[A-Za-z0-9.-]{2,24}\}|SCRAM-SHA-", re.ASCII)
_ITOA64: Final = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KNOWN: Final = "write a SCRAM-SHA-256 key, a bcrypt hash ($2b$…) or an scrypt hash ($scrypt$… or $7$…)"


class HashError(ValueError):
    """The text is a hash that cannot be used; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class ScramKey:
    """Keys of RFC 5802, section 3: enough to verify, not enough to log in elsewhere."""

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes

    def __str__(self) -> str:
        salt, stored, server = (
            base64.b64encode(part).decode() for part in (self.salt, self.stored_key, self.server_key)
        )
        return f"SCRAM-SHA-256${self.iterations}:{salt}${stored}:{server}"


@dataclass(frozen=True, slots=True)
class Scrypt:
    """A hash by scrypt (RFC 7914)."""

    n: int
    r: int
    p: int
    salt: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Bcrypt:
    """A hash by bcrypt, as it is written."""

    text: str


Hash = ScramKey | Scrypt | Bcrypt


def parse(text: str) -> Hash | None:
    """The hash that a text is; None: it is a password.

    Raises:
        HashError: it looks like a hash, but is none that can be used.
    """
    if match := _SCRAM.fullmatch(text):
        return _scram(*match.groups())
    if match := _BCRYPT.fullmatch(text):
        if not 4 <= int(match[1]) <= MAX_BCRYPT_COST:
            raise HashError(f"the cost of the bcrypt hash is not from 4 to {MAX_BCRYPT_COST}")
        return Bcrypt(text)
    if match := _PHC.fullmatch(text):
        log_n, r, p = (int(number) for number in match.groups()[:3])
        return _scrypt(log_n, r, p, _loose_base64(match[4]), _loose_base64(match[5]))
    if match := _CRYPT.fullmatch(text):
        numbers = _ITOA64.index(match[1]), _number(match[2]), _number(match[3])
        return _scrypt(*numbers, match[4].encode(), _from_itoa64(match[5]))
    if _LIKE_A_HASH.match(text):
        raise HashError(f"it looks like a hash of another kind, or a damaged one: {_KNOWN}")
    return None


def verify(stored: Hash, password: str) -> bool:
    """Whether it is the password: slow by intention, and without the interpreter's lock, so for a thread."""
    match stored:
        case ScramKey():
            made = scram_key(password, salt=stored.salt, iterations=stored.iterations)
            return hmac.compare_digest(made.stored_key, stored.stored_key)
        case Bcrypt(text):
            return bcrypt.checkpw(password.encode()[:_BCRYPT_BYTES], text.encode())
        case Scrypt(n, r, p, salt, digest):
            made_digest = hashlib.scrypt(
                password.encode(), salt=salt, n=n, r=r, p=p, dklen=len(digest), maxmem=2 * MAX_SCRYPT_BYTES
            )
            return hmac.compare_digest(made_digest, digest)
        case _:
            assert_never(stored)


def scram_key(password: str, *, salt: bytes, iterations: int) -> ScramKey:
    """The keys of a password: RFC 5802, section 3."""
    salted = hashlib.pbkdf2_hmac(DIGEST, prepared(password).encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", DIGEST)
    return ScramKey(
        iterations=iterations,
        salt=salt,
        stored_key=hashlib.sha256(client_key).digest(),
        server_key=hmac.digest(salted, b"Server Key", DIGEST),
    )


def _scram(iterations: str, salt: str, stored_key: str, server_key: str) -> ScramKey:
    count = int(iterations)
    if not MIN_ITERATIONS <= count <= MAX_ITERATIONS:
        raise HashError(f"the SCRAM key has not {MIN_ITERATIONS} to {MAX_ITERATIONS} iterations")
    try:
        parts = [base64.b64decode(part, validate=True) for part in (salt, stored_key, server_key)]
    except binascii.Error:
        raise HashError("the SCRAM key has a part that is not base64") from None
    if not parts[0] or [len(part) for part in parts[1:]] != [32, 32]:
        raise HashError("the SCRAM key has a part of a wrong length")
    return ScramKey(count, parts[0], parts[1], parts[2])


def _scrypt(log_n: int, r: int, p: int, salt: bytes, digest: bytes) -> Scrypt:
    if not 1 <= log_n <= 30 or r < 1 or p < 1 or not 16 <= len(digest) <= 64:
        raise HashError("the scrypt hash has parameters that scrypt has not")
    n = 2**log_n
    if 128 * n * r > MAX_SCRYPT_BYTES or n * r * p > MAX_SCRYPT_WORK:
        raise HashError(
            "the scrypt hash costs more than 64 MiB or a second: make it with ln=16,r=8,p=1 or less"
        )
    return Scrypt(n, r, p, salt, digest)


def _loose_base64(text: str) -> bytes:
    """Base64 without padding, by PHC's alphabet or passlib's older one."""
    try:
        return base64.b64decode(text.replace(".", "+") + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise HashError("the scrypt hash has a part that is not base64") from None


def _number(text: str) -> int:
    """Thirty bits, least significant first (crypt(5), $7$)."""
    return sum(_ITOA64.index(character) << 6 * place for place, character in enumerate(text))


def _from_itoa64(text: str) -> bytes:
    """Groups of four characters are three bytes, least significant first (crypt(5), $7$)."""
    groups = (text[start : start + 4] for start in range(0, len(text), 4))
    return b"".join(_number(group).to_bytes(3, "little")[: len(group) * 6 // 8] for group in groups)
