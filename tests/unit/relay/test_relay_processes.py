"""Child processes, the log's pipe and Postfix's files, on this machine's own kernel."""

import asyncio
import json
import logging
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from smtpfleet.logs import JsonFormatter
from smtpfleet.relay.children import Children
from smtpfleet.relay.logpump import LogPump
from smtpfleet.relay.logreader import LogLine, LogReader
from smtpfleet.relay.mainconf import Configuration
from smtpfleet.relay.postfix import write


def _ended_orphan() -> None:
    """A zombie that nobody has started by Children, as PID 1 gets them."""
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


OWNER = (os.getuid(), os.getgid())


async def test_a_command_tells_code_and_both_outputs() -> None:
    result = await Children().run(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"], limit_s=10)
    assert (result.code, sorted(result.output.split())) == (3, ["err", "out"])


async def test_a_command_that_takes_too_long_is_killed() -> None:
    result = await Children().run(["/bin/cat", "/dev/zero"], limit_s=0)
    assert result.code == -signal.SIGKILL


async def test_a_command_gets_no_environment_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    assert "SECRET" not in (await Children().run(["/usr/bin/env"], limit_s=10)).output


async def test_orphans_are_reaped_and_the_codes_of_our_own_are_not_stolen() -> None:
    children = Children()
    own = await children.start(["/bin/sh", "-c", "exit 7"], output=asyncio.subprocess.DEVNULL)
    _ended_orphan()
    code = await own.wait()
    assert (code, children.reap()) == (7, 1)
    assert children.reap() == 0


def test_lines_arrive_in_the_agents_form(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pump = LogPump(LogReader(mask_addresses=True), owner=OWNER, syslog=tmp_path / "log")
    with caplog.at_level(logging.INFO, logger="postfix"):
        pump.start()
        os.write(pump.input, b"Nov 22 04:24:28 r0 postfix/smtp[195]: 4jX: to=<bob@example.net>, st")
        os.write(pump.input, b"atus=sent (250 Ok)\nNov 22 04:24:28 r0 postfix/smtpd[9]: fatal: no\n")
        pump.finish()
    lines = [json.loads(JsonFormatter("relay").format(record)) for record in caplog.records]
    assert [(line["logger"], line["level"], line["pid"]) for line in lines] == [
        ("postfix.smtp", "info", 195),
        ("postfix.smtpd", "critical", 9),
    ]
    assert lines[0]["message"] == "4jX: to=<b***@example.net>, status=sent (250 Ok)"


def test_lines_of_syslog_arrive_from_every_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pump = LogPump(LogReader(mask_addresses=True), owner=OWNER, syslog=tmp_path / "log")
    with caplog.at_level(logging.INFO, logger="postfix"):
        pump.start()
        for number in range(3):
            with socket.socket(socket.AF_UNIX) as process:
                process.connect(str(tmp_path / "log"))
                process.sendall(b"<22>Nov 22 04:24:28 postfix/smtpd[%d]: one[1]: two\0" % number)
                process.sendall(b"<20>Nov 22 04:24:28 postfix/smtpd[%d]: warning: three\0" % number)
        pump.finish()
    seen = sorted(
        (record.levelname, record.getMessage(), vars(record).get("pid", 0)) for record in caplog.records
    )
    assert [(level, text) for level, text, _ in seen] == [("INFO", "one[1]: two")] * 3 + [
        ("WARNING", "warning: three")
    ] * 3
    assert {pid for _, _, pid in seen} == {0, 1, 2}


def test_of_what_came_at_the_same_time_smtpds_lines_are_carried_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Cleanup has been connected for long, and smtpd has just begun: cleanup's line about its message is read after."""
    pump = LogPump(LogReader(mask_addresses=True), owner=OWNER, syslog=tmp_path / "log")
    with (
        caplog.at_level(logging.INFO, logger="postfix"),
        socket.socket(socket.AF_UNIX) as cleanup,
        socket.socket(socket.AF_UNIX) as smtpd,
    ):
        cleanup.connect(str(tmp_path / "log"))
        smtpd.connect(str(tmp_path / "log"))
        cleanup.sendall(b"<22>Nov 22 04:24:28 postfix/cleanup[2]: 4jX: message-id=<a@b>\0")
        smtpd.sendall(b"<22>Nov 22 04:24:28 postfix/smtpd[1]: 4jX: client=x[192.0.2.1]\0")
        pump.start()
        pump.finish()
    assert [vars(record)["pid"] for record in caplog.records] == [1, 2]


def test_a_line_that_cannot_be_read_ends_nothing_and_is_not_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Fails(LogReader):
        def read(self, line: str) -> LogLine | None:
            if "jane" in line:
                raise ValueError(line)
            return super().read(line)

    pump = LogPump(Fails(mask_addresses=True), owner=OWNER, syslog=tmp_path / "log")
    with caplog.at_level(logging.INFO):
        pump.start()
        os.write(pump.input, b"Nov 22 04:24:28 r0 postfix/smtp[195]: to=<jane@example.net>\n")
        os.write(pump.input, b"Nov 22 04:24:28 r0 postfix/smtpd[9]: fatal: no\n")
        pump.finish()
    lines = [JsonFormatter("relay").format(record) for record in caplog.records]
    assert sorted(json.loads(line)["message"] for line in lines) == [
        "a line of Postfix's log cannot be read",
        "fatal: no",
    ]
    assert "jane" not in "".join(lines)
    assert pump.dropped == 1


def test_configuration_files_look_old_enough_for_postfix_to_read_them_at_once(tmp_path: Path) -> None:
    write(Configuration(main_cf="a = b\n", master_cf="smtp\n"), tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "main.cf": "a = b\n",
        "master.cf": "smtp\n",
    }
    assert all(path.stat().st_mtime < time.time() - 2 for path in tmp_path.iterdir())
