"""Running a command of the host in the cluster's network: pods, Services and the cluster's DNS are reachable from it.

Only the network and the resolver's configuration are the cluster's: files, working directory, user and environment stay
the caller's. The command replaces the calling process, so signals and the exit status are its own.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from testbed import machine
from testbed.access import write_whole
from testbed.addresses import CLUSTER_DOMAIN, CONTROL_PLANE_ADDRESS
from testbed.identity import Cluster

# Run in a mount namespace of its own; a host without the file resolves names in a way that cannot be replaced.
_WITH_RESOLVER = (
    'test ! -e /etc/resolv.conf || mount --bind "$0" "$(readlink -f /etc/resolv.conf)"; exec "$@"'
)


def resolver_configuration(server: str) -> str:
    """The resolver of a pod in the namespace `default`, with this server."""
    search = f"default.svc.{CLUSTER_DOMAIN} svc.{CLUSTER_DOMAIN} {CLUSTER_DOMAIN}"
    return f"search {search}\nnameserver {server}\noptions ndots:5\n"


def command(
    argv: Sequence[str], *, init: int, resolver: Path, server: str = CONTROL_PLANE_ADDRESS
) -> list[str]:
    """The command line that runs `argv` in the network of the machine whose first process is `init`.

    `resolver` is a file that is (re)written and shown to the command as /etc/resolv.conf; it names `server`, by
    default CoreDNS itself, so that no Service is in between.
    """
    write_whole(resolver, resolver_configuration(server))
    return [
        *machine.enter(init, network_only=True),
        *("unshare", "--mount", "--propagation=private", "--"),
        *("sh", "-eu", "-c", _WITH_RESOLVER, str(resolver), *argv),
    ]


def environment(cluster: Cluster, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The caller's environment with kubectl and helm on the PATH and, unless it has one, the cluster's kubeconfig."""
    path = f"{cluster.tools}{os.pathsep}{environ.get('PATH', os.defpath)}"
    return {"KUBECONFIG": str(cluster.kubeconfig), **environ, "PATH": path}


def execute(argv: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Become the command."""
    os.execvpe(argv[0], list(argv), dict(environ))
