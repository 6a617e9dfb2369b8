"""What a native cluster needs of the machine, checked before anything is started: one clear sentence for each lack.

Looking (`observe`) is apart from judging (`findings`), so that every sentence can be tested without such a machine.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed import cache, machine, packages, settings
from testbed.errors import MissingPrerequisitesError
from testbed.identity import CONTROL_PLANE, Cluster
from testbed.progress import say

_GIB = 1 << 30
_LEAST_DISK_GIB = 8
_LEAST_MEMORY_GIB = 3
# Every kubelet and containerd takes some ten inotify instances of root; Debian's limit is reached with three clusters.
_INOTIFY = {"max_user_instances": 4096, "max_user_watches": 524288}
_LIMITS = Path("/proc/sys/fs/inotify")
# Each is tried in namespaces of its own, which end with the command.
_TRIALS = {
    "namespaces": ("--mount", "--pid", "--fork", "true"),
    "bridge": ("ip", "link", "add", "b0", "type", "bridge"),
    "veth": ("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"),
    "nftables": ("nft", "add", "table", "ip", "t"),
}
_REFUSALS = {
    "namespaces": "This machine does not permit new network, mount and process namespaces: run on a virtual machine "
    "or in a privileged container.",
    "bridge": "The kernel cannot make a bridge: load the module with `modprobe bridge`.",
    "veth": "The kernel cannot make a veth pair: load the module with `modprobe veth`.",
    "nftables": "The kernel refuses nftables rules: load the module with `modprobe nf_tables`.",
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What was found out about the machine; sizes in bytes."""

    is_linux: bool
    is_root: bool
    missing_packages: tuple[str, ...]
    go_is_needed: bool
    has_go: bool
    refused: tuple[str, ...]
    state_file_system: str
    state: Path
    cgroups_writable: bool
    low_limits: tuple[str, ...]
    port: int | None
    port_is_free: bool
    free_disk: int
    free_memory: int


def findings(facts: Facts) -> list[str]:
    """What is missing, one sentence each; empty when the cluster can be started."""
    if not facts.is_linux:
        return ["A native cluster needs Linux: set CLUSTER=kind to use Docker instead."]
    if not facts.is_root:
        return [
            "A native cluster needs root, because it makes network and mount namespaces: run the command as root, "
            "or set CLUSTER=kind to use Docker instead."
        ]
    conditions = {
        f"Programs are missing: install the Debian packages with `apt-get install "
        f"{' '.join(facts.missing_packages)}`.": bool(facts.missing_packages),
        "Go is missing, which builds Kubernetes the first time: install Go 1.25 or newer (go.dev/dl).": (
            facts.go_is_needed and not facts.has_go
        ),
        f"{facts.state} lies on an overlay file system, on which containers cannot have theirs: "
        "put the checkout on a disk or a volume.": facts.state_file_system == "overlay",
        "Control groups (/sys/fs/cgroup) cannot be written: mount them read-write.": not facts.cgroups_writable,
        "The kernel's limits of inotify are too low for kubelets: run `sysctl -w "
        f"{' '.join(f'fs.inotify.{name}={_INOTIFY[name]}' for name in facts.low_limits)}`.": bool(
            facts.low_limits
        ),
        f"Port {facts.port} of 127.0.0.1, which this cluster's kubeconfig names, is taken by another program: "
        "end that program, or take the cluster down and up again.": not facts.port_is_free,
        _too_little("disk space", facts.free_disk, _LEAST_DISK_GIB): facts.free_disk < _LEAST_DISK_GIB * _GIB,
        _too_little("memory", facts.free_memory, _LEAST_MEMORY_GIB): facts.free_memory
        < _LEAST_MEMORY_GIB * _GIB,
    }
    return [
        *(_REFUSALS[name] for name in facts.refused),
        *(sentence for sentence, holds in conditions.items() if holds),
    ]


def _too_little(what: str, found: int, least_gib: int) -> str:
    return f"Too little {what}: {found / _GIB:.1f} GiB are free, {least_gib} GiB are needed."


def check(cluster: Cluster) -> None:
    """Install what can be installed, then raise MissingPrerequisitesError if anything is still missing.

    A cluster whose control plane runs has passed before.
    """
    if machine.find(cluster.machine_dir(CONTROL_PLANE)) is not None:
        return
    if os.geteuid() == 0:
        packages.install_missing()
        _raise_limits()
    sentences = findings(observe(cluster))
    if sentences:
        raise MissingPrerequisitesError(sentences)


def observe(cluster: Cluster) -> Facts:
    """Look at the machine."""
    known = settings.load(cluster)
    place = _existing(cluster.state)
    is_root = os.geteuid() == 0
    missing = packages.missing()
    return Facts(
        is_linux=os.uname().sysname == "Linux",
        is_root=is_root,
        missing_packages=missing,
        go_is_needed=not any(cache.root().glob("k8s-*")),
        has_go=shutil.which("go") is not None,
        refused=_refused() if is_root and not missing else (),
        state_file_system=file_system_of(place, Path("/proc/self/mountinfo").read_text()),
        state=cluster.state,
        low_limits=_low_limits(),
        cgroups_writable=not os.statvfs("/sys/fs/cgroup").f_flag & os.ST_RDONLY,
        port=known.port if known else None,
        port_is_free=known is None or is_free(known.port),
        free_disk=shutil.disk_usage(place).free,
        free_memory=available_memory(Path("/proc/meminfo").read_text()),
    )


def _low_limits() -> tuple[str, ...]:
    """Names of the limits of inotify that are too low."""
    return tuple(name for name, least in _INOTIFY.items() if int((_LIMITS / name).read_text()) < least)


def _raise_limits() -> None:
    """Raise them until the machine's next start, unless it is forbidden."""
    for name in _low_limits():
        if os.access(_LIMITS / name, os.W_OK) and not os.statvfs(_LIMITS).f_flag & os.ST_RDONLY:
            say(f"   raising fs.inotify.{name} to {_INOTIFY[name]} until the machine's next start")
            (_LIMITS / name).write_text(str(_INOTIFY[name]))


def _refused() -> tuple[str, ...]:
    """What the kernel does not let us do; nothing more is tried when there are no namespaces."""
    for name, argv in _TRIALS.items():
        done = subprocess.run(["unshare", "--net", *argv], capture_output=True, check=False)
        if done.returncode != 0:
            return (name,)
    return ()


def _existing(path: Path) -> Path:
    """The path, or the nearest directory above it that exists."""
    return next(place for place in (path, *path.parents) if place.exists())


def file_system_of(path: Path, mountinfo: str) -> str:
    """Type of the file system that a path is on, from the text of /proc/self/mountinfo."""
    found: dict[Path, str] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        found[Path(before.split()[4].replace("\\040", " "))] = after.split()[0]
    return next((found[place] for place in (path, *path.parents) if place in found), "unknown")


def available_memory(meminfo: str) -> int:
    """Bytes that programs can still get, from the text of /proc/meminfo."""
    fields: Mapping[str, str] = dict(line.split(":", 1) for line in meminfo.splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def is_free(port: int) -> bool:
    """Whether nothing listens on a port of 127.0.0.1."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
