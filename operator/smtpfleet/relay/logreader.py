"""Postfix's log lines: masked, freed of the checks' noise, counted, and passed on in the agent's own form.

Guarantees: no local part of a mail address leaves this module while masking is on (first letter and domain
stay, for both are needed to find a message); a line that is not understood is passed on, masked as well.
Message-IDs stay: they are what senders and receivers search for. So do names of users (``sasl_username=``), also
those that are addresses: whoever looks for the account that sends has no other trace.
"""

import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from queue import SimpleQueue
from typing import Final

from smtpfleet.api.probes import CANARY, CANARY_DOMAIN
from smtpfleet.relay.handedover import HandedOver
from smtpfleet.relay.isolation import Isolation
from smtpfleet.relay.outcomes import Outcome, outcome
from smtpfleet.relay.refusals import Refusals
from smtpfleet.relay.window import Window

_LINE: Final = re.compile(
    r"(?:<\d+>)?\w{3} [ \d]\d \d\d:\d\d:\d\d (?:[^\s\[]+ )?(?P<program>[\w./-]+)\[(?P<pid>\d+)\]: (?P<text>.*)"
)
_QUOTED: Final = r"\"(?:[^\"\\]|\\.)*+\""
_ADDRESS: Final = re.compile(
    # What is no address, or is to stay.
    r"(?P<stays>message-id=<[^>]*>?|sasl_username=[^\s,]+)"
    # In angle brackets: all up to the last @, whatever stands there; in quotes there may be more of both.
    rf"|<(?P<bracketed>(?:{_QUOTED}|\\.|[^<>\"\\])+|[^<>]+)@(?=[^<>@]*>)"
    # In text: a quoted local part, or a word from its beginning; quotes and = may stand around it and within it.
    rf"|(?:(?P<quoted>{_QUOTED})|"
    r"(?<![^\s<>@\":,;()\[\]])(?!@)(?P<lead>(?:sasl_sender=|[='\\])*+)(?P<word>[^\s<>@\":,;()\[\]]*+))@(?=[\w\[])"
)
_FIRST: Final = re.compile(r"[^\"@='\\]")
_SEVERITY: Final = re.compile(r"(?P<severity>warning|error|fatal|panic): ")
_CHECK: Final = "postfix/check/"
_CHECK_NOISE: Final = ("connect from ", "disconnect from ", "lost connection after ")
_QUEUE_MANAGER: Final = "postfix/qmgr"
_CANARY_CLIENT: Final = "postfix/lmtp"
_SIGNER: Final = "opendkim"
_SIGNED: Final = re.compile(r"\w+: DKIM-Signature field added \(")
_MILTER_ASKERS: Final = ("/cleanup", "/smtpd")
_MILTER_REJECT: Final = re.compile(r"\w+: milter-reject: ")
_SESSION: Final = re.compile(
    r"(?:connect from|disconnect from|\w+ TLS connection established from) [^\s\[]+(?P<client>\[[0-9a-f.:]+\])(?::| |$)"
)
_BEGUN: Final = re.compile(
    r"(?P<id>\w+): client=(?P<who>[^\s\[]+(?P<client>\[[0-9a-f.:]+\]))"
    r"(?:, sasl_method=\w+, sasl_username=probe;[\w.-]+)?"
)
_BEGUN_MOST: Final = 100
_REMOVED: Final = ": removed"
_CANCELLED: Final = ": removed (canceled)"
_HANDED_IN: Final = re.compile(r" (?:data|bdat)=| \w+=\d+/\d")
"""Of a session's last line: commands that no probe sends, or one that was refused."""
_CANARY_BEGUN: Final = re.compile(rf"(?P<id>\w+): message-id=<[0-9a-f]{{32}}@{re.escape(CANARY_DOMAIN)}>")
_CANARY_OUTCOME: Final = re.compile(rf"\w+: to=<{re.escape(CANARY)}>, (?P<sent>[^(]*, status=sent \()?")
"""What came of a canary: from the line's beginning, for receivers' replies stand in lines and may say anything."""
_MESSAGE_ID: Final = "message-id="
_CANARY_PASSED: Final = re.compile(
    r"disconnect from \S+ ehlo=[12](?: starttls=1)?(?: auth=1)? mail=2 rcpt=2 data=1 rset=1 quit=1 commands=\d+"
)
"""The last line of a session that handed in one canary, and nothing else."""
_HELD: Final = re.compile(r"(?P<id>\w+): skipped, still being delivered")
_FROZEN: Final = "deferred transport)"


class Severity(StrEnum):
    """How bad a line is, in Postfix's words; INFO for lines without one."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    FATAL = "fatal"
    PANIC = "panic"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that is passed on. ``program`` is such as ``postfix/smtpd``; empty if the form was unknown."""

    text: str
    program: str = ""
    pid: int = 0
    severity: Severity = Severity.INFO


def mask(text: str) -> str:
    """Hide local parts: ``to=<jane.doe@example.com>`` becomes ``to=<j***@example.com>``."""
    return _ADDRESS.sub(_masked, text) if "@" in text else text


class LogReader:
    """Reads lines one by one. ``deliveries`` counts outcomes by Postfix's word (sent, deferred, bounced …).

    ``clock``: seconds that only ever grow.
    """

    def __init__(self, *, mask_addresses: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self.deliveries: Counter[str] = Counter()
        self.recent = Window(clock)
        self.isolation = Isolation(clock)
        self.refusals = Refusals()
        self.handed_over = HandedOver()
        self.held: SimpleQueue[str] = SimpleQueue()
        """Ids of messages that the queue manager puts off because a delivery holds them."""
        self.signed = 0
        self.milter_rejects = 0
        self._probing: frozenset[str] = frozenset()
        self._begun: dict[str, str] = {}
        self._canaries: set[str] = set()
        self._canaries_delivered = 0
        self._mask = mask if mask_addresses else str

    def leave_out(self, probing: frozenset[str]) -> None:
        """Client addresses that only the operator's probes name: their sessions are no news while they are well."""
        self._probing = frozenset(f"[{address}]" for address in probing)

    def read(self, line: str) -> LogLine | None:
        """What to pass on, or None for noise."""
        parts = _LINE.fullmatch(line)
        if parts is None:
            return LogLine(self._mask(line))
        program, text = parts["program"], parts["text"]
        if program.startswith(_CHECK) and text.startswith(_CHECK_NOISE):
            return None
        if self._is_probe(program, text) or self._is_canary(program, text):
            return None
        text = self._with_client(program, text)
        found = outcome(program, text)
        if not self.handed_over.read(program, text, found):
            self._count(program, text, found)
        if found is not None:
            self.refusals.read(program, found)
        if program == _QUEUE_MANAGER:
            if text.endswith(_REMOVED):
                self._finished()
            elif held := _HELD.fullmatch(text):
                self.held.put(held["id"])
        severity = _SEVERITY.match(text)
        return LogLine(
            text=self._mask(text),
            program=program,
            pid=int(parts["pid"]),
            severity=Severity(severity["severity"]) if severity else Severity.INFO,
        )

    def _is_probe(self, program: str, text: str) -> bool:
        """A line about a session of a probe, unless something went wrong in it or a message was handed in.

        Postfix begins a queue file with the first recipient, and removes it when there is no message for it.
        """
        if program.endswith("/cleanup") and text.endswith(_CANCELLED):
            return self._begun.pop(text.removesuffix(_CANCELLED), None) is not None
        if not program.endswith("/smtpd"):
            return False
        if (begun := _BEGUN.fullmatch(text)) and begun["client"] in self._probing:
            if len(self._begun) >= _BEGUN_MOST:
                self._begun.clear()
            self._begun[begun["id"]] = begun["who"]
            return True
        match = _SESSION.match(text)
        if match is None or match["client"] not in self._probing:
            return False
        # Should it have handed in something else, the message's own lines tell of it.
        return not _HANDED_IN.search(text) or _CANARY_PASSED.fullmatch(text) is not None

    def _is_canary(self, program: str, text: str) -> bool:
        """A line about a message that a probe handed in, on its way to the agent, unless something is wrong with it.

        Lines of different processes may come in any order, so some that do not name a canary are passed on.
        """
        if program == _CANARY_CLIENT and (came := _CANARY_OUTCOME.match(text)) and came["sent"]:
            self._canaries_delivered += 1
            return True
        if (begun := _CANARY_BEGUN.fullmatch(text)) and self._begun.pop(begun["id"], None) is not None:
            if len(self._canaries) >= _BEGUN_MOST:
                self._canaries.clear()
            self._canaries.add(begun["id"])
            return True
        id_ = text.partition(":")[0]
        if id_ not in self._canaries:
            return False
        if program == _QUEUE_MANAGER and text.endswith(_REMOVED):
            self._canaries.discard(id_)
            self._finished()
            return True
        return program in {_QUEUE_MANAGER, _SIGNER}

    def _finished(self) -> None:
        """A message left the queue; of a canary this is told just before or after its delivery."""
        if self._canaries_delivered:
            self._canaries_delivered -= 1
        else:
            self.recent.finished()

    def _with_client(self, program: str, text: str) -> str:
        """The Message-ID's line of a message that such a client hands in after all tells what was left out before."""
        if not (self._begun and program.endswith("/cleanup") and _MESSAGE_ID in text):
            return text
        who = self._begun.pop(text.partition(":")[0], None)
        return text if who is None else f"{text}, client={who}"

    def _count(self, program: str, text: str, found: Outcome | None) -> None:
        """A recipient's outcome, a signature, or mail that could not be signed: each from its own line alone.

        Strangers choose addresses and replies, which stand in lines of every program, so a line is read from its
        beginning. What is only put off because the relay is being stopped is no outcome.
        """
        if program == _SIGNER and _SIGNED.match(text):
            self.signed += 1
        elif program.endswith(_MILTER_ASKERS) and _MILTER_REJECT.match(text):
            self.milter_rejects += 1
        if found is not None and found.why != _FROZEN and not _CANARY_OUTCOME.match(text):
            self.deliveries[found.status] += 1
            self.recent.add(found)
            self.isolation.add(found)


def _masked(match: re.Match[str]) -> str:
    if match["stays"]:
        return match["stays"]
    first = _FIRST.search(match["bracketed"] or match["quoted"] or match["word"])
    lead = "<" if match["bracketed"] else match["word"] and match["lead"]
    return f"{lead or ''}{first[0] if first else ''}***@"
