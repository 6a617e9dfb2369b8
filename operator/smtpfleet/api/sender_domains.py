"""The type of ``submission.allowedSenderDomains``: a domain, or with a leading dot all domains below one."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints

from smtpfleet.api.values import rule, rules

_LABEL: Final = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN: Final = f"[.]?{_LABEL}([.]{_LABEL})*"
_NO_DOMAIN: Final = (
    "not a domain: write example.com for itself, .example.com for all domains below it,"
    " and a name that is not ASCII as xn--…"
)


def _check_domain(value: str) -> str:
    if not re.fullmatch(_DOMAIN, value):
        raise ValueError(f"{value!r} is {_NO_DOMAIN}")
    return value


SenderDomain = Annotated[
    str,
    StringConstraints(min_length=1, max_length=254),
    AfterValidator(_check_domain),
    Field(json_schema_extra=rules(rule(f"self.matches('^{_DOMAIN}$')", _NO_DOMAIN))),
]
"""``example.com`` (that domain alone) or ``.example.com`` (every domain below it, not itself); case does not matter."""
