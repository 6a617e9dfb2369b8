"""Whether a signer answers: a milter's negotiation over its socket."""

import asyncio
import errno
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from smtpfleet.relay import signer
from smtpfleet.relay.children import Children

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


async def test_one_that_cannot_be_started_for_want_of_processes_is_started_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signer, "_BACKOFF_FIRST_S", 0.0)
    monkeypatch.setattr(signer, "_BACKOFF_MOST_S", 0.0)
    started = asyncio.Event()

    class Full(Children):
        refusals = 3

        async def start(
            self, command: Sequence[str], *, output: int, environment: Mapping[str, str] | None = None
        ) -> asyncio.subprocess.Process:
            if self.refusals:
                self.refusals -= 1
                raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
            started.set()
            return await super().start(["/bin/sleep", "60"], output=output)

    one = signer.Signer(
        tmp_path / "c",
        tmp_path / "s",
        children=Full(),
        output=asyncio.subprocess.DEVNULL,
        changed=lambda: None,
    )
    task = asyncio.create_task(one.run())
    await asyncio.wait(
        {task, waiting := asyncio.create_task(started.wait())}, return_when=asyncio.FIRST_COMPLETED
    )
    assert waiting.done()
    assert not task.done()
    task.cancel()
    await asyncio.wait({task})
