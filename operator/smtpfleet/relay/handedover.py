"""What becomes of mail that is given to siblings, as Postfix's log tells it.

Guarantees: no text of a sibling is kept, only its reply code.
"""

import re
from typing import Final

from smtpfleet.relay.handoffconf import PROGRAM

_OUTCOME: Final = re.compile(r", status=(?P<status>\w+) \((?P<why>.*)")
_SAID: Final = re.compile(r"said: (?P<code>\d{3}(?:[ -]\d\.\d{1,3}\.\d{1,3})?)")
_NO_CONNECTION: Final = re.compile(r"connect to |conversation with .* timed out|lost connection with ")


class HandedOver:
    """Feed it lines by :meth:`read`. ``count`` is of recipients; ``why`` says why the last one stayed, else empty."""

    def __init__(self) -> None:
        self.count = 0
        self.why = ""

    def read(self, program: str, text: str) -> bool:
        """Whether the line is about such mail."""
        if not program.startswith(PROGRAM):
            return False
        outcome = _OUTCOME.search(text)
        if outcome is None:
            return True
        if outcome["status"] == "sent":
            self.count += 1
            self.why = ""
        else:
            self.why = _reason(outcome["why"])
        return True


def _reason(why: str) -> str:
    if said := _SAID.search(why):
        return f"its siblings take nothing now ({said['code'].replace('-', ' ')})"
    if _NO_CONNECTION.search(why):
        return "its siblings cannot be reached"
    return "its siblings take nothing now"
