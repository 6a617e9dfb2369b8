"""What a relay's agent spends on the facts of its queue: ``python -m bench queuefacts``, no cluster.

A queue of 50,000 messages is scanned as the agent does, once while nothing changes and once with every directory
changed since; then lines of deliveries are read as the log pump does. Last, the kernel is asked for clients' sessions,
as each second, and in the way that is left where it has no netlink.
"""

import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.report import Report, Series, describe_machine
from smtpfleet.relay.logreader import LogReader
from smtpfleet.relay.mainconf import PORTS
from smtpfleet.relay.network import read_sockets, read_tables
from smtpfleet.relay.queuescan import Memory, scan

WAITING: Final = {"deferred": 45_000, "active": 4_000, "incoming": 1_000}
"""Messages of the queue by directory."""
LINES: Final = 20_000
SCANS: Final = 10
_DIGITS: Final = "0123456789ABCDEF"
_ALPHABET: Final = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"
_LONG_AGO: Final = time.time() - 60
_LINE: Final = (
    "Nov 26 04:24:28 outbound-relay-0 postfix/smtp[195]: {id}: to=<user{n}@d{domain}.example>,"
    " relay=mx.d{domain}.example[192.0.2.{domain}]:25, delay=0.43, delays=0.02/0.01/0.1/0.3,"
    " dsn={dsn}, status={outcome}"
)
_OUTCOMES: Final = (
    ("2.0.0", "sent (250 2.0.0 Ok: queued as 4dKZ8x0b3Xz1)"),
    ("4.3.0", "deferred (host mx.example[192.0.2.1] said: 451 4.3.0 Later (in reply to RCPT TO command))"),
)


def run(runs: int) -> Report:
    """Every measurement so many times."""
    with tempfile.TemporaryDirectory() as folder:
        queue = Path(folder)
        fill(queue)
        memory = Memory()
        still = [measured(lambda: scan(queue, memory=memory), SCANS) for _ in range(runs)]
        busy = [measured(lambda: scan(queue, memory=Memory()), SCANS) for _ in range(runs)]
    lines = [measured(read_lines, 1) for _ in range(runs)]
    asked = [measured(lambda: read_sockets(PORTS), SCANS) for _ in range(runs)]
    read = [measured(lambda: read_tables(PORTS), SCANS) for _ in range(runs)]
    return Report(
        title="Facts of the queue: what they cost a relay's agent",
        series=(
            _series("scan, every directory changed", "ms", (wall * 1e3 for wall, _ in busy), "< 60"),
            _series("CPU of it at one a second", "%", (cpu * 100 for _, cpu in busy)),
            _series("scan, nothing changed", "ms", (wall * 1e3 for wall, _ in still), "< 60"),
            _series("CPU of it at one a second", "%", (cpu * 100 for _, cpu in still), "< 2"),
            _series("line of a delivery", "µs CPU", (cpu / LINES * 1e6 for _, cpu in lines)),
            _series("clients' sessions, by netlink", "ms CPU", (cpu * 1e3 for _, cpu in asked)),
            _series("clients' sessions, from /proc", "ms CPU", (cpu * 1e3 for _, cpu in read)),
        ),
        machine=describe_machine(),
        time=datetime.now(UTC),
        parameters={"messages": sum(WAITING.values()), **WAITING},
    )


def fill(queue: Path) -> None:
    """Make the files of a queue that has not changed for a while."""
    ids = _ids()
    for directory, count in WAITING.items():
        folders = (
            [queue / directory / digit for digit in _DIGITS]
            if directory == "deferred"
            else [queue / directory]
        )
        for folder in folders:
            folder.mkdir(parents=True)
        for number in range(count):
            os.close(os.open(folders[number % len(folders)] / next(ids), os.O_CREAT | os.O_WRONLY, 0o700))
        for folder in folders:
            os.utime(folder, (_LONG_AGO, _LONG_AGO))


def measured(act: Callable[[], object], times: int) -> tuple[float, float]:
    """Seconds by the clock and of CPU that it takes, on average; once more before, to warm up."""
    act()
    wall, cpu = time.perf_counter(), time.thread_time()
    for _ in range(times):
        act()
    return (time.perf_counter() - wall) / times, (time.thread_time() - cpu) / times


def read_lines() -> None:
    """As many deliveries as a busy relay has in a minute."""
    reader = LogReader(mask_addresses=True)
    for number, id_ in zip(range(LINES), _ids(), strict=False):
        dsn, outcome = _OUTCOMES[number % len(_OUTCOMES)]
        reader.read(_LINE.format(id=id_, n=number, domain=number % 50, dsn=dsn, outcome=outcome))


def _ids() -> Iterator[str]:
    """Long queue ids, as Postfix makes them."""
    for number in itertools.count():
        yield f"{_base52(1_700_000_000 + number // 50, 6)}{_base52(number * 7919 % 1_000_000, 4)}z1abc"


def _base52(value: int, digits: int) -> str:
    return "".join(_ALPHABET[value // 52**place % 52] for place in reversed(range(digits)))


def _series(name: str, unit: str, values: Iterator[float], bar: str = "") -> Series:
    return Series(name=name, unit=unit, values=tuple(values), bar=bar)
