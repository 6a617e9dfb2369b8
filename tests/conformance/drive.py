"""Runs clients inside the cluster's network: ``python -m tests.conformance.drive``, with cases as JSON to read."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tests.conformance.clients import CLIENTS, Command, Security, Submission
from tests.conformance.features import EXTENSIONS, Feature
from tests.conformance.recorder import Recorder, recording

_AT_ONCE: Final = 6
_PATIENCE_S: Final = 90.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one case went. ``used``: whether the extension was seen, None where TLS hides it or there is none."""

    name: str
    taken: bool
    used: bool | None
    said: str


async def run(name: str, client: str, given: Submission) -> Outcome:
    """Submit one message; in clear, through a recorder."""
    command = {client.name: client.command for client in CLIENTS}[client]
    if given.security is not Security.CLEAR:
        taken, said = await _execute(command(given))
        return Outcome(name=name, taken=taken, used=None, said=said)
    async with recording(given.host, given.port) as (recorder, port):
        taken, said = await _execute(command(replace(given, host="127.0.0.1", port=port)))
        return Outcome(name=name, taken=taken, used=_used(recorder, given.feature), said=said)


def _used(recorder: Recorder, feature: Feature) -> bool | None:
    if feature is Feature.PIPELINING:
        return recorder.pipelined
    sign = EXTENSIONS.get(feature)
    return None if sign is None else sign in bytes(recorder.said)


async def _execute(command: Command) -> tuple[bool, str]:
    content = command.stdin.encode()
    if command.stdin.startswith("@"):
        with open(command.stdin[1:], "rb") as file:  # noqa: ASYNC230 - a small file, once
            content = file.read()
    process = await asyncio.create_subprocess_exec(
        *command.argv,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_PATIENCE_S):
            said, _ = await process.communicate(content)
    except TimeoutError:
        process.kill()
        await process.wait()
        return False, f"no end after {_PATIENCE_S:.0f} s"
    return process.returncode == 0, said.decode(errors="replace")[-500:]


async def _all(cases: list[Mapping[str, Any]]) -> list[Outcome]:
    free = asyncio.Semaphore(_AT_ONCE)

    async def one(case: Mapping[str, Any]) -> Outcome:
        fields = case["submission"]
        given = Submission(
            **{
                **fields,
                "security": Security(fields["security"]),
                "feature": Feature(fields["feature"]),
                "recipients": tuple(fields["recipients"]),
            }
        )
        async with free:
            return await run(case["name"], case["client"], given)

    return await asyncio.gather(*map(one, cases))


def main() -> int:
    outcomes = asyncio.run(_all(json.loads(sys.stdin.read())))
    json.dump([vars(outcome) for outcome in outcomes], sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
