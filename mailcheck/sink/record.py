"""What the sink has seen: every arrival in order, and counters.

Arrivals are kept as encoded lines, so that reading them over the control port, from any offset, costs a join and no
encoding. With a file each line is in the kernel before the message is acknowledged.
"""

import base64
import secrets
from collections import Counter, deque
from pathlib import Path
from types import TracebackType

from mailcheck.errors import MailcheckError
from mailcheck.jsonl import encode_arrival
from mailcheck.model import Arrival


class Record:
    """Append-only."""

    def __init__(self, path: Path | None = None, *, keep: int = 0) -> None:
        self.run = secrets.token_hex(8)
        """Tells one life of the sink from the next: offsets of another run mean nothing."""
        self.counters: Counter[str] = Counter()
        self.clients: Counter[str] = Counter()
        """Arrivals by client address."""
        self._lines: list[bytes] = []
        self._contents: deque[bytes] = deque(maxlen=keep)
        try:
            self._file = path.open("ab", buffering=0) if path else None
        except OSError as error:
            raise MailcheckError(f"cannot write the record: {error}") from error

    def __enter__(self) -> "Record":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, arrival: Arrival) -> None:
        """Keep an arrival. Raises OSError if the file cannot take it; then it counts as not arrived."""
        line = encode_arrival(arrival).encode("ascii") + b"\n"
        if self._file is not None and self._file.write(line) != len(line):
            raise OSError("the record file took only part of a line")
        self._lines.append(line)
        self.clients[arrival.client] += 1

    def keep(self, content: bytes) -> None:
        """Remember a whole message, as one of the last so many."""
        self._contents.append(base64.b64encode(content) + b"\n")

    def contents(self) -> bytes:
        """The messages that are remembered, oldest first, a line of base64 each."""
        return b"".join(self._contents)

    def lines(self, offset: int, limit: int) -> bytes:
        """Arrivals from an offset on, as JSON lines."""
        return b"".join(self._lines[offset : offset + limit])

    def summary(self) -> dict[str, object]:
        """Counters for people and for waiting loops."""
        return {"run": self.run, "arrivals": len(self), "byClient": dict(self.clients), **self.counters}
