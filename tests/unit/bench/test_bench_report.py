"""Benchmark reports say how often, how much and where."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.report import Machine, Report, Series, describe_machine, machine_from, render_report, write_json

MACHINE = Machine(
    processor="Some CPU",
    cores=2,
    memory_bytes=24 * 2**30,
    system="Debian GNU/Linux 12 (bookworm)",
    kernel="6.1.0",
    python="3.11.2",
    load_1m=0.5,
)
REPORT = Report(
    title="Failover",
    series=(
        Series(name="crash: last error", unit="s", values=(0.11, 0.06, 0.4), bar="< 0.5"),
        Series(name="crash: lost", unit="messages", values=(0, 0, 0, 0), bar="0"),
    ),
    machine=MACHINE,
    time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    parameters={"rate": 200},
)


def test_a_report_shows_number_of_runs_median_minimum_and_maximum() -> None:
    lines = render_report(REPORT).splitlines()
    assert [line.split() for line in lines if line.startswith("crash")] == [
        ["crash:", "last", "error", "s", "3", "0.11", "0.06", "0.4", "<", "0.5"],
        ["crash:", "lost", "messages", "4", "0", "0", "0", "0"],
    ]
    assert lines[0] == "Failover"
    assert lines[-2:] == [
        "rate 200",
        "Some CPU, 2 cores, 24 GiB, Debian GNU/Linux 12 (bookworm), Linux 6.1.0, Python 3.11.2",
    ]


def test_the_json_has_every_value_and_the_machine(tmp_path: Path) -> None:
    path = tmp_path / "results" / "failover.json"
    write_json(REPORT, path)
    written = json.loads(path.read_text("utf-8"))
    assert written["time"] == "2026-01-02T03:04:05+00:00"
    assert written["machine"]["cores"] == 2
    assert written["parameters"] == {"rate": 200}
    assert written["series"][0] == {
        "name": "crash: last error",
        "unit": "s",
        "values": [0.11, 0.06, 0.4],
        "bar": "< 0.5",
        "n": 3,
        "median": 0.11,
        "min": 0.06,
        "max": 0.4,
    }


def test_what_was_never_measured_cannot_be_reported() -> None:
    with pytest.raises(ValueError, match="never measured"):
        Series(name="nothing", unit="s", values=())


def test_a_machine_is_described_from_what_the_kernel_tells() -> None:
    machine = machine_from(
        cpuinfo="processor\t: 0\nmodel name\t: Some CPU @ 3.0GHz\nmodel name\t: Another\n",
        meminfo="MemFree: 1 kB\nMemTotal:       25165824 kB\n",
        os_release='ID=debian\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n',
        cores=2,
        load_1m=1.5,
    )
    assert (machine.processor, machine.memory_bytes) == ("Some CPU @ 3.0GHz", 24 * 2**30)
    assert machine.system == "Debian GNU/Linux 13 (trixie)"


def test_a_machine_that_tells_nothing_is_still_described() -> None:
    machine = machine_from(cpuinfo="", meminfo="", os_release="", cores=1, load_1m=0)
    assert (machine.memory_bytes, machine.system) == (0, "unknown")


def test_this_machine_has_cores_and_memory() -> None:
    machine = describe_machine()
    assert machine.cores >= 1
    assert machine.memory_bytes > 0
