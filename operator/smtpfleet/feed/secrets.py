"""Follows one Secret, whatever happens to the API server.

Guarantees: ``current`` is the content as the API server last had it, also through an outage of the API server, and
through one that meets a container that starts anew (by a copy in the pod's memory, where the kubelet would put a
mounted Secret); content is never logged.
"""

import asyncio
import base64
import hashlib
import json
import logging
import random
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from pydantic import TypeAdapter

from smtpfleet.feed.watch import Watch

logger = logging.getLogger(__name__)

Content = Mapping[str, bytes]
Seal = Callable[[Content], Awaitable[Content]]
"""Makes of a Secret's content what of it may be kept."""
_COPY: Final = TypeAdapter(dict[str, str])


class SecretSource(Protocol):
    """Where Secrets come from; :class:`smtpfleet.feed.access.ApiAccess` is the one of production."""

    def secret(self, *, namespace: str, name: str) -> AsyncGenerator[Content | None]:
        """The content now and after each change, None while there is none; ends or raises AccessError."""


class SecretFollower:
    """Keeps the newest content of one Secret. :meth:`run` does the work, in a task of its own.

    Args:
        namespace: of the Secret.
        name: of the Secret.
        api: the API server; None: nothing but the copy is known.
        changed: called after each change of ``current`` or ``missing``.
        copy: file in memory that outlives the container, but not the pod; None: no copy is kept.
        jitter: gives a factor from 0 to 1 that spreads the retries of many agents.
        seal: gives what the content goes through before it is kept, in memory or in the copy; None: it is kept
            as it is.

    Attributes:
        current: the content; None: never seen, or missing.
        missing: the API server has said that there is no such Secret.
    """

    def __init__(
        self,
        namespace: str,
        name: str,
        api: SecretSource | None,
        changed: Callable[[], None],
        *,
        copy: Path | None = None,
        jitter: Callable[[], float] = random.random,
        seal: Callable[[], Seal | None] = lambda: None,
    ) -> None:
        self.missing = False
        self._seal = seal
        self._key, self._digest = secrets.token_bytes(32), b""
        self._what = f"Secret {namespace}/{name}"
        self._api, self._changed, self._copy = api, changed, copy
        self._watch: Watch[Content | None] | None = None
        if api is not None:
            self._watch = Watch(self._what, lambda: api.secret(namespace=namespace, name=name), jitter)
        self.current: Content | None = self._copied()

    @property
    def error(self) -> str:
        """Why ``current`` may not be the newest content; empty while it is."""
        if self._watch is None:
            return f"{self._what}: no API server is known here"
        if self._watch.error or not self._watch.up:
            return f"{self._what}: {self._watch.error or 'no answer yet'}"
        return f"{self._what} is missing" if self.missing else ""

    async def run(self) -> None:
        """Follow the Secret for ever. Trouble is logged and tried again, never raised."""
        if self._watch is None:
            await asyncio.Event().wait()
        else:
            await self._watch.run(self._take)

    async def _take(self, content: Content | None) -> None:
        missing, digest, seal = content is None, b"", self._seal()
        if seal is not None and content is not None:
            digest = _digest(content, self._key)
            if digest == self._digest:
                return
            content = await seal(content)
        elif content == self.current and missing == self.missing:
            return
        self._digest = digest
        if missing and not self.missing:
            logger.error("a Secret is missing", extra={"object": self._what})
        else:
            logger.info("Secret received", extra={"object": self._what})
        self.current, self.missing = content, missing
        self._remember(content)
        self._changed()

    def _remember(self, content: Content | None) -> None:
        if self._copy is None:
            return
        if content is None:
            self._copy.unlink(missing_ok=True)
            return
        new = self._copy.with_name(f".{self._copy.name}.new")
        try:
            new.unlink(missing_ok=True)
            new.touch(mode=0o600)
            new.write_text(
                json.dumps({key: base64.b64encode(value).decode() for key, value in content.items()})
            )
            new.replace(self._copy)
        except OSError as error:
            logger.warning("a Secret is not remembered", extra={"object": self._what, "reason": str(error)})

    def _copied(self) -> Content | None:
        if self._copy is None or not self._copy.exists():
            return None
        try:
            copied = _COPY.validate_json(self._copy.read_bytes())
            return {key: base64.b64decode(value, validate=True) for key, value in copied.items()}
        except (OSError, ValueError):
            logger.warning("the copy of a Secret cannot be read", extra={"object": self._what})
            return None


def _digest(content: Content, key: bytes) -> bytes:
    """Tells contents apart without keeping them."""
    digest = hashlib.blake2b(key=key, digest_size=32)
    for name, value in sorted(content.items()):
        digest.update(f"{len(name)} {len(value)} {name}".encode() + value)
    return digest.digest()
