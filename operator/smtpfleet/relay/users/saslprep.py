"""SASLprep: one form for passwords and names that look the same (RFC 4013, a profile of RFC 3454)."""

import stringprep
import unicodedata
from typing import Final

_PROHIBITED: Final = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)
"""RFC 4013, section 2.3; the last one: code points that Unicode 3.2 does not assign (stored strings)."""


def prepared(text: str) -> str:
    """The prepared form; a text that RFC 4013 prohibits stays as it is, as PostgreSQL and others have it.

    Both sides of a SCRAM exchange then still agree, and no password stops working for a character in it.
    """
    if text.isascii():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in text
        if not stringprep.in_table_b1(character)
    )
    normal = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    return normal if normal and not _is_prohibited(normal) else text


def _is_prohibited(text: str) -> bool:
    if any(test(character) for character in text for test in _PROHIBITED):
        return True
    if not any(map(stringprep.in_table_d1, text)):
        return False
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return not ends or any(map(stringprep.in_table_d2, text))
