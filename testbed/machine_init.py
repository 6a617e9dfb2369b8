"""Process 1 of a machine: the control plane or a node, made of namespaces.

Run as a file by `testbed.machine` inside fresh network, mount and process namespaces. It owns everything of the
machine: when it dies, for whatever reason, the kernel ends every other process of the machine, unmounts its volumes and
removes its network, so nothing can be left behind and a machine can lose its power (SIGKILL) like a real one.

It mounts what makes the machine its own (an empty /run, its own /var), waits for its cable, runs the set-up commands,
then starts the daemons, starts those again that end, and reaps orphans.

Arguments: the machine's directory, which holds `machine.json` (see `testbed.machine.Specification`), and the number of
the inherited listening socket, or -1.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path("/run/testbed")
RESTART_DELAY_S = 1.0
POLL_S = 0.1
CABLE = "eth0"
LISTENER = "{listener}"
ENVIRONMENT = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/root", "GOGC": "400"}
"""Of every daemon. The Go programs among them have little memory, and collect it less often than they would."""


def _mount(*arguments: str, keep: tuple[int, ...] = ()) -> None:
    subprocess.run(["mount", *arguments], check=True, pass_fds=keep)


def _bind(source_fd: int, target: Path) -> None:
    _mount("--bind", f"/proc/self/fd/{source_fd}", str(target), keep=(source_fd,))


def mount_own_cgroups() -> None:
    """Show the machine its own control group as the root of each hierarchy, as its control group namespace has it."""
    known = {line.split()[0] for line in Path("/proc/cgroups").read_text().splitlines()[1:]}
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    for _, place, kind, options, *_ in mounts:
        if kind not in {"cgroup", "cgroup2"}:
            continue
        controllers = [word for word in options.split(",") if word in known or word.startswith("name=")]
        subprocess.run(["umount", "--lazy", place], check=True)
        _mount("-t", kind, *(["-o", ",".join(controllers)] if kind == "cgroup" else []), kind, place)


def make_own_file_system(machine_dir: Path, programs: dict[str, str]) -> None:
    """Give the machine an empty /run, its own /var, and fixed paths to its directory and programs below /run/testbed.

    The sources are opened first, for they may lie below what is about to be covered.
    """
    mount_own_cgroups()
    own = os.open(machine_dir, os.O_PATH)
    opened = {name: os.open(path, os.O_PATH) for name, path in programs.items()}
    _mount("--make-rshared", "/")
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    ROOT.mkdir()
    _bind(own, ROOT)
    binaries = Path("/run/testbed-bin")
    binaries.mkdir()
    for name, descriptor in opened.items():
        (binaries / name).touch()
        _bind(descriptor, binaries / name)
        os.close(descriptor)
    os.close(own)
    var = ROOT / "var"
    for name in ("lib", "log", "cache", "spool", "local-path", "local-path-sized"):
        (var / name).mkdir(parents=True, exist_ok=True)
    (var / "tmp").mkdir(mode=0o1777, exist_ok=True)
    if not (var / "run").is_symlink():
        (var / "run").symlink_to("/run")
    _mount("--bind", str(var), "/var")


def wait_for_cable() -> None:
    """Wait until somebody has plugged the machine into the control plane's bridge; the default route comes last."""
    while not any(
        line.split()[:2] == [CABLE, "00000000"] for line in Path("/proc/net/route").read_text().splitlines()
    ):
        time.sleep(0.05)


class Daemons:
    """The machine's daemons: starts them, and again one second after their end."""

    def __init__(self, specification: list[dict[str, Any]], listener: int) -> None:
        self._waiting = {entry["name"]: (entry, 0.0) for entry in specification}
        self._running: dict[int, tuple[subprocess.Popen[bytes], dict[str, Any]]] = {}
        self._listener = listener

    def start_due(self) -> None:
        """Start the daemons whose time has come."""
        now = time.monotonic()
        for name, (entry, due) in list(self._waiting.items()):
            if due <= now:
                del self._waiting[name]
                process = self._start(entry)
                self._running[process.pid] = (process, entry)

    def _start(self, entry: dict[str, Any]) -> "subprocess.Popen[bytes]":
        takes_listener = LISTENER in entry["argv"]
        with (ROOT / "log" / f"{entry['name']}.log").open("ab") as log:
            return subprocess.Popen(
                [str(self._listener) if part == LISTENER else part for part in entry["argv"]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=ENVIRONMENT,
                pass_fds=[self._listener] if takes_listener else [],
                start_new_session=True,
            )

    def reap(self) -> None:
        """Collect the dead: orphans of the machine, and daemons that will be started again."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._running:
                process, entry = self._running.pop(pid)
                process.returncode = os.waitstatus_to_exitcode(
                    status
                )  # so that subprocess never waits for this number
                print(f"{entry['name']} ended: {process.returncode}; it is started again", flush=True)
                self._waiting[entry["name"]] = (entry, time.monotonic() + RESTART_DELAY_S)


def main() -> None:
    """Become the machine."""
    machine_dir, listener = Path(sys.argv[1]), int(sys.argv[2])
    specification = json.loads((machine_dir / "machine.json").read_text())
    make_own_file_system(machine_dir, specification["programs"])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    if specification["cable"]:
        wait_for_cable()
    for argv in specification["setup"]:
        subprocess.run(argv, check=True)
    daemons = Daemons(specification["daemons"], listener)
    (ROOT / "booted").touch()
    while True:
        daemons.start_due()
        time.sleep(POLL_S)
        daemons.reap()


if __name__ == "__main__":
    main()
