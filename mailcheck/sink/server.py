"""The sink as a running server: the SMTP port, the control port, and an end if it cannot record any more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mailcheck.errors import MailcheckError
from mailcheck.sink.control import Control
from mailcheck.sink.mode import ModeSwitch
from mailcheck.sink.record import Record
from mailcheck.sink.session import Services, SinkSession

_BACKLOG = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkSettings:
    """Where and how a sink listens."""

    listen: tuple[str, int]
    """Address and port for SMTP; port 0: any free one."""
    control: tuple[str, int]
    """The same for the control port, which is not protected in any way."""
    record_path: Path | None = None
    keep: int = 0
    """How many whole messages are remembered."""
    """A file to append arrivals to; in memory they are in any case."""
    hostname: str = "sink.mailcheck.invalid"
    size_limit_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningSink:
    """A sink that listens."""

    smtp_port: int
    control_port: int
    record: Record
    modes: ModeSwitch
    failed: asyncio.Future[None]
    """Gets MailcheckError as its exception when the sink cannot record any more."""


@asynccontextmanager
async def run_sink(settings: SinkSettings) -> AsyncIterator[RunningSink]:
    """Listen until the block is left; open sessions are then cut.

    Raises MailcheckError if an address cannot be listened on or the record cannot be opened.
    """
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[None] = loop.create_future()

    def fail(error: OSError) -> None:
        if not failed.done():
            failed.set_exception(MailcheckError(f"cannot record arrivals any more: {error}"))

    modes = ModeSwitch()
    with Record(settings.record_path, keep=settings.keep) as record:
        services = Services(
            hostname=settings.hostname,
            size_limit_bytes=settings.size_limit_bytes,
            modes=modes,
            record=record,
            fail=fail,
        )
        async with AsyncExitStack() as stack:
            stack.callback(services.cut_sessions)
            try:
                smtp = await loop.create_server(
                    lambda: SinkSession(services), *settings.listen, backlog=_BACKLOG
                )
                stack.callback(smtp.close)
                control = await asyncio.start_server(Control(record, modes).serve, *settings.control)
                stack.callback(control.close)
            except OSError as error:
                raise MailcheckError(f"cannot listen: {error}") from error
            yield RunningSink(
                smtp_port=_port(smtp),
                control_port=_port(control),
                record=record,
                modes=modes,
                failed=failed,
            )


def _port(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])
