"""The name of a queue's life."""

from pathlib import Path

import pytest

from smtpfleet.relay.incarnation import IncarnationError, read_or_create, write_durably


def test_a_new_volume_gets_an_incarnation_that_stays(tmp_path: Path) -> None:
    first = read_or_create(tmp_path / "incarnation")
    assert read_or_create(tmp_path / "incarnation") == first


def test_two_volumes_have_two_incarnations(tmp_path: Path) -> None:
    assert read_or_create(tmp_path / "one") != read_or_create(tmp_path / "two")


@pytest.mark.parametrize("text", ["", "something else", "0123"])
def test_a_damaged_file_is_not_overwritten(tmp_path: Path, text: str) -> None:
    (tmp_path / "incarnation").write_text(text)
    with pytest.raises(IncarnationError):
        read_or_create(tmp_path / "incarnation")
    assert (tmp_path / "incarnation").read_text() == text


def test_a_durable_write_leaves_nothing_else_behind(tmp_path: Path) -> None:
    write_durably(tmp_path / "file", "old")
    write_durably(tmp_path / "file", "new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "new"}
