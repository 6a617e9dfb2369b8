"""The sink's modes: read strictly, striking exactly whom they should."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailcheck.errors import MailcheckError
from mailcheck.model import Stage
from mailcheck.sink.mode import Kind, Mode, ModeSwitch, parse_mode


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ('{"mode": "accept"}', Mode()),
        ('{"mode": "tempfail"}', Mode(kind=Kind.TEMPFAIL, stage=Stage.RCPT)),
        ('{"mode": "reject", "stage": "data"}', Mode(kind=Kind.REJECT, stage=Stage.DATA)),
        ('{"mode": "delay", "seconds": 2}', Mode(kind=Kind.DELAY, delay_s=2)),
        ('{"mode": "stall"}', Mode(kind=Kind.STALL, stage=Stage.BANNER)),
        (
            '{"mode": "stall", "stage": "end-of-data", "share": 0.5, "client": "10.0.0.1"}',
            Mode(kind=Kind.STALL, share=0.5, client="10.0.0.1"),
        ),
    ],
)
def test_a_mode_is_read_with_its_defaults_and_written_so_that_it_can_be_read(text: str, mode: Mode) -> None:
    assert parse_mode(text) == mode
    assert parse_mode(json.dumps(mode.as_dict())) == mode


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"mode": "sleep"}',
        '{"mode": "tempfail", "stage": "quit"}',
        '{"mode": "delay"}',
        '{"mode": "accept", "seconds": 1}',
        '{"mode": "delay", "seconds": -1}',
        '{"mode": "delay", "seconds": 1, "stage": "rcpt"}',
        '{"mode": "tempfail", "share": 0}',
        '{"mode": "tempfail", "share": 1.1}',
        '{"mode": "tempfail", "Share": 1}',
    ],
)
def test_what_is_no_mode_is_refused(text: str) -> None:
    with pytest.raises(MailcheckError):
        parse_mode(text)


def test_accepting_strikes_nobody() -> None:
    assert all(ModeSwitch().strike(stage, "10.0.0.1") is None for stage in Stage)


def test_a_mode_strikes_at_its_stage_only() -> None:
    mode = Mode(kind=Kind.TEMPFAIL, stage=Stage.DATA)
    switch = ModeSwitch(mode)
    assert [stage for stage in Stage if switch.strike(stage, "10.0.0.1")] == [Stage.DATA]


def test_a_mode_for_one_client_leaves_the_others_alone() -> None:
    switch = ModeSwitch(Mode(kind=Kind.REJECT, stage=Stage.RCPT, client="10.0.0.1"))
    assert switch.strike(Stage.RCPT, "10.0.0.2") is None
    assert switch.strike(Stage.RCPT, "10.0.0.1") is not None


@given(st.integers(1, 100), st.integers(1, 300))
@example(29, 100)
def test_a_share_is_met_exactly_at_every_moment(percent: int, commands: int) -> None:
    switch = ModeSwitch(Mode(kind=Kind.TEMPFAIL, stage=Stage.RCPT, share=percent / 100))
    struck = sum(switch.strike(Stage.RCPT, "") is not None for _ in range(commands))
    assert struck == commands * percent // 100


def test_other_clients_do_not_use_up_the_share_of_one() -> None:
    switch = ModeSwitch(Mode(kind=Kind.TEMPFAIL, stage=Stage.RCPT, share=0.5, client="10.0.0.1"))
    struck = []
    for _ in range(4):
        switch.strike(Stage.RCPT, "10.0.0.2")
        struck.append(switch.strike(Stage.RCPT, "10.0.0.1") is not None)
    assert struck == [False, True, False, True]


def test_a_new_mode_holds_at_once_and_counts_afresh() -> None:
    switch = ModeSwitch(Mode(kind=Kind.TEMPFAIL, stage=Stage.RCPT, share=0.5))
    switch.strike(Stage.RCPT, "")
    switch.set(Mode(kind=Kind.REJECT, stage=Stage.RCPT, share=0.5))
    assert switch.strike(Stage.RCPT, "") is None
    struck = switch.strike(Stage.RCPT, "")
    assert struck is not None
    assert struck.kind is Kind.REJECT
