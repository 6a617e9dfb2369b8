"""Faults in the processes of a container, by signals from the node's side.

Works where this machine is the node (the native cluster): the container's processes are found by the container id
in their cgroup. On kind the same is done inside the node's container.
"""

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scenario.kube import Kube

_PROC: Final = Path("/proc")


@dataclass(frozen=True, kw_only=True)
class Container:
    """A running container: ``pids`` of this machine, its first process first."""

    pod: str
    name: str
    id: str
    pids: tuple[int, ...]


def find_container(kube: Kube, *, namespace: str, pod: str, container: str) -> Container:
    """Look a container's processes up.

    Raises:
        LookupError: the container does not run, or its processes are not on this machine.
    """
    found = kube.get("pod", pod, "-n", namespace)
    statuses = found["status"].get("containerStatuses", [])
    ids = [status.get("containerID", "") for status in statuses if status["name"] == container]
    match = re.fullmatch(r"containerd://([0-9a-f]{64})", ids[0]) if ids else None
    if match is None:
        raise LookupError(f"container {container} of pod {pod} does not run")
    pids = _pids_of_cgroup(match[1])
    if not pids:
        raise LookupError(f"no process of pod {pod} on this machine: signals need the native cluster")
    return Container(pod=pod, name=container, id=match[1], pids=pids)


def _pids_of_cgroup(container_id: str) -> tuple[int, ...]:
    """By their numbers inside the container: on the machine a later process may have a smaller number."""
    inside = {}
    for directory in _PROC.iterdir():
        if not directory.name.isdigit():
            continue
        try:
            if container_id in (directory / "cgroup").read_text():
                inside[int(directory.name)] = _inner_pid((directory / "status").read_text())
        except OSError:
            continue  # it ended meanwhile
    return tuple(sorted(inside, key=inside.__getitem__))


def _inner_pid(status: str) -> int:
    """Number in the innermost PID namespace (``NSpid`` of proc(5)); 1 is the container's first process."""
    match = re.search(r"^NSpid:.*?(\d+)$", status, re.MULTILINE)
    if match is None:
        raise OSError("the process has ended")
    return int(match[1])


def kill(container: Container) -> float:
    """SIGKILL the first process, and with it (a PID namespace's init) all others; returns the moment."""
    moment = time.time()
    os.kill(container.pids[0], signal.SIGKILL)
    return moment


def stop(container: Container) -> float:
    """SIGSTOP every process: sockets stay open, nothing answers; returns the moment of the last."""
    for pid in reversed(container.pids):
        _signal(pid, signal.SIGSTOP)
    # What was forked while the others were being stopped.
    for pid in set(_pids_of_cgroup(container.id)) - set(container.pids):
        _signal(pid, signal.SIGSTOP)
    return time.time()


def resume(container: Container) -> float:
    """SIGCONT every process; returns the moment."""
    for pid in _pids_of_cgroup(container.id):
        _signal(pid, signal.SIGCONT)
    return time.time()


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def signal_program(container: Container, program: str, number: signal.Signals) -> int:
    """Send a signal to each process of this name (``comm`` of proc(5)); returns how many were found."""
    found = 0
    for pid in _pids_of_cgroup(container.id):
        try:
            is_it = (_PROC / str(pid) / "comm").read_text().strip() == program
        except OSError:
            continue  # it ended meanwhile
        if is_it:
            _signal(pid, number)
            found += 1
    return found


def resident_bytes(container: Container) -> int:
    """Resident memory of the container's first process."""
    text = (_PROC / str(container.pids[0]) / "status").read_text()
    match = re.search(r"^VmRSS:\s+(\d+) kB", text, re.MULTILINE)
    if match is None:
        raise LookupError(f"process {container.pids[0]} has no memory of its own")
    return int(match[1]) * 1024


def delete_pod(kube: Kube, *, namespace: str, pod: str, force: bool = False) -> float:
    """Delete a pod as a user does, without waiting; returns the moment before the call."""
    flags = ("--grace-period=0", "--force") if force else ()
    moment = time.time()
    subprocess.run(
        [str(kube.kubectl), "delete", "pod", pod, "-n", namespace, "--wait=false", *flags],
        env=dict(kube.environment),
        check=True,
        capture_output=True,
        timeout=60,
    )
    return moment
