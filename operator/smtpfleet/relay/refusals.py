"""Next hops that refuse the pool's credentials, as Postfix's log tells it.

Guarantees: what is remembered of a next hop is its name and the reply code; a delivery or new credentials end it.
"""

import re
from collections.abc import Mapping
from typing import Final

_OUTCOME: Final = re.compile(
    r" relay=(?P<host>[^\s\[]+)\[[^\]]*\]:(?P<port>\d+), .*, status=(?P<status>\w+) \((?P<why>.*)"
)
_LOGIN_FAILED: Final = re.compile(r"SASL authentication failed;(?:.* said: (?P<code>\d{3}))?")


class Refusals:
    """Feed it lines of the log by :meth:`read`."""

    def __init__(self) -> None:
        self._codes: dict[str, str] = {}

    def read(self, text: str) -> None:
        """A line without its head."""
        if " relay=" not in text:
            return
        outcome = _OUTCOME.search(text)
        if outcome is None:
            return
        server = f"{outcome['host'].lower()}:{outcome['port']}"
        failed = _LOGIN_FAILED.search(outcome["why"])
        if failed is not None:
            self._codes[server] = failed["code"] or ""
        elif outcome["status"] == "sent":
            self._codes.pop(server, None)

    def forget(self, server: str) -> None:
        """Its credentials are other ones now."""
        self._codes.pop(server, None)

    @property
    def current(self) -> Mapping[str, str]:
        """Reply code (empty: none) by ``host:port`` of the servers that refuse."""
        return self._codes
