"""Attempts around log-ins from where nobody is trusted, and the answer to each that docs/security.md shows.

The pool has one user, who may send as one address only.
"""

import base64
from dataclasses import dataclass
from typing import Final

from scenario.conversation import Step, line
from tests.cluster.edge.open_relay import MAIL, RCPT
from tests.cluster.edge.ways import IN_CLEAR, UNDER_TLS, Way

USER: Final = "app"
PASSWORD: Final = "an-apps-password"
SENDER: Final = "app@example.com"
ENTRY: Final = f"{PASSWORD}\nsenders: {SENDER}\n"
"""Of the pool's Secret."""

_OWN: Final = f"MAIL FROM:<{SENDER}>"


def _plain(user: str, password: str, *, acting_as: str = "") -> str:
    return f"AUTH PLAIN {_base64(chr(0).join((acting_as, user, password)))}"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


_RIGHT: Final = _plain(USER, PASSWORD)
_WRONG: Final = _plain(USER, "wrong")
_25, _587 = IN_CLEAR


@dataclass(frozen=True, kw_only=True)
class Login:
    """``steps`` follow EHLO, ``codes`` are the answers to them. After them DATA is tried.

    A last answer that ends the session is among the codes, and nothing follows it.
    """

    title: str
    steps: tuple[Step, ...]
    codes: tuple[str, ...]
    ways: tuple[Way, ...] = UNDER_TLS


def _said(title: str, *pairs: tuple[str, str], ways: tuple[Way, ...] = UNDER_TLS) -> Login:
    """Commands with their answers, one by one."""
    lines, codes = zip(*pairs, strict=True)
    return Login(title=title, steps=tuple(map(line, lines)), codes=codes, ways=ways)


def _refused(title: str, *pairs: tuple[str, str]) -> Login:
    """What does not log anybody in, so that a stranger goes on."""
    return _said(title, *pairs, (MAIL, "250"), (RCPT, "554"))


def _injected(title: str, way: Way, octets: str, *codes: str) -> Login:
    """Commands behind STARTTLS in the same segment, then the session goes on under TLS."""
    after = (Step(tls=True, replies=0), *map(line, ("EHLO x", MAIL, RCPT)))
    return Login(title=title, steps=(Step(send=octets.encode()), *after), codes=codes, ways=(way,))


LOGINS: Final = (
    _said("`AUTH` in clear, port 25", (_RIGHT, "503"), (MAIL, "250"), (RCPT, "554"), ways=(_25,)),
    _said("`AUTH` in clear, port 587", (_RIGHT, "530"), (MAIL, "530"), (RCPT, "530"), ways=(_587,)),
    _injected("`STARTTLS` with `AUTH` behind it", _25, f"STARTTLS\r\n{_RIGHT}\r\n", "220", "250", "250", "554"),
    _injected(
        "`STARTTLS` with `AUTH` and a message behind it",
        _587,
        f"STARTTLS\r\n{_RIGHT}\r\n{_OWN}\r\n{RCPT}\r\n",
        "220", "250", "250", "554",
    ),
    _refused("a wrong password", (_WRONG, "535")),
    _refused("a wrong password by `LOGIN`", ("AUTH LOGIN", "334"), (_base64(USER), "334"), (_base64("wrong"), "535")),
    _refused("a user who does not exist", (_plain("nobody", PASSWORD), "535")),
    _refused("the user's name in capitals", (_plain(USER.upper(), PASSWORD), "535")),
    _refused("no password", (_plain(USER, ""), "535")),
    _refused("a user acting as another", (_plain(USER, PASSWORD, acting_as="admin"), "535")),
    _refused("a mechanism that is not offered", ("AUTH CRAM-MD5", "535")),
    _refused("`ANONYMOUS`", ("AUTH ANONYMOUS", "535")),
    _refused("`EXTERNAL`", (f"AUTH EXTERNAL {_base64(USER)}", "535")),
    _refused("no base64", ("AUTH PLAIN ???", "535")),
    _refused("base64 of something else", (f"AUTH PLAIN {_base64('x')}", "535")),
    _refused("no base64 in a later line", ("AUTH PLAIN", "334"), ("\x80\x81", "535")),
    _refused("`AUTH` given up", ("AUTH PLAIN", "334"), ("*", "501")),
    _refused("two initial responses", (f"{_RIGHT} {_base64('x')}", "501")),
    _refused("`XCLIENT` as a user", (f"XCLIENT LOGIN={USER}", "550")),
    _said("`AUTH` after MAIL", (MAIL, "250"), (_RIGHT, "503"), (RCPT, "554")),
    _said("a second `AUTH`", (_RIGHT, "235"), (_RIGHT, "503")),
    _said("a second `AUTH` after RSET", (_RIGHT, "235"), ("RSET", "250"), (_RIGHT, "503")),
    _said("`STARTTLS` after `AUTH`", (_RIGHT, "235"), ("STARTTLS", "554")),
    _said("a user as somebody else", (_RIGHT, "235"), (MAIL, "553"), (RCPT, "503")),
    _said("a user as nobody (`<>`)", (_RIGHT, "235"), ("MAIL FROM:<>", "553"), (RCPT, "503")),
    Login(
        title="a message behind `AUTH`, before its reply",
        steps=(Step(send=f"{_WRONG}\r\n{_OWN}\r\n{RCPT}\r\n".encode(), replies=3),),
        codes=("535", "250", "554"),
    ),
)  # fmt: skip
