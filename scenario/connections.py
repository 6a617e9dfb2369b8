"""Many connections of many clients: which relay answers each of them.

``python -m scenario.connections`` reads a plan (JSON) from standard input and prints what became of each connection. It
runs inside the cluster's network; :func:`connect` starts it there. Which relay answers is in its reply to EHLO.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from mailcheck.proxy_header import encode_proxy_header
from scenario.load import run_inside

if TYPE_CHECKING:  # programs that begin often need none of what talks to the API server
    from scenario.kube import Kube

_LIMIT_S: Final = 20.0
_PORT: Final = 40000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``target`` is ``host:port``; one connection for each of ``clients``, in their order.

    Attributes:
        clients: addresses to tell in a PROXY header; empty text: no header.
        at_once: so many connections are open at a time, at most.
        hold_s: how long a connection stays open after EHLO.
        pace_s: pause between two connections.
        in_turn: each is begun when the one before has its banner, and all stay open until the last one has.
    """

    target: str
    clients: Sequence[str]
    at_once: int = 20
    hold_s: float = 0.0
    pace_s: float = 0.0
    in_turn: bool = False


@dataclass(frozen=True, kw_only=True)
class Connection:
    """What a client saw. ``code`` is the banner's, 0 if the connection ended without one."""

    client: str
    code: int
    text: str = ""
    relay: str = ""
    waited_s: float = 0.0


def connect(kube: "Kube", plan: Plan, *, timeout_s: float = 300) -> list[Connection]:
    """Carry a plan out inside the cluster's network.

    Raises:
        LoadError: the process failed.
    """
    program = [sys.executable, "-m", "scenario.connections"]
    seen = run_inside(kube, program, said=json.dumps(asdict(plan)), timeout_s=timeout_s)
    return [Connection(**found) for found in json.loads(seen)]


def relays_of(connections: Sequence[Connection]) -> dict[str, set[str]]:
    """The relays that each client had."""
    found: dict[str, set[str]] = {}
    for connection in connections:
        found.setdefault(connection.client, set()).add(connection.relay)
    return found


def addresses(number: int) -> list[str]:
    """Different client addresses, of the range for benchmarks (RFC 2544)."""
    return [f"198.18.{n // 250}.{n % 250 + 1}" for n in range(number)]


async def carry_out(plan: Plan) -> list[Connection]:
    """One connection after the other is begun, as the plan allows."""
    slots = asyncio.Semaphore(plan.at_once)
    all_answered = asyncio.Event()
    if not plan.in_turn:
        all_answered.set()

    async def one(client: str, answered: asyncio.Event) -> Connection:
        try:
            async with asyncio.timeout(_LIMIT_S + plan.hold_s):
                return await _converse(plan, client, answered, all_answered)
        except (OSError, TimeoutError, ValueError) as error:
            return Connection(client=client, code=0, text=f"{type(error).__name__}: {error}")
        finally:
            answered.set()
            slots.release()

    tasks = []
    for client in plan.clients:
        await slots.acquire()
        answered = asyncio.Event()
        tasks.append(asyncio.create_task(one(client, answered)))
        if plan.in_turn:
            await answered.wait()
        await asyncio.sleep(plan.pace_s)
    all_answered.set()
    return await asyncio.gather(*tasks)


async def _converse(
    plan: Plan, client: str, answered: asyncio.Event, all_answered: asyncio.Event
) -> Connection:
    host, port = plan.target.rsplit(":", 1)
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        if client:
            target = "2001:db8::1" if ":" in client else "198.51.100.1"
            writer.write(encode_proxy_header((client, _PORT), (target, int(port))))
        banner = (await reader.readline()).decode(errors="replace").strip()
        waited_s = round(time.monotonic() - began, 3)
        answered.set()
        if not banner.startswith("220"):
            return Connection(client=client, code=int(banner[:3] or 0), text=banner, waited_s=waited_s)
        writer.write(b"EHLO connections.test\r\n")
        first = (await reader.readline()).decode(errors="replace")
        line = first
        while line[3:4] == "-":
            line = (await reader.readline()).decode(errors="replace")
        await asyncio.sleep(plan.hold_s)
        await all_answered.wait()
        writer.write(b"QUIT\r\n")
        await reader.readline()
        relay = first[4:].split()[0].split(".")[0] if first.startswith("250") else ""
        return Connection(client=client, code=220, text=banner, relay=relay, waited_s=waited_s)
    finally:
        writer.close()


def main() -> None:
    """Read the plan, print the connections."""
    found = asyncio.run(carry_out(Plan(**json.load(sys.stdin))))
    print(json.dumps([asdict(connection) for connection in found]))


if __name__ == "__main__":
    main()
