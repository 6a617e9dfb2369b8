"""What the pod tells its agent by the environment; checked before anything else is done."""

from collections.abc import Mapping
from dataclasses import dataclass


class SettingsError(Exception):
    """A variable is missing; the message names it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Which pool, and which pod of it."""

    pool: str
    namespace: str
    pod: str
    address: str


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the environment.

    Raises:
        SettingsError: a variable is missing or empty.
    """
    wanted = ("POOL_NAME", "POD_NAMESPACE", "POD_NAME", "POD_IP")
    if missing := [name for name in wanted if not environment.get(name)]:
        raise SettingsError(f"set {', '.join(missing)}: the operator's pods have it")
    pool, namespace, pod, address = (environment[name] for name in wanted)
    return Settings(pool=pool, namespace=namespace, pod=pod, address=address)
