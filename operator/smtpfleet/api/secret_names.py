"""Which Secrets the agents of a pool read: the one list that their Role and their routing table are made from."""

from smtpfleet.api.pool import SmtpPoolSpec


def secret_names(pool: str, spec: SmtpPoolSpec) -> tuple[str, ...]:
    """Names of the Secrets, in the pool's namespace, that the spec mentions or implies: sorted, each once."""
    named: set[str] = set()
    return tuple(sorted(named))
