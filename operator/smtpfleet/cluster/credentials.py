"""Who the operator is: the pod's service account, or a kubeconfig when it is run outside a cluster."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from smtpfleet.cluster.errors import ClusterError

_CONNECTIONS: Final = 16
"""At most so many are open at a time, for each :class:`~smtpfleet.cluster.client.Cluster`."""


class CredentialsError(ClusterError):
    """Neither a service account nor a kubeconfig was found."""


@dataclass(frozen=True, slots=True)
class Login:
    """What another client needs to connect as the same user."""

    server: str
    ca_file: str | None
    certificate_file: str | None
    key_file: str | None
    token: str | None
    insecure: bool


async def load() -> Configuration:
    """The client configuration of this process. Tokens are read again as they rotate.

    Raises:
        CredentialsError: there is nothing to log in with, or it cannot be read.
    """
    # Each TLS connection costs 256 kB of buffer for as long as it is kept open.
    configuration = Configuration(connection_pool_maxsize=_CONNECTIONS)
    try:
        if os.environ.get("KUBERNETES_SERVICE_HOST") and not os.environ.get("KUBECONFIG"):
            _in_cluster(configuration)
        else:
            path = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
            await _kubeconfig(configuration, path)
    except (config.ConfigException, OSError) as error:
        raise CredentialsError(f"cannot log in to the API server: {error}") from error
    return configuration


async def login(configuration: Configuration) -> Login:
    """The credentials as they are now."""
    header = await configuration.get_api_key_with_prefix("BearerToken")
    return Login(
        server=configuration.host,
        ca_file=configuration.ssl_ca_cert,
        certificate_file=configuration.cert_file,
        key_file=configuration.key_file,
        token=header.split(" ", 1)[-1].strip() if header else None,
        insecure=not configuration.verify_ssl,
    )


def _in_cluster(configuration: Any) -> None:
    config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call] # untyped library


async def _kubeconfig(configuration: Any, path: str) -> None:
    await config.load_kube_config(  # type: ignore[no-untyped-call] # untyped library
        config_file=path, client_configuration=configuration, persist_config=False
    )
