"""Mail of siblings is given up in its own time: what the queue file says, and what is overdue."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.relay.expiry import Found, first_id, look
from smtpfleet.relay.queuescan import arrival_s

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


def _store(directory: Path, name: str, content: bytes) -> None:
    (directory / name[0]).mkdir(exist_ok=True)
    (directory / name[0] / name).write_bytes(content)


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
