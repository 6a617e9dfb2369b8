"""The agents' only way to the API server: reading a ConfigMap or a Secret, and seeing when it changes.

It is far less than a Kubernetes client, because it runs in every pod and may do only this one thing: list
and watch with a field selector, which is what a Role limited to resource names permits. No error tells content.
"""

import base64
import socket
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from smtpfleet.api.names import SERVICE_ACCOUNT_DIRECTORY

SERVICE_ACCOUNT: Final = Path(SERVICE_ACCOUNT_DIRECTORY)
WATCH_S: Final = 60
"""How long one watch lasts."""
_KEEPALIVE: Final = {socket.TCP_KEEPIDLE: 10, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 2}
"""A watch may be silent for long. So the kernel asks whether the other end is there: after 10 s, then every 5 s, and a
connection that died without a word is known to be dead after 20 s. An API server that only hangs goes on answering."""
_SILENCE_S: Final = WATCH_S + 15
_ANSWER_S: Final = 5.0
_LINE_LIMIT_BYTES: Final = 4 * 2**20
"""More than the largest object that etcd takes (1.5 MiB), with room for JSON escapes."""


class AccessError(Exception):
    """The API server could not be asked; the message says why. It may work the next time."""


class _Model(BaseModel):
    # What does not parse may be part of a Secret, and errors are logged.
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class _Metadata(_Model):
    resource_version: str = Field(default="", alias="resourceVersion")


class _Object(_Model):
    """A ConfigMap, or a Secret, whose values are base64."""

    metadata: _Metadata = _Metadata()
    data: dict[str, str] = {}


class _List(_Model):
    metadata: _Metadata
    items: tuple[_Object, ...] = ()


class _EventType(_Model):
    type: str


class _Event(_EventType):
    object: _Object


@dataclass(frozen=True, slots=True)
class ApiAccess:
    """Where the API server is and who we are. The token is read for each request, for it is replaced hourly.

    Attributes:
        url: such as ``https://10.96.0.1:443``.
        token_file: holds the bearer token; None sends none.
        ca_file: certificates that the server is verified against; None: the system's.
    """

    url: str
    token_file: Path | None = None
    ca_file: Path | None = None

    async def texts(self, *, namespace: str, name: str, key: str) -> AsyncGenerator[str | None]:
        """The value of ``key`` now, and again whenever it changed; None while object or key is missing.

        Ends after about :data:`WATCH_S`, or when the server asks for a new list: call it again.

        Raises:
            AccessError: the server cannot be reached, refuses, or answers something else.
        """
        async with aclosing(self._contents(f"namespaces/{namespace}/configmaps", name)) as contents:
            async for data in contents:
                yield None if data is None else data.get(key)

    async def secret(self, *, namespace: str, name: str) -> AsyncGenerator[Mapping[str, bytes] | None]:
        """The decoded values of a Secret now, and again whenever they changed; None while it is missing.

        Ends as :meth:`texts` does.

        Raises:
            AccessError: the server cannot be reached, refuses, or answers something else.
        """
        async with aclosing(self._contents(f"namespaces/{namespace}/secrets", name)) as contents:
            async for data in contents:
                yield None if data is None else _decoded(data, f"Secret {namespace}/{name}")

    async def _contents(self, path: str, name: str) -> AsyncGenerator[Mapping[str, str] | None]:
        """``data`` of one object below ``path``."""
        url = f"{self.url}/api/v1/{path}"
        selector = {"fieldSelector": f"metadata.name={name}"}
        try:
            connector = aiohttp.TCPConnector(ssl=self._tls(), limit=1, socket_factory=kept_alive)
            async with aiohttp.ClientSession(connector=connector, headers=self._headers()) as session:
                current = await _list(session, url, selector)
                yield current.items[0].data if current.items else None
                watch = selector | {
                    "watch": "true",
                    "resourceVersion": current.metadata.resource_version,
                    "timeoutSeconds": str(WATCH_S),
                }
                async for data in _watch(session, url, watch):
                    yield data
        except (aiohttp.ClientError, OSError, ValidationError, ValueError) as error:
            raise AccessError(f"{url}: {type(error).__name__}: {error}") from error

    def _headers(self) -> dict[str, str]:
        if self.token_file is None:
            return {}
        return {"Authorization": f"Bearer {self.token_file.read_text().strip()}"}

    def _tls(self) -> ssl.SSLContext | bool:
        if not self.url.startswith("https:"):
            return True
        return ssl.create_default_context(cafile=self.ca_file)


def in_cluster(
    environment: Mapping[str, str], *, service_account: Path = SERVICE_ACCOUNT
) -> ApiAccess | None:
    """Access with the pod's own service account; None if the pod has no such account or no API server."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    token = service_account / "token"
    if not host or not token.exists():
        return None
    bracketed = f"[{host}]" if ":" in host else host
    return ApiAccess(url=f"https://{bracketed}:{port}", token_file=token, ca_file=service_account / "ca.crt")


def kept_alive(address: tuple[Any, ...]) -> socket.socket:
    """A socket for an entry of getaddrinfo(), whose other end the kernel asks now and then whether it is there."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


async def _list(session: aiohttp.ClientSession, url: str, parameters: dict[str, str]) -> _List:
    timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
    async with session.get(url, params=parameters, timeout=timeout) as response:
        response.raise_for_status()
        return _List.model_validate_json(await response.read())


async def _watch(
    session: aiohttp.ClientSession, url: str, parameters: dict[str, str]
) -> AsyncGenerator[Mapping[str, str] | None]:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_ANSWER_S, sock_read=_SILENCE_S)
    async with session.get(
        url, params=parameters, timeout=timeout, read_bufsize=_LINE_LIMIT_BYTES
    ) as response:
        response.raise_for_status()
        async for line in response.content:
            event_type = _EventType.model_validate_json(line).type
            if event_type in {"ADDED", "MODIFIED"}:
                yield _Event.model_validate_json(line).object.data
            elif event_type == "DELETED":
                yield None
            else:  # ERROR, most often 410 Gone: this watch cannot go on, a new list can
                return


def _decoded(data: Mapping[str, str], what: str) -> Mapping[str, bytes]:
    try:
        return {key: base64.b64decode(value, validate=True) for key, value in data.items()}
    except ValueError:
        raise AccessError(f"{what} has a value that is not base64") from None
