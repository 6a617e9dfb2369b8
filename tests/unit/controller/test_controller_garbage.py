"""Garbage that refers to itself is looked for less often, and still found."""

import gc
from collections.abc import Iterator

import pytest

from smtpfleet.controller.garbage import YOUNG, collect_seldom


@pytest.fixture
def collector() -> Iterator[None]:
    """The collector as it was, afterwards."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("collector")
def test_what_exists_is_left_out_and_what_comes_later_is_still_looked_at() -> None:
    class Ring:
        ended = 0

        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            Ring.ended += 1

    collect_seldom()
    assert gc.get_freeze_count() > 0
    assert gc.isenabled()
    for _ in range(2 * YOUNG):
        Ring()
    assert Ring.ended >= YOUNG
