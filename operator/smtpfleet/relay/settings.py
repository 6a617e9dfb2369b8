"""What a relay's agent is told by its environment, and where it keeps things.

Guarantees: the environment is read once and completely; everything that is missing or wrong is named in one
error, so that a pod that cannot start says at once all that has to be mended.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smtpfleet.api.names import QUEUE_VOLUME_DIRECTORY

_REQUIRED: Final = ("POOL_NAME", "POD_NAMESPACE", "RELAY_NAME", "POD_IP")
_LOG_ADDRESSES: Final = "LOG_ADDRESSES"


class SettingsError(Exception):
    """The environment lacks something or holds something unusable; the message lists all of it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Who this relay is.

    Attributes:
        mask_addresses: Hide the local parts of mail addresses in Postfix's log lines. On, unless the
            environment has ``LOG_ADDRESSES=plain``: a log of envelope addresses is personal data.
    """

    pool: str
    namespace: str
    relay: str
    pod_address: ipaddress.IPv4Address | ipaddress.IPv6Address
    mask_addresses: bool = True

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the variables that the operator sets on the container.

        Raises:
            SettingsError: a variable is missing or unusable.
        """
        problems = [f"{name} is not set" for name in _REQUIRED if not environment.get(name)]
        pod_address = environment.get("POD_IP", "")
        try:
            address = ipaddress.ip_address(pod_address or "0.0.0.0")
        except ValueError:
            problems.append(f"POD_IP is {pod_address!r}, which is no IP address")
        log_addresses = environment.get(_LOG_ADDRESSES, "masked")
        if log_addresses not in {"masked", "plain"}:
            problems.append(f"{_LOG_ADDRESSES} is {log_addresses!r}: write masked or plain")
        if problems:
            raise SettingsError("; ".join(problems))
        return cls(
            pool=environment["POOL_NAME"],
            namespace=environment["POD_NAMESPACE"],
            relay=environment["RELAY_NAME"],
            pod_address=address,
            mask_addresses=log_addresses == "masked",
        )


@dataclass(frozen=True, slots=True)
class Paths:
    """Where things are: ``volume`` outlives the pod, ``run`` and ``data`` do not."""

    volume: Path = Path(QUEUE_VOLUME_DIRECTORY)
    run: Path = Path("/run/smtpfleet")
    data: Path = Path("/var/lib/postfix")

    @property
    def queue(self) -> Path:
        """Postfix's queue_directory: below the volume's root, so that others find room beside it."""
        return self.volume / "postfix"

    @property
    def incarnation(self) -> Path:
        """The file that names this life of the queue."""
        return self.volume / "incarnation"

    @property
    def last_good(self) -> Path:
        """The last routing table that Postfix ran with, for a start at which the newest is unusable."""
        return self.volume / "routing.last-good.json"

    @property
    def configuration(self) -> Path:
        """Postfix's config_directory."""
        return self.run / "postfix"

    @property
    def policy_socket(self) -> Path:
        """Where smtpd asks whether a session may go on."""
        return self.run / "policy.sock"

    @property
    def auth_socket(self) -> Path:
        """Where smtpd asks whether somebody may log in."""
        return self.run / "auth.sock"

    @property
    def door_socket(self) -> Path:
        """Where smtpd asks whether a client may come in at all."""
        return self.run / "door.sock"

    @property
    def limits_socket(self) -> Path:
        """Where smtpd asks whether a user may send a message."""
        return self.run / "limits.sock"

    @property
    def canary_socket(self) -> Path:
        """Where Postfix delivers canaries."""
        return self.run / "canary.sock"

    @property
    def secrets(self) -> Path:
        """Copies of Secrets, in memory, for a container that starts while the API server is away."""
        return self.run / "secrets"

    @property
    def certificates(self) -> Path:
        """Chain files that Postfix serves."""
        return self.run / "tls"

    @property
    def hand_off(self) -> Path:
        """Chain files by which relays of the pool know each other."""
        return self.run / "hand-off"

    @property
    def delivery(self) -> Path:
        """Routes as maps, and credentials of next hops."""
        return self.run / "delivery"

    @property
    def dkim(self) -> Path:
        """The DKIM signers' files and sockets."""
        return self.run / "dkim"

    @property
    def rehearsal(self) -> Path:
        """Where a second, closed Postfix tries a configuration before it is used."""
        return self.run / "rehearsal"
