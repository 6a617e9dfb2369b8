"""The other end of the sink's control port, for demo, tests and benchmarks."""

import asyncio
import json

from mailcheck.errors import MailcheckError, SinkRestartedError
from mailcheck.jsonl import decode_arrivals
from mailcheck.model import Arrival

_PATIENCE_S = 10.0
_PIECE = 20_000


class SinkClient:
    """Reads a sink's record piece by piece and sets its mode.

    Keeps what it has read, so asking again costs only what is new. One client must see one life of a sink.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._run: str | None = None
        self._arrivals: list[Arrival] = []

    async def arrivals(self) -> list[Arrival]:
        """Everything that has arrived so far, from the beginning of the sink's life.

        Raises:
            SinkRestartedError: the sink has forgotten what it had recorded.
            MailcheckError: the sink does not answer.
        """
        while True:  # ends, as the sink's record is finite and a piece without lines is the last
            headers, body = await self._request(
                "GET", f"/arrivals?offset={len(self._arrivals)}&limit={_PIECE}"
            )
            if self._run not in (None, headers["sink-run"]):
                raise SinkRestartedError("the sink was restarted and has forgotten its record; measure again")
            self._run = headers["sink-run"]
            if not body:
                return list(self._arrivals)
            self._arrivals += decode_arrivals(body.decode("ascii").splitlines())

    async def counters(self) -> dict[str, object]:
        """Arrivals, connections and refusals so far."""
        _, body = await self._request("GET", "/counters")
        counters: dict[str, object] = json.loads(body)
        return counters

    async def set_mode(self, mode: str, **fields: object) -> None:
        """Let the sink answer otherwise from now on; fields as in ``mailcheck.sink.mode.parse_mode``."""
        await self._request("POST", "/mode", json.dumps({"mode": mode, **fields}).encode("ascii"))

    async def _request(self, method: str, target: str, body: bytes = b"") -> tuple[dict[str, str], bytes]:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                reader, writer = await asyncio.open_connection(self._host, self._port)
                try:
                    head = f"{method} {target} HTTP/1.1\r\nHost: sink\r\nContent-Length: {len(body)}\r\n\r\n"
                    writer.write(head.encode("ascii") + body)
                    answer = await reader.read()
                finally:
                    writer.close()
        except OSError as error:
            raise MailcheckError(f"the sink's control port does not answer: {error or 'timeout'}") from error
        return _parse(answer)


def _parse(answer: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)}
    if len(body) != int(headers.get("content-length", "-1")):
        raise MailcheckError("the sink's answer is incomplete")
    if " 200 " not in status:
        raise MailcheckError(f"the sink refuses: {body.decode('utf-8', 'replace').strip()}")
    return headers, body
