"""Postfix's maps for routes: text for the type ``regexp``, whose first matching line holds, as in the spec's list.

A lookup of a regexp map is one of the whole address, once, so nothing but the order of the lines decides. Types that
are looked up by key (hash, texthash) prefer the most specific domain wherever it stands. Source: transport(5),
regexp_table(5).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from smtpfleet.api.routing import DomainRoute
from smtpfleet.relay.services import HEADER

_SPECIAL: Final = frozenset(".[]{}()\\*+?|^$/")


def recipient_map(routes: Sequence[DomainRoute], target: Callable[[DomainRoute], str]) -> str:
    """Text of the map for ``transport_maps``; empty without such routes. ``target`` gives transport and next hop."""
    return _map((route.domain, route, target) for route in routes if route.domain)


def sender_map(routes: Sequence[DomainRoute], target: Callable[[DomainRoute], str]) -> str:
    """Text of the map for ``sender_dependent_default_transport_maps``. Bounces have no sender, so none matches them."""
    return _map((route.sender_domain, route, target) for route in routes if route.sender_domain)


def pattern(domain: str) -> str:
    """Regular expression (POSIX, extended) for the addresses of a domain, or with a leading dot of those below it.

    Postfix ignores the case of ASCII letters only, so that of others is spelled out.
    """
    below = "[^@]+" if domain.startswith(".") else ""
    return f"@{below}{''.join(map(_character, domain))}$"


def _map(entries: Iterable[tuple[str, DomainRoute, Callable[[DomainRoute], str]]]) -> str:
    lines = [
        f"/{pattern(form)}/ {target(route)}\n"
        for domain, route, target in entries
        for form in filter(None, (domain, route.unicode_domain))
    ]
    return HEADER + "".join(lines) if lines else ""


def _character(character: str) -> str:
    if character in _SPECIAL:
        return f"\\{character}"
    if character.isascii():
        return character
    forms = dict.fromkeys((character, character.lower(), character.upper()))
    own = [form for form in forms if len(form) == 1 and not form.isascii()]
    return own[0] if len(own) == 1 else f"({'|'.join(own)})"
