"""Mail of siblings is given up in its own time: what the queue file says, and what is overdue."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.relay.children import Children, Result
from smtpfleet.relay.expiry import Expiry, Found, first_id, look
from smtpfleet.relay.queuescan import arrival_s, files

HERE = "4fxTs60qK0z1y"
THERE = "4fxTs50qK0z1x"
DAY = 86400.0


def _record(kind: str, data: bytes) -> bytes:
    length, octets = len(data), bytearray()
    while True:
        length, low = length >> 7, length & 0x7F
        octets.append(low | (0x80 if length else 0))
        if not length:
            return kind.encode() + bytes(octets) + data


def _queue_file(ident: str = THERE) -> bytes:
    """The beginning of a queue file as cleanup of Postfix 3.10 writes it."""
    return b"".join(
        (
            _record("C", b"            4311             673               1               0            4311"),
            _record("T", b"1790000000 123456"),
            _record("A", b"create_time=1790000000"),
            _record("A", f"log_ident={ident}".encode()),
            _record("A", b"rewrite_context=remote"),
            _record("S", b"s@example.com"),
            _record("A", b"x" * 200),
            _record("R", b"r@example.net"),
            _record("M", b""),
            _record("N", b"log_ident=4zzzzz0000000"),
        )
    )


def _born() -> float:
    born = arrival_s(THERE)
    assert born is not None
    return born


def _store(queue: Path, name: str, content: bytes, *, place: str = "deferred") -> Path:
    directory = queue / place / name[0] if place == "deferred" else queue / place
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(content)
    return directory / name


def test_the_first_id_is_read_from_the_envelope_and_never_from_the_content() -> None:
    assert first_id(_queue_file()) == THERE
    assert first_id(_queue_file("").replace(b"log_ident=", b"log_other=", 1)) == ""


@given(st.binary(max_size=300))
def test_whatever_a_file_holds_is_read_without_an_error(head: bytes) -> None:
    first_id(head)


@given(st.integers(0, 400))
def test_a_file_that_ends_early_says_the_truth_or_nothing(length: int) -> None:
    assert first_id(_queue_file()[:length]) in {THERE, ""}


def test_a_message_is_overdue_by_its_first_arrival(tmp_path: Path) -> None:
    _store(tmp_path, HERE, _queue_file())
    assert look(tmp_path, now=_born() + DAY - 1, lifetime_s=DAY) == Found(foreign=True)
    assert look(tmp_path, now=_born() + DAY + 1, lifetime_s=DAY) == Found(foreign=True, overdue=(HERE,))


def test_a_message_of_this_relay_is_postfixs_own_business(tmp_path: Path) -> None:
    _store(tmp_path, HERE, _queue_file(HERE))
    _store(tmp_path, THERE, b"")
    assert look(tmp_path, now=_born() + 100 * DAY, lifetime_s=DAY) == Found()


def test_an_id_that_holds_no_time_expires_nothing(tmp_path: Path) -> None:
    _store(tmp_path, HERE, _queue_file("A1B2C3"))
    assert look(tmp_path, now=_born() + 100 * DAY, lifetime_s=DAY) == Found(foreign=True)


def test_an_empty_or_missing_queue_holds_nothing(tmp_path: Path) -> None:
    assert (
        look(tmp_path, now=0.0, lifetime_s=DAY) == look(tmp_path / "no", now=0.0, lifetime_s=DAY) == Found()
    )


@pytest.mark.parametrize("place", ["incoming", "active", "hold"])
def test_mail_that_is_not_deferred_now_is_known_and_left_alone(tmp_path: Path, place: str) -> None:
    _store(tmp_path, HERE, _queue_file(), place=place)
    assert look(tmp_path, now=_born() + 100 * DAY, lifetime_s=DAY) == Found(foreign=True)


def test_a_message_that_becomes_deferred_during_the_look_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    active = _store(tmp_path, HERE, _queue_file(), place="active")

    def moved_meanwhile(directory: Path) -> Iterable[str]:
        if directory.name == "active":
            _store(tmp_path, HERE, active.read_bytes())
            active.unlink()
        return files(directory)

    monkeypatch.setattr("smtpfleet.relay.expiry.files", moved_meanwhile)
    assert look(tmp_path, now=_born(), lifetime_s=DAY) == Found(foreign=True)


class Stand:
    """An agent's expiry with a clock, and the ids that it gave up."""

    def __init__(self, queue: Path) -> None:
        self.now_s, self.taken = 1000.0, 0
        self.given_up: list[str] = []
        self.expiry = Expiry(
            queue=queue,
            configuration=queue,
            children=cast(Children, self),
            taken=lambda: self.taken,
            clock=lambda: self.now_s,
        )

    async def run(self, command: Sequence[str], *, limit_s: float) -> Result:
        self.given_up += command[command.index("-e") + 1 : -1 : 2]
        assert command[-1] == "deferred"
        return Result(0, "")

    async def after(self, pause_s: float) -> None:
        self.now_s += pause_s
        self.expiry.tend(lifetime_s=DAY)
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "expiry"))


async def test_a_fresh_agent_looks_soon_and_then_seldom(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    _store(tmp_path, HERE, _queue_file())
    await stand.after(1.0)
    assert stand.given_up == []
    await stand.after(10.0)
    await stand.after(10.0)
    assert stand.given_up == [HERE]
    await stand.after(DAY / 50)
    assert stand.given_up == [HERE, HERE]


async def test_mail_that_was_being_delivered_at_one_look_is_given_up_at_a_later_one(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    active = _store(tmp_path, HERE, _queue_file(), place="active")
    await stand.after(10.0)
    _store(tmp_path, HERE, active.read_bytes())
    active.unlink()
    await stand.after(DAY / 50)
    assert stand.given_up == [HERE]


async def test_where_nothing_was_handed_over_nothing_is_read_until_something_is(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    await stand.after(10.0)
    _store(tmp_path, HERE, _queue_file())
    await stand.after(DAY / 50)
    assert stand.given_up == []
    stand.taken = 1
    await stand.after(DAY / 50)
    assert stand.given_up == [HERE]
