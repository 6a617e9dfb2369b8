"""The Debian packages that a native cluster needs: installed when possible, named otherwise."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from testbed import cache
from testbed.commands import run_logged
from testbed.progress import step

_CNI_PLUGIN = Path("/usr/lib/cni/ptp")
# program to package; what is essential in Debian (mount, unshare, nsenter, dd) is left out
_PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "mkfs.ext4": "e2fsprogs",
    "openssl": "openssl",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
}


def missing() -> tuple[str, ...]:
    """Packages whose programs are not there, in alphabetical order."""
    wanted = {package for program, package in _PROGRAMS.items() if shutil.which(program) is None}
    if not _CNI_PLUGIN.exists():
        wanted.add("containernetworking-plugins")
    return tuple(sorted(wanted))


def install_missing() -> None:
    """Install what is missing with apt-get; without apt-get it stays missing. Needs root."""
    install(missing())


def install(wanted: Sequence[str]) -> None:
    """Install Debian packages with apt-get; without apt-get nothing happens. Needs root."""
    if not wanted or shutil.which("apt-get") is None:
        return
    log = cache.root() / "logs" / "apt-get.log"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step(f"install Debian packages: {' '.join(wanted)}"):
        run_logged(["apt-get", "update"], log=log, env=environment)
        run_logged(["apt-get", "install", "-y", "--no-install-recommends", *wanted], log=log, env=environment)
