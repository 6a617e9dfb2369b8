"""The operator as a program: what it says when it cannot start."""

import json
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from smtpfleet.controller import process
from smtpfleet.controller.settings import from_environment

COMPLETE = {
    "POD_NAME": "a",
    "POD_NAMESPACE": "mail",
    "RELAY_IMAGE": "example.net/relay:1",
    "BALANCER_IMAGE": "example.net/balancer:1",
}


def _start(tmp_path: Path, **environment: str) -> tuple[int, list[dict[str, str]]]:
    """Exit code and log of an operator in an environment of its own."""
    path = {"PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "smtpfleet.controller"],
        env=path | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_without_settings_it_names_all_that_are_missing_and_ends(tmp_path: Path) -> None:
    code, log = _start(tmp_path)
    assert code == 2
    assert [line["message"] for line in log] == ["the operator cannot start"]
    assert all(variable in log[0]["reason"] for variable in COMPLETE)


@pytest.mark.parametrize("kubeconfig", ["missing", "{}"])
def test_without_a_cluster_it_says_that_it_cannot_log_in(tmp_path: Path, kubeconfig: str) -> None:
    path = tmp_path / "kubeconfig"
    if kubeconfig != "missing":
        path.write_text(kubeconfig)
    code, log = _start(tmp_path, KUBECONFIG=str(path), **COMPLETE)
    assert code == 2
    assert (log[0]["message"], log[-1]["message"]) == ("starting", "the operator cannot start")
    assert "cannot log in to the API server" in log[-1]["reason"]


async def test_the_lease_has_connections_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A renewal that waits behind lists comes too late, and another operator takes over."""
    users: dict[str, object] = {}

    class Connections:
        def __init__(self, _: object) -> None: ...

        def fenced(self, _: object) -> "Connections":
            return self

    class Work:
        queue = ledger = Mock()

        def __init__(self, *, cluster: object, **_: object) -> None:
            users["work"] = cluster

    async def login() -> None: ...

    async def occupied(**_: object) -> None:
        raise OSError

    monkeypatch.setattr("smtpfleet.cluster.credentials.load", login)
    monkeypatch.setattr(process, "Cluster", Connections)
    monkeypatch.setattr(process, "LeaseStore", lambda cluster, **_: users.setdefault("lease", cluster))
    monkeypatch.setattr(process, "Leader", Work)
    monkeypatch.setattr(process, "serve", occupied)
    assert await process._run(from_environment(COMPLETE)) == 2
    assert users["lease"] is not users["work"]


def test_it_may_open_as_many_files_as_the_container_allows() -> None:
    lines = (
        "from resource import RLIMIT_NOFILE, getrlimit, setrlimit",
        "from smtpfleet.controller.process import allow_open_files",
        "setrlimit(RLIMIT_NOFILE, (256, 512))",
        "allow_open_files()",
        "print(getrlimit(RLIMIT_NOFILE))",
    )
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", "\n".join(lines)]
    assert (
        subprocess.run(command, env=path, capture_output=True, text=True, check=True).stdout == "(512, 512)\n"
    )
