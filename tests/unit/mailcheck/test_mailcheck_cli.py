"""The commands, and their exit codes, which scripts rely on."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailcheck.cli import main
from mailcheck.jsonl import encode_arrival, encode_attempt
from mailcheck.model import Arrival, Outcome
from tests.unit.mailcheck.records import arrival, attempt

ROOT = Path(__file__).resolve().parents[3]


def write(path: Path, *lines: str) -> str:
    path.write_text("".join(line + "\n" for line in lines), "ascii")
    return str(path)


def test_check_ends_with_0_if_all_mail_is_accounted_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attempts = write(tmp_path / "attempts", encode_attempt(attempt()))
    arrivals = write(tmp_path / "arrivals", encode_arrival(arrival()))
    assert main(["check", attempts, arrivals, "--fault", "0=kill"]) == 0
    shown = capsys.readouterr().out
    assert "OK" in shown
    assert "kill" in shown


def test_negative_control_check_ends_with_1_if_one_arrival_is_taken_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"m{n}" for n in range(20)]
    attempts = write(tmp_path / "attempts", *(encode_attempt(attempt(n)) for n in names))
    whole = write(tmp_path / "whole", *(encode_arrival(arrival(n)) for n in names))
    part = write(tmp_path / "part", *(encode_arrival(arrival(n)) for n in names if n != "m7"))
    assert main(["check", attempts, whole]) == 0
    assert main(["check", attempts, part]) == 1
    assert "lost: m7" in capsys.readouterr().out


@pytest.mark.parametrize("changed", [arrival("stranger"), arrival(digest="e" * 64)])
def test_check_ends_with_1_for_unexpected_and_corrupted_mail(tmp_path: Path, changed: Arrival) -> None:
    attempts = write(tmp_path / "attempts", encode_attempt(attempt()))
    arrivals = write(tmp_path / "arrivals", encode_arrival(arrival()), encode_arrival(changed))
    assert main(["check", attempts, arrivals]) == 1


def test_check_does_not_mind_errors_and_duplicates(tmp_path: Path) -> None:
    failed = attempt("m2", Outcome.FAILED_BEFORE)
    attempts = write(tmp_path / "attempts", encode_attempt(attempt()), encode_attempt(failed))
    arrivals = write(tmp_path / "arrivals", *[encode_arrival(arrival())] * 2)
    assert main(["check", attempts, arrivals]) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "/nonexistent", "/nonexistent"],
        ["check", "/dev/null", "/dev/null", "--fault", "noon=kill"],
        ["generate", "--target", "127.0.0.1:1", "--rate", "5"],
        ["generate", "--target", "127.0.0.1:1", "--closed", "5"],
        ["generate", "--target", "127.0.0.1:1", "--closed", "5", "--seconds", "1", "--rate", "5"],
        ["generate", "--target", "nowhere", "--rate", "5", "--count", "1"],
        ["sink", "--listen", "127.0.0.1", "--control", "127.0.0.1:0"],
        ["sink", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--record", "/nonexistent/file"],
    ],
)
def test_what_cannot_be_measured_ends_with_2_and_a_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("mailcheck: ")


@contextlib.contextmanager
def sink_process(record: Path) -> Iterator[dict[str, int]]:
    command = ["sink", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--record", str(record)]
    process = subprocess.Popen(
        [sys.executable, "-m", "mailcheck", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()
            assert process.wait() == 0


def test_the_three_commands_work_together_as_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attempts, arrivals = tmp_path / "attempts.jsonl", tmp_path / "arrivals.jsonl"
    with sink_process(arrivals) as ports:
        target = f"127.0.0.1:{ports['smtp']}"
        code = main(
            ["generate", "--target", target, "--rate", "1000", "--count", "50", "--output", str(attempts)]
        )
        assert code == 0
        assert (
            main(["generate", "--target", target, "--closed", "2", "--seconds", "0.05", "--reuse", "1"]) == 0
        )
    printed = capsys.readouterr()
    assert "accepted per second" in printed.err
    closed = [line for line in printed.out.splitlines() if line.startswith("{")]
    together = write(tmp_path / "together", *attempts.read_text().splitlines(), *closed)
    assert main(["check", together, str(arrivals)]) == 0
