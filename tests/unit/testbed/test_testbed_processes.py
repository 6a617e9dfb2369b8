"""A signal reaches the process that was meant, or nobody."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import machine, processes

MARK = "a-process-of-this-test"


def is_marked(argv: tuple[str, ...]) -> bool:
    return f"{MARK}-{os.getpid()}" in argv


@pytest.fixture
def marked() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is running its program; the line that it prints says so."""
    program = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, f"{MARK}-{os.getpid()}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_process_is_found_by_its_command_line(marked: "subprocess.Popen[bytes]") -> None:
    assert processes.matching_pids(is_marked) == [marked.pid]
    assert marked.pid in processes.descendants(os.getpid())


def test_a_number_that_belongs_to_another_program_is_left_alone(marked: "subprocess.Popen[bytes]") -> None:
    with processes.pinned(lambda argv: "something else" in argv, among=[marked.pid]) as found:
        assert found == []


def test_a_pinned_process_gets_the_signal_and_its_end_is_seen(marked: "subprocess.Popen[bytes]") -> None:
    with processes.pinned(is_marked) as (process,):
        assert not process.wait(timeout_s=0)
        process.signal(signal.SIGKILL)
        assert process.wait(timeout_s=60)
    assert marked.wait() == -signal.SIGKILL


def test_a_signal_to_a_process_that_has_ended_hits_nobody(marked: "subprocess.Popen[bytes]") -> None:
    with processes.pinned(is_marked) as (process,):
        marked.kill()
        marked.wait()
        process.signal(signal.SIGKILL)


def test_a_process_that_is_gone_has_no_command_line(tmp_path: Path) -> None:
    assert processes.command_line(1, proc=tmp_path) == ()


INIT = ("/usr/bin/python3", "-I", str(machine.INIT), "/src/.cluster/dev/n1", "-1")
N1 = Path("/src/.cluster/dev/n1")


def test_only_process_1_of_a_machine_is_taken_for_it() -> None:
    assert machine.is_init_of(INIT, N1)
    assert not machine.is_init_of(("unshare", "--net", *INIT), N1)
    assert not machine.is_init_of(INIT, N1.with_name("n2"))


def test_what_is_about_to_become_a_machine_belongs_to_it() -> None:
    assert machine.machine_of(("unshare", "--net", *INIT)) == N1


def test_other_programs_that_name_the_same_files_belong_to_no_machine() -> None:
    assert machine.machine_of(("vim", str(machine.INIT), str(N1))) is None
    assert machine.machine_of(("sh",)) is None
