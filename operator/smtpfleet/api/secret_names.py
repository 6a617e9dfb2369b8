"""Which Secrets the agents of a pool read: the one list that their Role and their routing table are made from."""

from collections.abc import Collection

from smtpfleet.api.delivery import Delivery
from smtpfleet.api.dkim import DkimKey
from smtpfleet.api.names import (
    certificate_name,
    dkim_key_name,
    hand_off_name,
    login_name,
    probe_login_name,
)
from smtpfleet.api.pool import SmtpPoolSpec
from smtpfleet.api.submission import TlsMode


def certificate_secret(pool: str, spec: SmtpPoolSpec) -> str:
    """The Secret with the certificate of submission; empty: no TLS."""
    tls = spec.submission.tls
    return "" if tls.mode is TlsMode.NONE else tls.secret_name or certificate_name(pool)


def delivery_secrets(delivery: Delivery) -> frozenset[str]:
    """The Secrets with credentials or authorities of smarthost and routes."""
    named = {route.secret_name for route in delivery.routes}
    if delivery.smarthost:
        named.add(delivery.smarthost.secret_name)
    return frozenset(named - {""})


def signing_secret(pool: str, key: DkimKey) -> str:
    """The Secret with a DKIM key."""
    return key.secret_name or dkim_key_name(pool, key.domain, key.selector)


def login_secret(pool: str, delivery: Delivery) -> str:
    """The Secret with the pool's login at other pools; empty: no route leads to one."""
    return login_name(pool) if any(route.pool for route in delivery.routes) else ""


def probe_secret(pool: str, spec: SmtpPoolSpec) -> str:
    """The Secret with the login of probes; empty: there are no users, or no TLS under which to log in."""
    submission = spec.submission
    users = submission.authentication.secret_name and submission.tls.mode is not TlsMode.NONE
    return probe_login_name(pool) if users else ""


def secret_names(pool: str, spec: SmtpPoolSpec, senders: Collection[str] = ()) -> tuple[str, ...]:
    """Names of the Secrets, in the pool's namespace, that the spec mentions or implies: sorted, each once.

    Args:
        pool: its name.
        spec: of the pool.
        senders: names of the pools whose routes lead here.
    """
    named = {
        certificate_secret(pool, spec),
        spec.submission.authentication.secret_name,
        *delivery_secrets(spec.delivery),
        *(signing_secret(pool, key) for key in spec.dkim),
        login_secret(pool, spec.delivery),
        probe_secret(pool, spec),
        *map(login_name, senders),
    }
    return tuple(sorted(named - {""}))


def made_secrets(pool: str, spec: SmtpPoolSpec) -> tuple[str, ...]:
    """Names of the Secrets that the operator makes itself, for the spec leaves them to it: sorted, each once."""
    named = {
        "" if spec.submission.tls.secret_name else certificate_secret(pool, spec),
        hand_off_name(pool),
        *(signing_secret(pool, key) for key in spec.dkim if not key.secret_name),
        login_secret(pool, spec.delivery),
        probe_secret(pool, spec),
    }
    return tuple(sorted(named - {""}))
