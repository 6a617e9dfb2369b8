"""Room on the volume: clients go elsewhere before Postfix refuses them, and come back when it is worth it."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.relay.room import INODES, Room, is_low, read

MIB = 2**20
MINFREE = 30 * MIB
LARGE = Room(free_bytes=1000 * MIB, bytes=1024 * MIB, free_inodes=60_000, inodes=65_536)


def _low(room: Room, *, before: bool = False) -> bool:
    return is_low(room, minfree_bytes=MINFREE, before=before)


@pytest.mark.parametrize(
    ("free_mib", "before", "low"),
    [(60, False, False), (59, False, True), (74, True, True), (75, True, False), (0, False, True)],
)
def test_low_is_twice_what_postfix_needs_and_a_quarter_more_ends_it(
    free_mib: int, before: bool, low: bool
) -> None:
    assert _low(replace(LARGE, free_bytes=free_mib * MIB), before=before) is low


@pytest.mark.parametrize(
    ("free", "before", "low"),
    [(INODES, False, False), (INODES - 1, False, True), (2499, True, True), (2500, True, False)],
)
def test_messages_need_inodes_too(free: int, before: bool, low: bool) -> None:
    assert _low(replace(LARGE, free_inodes=free), before=before) is low


def test_a_file_system_that_makes_inodes_as_needed_is_judged_by_its_bytes() -> None:
    assert not _low(replace(LARGE, free_inodes=0, inodes=0))


@given(mib=st.integers(75, 10_000), inodes=st.integers(1, 10**6), before=st.booleans())
def test_an_empty_volume_has_room_however_small_it_is(mib: int, inodes: int, before: bool) -> None:
    room = Room(free_bytes=mib * MIB, bytes=mib * MIB, free_inodes=inodes, inodes=inodes)
    assert not _low(room, before=before)


@given(free=st.integers(0, MINFREE - 1), mib=st.integers(1, 10_000), before=st.booleans())
def test_what_postfix_refuses_is_always_low(free: int, mib: int, before: bool) -> None:
    assert _low(replace(LARGE, free_bytes=free, bytes=mib * MIB), before=before)


@given(free=st.integers(0, 1024 * MIB), inodes=st.integers(0, 65_536))
def test_what_begins_it_does_not_end_it(free: int, inodes: int) -> None:
    room = replace(LARGE, free_bytes=free, free_inodes=inodes)
    assert _low(room, before=True) or not _low(room)


def test_it_is_read_from_the_file_system(tmp_path: Path) -> None:
    room = read(tmp_path)
    assert 0 < room.free_bytes <= room.bytes
    assert room.volume().free_bytes == room.free_bytes
