"""What the builders know of a pool: its identity, its spec and the release's images."""

from dataclasses import dataclass
from typing import Any

from smtpfleet.api.pool import SmtpPoolSpec

Object = dict[str, Any]
"""A Kubernetes object as JSON knows it. Its shape is the API server's, so its values are not typed further."""


@dataclass(frozen=True, slots=True)
class Images:
    """Images of the release, used where the pool names none."""

    relay: str
    balancer: str


@dataclass(frozen=True, slots=True)
class Pool:
    """One SmtpPool. ``uid`` binds children to this very object, not to a later one of the same name;
    ``operator_namespace`` is where the operator's pods are, empty if it has none.
    """

    name: str
    namespace: str
    uid: str
    spec: SmtpPoolSpec
    images: Images
    senders: tuple[str, ...] = ()
    """Pools whose routes lead here."""
    operator_namespace: str = ""
