"""The operator as a program: what it says when it cannot start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
