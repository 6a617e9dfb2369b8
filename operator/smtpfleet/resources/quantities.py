"""Kubernetes quantities, as far as needed to see that ``1Gi`` and ``1024Mi`` are the same.

Source: k8s.io/apimachinery/pkg/api/resource, the forms without exponent.
"""

import re
from decimal import Decimal
from typing import Final

_FACTORS: Final = {
    "m": Decimal("0.001"), "": Decimal(1),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
}  # fmt: skip
_QUANTITY: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")


def amount(quantity: str) -> Decimal | None:
    """The number a quantity stands for; None if it is written in a form not known here."""
    match = _QUANTITY.fullmatch(quantity)
    return Decimal(match[1]) * _FACTORS[match[2] or ""] if match else None


def same(one: object, other: object) -> bool:
    """Whether two values are equal as quantities (text or number), or simply equal."""
    first, second = amount(str(one)), amount(str(other))
    return one == other if first is None or second is None else first == second


def larger(one: str, other: str) -> str:
    """The larger of two quantities, ``one`` if they are equal or cannot be compared."""
    first, second = amount(one), amount(other)
    return other if first is not None and second is not None and second > first else one
