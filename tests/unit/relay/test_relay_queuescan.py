"""Counting a queue by its directories."""

import fcntl
import os
from pathlib import Path

import pytest

from smtpfleet.api.agent_status import QueueCounts
from smtpfleet.relay.queuescan import Memory, QueueScan, arrival_s, deliveries, scan

NOW = 1_700_000_000.0
LONG_ID = "4SZ3kB2FLMzGpW1"


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    for name in ("maildrop", "incoming", "active", "deferred", "hold", "corrupt"):
        (tmp_path / name).mkdir()
    for digit in "0123456789ABCDEF":
        (tmp_path / "deferred" / digit).mkdir()
    return tmp_path


def _put(path: Path, *, mode: int = 0o700, at_s: float = NOW) -> Path:
    path.touch()
    path.chmod(mode)
    os.utime(path, (at_s, at_s))
    return path


def test_a_volume_that_postfix_has_never_used_is_empty(tmp_path: Path) -> None:
    assert scan(tmp_path / "postfix").counts.total == 0


def test_messages_are_counted_where_they_are(queue: Path) -> None:
    for name in (
        "maildrop/a",
        "incoming/b",
        "incoming/c",
        "active/d",
        "deferred/4/e",
        "deferred/F/f",
        "hold/g",
    ):
        _put(queue / name)
    _put(queue / "corrupt/h")
    counts = scan(queue, clock=lambda: NOW).counts
    assert (counts.maildrop, counts.incoming, counts.active, counts.deferred) == (1, 2, 1, 2)
    assert (counts.hold, counts.corrupt, counts.total, counts.backlog) == (1, 1, 8, 4)


def test_hashing_directories_are_no_messages(queue: Path) -> None:
    assert scan(queue).counts.deferred == 0


def test_a_half_received_file_is_no_message_yet(queue: Path) -> None:
    _put(queue / "incoming/half", mode=0o600)
    counts = scan(queue, clock=lambda: NOW).counts
    assert (counts.incoming, counts.receiving, counts.total) == (0, 1, 0)


def test_a_reception_that_a_crash_cut_off_is_not_waited_for(queue: Path) -> None:
    _put(queue / "incoming/orphan", mode=0o600, at_s=NOW - 10)
    assert scan(queue, since=NOW - 5, clock=lambda: NOW).counts.receiving == 0


def test_a_reception_that_wrote_nothing_for_an_hour_has_ended(queue: Path) -> None:
    _put(queue / "incoming/orphan", mode=0o600, at_s=NOW - 3601)
    assert scan(queue, clock=lambda: NOW).counts.receiving == 0


def test_the_group_read_flag_does_not_make_a_file_incomplete(queue: Path) -> None:
    _put(queue / "incoming/flagged", mode=0o740)
    assert scan(queue, clock=lambda: NOW).counts.incoming == 1


def test_a_message_that_moves_during_the_scan_is_not_missed(queue: Path) -> None:
    """It goes from active, which is looked at late, back to deferred, which has been looked at."""
    active = _put(queue / "active" / LONG_ID)
    looks = iter([NOW])

    def move_then_tell() -> float:
        return next(looks)

    class MovesWhenSeen(type(queue)):  # type: ignore[misc]  # the class of a path is chosen at run time
        def __truediv__(self, name: str) -> Path:
            if name == "active" and active.exists():
                active.rename(queue / "deferred" / "4" / LONG_ID)
            return Path(str(self)) / name

    assert scan(MovesWhenSeen(queue), clock=move_then_tell).counts.total == 1


def test_the_arrival_is_read_from_a_long_queue_id() -> None:
    assert arrival_s("4RYx3Z0vLhz1Wkb") == pytest.approx(1_693_339_990.0, abs=200_000_000)
    assert arrival_s("0000010000z1") == 1.0
    assert arrival_s("0000000001z1") == pytest.approx(1e-6)


@pytest.mark.parametrize("name", ["", "7FFD1A0C", "AAAAAAAAAAAz", ".new-file-of-x", "4SZ3k!2FLMzG"])
def test_other_names_tell_no_arrival(name: str) -> None:
    assert arrival_s(name) is None


def test_the_age_of_the_oldest_active_message_is_told(queue: Path) -> None:
    _put(queue / "active" / "0000050000zA")
    _put(queue / "active" / "0000070000zB")
    assert scan(queue, clock=lambda: 12.0).oldest_active_s == 7.0


def test_nothing_active_has_no_age(queue: Path) -> None:
    assert scan(queue).oldest_active_s == 0.0


def test_active_messages_may_be_under_way(queue: Path) -> None:
    _put(queue / "active/a")
    assert deliveries(queue) == 1


def test_a_waiting_message_is_not_under_way(queue: Path) -> None:
    _put(queue / "incoming/a")
    _put(queue / "deferred/1/b")
    assert deliveries(queue) == 0


def test_a_message_that_a_delivery_process_still_holds_is_under_way(queue: Path) -> None:
    with _put(queue / "incoming/a").open() as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        assert deliveries(queue) == 1
    assert deliveries(queue) == 0


def _age(directory: Path, at_s: float) -> None:
    os.utime(directory, (at_s, at_s))


def test_a_directory_that_did_not_change_is_not_read_again(
    queue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(queue / "deferred/4/waits")
    _put(queue / "incoming/waits")
    for path in (queue, *queue.rglob("*/")):
        _age(path, NOW - 10)
    memory = Memory()
    first = scan(queue, memory=memory, clock=lambda: NOW)

    def forbidden(_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(os, "listdir", forbidden)
    monkeypatch.setattr(os, "scandir", forbidden)
    assert scan(queue, memory=memory, clock=lambda: NOW + 1).counts == first.counts
    assert (first.counts.deferred, first.counts.incoming) == (1, 1)


@pytest.mark.parametrize("directory", ["deferred/4", "incoming", "active", "hold"])
def test_a_change_is_seen(queue: Path, directory: str) -> None:
    _put(queue / directory / "first")
    memory = Memory()
    _age(queue / directory, NOW - 10)
    assert scan(queue, memory=memory, clock=lambda: NOW).counts.total == 1
    _put(queue / directory / "second")
    _age(queue / directory, NOW + 1)
    assert scan(queue, memory=memory, clock=lambda: NOW + 2).counts.total == 2


@pytest.mark.parametrize("directory", ["deferred/4", "incoming"])
def test_a_second_change_at_the_same_tick_of_the_file_system_is_seen(queue: Path, directory: str) -> None:
    """The directory was read just after its change, so an equal time of change proves nothing."""
    _put(queue / directory / "first")
    memory = Memory()
    _age(queue / directory, NOW)
    assert scan(queue, memory=memory, clock=lambda: NOW + 0.5).counts.total == 1
    _put(queue / directory / "second")
    _age(queue / directory, NOW)
    assert scan(queue, memory=memory, clock=lambda: NOW + 5).counts.total == 2


def test_a_message_that_becomes_complete_is_seen(queue: Path) -> None:
    half = _put(queue / "incoming/half", mode=0o600)
    memory = Memory()
    _age(queue / "incoming", NOW - 10)
    assert scan(queue, memory=memory, clock=lambda: NOW).counts.receiving == 1
    half.chmod(0o700)
    assert scan(queue, memory=memory, clock=lambda: NOW + 1).counts.incoming == 1


def test_a_queue_is_never_called_empty_from_memory(queue: Path) -> None:
    memory = Memory()
    for path in (queue, *queue.rglob("*/")):
        _age(path, NOW - 10)
    assert scan(queue, memory=memory, clock=lambda: NOW).counts.total == 0
    _put(queue / "deferred/4/late")
    _age(queue / "deferred/4", NOW - 10)
    assert scan(queue, memory=memory, clock=lambda: NOW + 1).counts.total == 1


def test_the_oldest_is_found_among_names_of_other_forms(queue: Path) -> None:
    arrived = arrival_s(LONG_ID)
    assert arrived is not None
    for name in ("0short", LONG_ID, "5" + LONG_ID[1:]):
        _put(queue / "active" / name)
    assert scan(queue, clock=lambda: arrived + 5).oldest_active_s == pytest.approx(5)


def test_how_long_the_queue_manager_leaves_a_message_alone_counts_from_when_it_was_complete(
    queue: Path,
) -> None:
    assert scan(queue, clock=lambda: NOW).oldest_incoming_s == 0.0
    _put(queue / "incoming/half", mode=0o600, at_s=NOW - 500)
    _put(queue / "incoming/old", at_s=NOW - 40)
    _put(queue / "incoming/new", at_s=NOW - 1)
    memory = Memory()
    assert scan(queue, memory=memory, clock=lambda: NOW).oldest_incoming_s == pytest.approx(40)
    (queue / "incoming/half").unlink()
    _age(queue / "incoming", NOW - 10)
    scan(queue, memory=memory, clock=lambda: NOW)
    assert scan(queue, memory=memory, clock=lambda: NOW + 3).oldest_incoming_s == pytest.approx(43)


@pytest.mark.parametrize(
    ("cpu_s", "pause_s"), [(0.0, 1.0), (0.01, 1.0), (0.022, 1.1), (0.2, 10.0), (3.0, 10.0)]
)
def test_scans_take_a_fiftieth_of_a_core_and_are_never_older_than_ten_seconds(
    cpu_s: float, pause_s: float
) -> None:
    assert QueueScan(QueueCounts(), cpu_s=cpu_s).pause_s == pytest.approx(pause_s)


def test_waiting_for_the_processor_is_no_cost_of_a_scan(queue: Path) -> None:
    """Else the counts of a relay on a busy machine would stand still for a minute."""
    worked = iter([5.0, 5.01])
    assert scan(queue, cpu_clock=lambda: next(worked)).cpu_s == pytest.approx(0.01)
