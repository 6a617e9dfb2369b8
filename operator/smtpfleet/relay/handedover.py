"""What becomes of mail that is given to siblings, and how much comes from them, as Postfix's log tells it.

Guarantees: no text of a sibling is kept, only its reply code.
"""

import re
from typing import Final

from smtpfleet.relay.handoffconf import PROGRAM, TAKING
from smtpfleet.relay.outcomes import Outcome

_BEGUN: Final = re.compile(r"\w+: client=")
_SAID: Final = re.compile(r"said: (?P<code>\d{3}(?:[ -]\d\.\d{1,3}\.\d{1,3})?)")
_NO_CONNECTION: Final = re.compile(r"connect to |conversation with .* timed out|lost connection with ")


class HandedOver:
    """Feed it lines by :meth:`read`.

    ``count`` is of recipients that siblings took, ``taken`` of messages that came from siblings; ``why`` says why the
    last one stayed here, else empty.
    """

    def __init__(self) -> None:
        self.count = self.taken = 0
        self.why = ""

    def read(self, program: str, text: str, outcome: Outcome | None) -> bool:
        """Whether the line is about mail that is given away. ``outcome``: what the line tells of, if of one."""
        if program.startswith(TAKING) and _BEGUN.match(text):
            self.taken += 1
        if not program.startswith(PROGRAM):
            return False
        if outcome is None:
            return True
        if outcome.status == "sent":
            self.count += 1
            self.why = ""
        else:
            self.why = _reason(outcome.why)
        return True


def _reason(why: str) -> str:
    if said := _SAID.search(why):
        return f"its siblings take nothing now ({said['code'].replace('-', ' ')})"
    if _NO_CONNECTION.search(why):
        return "its siblings cannot be reached"
    return "its siblings take nothing now"
