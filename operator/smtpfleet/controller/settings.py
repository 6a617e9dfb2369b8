"""The operator's settings: read once from the environment, checked, and shown once in the log.

No setting is a secret, so all of them may be logged.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


class SettingsError(ValueError):
    """The environment does not make a working operator. The message names every variable to change."""


@dataclass(frozen=True)
class Settings:
    """How this operator runs.

    Attributes:
        pod_name: who this process is, in the Lease and in Events (``POD_NAME``).
        pod_namespace: where its Lease is (``POD_NAMESPACE``).
        watch_namespace: the only namespace with pools; "" for the whole cluster (``WATCH_NAMESPACE``).
        relay_image: image of relays whose pool names none (``RELAY_IMAGE``).
        balancer_image: image of the balancers (``BALANCER_IMAGE``).
        lease_name: the Lease that replicas of this operator compete for (``LEASE_NAME``).
        http_port: of /healthz, /readyz, /status and /metrics (``HTTP_PORT``).
        workers: pools that are worked on at the same time (``WORKERS``).
        resync_s: after how long a pool is looked at again without any cause (``RESYNC_SECONDS``).
    """

    pod_name: str
    pod_namespace: str
    relay_image: str
    balancer_image: str
    watch_namespace: str = ""
    lease_name: str = "smtpfleet-operator"
    http_port: int = 8080
    workers: int = 4
    resync_s: int = 120


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: something is missing or wrong; all of it is named at once.
    """
    problems: list[str] = []
    settings = Settings(
        pod_name=_required(environment, "POD_NAME", problems),
        pod_namespace=_name(environment, "POD_NAMESPACE", None, problems),
        relay_image=_required(environment, "RELAY_IMAGE", problems),
        balancer_image=_required(environment, "BALANCER_IMAGE", problems),
        watch_namespace=_name(environment, "WATCH_NAMESPACE", "", problems),
        lease_name=_name(environment, "LEASE_NAME", Settings.lease_name, problems),
        http_port=_number(environment, "HTTP_PORT", Settings.http_port, (1, 65535), problems),
        workers=_number(environment, "WORKERS", Settings.workers, (1, 64), problems),
        resync_s=_number(environment, "RESYNC_SECONDS", Settings.resync_s, (10, 120), problems),
    )
    if problems:
        raise SettingsError("; ".join(problems))
    return settings


def _required(environment: Mapping[str, str], variable: str, problems: list[str]) -> str:
    value = environment.get(variable, "").strip()
    if not value:
        problems.append(f"{variable} is not set")
    return value


def _name(environment: Mapping[str, str], variable: str, default: str | None, problems: list[str]) -> str:
    value = environment.get(variable, "").strip() or default
    if value is None:
        problems.append(f"{variable} is not set")
        return ""
    if value and not _NAME.fullmatch(value):
        problems.append(f"{variable} is {value!r}, which is no Kubernetes name")
    return value


def _number(
    environment: Mapping[str, str],
    variable: str,
    default: int,
    bounds: tuple[int, int],
    problems: list[str],
) -> int:
    text = environment.get(variable, "").strip() or str(default)
    least, most = bounds
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        problems.append(f"{variable} is {text!r}: it must be a number from {least} to {most}")
        return default
    return int(text)
