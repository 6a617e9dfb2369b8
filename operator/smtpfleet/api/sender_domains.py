"""The type of ``submission.allowedSenderDomains``: a domain, or with a leading dot all domains below one."""

from typing import Annotated, Final

from pydantic import StringConstraints

from smtpfleet.api.values import matching

_LABEL: Final = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN: Final = f"[.]?{_LABEL}([.]{_LABEL})*"
_NO_DOMAIN: Final = (
    "not a domain: write example.com for itself, .example.com for all domains below it,"
    " and a name that is not ASCII as xn--…"
)

SenderDomain = Annotated[str, StringConstraints(min_length=1), *matching(_DOMAIN, _NO_DOMAIN, longest=254)]
"""``example.com`` (that domain alone) or ``.example.com`` (every domain below it, not itself); case does not matter."""
