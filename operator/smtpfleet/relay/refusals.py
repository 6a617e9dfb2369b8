"""Next hops that refuse the pool's credentials, as outcomes of deliveries tell it.

Guarantees: what is remembered of a next hop is its service and the reply code; a delivery or new credentials end it.
"""

import re
from collections.abc import Mapping
from typing import Final

from smtpfleet.relay.outcomes import Outcome

PREFIX: Final = "postfix/"
"""Before a service's name in ``syslog_name``: so each line of the log says which next hop it is about."""
_LOGIN_FAILED: Final = re.compile(r"SASL authentication failed;(?:.* said: (?P<code>\d{3}))?")


class Refusals:
    """Feed it outcomes by :meth:`read`."""

    def __init__(self) -> None:
        self._codes: dict[str, str] = {}

    def read(self, program: str, outcome: Outcome) -> None:
        """``program`` is such as ``postfix/smtp-0123456789/smtp`` where a next hop has a service of its own."""
        service, separator, _ = program.removeprefix(PREFIX).partition("/")
        if not separator:
            return
        failed = _LOGIN_FAILED.match(outcome.why)
        if failed is not None:
            self._codes[service] = failed["code"] or ""
        elif outcome.status == "sent":
            self._codes.pop(service, None)

    def forget(self, service: str) -> None:
        """Its credentials are other ones now."""
        self._codes.pop(service, None)

    @property
    def current(self) -> Mapping[str, str]:
        """Reply code (empty: none) by service."""
        return self._codes
