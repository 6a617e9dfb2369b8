"""SMTP spoken by hand, for clients that no library makes: ``python -m scenario.conversation``, run inside the cluster.

Reads conversations as JSON from standard input, holds all of them at the same time, and prints what each was told.
A step sends octets as they are and waits for some replies; nothing checks whether that makes sense.
"""

import asyncio
import base64
import json
import ssl
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

from scenario.load import YIELDING, run_inside
from testbed.identity import CONTROL_PLANE

if TYPE_CHECKING:  # programs that begin often need none of what talks to the API server
    from scenario.kube import Kube

_AT_ONCE: Final = 60
_REPLY_LIMIT: Final = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Step:
    """Send, then wait.

    Attributes:
        send: octets, as they are.
        times: so often they are sent; a client's program is not to be busy with large steps.
        replies: so many complete replies are waited for.
        drip_s: pause after each octet; 0 sends all at once.
        pause_s: pause before the octets are sent.
        tls: make a TLS handshake instead of sending anything.
    """

    send: bytes = b""
    times: int = 1
    replies: int = 1
    drip_s: float = 0.0
    pause_s: float = 0.0
    tls: bool = False


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """What is said to one server. ``patience_s`` bounds it as a whole; the name must be unique."""

    name: str
    host: str
    port: int
    steps: tuple[Step, ...]
    patience_s: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back.

    Attributes:
        replies: the last line of each reply, in order; for a server that is not SMTP, its lines.
        closed: the server ended the connection (or never made it) before the last step was over.
        seconds: how long it took.
    """

    name: str
    replies: tuple[str, ...]
    closed: bool
    seconds: float

    @property
    def codes(self) -> tuple[str, ...]:
        """The reply codes."""
        return tuple(reply[:3] for reply in self.replies)


def line(text: str, *, replies: int = 1) -> Step:
    """A command."""
    return Step(send=text.encode() + b"\r\n", replies=replies)


def hold(
    kube: "Kube",
    conversations: Sequence[Conversation],
    *,
    source: str = CONTROL_PLANE,
    yielding: bool = False,
) -> dict[str, Answer]:
    """Hold conversations from inside the cluster's network.

    Args:
        source: the machine whose address they come from.
        yielding: this client's own program gets only what processor time all others leave it.

    Raises:
        LoadError: the program itself failed.
    """
    patience_s = max((c.patience_s for c in conversations), default=0.0)
    rounds = 1 + len(conversations) // _AT_ONCE
    program = [sys.executable, "-m", "scenario.conversation"]
    heard = run_inside(
        kube,
        [*YIELDING, *program] if yielding else program,
        said=json.dumps([_encode(conversation) for conversation in conversations]),
        source=source,
        timeout_s=rounds * patience_s + 60,
    )
    answers = [_decode_answer(fields) for fields in json.loads(heard)]
    return {answer.name: answer for answer in answers}


async def converse(conversation: Conversation) -> Answer:
    """Hold one conversation."""
    begin = time.monotonic()
    replies: list[str] = []
    closed = True
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(conversation.patience_s):
            reader, writer = await asyncio.open_connection(
                conversation.host, conversation.port, limit=_REPLY_LIMIT
            )
            for step in conversation.steps:
                await _take(step, reader, writer, replies)
        closed = False
    except TimeoutError:
        closed = False
    except (OSError, EOFError, ssl.SSLError):
        pass  # the server has had enough, which is an answer, too
    finally:
        if writer is not None:
            writer.close()
    return Answer(
        name=conversation.name, replies=tuple(replies), closed=closed, seconds=time.monotonic() - begin
    )


async def _take(
    step: Step, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, replies: list[str]
) -> None:
    if step.pause_s:
        await asyncio.sleep(step.pause_s)
    if step.tls:
        await writer.start_tls(_unverified())
        return
    parts = (
        (step.send[i : i + 1] for i in range(len(step.send)))
        if step.drip_s
        else repeat(step.send, step.times)
    )
    for octets in parts:
        writer.write(octets)
        await writer.drain()
        if step.drip_s:
            await asyncio.sleep(step.drip_s)
    for _ in range(step.replies):
        replies.append(await _reply(reader))


async def _reply(reader: asyncio.StreamReader) -> str:
    while True:
        said = await reader.readline()
        if not said:
            raise EOFError
        if said[3:4] != b"-":
            return said.decode("utf-8", "replace").rstrip()


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _encode(conversation: Conversation) -> dict[str, Any]:
    return {
        "name": conversation.name,
        "host": conversation.host,
        "port": conversation.port,
        "patience_s": conversation.patience_s,
        "steps": [
            {**vars(step), "send": base64.b64encode(step.send).decode()} for step in conversation.steps
        ],
    }


def _decode(fields: Mapping[str, Any]) -> Conversation:
    steps = tuple(
        replace(Step(**{**step, "send": b""}), send=base64.b64decode(step["send"]))
        for step in fields["steps"]
    )
    return Conversation(**{**fields, "steps": steps})


def _decode_answer(fields: Mapping[str, Any]) -> Answer:
    return Answer(**{**fields, "replies": tuple(fields["replies"])})


async def _hold_all(conversations: Sequence[Conversation]) -> list[Answer]:
    free = asyncio.Semaphore(_AT_ONCE)

    async def one(conversation: Conversation) -> Answer:
        async with free:
            return await converse(conversation)

    return await asyncio.gather(*map(one, conversations))


def main() -> int:
    """Hold the conversations of standard input."""
    conversations = [_decode(fields) for fields in json.loads(sys.stdin.read())]
    answers = asyncio.run(_hold_all(conversations))
    json.dump([vars(answer) for answer in answers], sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
