"""What came of an attempt to deliver to one recipient, read from the line that Postfix's delivery agents log. Pure.

Guarantees: nothing a client or a receiver writes into an address or a reply can be taken for another part of the
line, for the line is read from its beginning and a quoted local part is skipped as a whole; a status is one of
Postfix's few words; nothing that is to be kept names a person or a receiver.
"""

import re
import zlib
from dataclasses import dataclass
from typing import Final

from smtpfleet.api.agent_status import RECEIVER_GROUPS, DeferralReason, DeferralStage

_ADDRESS: Final = r"<(?:\"(?:[^\"\\]|\\.)*\"|[^\s\"<>@]*)(?:@[^\s<>]*)?>"
_SECONDS: Final = r"[0-9]+(?:\.[0-9]+)?"
_LINE: Final = re.compile(
    rf"\w+: to=(?P<to>{_ADDRESS}), (?:orig_to={_ADDRESS}, )?relay=\S+, (?:conn_use=\d+, )?delay={_SECONDS}, "
    rf"delays=(?P<delays>{_SECONDS}/{_SECONDS}/{_SECONDS}/{_SECONDS}), dsn=[\d.]+, "
    r"status=(?P<status>sent|deferred|bounced|deliverable|undeliverable) \((?P<why>.*)",
    re.DOTALL,
)
_AGENTS: Final = frozenset({"smtp", "lmtp", "error", "retry", "discard", "qmgr", "cleanup"})
"""Programs that tell of recipients; the queue manager and cleanup of those that no delivery agent gets."""
_UNTRIED: Final = frozenset({"error", "retry", "discard", "qmgr"})
"""Programs that ask no receiver: their delays say nothing of one."""
_SUSPENDED: Final = "delivery temporarily suspended: "
_REPLY: Final = re.compile(r"host \S+ (?:said|refused to talk to me): (?P<class>[45])\d\d")
_COMMAND: Final = re.compile(r"\(in reply to (?P<command>[\w ]+)\)")
_BROKEN: Final = re.compile(r"(?:lost connection|conversation) with \S+ (?:timed out )?while (?P<doing>.*)")
_COMMANDS: Final = {
    "EHLO command": DeferralStage.EHLO,
    "HELO command": DeferralStage.EHLO,
    "LHLO command": DeferralStage.EHLO,
    "MAIL FROM command": DeferralStage.MAIL,
    "RCPT TO command": DeferralStage.RCPT,
    "DATA command": DeferralStage.DATA,
    "end of DATA command": DeferralStage.DATA,
}
_DOINGS: Final = (
    ("initial server greeting", DeferralStage.GREETING),
    ("LO handshake", DeferralStage.EHLO),
    ("TLS", DeferralStage.TLS),
    ("MAIL FROM", DeferralStage.MAIL),
    ("RCPT TO", DeferralStage.RCPT),
    ("DATA", DeferralStage.DATA),
    ("message", DeferralStage.DATA),
    ("end of data", DeferralStage.DATA),
)
_BEGINNINGS: Final = (
    ("connect to ", DeferralReason.CONNECT_FAILED, DeferralStage.CONNECT),
    ("Host or domain name not found", DeferralReason.DNS_FAILED, DeferralStage.LOOKUP),
    ("unable to look up ", DeferralReason.DNS_FAILED, DeferralStage.LOOKUP),
    ("TLSA lookup error", DeferralReason.DNS_FAILED, DeferralStage.LOOKUP),
    ("Cannot start TLS", DeferralReason.TLS_FAILED, DeferralStage.TLS),
    ("TLS is required", DeferralReason.TLS_FAILED, DeferralStage.TLS),
    ("Server certificate", DeferralReason.TLS_FAILED, DeferralStage.TLS),
    ("non DNSSEC destination", DeferralReason.TLS_FAILED, DeferralStage.TLS),
    ("no TLSA records", DeferralReason.TLS_FAILED, DeferralStage.TLS),
    ("SASL authentication failed", DeferralReason.LOGIN_FAILED, DeferralStage.LOGIN),
)
_NOWHERE: Final = DeferralStage.NONE


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one recipient.

    Attributes:
        status: Postfix's word: sent, deferred, bounced; deliverable, undeliverable where somebody only asked.
        tried: whether a receiver was asked; not, where the queue manager had given up on its host a moment ago.
        delays_s: seconds before the queue manager, in it, until connected, and of the transmission.
        receiver: number of the group of receivers' domains that the recipient's belongs to.
        reason: why it was deferred.
        stage: in which step.
        why: what stands in parentheses, the last one included, in the receiver's words: not to be kept.
    """

    status: str
    tried: bool
    delays_s: tuple[float, ...]
    receiver: int
    reason: DeferralReason | None = None
    stage: DeferralStage = _NOWHERE
    why: str = ""


def outcome(program: str, text: str) -> Outcome | None:
    """The outcome that a line tells of; None for other lines. ``program`` is such as ``postfix/smtp``."""
    agent = program.rpartition("/")[2]
    match = _LINE.fullmatch(text) if agent in _AGENTS else None
    if match is None:
        return None
    why = match["why"]
    suspended = why.startswith(_SUSPENDED)
    reason, stage = (None, _NOWHERE) if match["status"] != "deferred" else _deferral(why)
    return Outcome(
        status=match["status"],
        tried=not suspended and agent not in _UNTRIED,
        delays_s=tuple(map(float, match["delays"].split("/"))),
        receiver=receiver_group(match["to"]),
        reason=reason,
        stage=stage,
        why=why,
    )


def receiver_group(address: str) -> int:
    """The same number for the same domain at every relay, so that siblings can be compared; it names no domain."""
    return zlib.crc32(address.rpartition("@")[2].rstrip(">").lower().encode()) % RECEIVER_GROUPS


def _deferral(why: str) -> tuple[DeferralReason, DeferralStage]:
    if why.startswith(_SUSPENDED):
        return DeferralReason.SUSPENDED, _NOWHERE
    for beginning, reason, stage in _BEGINNINGS:
        if why.startswith(beginning):
            return reason, stage
    if (reply := _REPLY.match(why)) is not None:
        lasting = reply["class"] == "5"
        return (DeferralReason.REMOTE_REFUSED if lasting else DeferralReason.REMOTE_TEMPORARY), _stage_of(why)
    if (broken := _BROKEN.match(why)) is not None:
        doing = broken["doing"]
        found = next((stage for words, stage in _DOINGS if words in doing), _NOWHERE)
        return DeferralReason.CONNECTION_LOST, found
    return DeferralReason.OTHER, _NOWHERE


def _stage_of(why: str) -> DeferralStage:
    """The step that a reply belongs to; the last words count, for what stands before is the receiver's text."""
    commands = _COMMAND.findall(why)
    return _COMMANDS.get(commands[-1], _NOWHERE) if commands else DeferralStage.GREETING
