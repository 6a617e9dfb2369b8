"""Whether a signer answers: a milter's negotiation over its socket."""

import asyncio
import struct
from pathlib import Path

import pytest

from smtpfleet.relay import signer

OFFER = struct.pack(">IcIII", 13, b"O", 6, 0x11, 0)


async def _asked(socket: Path, answer: bytes | None) -> tuple[bool, bytes]:
    """Ask a milter that answers so (None: never), and return what it was asked."""
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.readexactly(17))
        if answer is None:
            await asyncio.sleep(3600)
        writer.write(answer or b"")
        writer.close()

    async with await asyncio.start_unix_server(serve, socket) as server:
        found = await signer.probe(socket)
        server.close()
    return found, bytes(heard)


async def test_a_milter_that_negotiates_answers(tmp_path: Path) -> None:
    found, heard = await _asked(tmp_path / "s", OFFER)
    assert found
    version, actions, options = struct.unpack(">III", heard[5:])
    assert heard[:5] == b"\x00\x00\x00\x0dO"
    assert (version, actions, options) == (6, 0x1FF, 0x1FFFFF)  # as Postfix: opendkim refuses less


@pytest.mark.parametrize("answer", [b"", b"\x00\x00", b"\x00\x00\x00\x01c"])
async def test_what_hangs_up_or_says_something_else_does_not(tmp_path: Path, answer: bytes) -> None:
    assert not (await _asked(tmp_path / "s", answer))[0]


async def test_one_that_hangs_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signer, "PROBE_LIMIT_S", 0.01)
    assert not (await _asked(tmp_path / "s", None))[0]


async def test_nobody_there_is_no_answer(tmp_path: Path) -> None:
    assert not await signer.probe(tmp_path / "none")
