"""What every kind of cluster can do, and which kind is meant.

`native` is made of namespaces of this machine, `kind` of Docker containers, `current` is whatever kubectl's current
context points to. Tests and people use the same commands for all of them; what a kind cannot do raises
UnsupportedError with a sentence that says so.
"""

import subprocess
from collections.abc import Mapping, Sequence
from typing import Protocol

from testbed import settings
from testbed.errors import TestbedError
from testbed.identity import Cluster

KINDS = ("native", "kind", "current")


class Provider(Protocol):
    """A cluster of some kind; every method may be called at any time, in any state of it."""

    def up(self) -> None:
        """Bring up what is not up; undo faults; return when nodes, DNS and storage are ready."""

    def down(self) -> None:
        """Leave nothing of the cluster."""

    def load_images(self) -> Mapping[str, str]:
        """Put this checkout's images into the nodes; returns target to reference, of those that could be put there."""

    def status(self) -> Mapping[str, str]:
        """Part of the cluster to what is to be said about it; parts that are not well say so with `DOWN`."""

    def command(self, argv: Sequence[str], *, source: str) -> list[str]:
        """The command line that runs `argv` in the network of the control plane (`cp`) or of a node."""

    def node(self, action: str, name: str) -> None:
        """Stop, start, cut or connect a node."""

    def api_server(self, action: str) -> None:
        """Pause or resume the API server."""

    def volume(self, action: str, volume: str) -> None:
        """Fill or free a volume."""

    def mail_zone(self, records: str) -> None:
        """Replace the records of the mail domain."""


def chosen_kind(cluster: Cluster, environ: Mapping[str, str], *, docker_answers: bool | None = None) -> str:
    """The kind that CLUSTER asks for; else that of the running cluster; else kind where Docker answers, else native."""
    wanted = environ.get("CLUSTER") or ""
    if wanted and wanted not in KINDS:
        raise TestbedError(f"CLUSTER={wanted!r} cannot be used: take one of {', '.join(KINDS)}.")
    known = settings.load(cluster)
    if known is not None and wanted not in {"", known.kind}:
        raise TestbedError(
            f"Cluster {cluster.name} is of kind {known.kind}, not {wanted}: "
            "take it down or choose another CLUSTER_NAME."
        )
    if known is not None or wanted:
        return known.kind if known is not None else wanted
    answers = _docker_answers() if docker_answers is None else docker_answers
    return "kind" if answers else "native"


def _docker_answers() -> bool:
    """Whether a Docker engine is really there; the command alone says nothing."""
    try:
        done = subprocess.run(
            ["docker", "info", "--format", "{{.ServerVersion}}"],
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and bool(done.stdout.strip())
