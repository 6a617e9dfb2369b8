"""Idle sessions: ``python -m bench.idler HOST PORT SESSIONS``, until a line is read.

Each connects, says nothing, and connects anew as soon as it is closed. Prints ``open`` when every session has a banner
or has waited two seconds for one, then, at the end, how many had to be opened.
"""

import asyncio
import contextlib
import sys
from typing import Final

_PATIENCE_S: Final = 2.0
_PAUSE_S: Final = 0.2
"""Before a session is opened anew."""


class Idler:
    """``opened``: connections made so far."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.opened = 0

    async def idle(self, settled: asyncio.Event) -> None:
        """One session after the other; ``settled`` is set when the first is greeted or waits."""
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(self._host, self._port)
                self.opened += 1
                banner = asyncio.ensure_future(reader.readline())
                await asyncio.wait({banner}, timeout=_PATIENCE_S)
                settled.set()
                with contextlib.suppress(OSError):
                    await banner
                    await reader.read()
                writer.close()
            await asyncio.sleep(_PAUSE_S)


async def main(host: str, port: int, sessions: int) -> int:
    """Idle until standard input says something; returns how many connections were made."""
    idler = Idler(host, port)
    stopped = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    settled = [asyncio.Event() for _ in range(sessions)]
    tasks = [asyncio.create_task(idler.idle(event)) for event in settled]
    await asyncio.gather(*(event.wait() for event in settled))
    print("open", flush=True)
    await stopped
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return idler.opened


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
