"""Value types of the API: durations, sizes, networks and host names, each with its CEL rule.

The rule is part of the schema, so a bad value is refused by the API server with a sentence that says what
to write instead; the same check exists here for what reaches Python by another way.
"""

import ipaddress
import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

_DURATION_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION_PART: Final = re.compile(r"([0-9]+)(ms|s|m|h|d)")
# Each unit once, largest first; so many digits that every duration fits into 31 bits of seconds, as Postfix's do.
_DURATION: Final = "([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?([0-9]{1,9}ms)?"
_SIZE_UNITS: Final = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip
# So many digits that every size fits into 63 bits.
_SIZE: Final = "([1-9][0-9]{0,14}|[1-9][0-9]{0,5}(k|M|G|T|Ki|Mi|Gi|Ti))"
_NO_DURATION: Final = "not a duration: write a number and a unit, such as 30s, 10m or 5d"
# A period (balancer/bandwidth.py) of the largest fits into the 31 bits of HAProxy's counters.
_BANDWIDTH: Final = "(0|([1-9][0-9]?|100)Mi)"
_NO_BANDWIDTH: Final = "not a bandwidth: write 1Mi to 100Mi, or 0 for no limit"
_NO_SIZE: Final = "not a size: write a number and a unit, such as 25Mi or 1Gi"
_LABEL: Final = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_SUBDOMAIN: Final = "[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
_NO_NAME: Final = "not a name of a Secret: write lower-case letters, digits, hyphens and dots"
_HOST_NAME: Final = f"{_LABEL}([.]{_LABEL})*"
_NO_HOST_NAME: Final = "not a host name: write letters, digits, hyphens and dots, such as relay.example.com"
# Ranges in which every IPv4 address has a counterpart: IPv4-mapped (RFC 4291), 6to4 (RFC 3056), Teredo
# (RFC 4380), NAT64 (RFC 6052).
_STAND_FOR_IPV4: Final = ("::/64", "2002::/16", "2001::/32", "64:ff9b::/96")


def rule(expression: str, message: str, *, field_path: str = "") -> dict[str, str]:
    """One entry of ``x-kubernetes-validations``: a CEL expression and what to tell who breaks it.

    ``field_path`` names the field to blame, relative to where the rule stands, such as ``.relay.image``.
    """
    entry = {"rule": expression, "message": message}
    return {**entry, "fieldPath": field_path} if field_path else entry


def rules(*entries: dict[str, str]) -> dict[str, Any]:
    """Schema extra of a field or model that carries CEL rules."""
    return {"x-kubernetes-validations": list(entries)}


def matching(pattern: str, wrong: str, *, longest: int, optional: bool = False) -> tuple[Any, ...]:
    """What makes a text field match a regular expression as a whole: ``Annotated[str, *matching("[a-z]+", …)]``.

    Args:
        wrong: what a text is that does not match, and what to write instead.
        longest: most characters.
        optional: it may be empty as well.
    """

    def check(value: str) -> str:
        if not (optional and not value) and not re.fullmatch(pattern, value):
            raise ValueError(f"{value!r} is {wrong}")
        return value

    matches = f"self.matches('^{pattern}$')"
    return (
        StringConstraints(max_length=longest),
        AfterValidator(check),
        Field(json_schema_extra=rules(rule(f"self == '' || {matches}" if optional else matches, wrong))),
    )


class ApiModel(BaseModel):
    """Base of all models of the API: immutable, camelCase outside, unknown fields refused."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="forbid", use_enum_values=False
    )


def duration_seconds(duration: str) -> float:
    """Seconds of a duration such as ``500ms``, ``30s`` or ``1h30m``.

    Raises:
        ValueError: not a duration.
    """
    if not duration or not re.fullmatch(_DURATION, duration):
        raise ValueError(f"{duration!r} is {_NO_DURATION}")
    return sum(int(number) * _DURATION_UNITS_S[unit] for number, unit in _DURATION_PART.findall(duration))


def size_bytes(size: str) -> int:
    """Bytes of a size such as ``25Mi``, ``1Gi`` or ``1000000``.

    Raises:
        ValueError: not a size.
    """
    if not re.fullmatch(_SIZE, size):
        raise ValueError(f"{size!r} is {_NO_SIZE}")
    number = size.rstrip("kKMGTi")
    return int(number) * _SIZE_UNITS[size[len(number) :]]


def bandwidth_bytes(bandwidth: str) -> int:
    """Bytes a second of a bandwidth such as ``8Mi``; of ``0``: 0.

    Raises:
        ValueError: not a bandwidth.
    """
    if not re.fullmatch(_BANDWIDTH, bandwidth):
        raise ValueError(f"{bandwidth!r} is {_NO_BANDWIDTH}")
    return int(bandwidth.removesuffix("Mi")) * 2**20


def _check_period(value: str) -> str:
    if duration_seconds(value) < 1:
        raise ValueError(f"{value!r} is too short: write at least 1s")
    return value


def _check_network(value: str) -> str:
    if not re.fullmatch(r"[0-9A-Fa-f.:]+/[0-9]+", value):
        raise ValueError(
            f"{value!r} is not a network: write an address and a prefix length, such as 10.0.0.0/8"
        )
    network = ipaddress.ip_network(value)  # refuses host bits
    if isinstance(network, ipaddress.IPv4Network):
        narrow = network.prefixlen >= 8
    elif any(network.overlaps(ipaddress.IPv6Network(range_)) for range_ in _STAND_FOR_IPV4):
        narrow = False
    else:
        narrow = network.prefixlen >= 16 or network.subnet_of(ipaddress.IPv6Network("fc00::/7"))
    if not narrow:
        raise ValueError(f"{value} trusts so much of the Internet that the pool would be an open relay")
    return value


Period = Annotated[
    str,
    StringConstraints(max_length=16),
    AfterValidator(_check_period),
    Field(
        json_schema_extra=rules(
            rule(f"self != '' && self.matches('^{_DURATION}$')", _NO_DURATION),
            rule("self.matches('[1-9][0-9]*(d|h|m[^s]|m$|s)')", "too short: write at least 1s"),
        )
    ),
]
"""Text such as ``30s``, at least one second, for Postfix counts whole seconds.
:func:`duration_seconds` gives seconds."""

Bandwidth = Annotated[str, *matching(_BANDWIDTH, _NO_BANDWIDTH, longest=5)]
"""Bytes a second, such as ``8Mi``, or ``0``; :func:`bandwidth_bytes` gives bytes."""

Size = Annotated[str, *matching(_SIZE, _NO_SIZE, longest=16)]
"""Text such as ``25Mi``; :func:`size_bytes` gives bytes."""

TrustedNetwork = Annotated[
    str,
    StringConstraints(max_length=43),
    AfterValidator(_check_network),
    Field(
        json_schema_extra=rules(
            rule("isCIDR(self)", "not a network: write an address and a prefix length, such as 10.0.0.0/8"),
            rule(
                "!isCIDR(self) || cidr(self) == cidr(self).masked()",
                "the address has bits beyond the prefix length: write the network's own address,"
                " such as 10.0.0.0/8 and not 10.1.2.3/8",
            ),
            rule(
                "!isCIDR(self) || (cidr(self).ip().family() == 4 ? cidr(self).prefixLength() >= 8"
                " : cidr(self).prefixLength() >= 16 || cidr('fc00::/7').containsCIDR(cidr(self)))",
                "this network is so much of the Internet that the pool would be an open relay:"
                " list your own networks, such as 10.0.0.0/8",
            ),
            rule(
                f"!isCIDR(self) || !{list(_STAND_FOR_IPV4)}.exists(r,"
                " cidr(r).containsCIDR(cidr(self)) || cidr(self).containsCIDR(cidr(r)))",
                f"addresses of {', '.join(_STAND_FOR_IPV4)} stand for any IPv4 address, so the pool would be an open"
                " relay: list your own networks, such as 2001:db8::/32",
            ),
        )
    ),
]
"""A CIDR whose hosts may relay without a password: at least /8 (IPv4) or /16 (IPv6; fc00::/7 as a whole),
and no range that stands for all of IPv4."""

HostName = Annotated[str, *matching(_HOST_NAME, _NO_HOST_NAME, longest=253, optional=True)]
"""A DNS name (or an IPv4 address where a host is asked for)."""

Moment = Annotated[str, StringConstraints(max_length=32)]
"""A time in UTC as Kubernetes writes it (RFC 3339), or empty."""

SecretName = Annotated[str, *matching(_SUBDOMAIN, _NO_NAME, longest=253, optional=True)]
"""Name of a Secret in the pool's namespace, or empty."""
