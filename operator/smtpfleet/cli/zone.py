"""DNS records as lines of a zone file (RFC 1035, section 5)."""

from collections.abc import Iterable
from typing import Final

from smtpfleet.api.status import DkimEntry

_STRING: Final = 255
"""The longest string of a TXT record; whoever reads it joins them (RFC 6376, section 3.6.2.2)."""


def zone_lines(entries: Iterable[DkimEntry]) -> str:
    """A TXT record for each key, under a comment that says what the key does; keys without a record as comments."""
    return "".join(line for entry in entries for line in _lines(entry))


def strings(value: str) -> str:
    """A TXT value as quoted strings of at most 255 characters."""
    parts = [value[start : start + _STRING] for start in range(0, len(value), _STRING)]
    return " ".join('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in parts)


def _lines(entry: DkimEntry) -> Iterable[str]:
    if not entry.record:
        yield f"; {entry.record_name}: no relay has the key of Secret {entry.secret_name} yet\n"
        return
    use = "signs" if entry.signing else "publish it before it signs"
    yield f"; {entry.algorithm} {entry.bits} bits, {use}\n"
    yield f"{entry.record_name}. IN TXT ( {strings(entry.record)} )\n"
