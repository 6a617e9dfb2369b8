"""The Secret with the certificate that the operator makes for a pool that names none."""

import base64
from dataclasses import dataclass

from smtpfleet.api import names
from smtpfleet.resources.marks import metadata
from smtpfleet.resources.pool import Object, Pool


@dataclass(frozen=True, slots=True)
class Pair:
    """A self-signed certificate and its key, both PEM. The key is in no representation of the object."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Pair(…)"


def certificate_secret(pool: Pool, pair: Pair, name: str = "") -> Object:
    """The Secret of a name (none: that of submission), with the certificate as ``ca.crt`` as well: what clients that
    verify are to trust.
    """
    data = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": pair.certificate}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(pool, name or names.certificate_name(pool.name)),
        "type": "kubernetes.io/tls",
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
    }


def stored_pair(live: Object | None) -> Pair | None:
    """The pair in such a Secret; None if there is none that can be read."""
    data = (live or {}).get("data") or {}
    try:
        return Pair(*(base64.b64decode(data[key], validate=True) for key in ("tls.crt", "tls.key")))
    except (KeyError, ValueError):
        return None


def subject_names(pool: Pool) -> tuple[str, ...]:
    """Every name by which clients may reach the pool."""
    service = f"{pool.name}.{pool.namespace}"
    known = (
        pool.spec.submission.hostname,
        f"{service}.svc",
        f"{service}.svc.cluster.local",
        service,
        pool.name,
    )
    return tuple(dict.fromkeys(filter(None, known)))


def siblings_names(pool: Pool) -> tuple[str, ...]:
    """In the certificate by which relays know each other: nobody looks for a name there, so one is enough."""
    return (f"{names.relays_name(pool.name)}.{pool.namespace}",)
