"""The control groups of a cluster: one directory of its own in every hierarchy, version 1 or 2, with one per machine.

A machine's process 1 is put there before it gets a control group namespace of its own, so whatever it starts,
containers included, lies below, sees nothing else, and goes with the cluster.
"""

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import TestbedError

_EMPTY_WITHIN_S = 10.0
_OWN = "machine"
"""What a machine runs itself, beside the groups of its containers."""
_OWN_SHARES = "204"
"""As much processor time as two containers that ask for 100m. The kubelet makes a group here for each container, but
none for all pods, which would have the weight of all processors. By default one busy thread of a daemon gets ten times
as much as a relay with all its processes, and twenty times as much as a HAProxy. (In version 2 it still does.)"""
_CPUSET = ("cpuset.cpus", "cpuset.mems")


@dataclass(frozen=True)
class Hierarchy:
    """A mounted control group file system, and whether it is the unified one (version 2)."""

    mount: Path
    unified: bool


def hierarchies(mounts: str | None = None) -> list[Hierarchy]:
    """The hierarchies, from the text of /proc/self/mounts."""
    lines = (Path("/proc/self/mounts").read_text() if mounts is None else mounts).splitlines()
    words = [line.split() for line in lines]
    return [
        Hierarchy(Path(at), kind == "cgroup2") for _, at, kind, *_ in words if kind in {"cgroup", "cgroup2"}
    ]


@dataclass(frozen=True)
class Groups:
    """A control group's directories in all hierarchies, and those below them where its own processes must be.

    In version 2 a group that passes controllers on to containers cannot hold processes itself; in version 1 they would
    compete with containers one by one.
    """

    roots: tuple[Path, ...]
    leaves: tuple[Path, ...]


def make(path: str) -> Groups:
    """Make a control group anew in every hierarchy, fit to take processes and containers.

    One that is left from an earlier start passes controllers on already, so that no process could enter it.
    """
    remove(path)
    roots, leaves = [], []
    for hierarchy in hierarchies():
        roots.append(_make_in(hierarchy, Path(path).relative_to("/")))
        if hierarchy.unified:
            # Not as the others: a group that has passed controllers on takes no process any more.
            leaves.append(roots[-1] / _OWN)
            leaves[-1].mkdir()
        else:
            leaves.append(_make_in(hierarchy, Path(path).relative_to("/") / _OWN))
            if (shares := leaves[-1] / "cpu.shares").exists():
                shares.write_text(_OWN_SHARES)
    return Groups(tuple(roots), tuple(leaves))


def _make_in(hierarchy: Hierarchy, path: Path) -> Path:
    above = hierarchy.mount
    for part in path.parts:
        if hierarchy.unified:
            _pass_controllers_on(above)
        directory = above / part
        directory.mkdir(exist_ok=True)
        for name in _CPUSET:
            own = directory / name
            # In version 1 a new group may use no processor at all until it is told.
            if not hierarchy.unified and own.exists() and not own.read_text().strip():
                own.write_text((above / name).read_text())
        above = directory
    return above


def _pass_controllers_on(directory: Path) -> None:
    """Let the groups below use the controllers that this one has; version 2 does so only when told."""
    wanted = set((directory / "cgroup.controllers").read_text().split())
    missing = wanted - set((directory / "cgroup.subtree_control").read_text().split())
    try:
        for controller in sorted(missing):
            (directory / "cgroup.subtree_control").write_text(f"+{controller}")
    except OSError as error:
        raise TestbedError(
            f"Control group controllers cannot be passed on in {directory} ({error.strerror}): "
            "run on the machine itself or in a container whose processes are in a control group below its root."
        ) from error


def remove(path: str) -> None:
    """Remove a control group and all below it. Their processes have ended, but the kernel may need a moment."""
    for hierarchy in hierarchies():
        for directory, _, _ in os.walk(hierarchy.mount / path.removeprefix("/"), topdown=False):
            _remove_directory(directory)


def _remove_directory(directory: str) -> None:
    deadline = time.monotonic() + _EMPTY_WITHIN_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            os.rmdir(directory)
            return
        time.sleep(0.05)
    os.rmdir(directory)
