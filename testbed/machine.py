"""Machines: the control plane and the nodes, each a process tree in namespaces of its own.

A machine is found by the command line of its process 1, which names its directory. No pid file can be stale, and a
machine whose creator crashed is found all the same.
"""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from testbed import cgroups
from testbed.commands import run
from testbed.errors import NotReadyError
from testbed.processes import Process, command_line, descendants, matching_pids, pinned

INIT = Path(__file__).with_name("machine_init.py")
INSIDE = Path("/run/testbed")
PROGRAMS = Path("/run/testbed-bin")
LISTENER = "{listener}"
FORWARD_PACKETS = ("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
_BOOT_TIMEOUT_S = 60
_HALT_ROUNDS = 20
_JOIN = 'while test "$1" != --; do echo 0 >"$1/cgroup.procs"; shift; done; shift; exec "$@"'


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """A program that the machine keeps running; `{listener}` in its arguments becomes the inherited socket's number."""

    name: str
    argv: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Specification:
    """What process 1 does: `machine.json`.

    `programs`: name below /run/testbed-bin to the file of the host; `setup`: commands to run once the network is there;
    `cable`: whether to wait for the link to the control plane.
    """

    programs: Mapping[str, str]
    setup: Sequence[Sequence[str]]
    daemons: Sequence[Daemon]
    cable: bool


def machine_of(argv: Sequence[str]) -> Path | None:
    """The machine that a process with this command line is becoming, or is process 1 of; None for all others."""
    return Path(argv[-2]) if tuple(argv[-4:-2]) == ("-I", str(INIT)) else None


def is_init_of(argv: Sequence[str], machine_dir: Path) -> bool:
    """Whether this is the command line of process 1 itself, not of the programs that were to start it."""
    return len(argv) == 5 and machine_of(argv) == machine_dir


def find(machine_dir: Path) -> int | None:
    """Process number, on the host, of the machine's process 1; None when the machine is off."""
    pids = matching_pids(lambda argv: is_init_of(argv, machine_dir))
    return pids[0] if pids else None


def require(machine_dir: Path) -> int:
    """Like `find`, but raises NotReadyError when the machine is off."""
    pid = find(machine_dir)
    if pid is None:
        raise NotReadyError(
            f"{machine_dir.name} is not running: bring the cluster up or start the node first."
        )
    return pid


def boot(
    machine_dir: Path, specification: Specification, *, cgroup: str, listener: socket.socket | None = None
) -> int:
    """Switch a machine on and return its process 1; its daemons start when its cable is plugged in.

    `cgroup` is the path of its control group, which is made.
    """
    (machine_dir / "log").mkdir(parents=True, exist_ok=True)
    (machine_dir / "var").mkdir(exist_ok=True)
    (machine_dir / "machine.json").write_text(json.dumps(asdict(specification), indent=1))
    (machine_dir / "booted").unlink(missing_ok=True)
    halt(machine_dir)  # what a start that was killed a moment ago may be about to become
    groups = cgroups.make(cgroup)
    number = listener.fileno() if listener else -1
    with (machine_dir / "log" / "init.log").open("ab") as log:
        starting = subprocess.Popen(
            [
                # Its own root of the control groups is where it is when it gets their namespace.
                *(*_joining(groups.roots), "unshare", "--cgroup", "--", *_joining(groups.leaves)),
                *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *(sys.executable, "-I", str(INIT), str(machine_dir), str(number)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[number] if listener else [],
            start_new_session=True,
            cwd="/",
        )

    def look() -> int | None:
        if starting.poll() is not None:
            raise _did_not_start(machine_dir)
        return find(machine_dir)

    return _await(look, machine_dir)


def _joining(groups: Sequence[Path]) -> list[str]:
    """The words in front of a command that make it join control groups."""
    return ["sh", "-euc", _JOIN, "sh", *map(str, groups), "--"]


def await_booted(machine_dir: Path) -> None:
    """Wait until the machine's set-up is done and its daemons are being started."""
    _await(lambda: find(machine_dir) if (machine_dir / "booted").exists() else None, machine_dir)


def _await(probe: Callable[[], int | None], machine_dir: Path) -> int:
    deadline = time.monotonic() + _BOOT_TIMEOUT_S
    while time.monotonic() < deadline:
        if (pid := probe()) is not None:
            return pid
        time.sleep(0.05)
    raise _did_not_start(machine_dir)


def _did_not_start(machine_dir: Path) -> NotReadyError:
    log = machine_dir / "log" / "init.log"
    return NotReadyError(f"{machine_dir.name} did not start:\n{log.read_text()[-2000:]}")


def halt(place: Path) -> None:
    """Take the power from a machine, or from all whose directories are in `place`.

    Every process, mount and interface of them is gone when this returns. They are found even if their directories are
    not there any more, and even if they were only about to start.
    """
    for _ in range(_HALT_ROUNDS):  # a program may become another one while it is looked at
        with pinned(
            lambda argv: (own := machine_of(argv)) is not None and place in {own, own.parent}
        ) as found:
            if not found:
                return
            for process in found:
                process.signal(signal.SIGKILL)
            for process in found:
                if not process.wait(timeout_s=60):
                    raise NotReadyError(f"Process {process.pid} of {place} does not end after SIGKILL.")
    raise NotReadyError(
        f"Machines of {place} are being started while they are taken down: end the other command."
    )


@contextlib.contextmanager
def daemon(machine_dir: Path, name: str) -> Iterator[Process]:
    """A running daemon of the machine, found by the first two words of its command line; raises NotReadyError."""
    init = require(machine_dir)
    program = str(PROGRAMS / "k8s")
    with pinned(lambda argv: argv[:2] == (program, name), among=descendants(init)) as found:
        if not found:
            raise NotReadyError(f"{name} is not running on {machine_dir.name}: see {machine_dir / 'log'}.")
        yield found[0]


def enter(init: int, *, network_only: bool = False) -> list[str]:
    """The words in front of a command that make it run inside a machine."""
    kinds = ["--net"] if network_only else ["--net", "--mount", "--pid"]
    return ["nsenter", f"--target={init}", *kinds, "--"]


def inside(machine_dir: Path, argv: Sequence[str], *, stdin: bytes | IO[bytes] = b"") -> str:
    """Run a command inside the machine and return its output."""
    return run([*enter(require(machine_dir)), *argv], stdin=stdin)


def daemons(machine_dir: Path) -> dict[str, bool]:
    """The daemons that the machine is to run, and which of them do."""
    specification = machine_dir / "machine.json"
    if not specification.exists():
        return {}
    init = find(machine_dir)
    running = {command_line(pid)[:2] for pid in descendants(init)} if init is not None else set()
    wanted = json.loads(specification.read_text())["daemons"]
    return {entry["name"]: tuple(entry["argv"][:2]) in running for entry in wanted}
