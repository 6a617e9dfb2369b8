"""Ways in which somebody who may relay could name the address of canaries, which only the operator's probes may.

docs/security.md shows them; the answer is 554 to each.
"""

import base64
from dataclasses import dataclass
from typing import Final

from scenario.conversation import Step, line
from tests.conformance.table import PASSWORD


@dataclass(frozen=True, kw_only=True)
class Spelling:
    """A recipient. ``sender``: of the envelope."""

    title: str
    recipient: str
    sender: str = "<s@example.com>"

    @property
    def steps(self) -> tuple[Step, ...]:
        """What is said after EHLO, or after a log-in."""
        return (line(f"MAIL FROM:{self.sender}"), line(f"RCPT TO:{self.recipient}"), line("DATA"))


SPELLINGS: Final = (
    Spelling(title="the canaries' address", recipient="<canary@canary.smtpfleet.invalid>"),
    Spelling(
        title="the same with the empty sender", recipient="<canary@canary.smtpfleet.invalid>", sender="<>"
    ),
    Spelling(title="the same in capitals", recipient="<CANARY@Canary.SmtpFleet.INVALID>"),
    Spelling(title="the same with a quoted local part", recipient='<"canary"@canary.smtpfleet.invalid>'),
    Spelling(title="the same with a dot at its end", recipient="<canary@canary.smtpfleet.invalid.>"),
    Spelling(title="the same by a source route", recipient="<@example.org:canary@canary.smtpfleet.invalid>"),
)
REFUSED: Final = "250, 554"


def log_in(user: str) -> tuple[Step, ...]:
    """As a user of the conformance tests."""
    response = base64.b64encode(f"\0{user}\0{PASSWORD}".encode()).decode()
    return (line(f"AUTH PLAIN {response}"),)
