"""Volumes of a native cluster's nodes: finding the one of a claim, filling it, freeing it."""

from pathlib import Path

from testbed import machine
from testbed.errors import TestbedError, UnsupportedError
from testbed.identity import Cluster
from testbed.volume_provisioner import SIZED_CLASS

_FILLER = ".filled-by-a-test"


def fill(cluster: Cluster, volume: str) -> None:
    """Use up every block of a volume, given as in `find`."""
    node, directory = find(cluster, volume)
    # Blocks first, then single sectors: `dd` ends with an error when no space is left, which is what is wanted.
    script = 'for size in 64k 512; do dd if=/dev/zero of="$0.$size" bs=$size || echo full; done'
    machine.inside(cluster.machine_dir(node), ["sh", "-c", script, str(directory / _FILLER)])


def free(cluster: Cluster, volume: str) -> None:
    """Give back the blocks that `fill` took."""
    node, directory = find(cluster, volume)
    machine.inside(cluster.machine_dir(node), ["sh", "-c", 'rm -f "$0".*', str(directory / _FILLER)])


def find(cluster: Cluster, volume: str) -> tuple[str, Path]:
    """Node and directory on it of a volume, given as its directory, as claim or as namespace/claim.

    Raises TestbedError when there is none, UnsupportedError when it has no size of its own.
    """
    for node in cluster.node_names:
        for directory in sorted((cluster.machine_dir(node) / "var").glob("local-path*/pvc-*_*_*")):
            if not directory.is_dir() or not is_volume_of(directory.name, volume):
                continue
            if directory.parent.name != SIZED_CLASS:
                raise UnsupportedError(
                    f"{volume} shares the machine's disk and cannot be filled: "
                    f"take storageClassName {SIZED_CLASS} for it."
                )
            return node, Path("/var") / SIZED_CLASS / directory.name
    raise TestbedError(f"There is no volume for {volume}: give a bound claim as name or namespace/name.")


def is_volume_of(directory: str, wanted: str) -> bool:
    """Whether the provisioner's directory `pvc-<uid>_<namespace>_<claim>` is what the words mean."""
    _, namespace, claim = directory.split("_", 2)
    return wanted in {claim, f"{namespace}/{claim}"} or Path(wanted).name == directory
