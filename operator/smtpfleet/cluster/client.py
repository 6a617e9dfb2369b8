"""A thin adapter over the official client: get, list, apply, delete, each bounded in time.

The dynamic client is used without its discovery and without the typed models: paths come from
:mod:`smtpfleet.cluster.kinds`, objects are plain dictionaries. That saves memory and requests, and a server
newer than the models cannot break it.

Writes go through a fence: a function that says for how many seconds more this process may act, and raises
:class:`~smtpfleet.cluster.errors.NotLeadingError` once it may no longer. No write is waited for longer than that.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.dynamic import DynamicClient
from kubernetes.aio.dynamic.exceptions import DynamicApiError

from smtpfleet.api.names import FIELD_MANAGER
from smtpfleet.cluster.errors import NotFoundError, UnavailableError, error_for
from smtpfleet.cluster.kinds import Kind

Object = dict[str, Any]
"""A Kubernetes object as JSON knows it. Its shape is the API server's, so its values are not typed further."""

TIMEOUT_S: Final = 10.0
"""For one call, connecting and reading included."""
_PAGE: Final = 500


def unfenced() -> float:
    """The fence of a process that needs no leadership."""
    return math.inf


class Cluster:
    """Calls to the API server. Every method may raise any :class:`~smtpfleet.cluster.errors.ClusterError`."""

    def __init__(self, configuration: Configuration, *, fence: Callable[[], float] = unfenced) -> None:
        self._api = ApiClient(configuration)
        self._client = DynamicClient(self._api)  # type: ignore[no-untyped-call] # untyped library
        self._fence = fence

    def fenced(self, fence: Callable[[], float]) -> "Cluster":
        """The same connection with a fence for its writes."""
        other = Cluster.__new__(Cluster)
        other._api, other._client, other._fence = self._api, self._client, fence
        return other

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call] # untyped library

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """The object, or None if there is none of that name."""
        try:
            return await self._call("get", kind, namespace, name)
        except NotFoundError:
            return None

    async def list(self, kind: Kind, namespace: str, labels: Mapping[str, str]) -> list[Object]:
        """All objects with these labels; namespace "" means the whole cluster."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        found: list[Object] = []
        token = ""
        while True:
            more: dict[str, Any] = {"_continue": token} if token else {}
            answer = await self._call("get", kind, namespace, label_selector=selector, limit=_PAGE, **more)
            # Items of a list carry neither kind nor version, unlike the same object read by itself.
            found += [{"apiVersion": kind.api_version, "kind": kind.kind} | item for item in answer["items"]]
            token = answer["metadata"].get("continue", "")
            if not token:
                return found

    async def apply(self, kind: Kind, wanted: Object, *, uid: str = "", force: bool = True) -> Object:
        """Server-side apply. With ``uid`` only if the object still is that very one.

        Without ``force``, a field that somebody else owns with another value is a ConflictError.
        """
        metadata = wanted["metadata"] | ({"uid": uid} if uid else {})
        return await self._apply(kind, wanted | {"metadata": metadata}, force=force)

    async def apply_status(self, kind: Kind, wanted: Object) -> Object:
        """Server-side apply of the status of an object."""
        return await self._apply(kind, wanted, force=True, subresource="status")

    async def merge(self, kind: Kind, seen: Object, changed: Object) -> Object:
        """JSON merge patch of exactly the object that was seen: ConflictError if it was changed or replaced since.

        Lists are replaced whole, whoever owns their items: apply takes away only what is the operator's own.
        """
        metadata = seen["metadata"]
        version = {"resourceVersion": metadata["resourceVersion"]}
        return await self._call(
            "patch", kind, metadata["namespace"], metadata["name"],
            body=changed | {"metadata": changed.get("metadata", {}) | version},
            content_type="application/merge-patch+json", field_manager=FIELD_MANAGER, fenced=True,
        )  # fmt: skip

    async def create(self, kind: Kind, wanted: Object, *, fenced: bool = True) -> Object:
        """Create an object. ConflictError if it exists."""
        namespace = wanted["metadata"]["namespace"]
        return await self._call(
            "post", kind, namespace, body=wanted, field_manager=FIELD_MANAGER, fenced=fenced
        )

    async def replace(self, kind: Kind, wanted: Object, *, fenced: bool = True) -> Object:
        """Replace an object. ConflictError if its resourceVersion is no longer the one given."""
        metadata = wanted["metadata"]
        return await self._call(
            "put", kind, metadata["namespace"], metadata["name"], body=wanted,
            field_manager=FIELD_MANAGER, fenced=fenced,
        )  # fmt: skip

    async def delete(self, kind: Kind, seen: Object) -> None:
        """Delete exactly the object that was seen: ConflictError if it was changed or replaced since."""
        metadata = seen["metadata"]
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
        }
        await self._call("delete", kind, metadata["namespace"], metadata["name"], body=body, fenced=True)

    async def _apply(self, kind: Kind, wanted: Object, *, force: bool, subresource: str = "") -> Object:
        metadata = wanted["metadata"]
        return await self._call(
            "patch", kind, metadata["namespace"], metadata["name"], subresource, body=wanted,
            content_type="application/apply-patch+yaml", field_manager=FIELD_MANAGER,
            force_conflicts=str(force).lower(), fenced=True,
        )  # fmt: skip

    async def _call(
        self,
        method: str,
        kind: Kind,
        namespace: str,
        name: str = "",
        subresource: str = "",
        *,
        fenced: bool = False,
        **parameters: Any,
    ) -> Object:
        limit_s = min(TIMEOUT_S, self._fence()) if fenced else TIMEOUT_S
        what = f"{method} {kind.kind} {namespace}/{name}"
        path = kind.path(namespace, name, subresource)
        try:
            async with asyncio.timeout(limit_s):
                response = await self._client.request(method, path, serialize=False, **parameters)
                return cast(Object, await response.json())
        except DynamicApiError as error:
            headers = error.headers or {}
            raise error_for(
                status=error.status, body=_text(error.body), what=what,
                retry_after=headers.get("Retry-After", ""),
            ) from error  # fmt: skip
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise UnavailableError(f"{what}: {type(error).__name__}: {error}") from error


def _text(body: bytes | str | None) -> str:
    return body.decode(errors="replace") if isinstance(body, bytes) else body or ""
