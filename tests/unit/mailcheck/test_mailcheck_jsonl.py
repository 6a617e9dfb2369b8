"""Records survive being written and read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcheck.errors import MailcheckError
from mailcheck.jsonl import decode_arrivals, decode_attempts, encode_arrival, encode_attempt
from mailcheck.model import Arrival, Attempt, Failure, Outcome, Stage

TIMES = st.integers(0, 2**31 * 1000).map(lambda ms: ms / 1000)
TEXTS = st.text()
ADDRESSES = st.lists(TEXTS, max_size=3).map(tuple)

ATTEMPTS = st.builds(
    Attempt,
    id=TEXTS,
    digest=TEXTS,
    recipients=ADDRESSES,
    planned=TIMES,
    start=TIMES,
    end=TIMES,
    outcome=st.sampled_from(Outcome),
    stage=st.sampled_from(Stage),
    code=st.none() | st.integers(200, 599),
    failure=st.none() | st.sampled_from(Failure),
    refused=ADDRESSES,
    target=TEXTS,
)
ARRIVALS = st.builds(
    Arrival,
    id=TEXTS,
    digest=TEXTS,
    sender=TEXTS,
    recipients=ADDRESSES,
    size_bytes=st.integers(0),
    time=TIMES,
    client=TEXTS,
    helo=TEXTS,
)


@given(st.lists(ATTEMPTS, max_size=3))
def test_attempts_are_read_as_they_were_written(attempts: list[Attempt]) -> None:
    assert decode_attempts(map(encode_attempt, attempts)) == attempts


@given(st.lists(ARRIVALS, max_size=3))
def test_arrivals_are_read_as_they_were_written(arrivals: list[Arrival]) -> None:
    assert decode_arrivals(map(encode_arrival, arrivals)) == arrivals


def test_octets_that_are_not_utf_8_survive() -> None:
    strange = b"\xff\xfe@example.net".decode("utf-8", "surrogateescape")
    arrival = Arrival(
        id="m",
        digest="",
        sender=strange,
        recipients=(strange,),
        size_bytes=1,
        time=0,
        client="",
        helo="",
    )
    line = encode_arrival(arrival)
    assert line.isascii()
    assert decode_arrivals([line]) == [arrival]


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"id": "m", "outcome": "lost"}'])
def test_a_line_that_is_no_record_is_named(line: str) -> None:
    for decode in (decode_attempts, decode_arrivals):
        with pytest.raises(MailcheckError, match="line 2"):
            decode(["", line])
