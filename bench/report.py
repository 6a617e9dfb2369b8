"""How benchmarks report: a table of repeated measurements, and the same as JSON with the machine they were made on.

One run proves nothing on a shared machine, so every figure stands with its number of runs, minimum and maximum.
"""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from mailcheck.table import render_table


@dataclass(frozen=True, kw_only=True)
class Series:
    """Repeated measurements of one thing, in the order in which they were made."""

    name: str
    unit: str
    values: tuple[float, ...]
    bar: str = ""
    """What is asked for, in words: ``< 0.5 s``."""

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"{self.name} was never measured")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where a benchmark ran; ratios carry over to other machines, absolute figures do not."""

    processor: str
    cores: int
    memory_bytes: int
    system: str
    kernel: str
    python: str
    load_1m: float
    """Load average at the time of the report: how busy the machine was."""

    @property
    def summary(self) -> str:
        """One line for a document."""
        memory = f"{self.memory_bytes / 2**30:.0f} GiB"
        software = f"{self.system}, Linux {self.kernel}, Python {self.python}"
        return f"{self.processor}, {self.cores} cores, {memory}, {software}"


@dataclass(frozen=True, kw_only=True)
class Report:
    """The results of one benchmark."""

    title: str
    series: tuple[Series, ...]
    machine: Machine
    time: datetime
    parameters: Mapping[str, object] = field(default_factory=dict)
    """What else one needs to know to repeat it: rate, message size, versions."""


def render_report(report: Report) -> str:
    """Title, table and machine as plain text, at most 100 columns."""
    rows = [
        (
            s.name,
            s.unit,
            len(s.values),
            float(median(s.values)),
            float(min(s.values)),
            float(max(s.values)),
            s.bar,
        )
        for s in report.series
    ]
    table = render_table(("measured", "unit", "n", "median", "min", "max", "asked"), rows)
    lines = [report.title, "", table, ""]
    if report.parameters:
        lines.append(", ".join(f"{name} {value}" for name, value in report.parameters.items()))
    return "\n".join([*lines, report.machine.summary])


def write_json(report: Report, path: Path) -> None:
    """Write the report with every single value, creating the folder if need be."""
    fields = asdict(report) | {"time": report.time.isoformat(timespec="seconds")}
    for series, s in zip(fields["series"], report.series, strict=True):
        series |= {"n": len(s.values), "median": median(s.values), "min": min(s.values), "max": max(s.values)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fields, indent=2) + "\n", "utf-8")


def describe_machine() -> Machine:
    """The machine that this runs on, as Linux tells it."""
    return machine_from(
        cpuinfo=_read("/proc/cpuinfo"),
        meminfo=_read("/proc/meminfo"),
        os_release=_read("/etc/os-release"),
        cores=len(os.sched_getaffinity(0)),
        load_1m=os.getloadavg()[0],
    )


def machine_from(*, cpuinfo: str, meminfo: str, os_release: str, cores: int, load_1m: float) -> Machine:
    """A description from the texts of the kernel; what they do not tell is "unknown" or 0."""
    processor = _field(cpuinfo, "model name", ":") or platform.machine() or "unknown"
    return Machine(
        processor=processor,
        cores=cores,
        memory_bytes=int(_field(meminfo, "MemTotal", ":").removesuffix("kB").strip() or 0) * 1024,
        system=_field(os_release, "PRETTY_NAME", "=").strip('"') or "unknown",
        kernel=platform.release(),
        python=platform.python_version(),
        load_1m=load_1m,
    )


def now() -> datetime:
    """The time for a report."""
    return datetime.now(UTC)


def _field(text: str, name: str, separator: str) -> str:
    """The first value of a name in lines of ``name separator value``; empty if there is none."""
    for line in text.splitlines():
        key, _, value = line.partition(separator)
        if key.strip() == name:
            return value.strip()
    return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except OSError:  # a container may hide it; the report then says "unknown"
        return ""
