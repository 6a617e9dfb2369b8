"""The sink's control port: a few HTTP requests, one per connection.

========================================  ===========================================================================
``GET /arrivals?offset=N&limit=M``        arrivals from N (0) on, at most M (all), as JSON lines; with the headers
                                          ``Sink-Next`` (the next offset) and ``Sink-Run`` (another value than before:
                                          the sink was restarted and has forgotten everything)
``GET /contents``                         whole messages, a line of base64 each: the last ``--keep``
``GET /counters``                         counters as a JSON object
``GET /mode``, ``POST /mode``             the mode as JSON (see ``mailcheck.sink.mode``)
``GET /healthz``                          200
========================================  ===========================================================================
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from mailcheck.errors import MailcheckError
from mailcheck.sink.mode import ModeSwitch, parse_mode
from mailcheck.sink.record import Record

_MAX_BODY = 64 * 1024
_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request, read completely."""

    method: str
    target: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """What is sent back."""

    status: str = "200 OK"
    content_type: str = "application/json"
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    def encode(self) -> bytes:
        """Header and body; the connection closes after it."""
        fields = (
            ("Content-Type", self.content_type),
            ("Content-Length", str(len(self.body))),
            ("Connection", "close"),
            *self.headers,
        )
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        return f"HTTP/1.1 {self.status}\r\n{head}\r\n".encode("ascii") + self.body


class Control:
    """Answers requests about one sink."""

    def __init__(self, record: Record, modes: ModeSwitch) -> None:
        self._record = record
        self._modes = modes

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection; a client that breaks off or dawdles is dropped."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                request = await _read_request(reader)
            writer.write(self.answer(request).encode())
            async with asyncio.timeout(_PATIENCE_S):
                await writer.drain()
        except MailcheckError as error:
            writer.write(_refused("400 Bad Request", str(error)).encode())
        except (OSError, EOFError, asyncio.LimitOverrunError):
            pass  # nobody is left to be told (a timeout is an OSError)
        finally:
            writer.close()

    def answer(self, request: Request) -> Response:
        """The response to a request. Raises MailcheckError if the request makes no sense."""
        url = urlsplit(request.target)
        routes: dict[str, dict[str, Callable[[], Response]]] = {
            "/arrivals": {"GET": lambda: self._arrivals(parse_qs(url.query))},
            "/contents": {"GET": self._contents},
            "/counters": {"GET": lambda: _json(self._record.summary())},
            "/mode": {"GET": self._mode, "POST": lambda: self._set_mode(request.body)},
            "/healthz": {"GET": lambda: _json({"ok": True})},
        }
        methods = routes.get(url.path)
        if methods is None:
            return _refused("404 Not Found", f"there are {', '.join(routes)}")
        handler = methods.get(request.method)
        return handler() if handler else _refused("405 Method Not Allowed", f"use {' or '.join(methods)}")

    def _mode(self) -> Response:
        return _json(self._modes.mode.as_dict())

    def _set_mode(self, body: bytes) -> Response:
        self._modes.set(parse_mode(body))
        return self._mode()

    def _contents(self) -> Response:
        return Response(content_type="text/plain", body=self._record.contents())

    def _arrivals(self, query: dict[str, list[str]]) -> Response:
        offset = _number(query, "offset", 0)
        body = self._record.lines(offset, _number(query, "limit", len(self._record)))
        following = offset + body.count(b"\n")
        return Response(
            content_type="application/x-ndjson",
            body=body,
            headers=(("Sink-Next", str(following)), ("Sink-Run", self._record.run)),
        )


async def _read_request(reader: asyncio.StreamReader) -> Request:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request_line, *fields = head.split("\r\n")
        method, target, _ = request_line.split(" ")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)
        }
        return Request(method, target, await _read_body(reader, headers))
    except ValueError as error:
        raise MailcheckError(f"not an HTTP request: {error}") from error


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    """By length or in chunks (RFC 9112, 7.1): the API server's proxy sends chunks."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(_allowed(int(headers.get("content-length", "0"))))
    body = b""
    while size := int((await reader.readline()).partition(b";")[0], 16):
        _allowed(len(body) + size)
        body += await reader.readexactly(size)
        await reader.readline()
    return body


def _allowed(length: int) -> int:
    if not 0 <= length <= _MAX_BODY:
        raise MailcheckError("the body is too long")
    return length


def _number(query: dict[str, list[str]], name: str, default: int) -> int:
    text = query.get(name, [str(default)])[-1]
    if not text.isdecimal():
        raise MailcheckError(f"{name} must be a number from 0 on")
    return int(text)


def _json(value: object) -> Response:
    return Response(body=json.dumps(value).encode("ascii") + b"\n")


def _refused(status: str, message: str) -> Response:
    return Response(status=status, body=json.dumps({"error": message}).encode("ascii") + b"\n")
