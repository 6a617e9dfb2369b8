"""SASL mechanisms as conversations without I/O: PLAIN (RFC 4616), LOGIN and SCRAM-SHA-256.

Each begins with the client's initial response, or None if there was none, and answers with a step: a challenge, a claim
to be judged, or (SCRAM's last) that all is said.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from smtpfleet.relay.users import scram
from smtpfleet.relay.users.hashes import ScramKey
from smtpfleet.relay.users.saslprep import prepared


class Mechanism(StrEnum):
    """By the name that clients use."""

    PLAIN = "PLAIN"
    LOGIN = "LOGIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"


class MechanismError(ValueError):
    """The client does not speak the mechanism as it should."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the client is to answer next."""

    text: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Password:
    """Somebody says who he is, and his password."""

    name: str
    password: str


@dataclass(frozen=True, slots=True)
class Proof:
    """Somebody has proved that he knows the password, or not (``signature`` is None)."""

    name: str
    signature: str | None


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to say after a proof that was accepted."""

    name: str


Step = Challenge | Password | Proof | Done


class Exchange(Protocol):
    """One conversation."""

    def receive(self, response: bytes | None) -> Step:
        """The next step after what the client said.

        Raises:
            MechanismError: it makes no sense.
        """


class Plain:
    """One message: authorization name, name and password, separated by NUL."""

    def receive(self, response: bytes | None) -> Step:
        """See :class:`Exchange`."""
        if response is None:
            return Challenge(b"")
        parts = _text(response).split("\0")
        if len(parts) != 3:
            raise MechanismError("not a PLAIN message")
        acting_for, name, password = parts
        if prepared(acting_for) not in {"", prepared(name)}:
            raise MechanismError("nobody may act for another")
        return _password(name, password)


class Login:
    """Two questions; no RFC, but what many clients speak (draft-murchison-sasl-login)."""

    def __init__(self) -> None:
        self._name: str | None = None

    def receive(self, response: bytes | None) -> Step:
        """See :class:`Exchange`."""
        if response is None:
            return Challenge(b"Username:")
        if self._name is None:
            self._name = _text(response)
            return Challenge(b"Password:")
        return _password(self._name, _text(response))


class Scram:
    """SCRAM-SHA-256.

    Args:
        key: the keys of a name, or a decoy's.
        nonce: the server's part of the nonce.
    """

    def __init__(self, key: Callable[[str], ScramKey], nonce: str) -> None:
        self._key, self._nonce = key, nonce
        self._first: scram.ClientFirst | None = None
        self._keys: ScramKey | None = None
        self._challenge = ""
        self._proved = False

    def receive(self, response: bytes | None) -> Step:
        """See :class:`Exchange`."""
        if response is None:
            return Challenge(b"")
        try:
            return self._step(response)
        except scram.ScramError as error:
            raise MechanismError(str(error)) from None

    def _step(self, response: bytes) -> Step:
        if self._first is None or self._keys is None:
            self._first = scram.client_first(response)
            self._keys = self._key(self._first.name)
            self._challenge = scram.server_first(self._first, self._keys, self._nonce)
            return Challenge(self._challenge.encode())
        if self._proved:
            return Done(self._first.name)
        signature = scram.server_final(self._first, self._challenge, response, self._keys)
        self._proved = signature is not None
        return Proof(self._first.name, signature)


def _password(name: str, password: str) -> Password:
    if not name or not password or "\0" in name + password:
        raise MechanismError("no name, or no password")
    return Password(prepared(name), password)


def _text(response: bytes) -> str:
    try:
        return response.decode()
    except UnicodeDecodeError:
        raise MechanismError("not UTF-8") from None
