"""How the sink answers: whether it accepts, refuses for now or for good, is slow, or falls silent; for all or for some.

One mode holds at a time and can change between any two commands. A share is met exactly, not by chance: of every ten
commands a share of 0.3 strikes the same three, so that tests and comparisons repeat.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from math import floor

from mailcheck.errors import MailcheckError
from mailcheck.model import Stage


class Kind(StrEnum):
    """What the sink does to those whom the mode strikes."""

    ACCEPT = "accept"
    TEMPFAIL = "tempfail"
    """451; the message will come again."""
    REJECT = "reject"
    """550; the message will bounce."""
    DELAY = "delay"
    """Takes the message, but answers the final dot late."""
    STALL = "stall"
    """Never answers again on this connection."""


_STAGES = {
    Kind.ACCEPT: (Stage.END_OF_DATA,),
    Kind.TEMPFAIL: (Stage.RCPT, Stage.BANNER, Stage.MAIL, Stage.DATA, Stage.END_OF_DATA),
    Kind.REJECT: (Stage.RCPT, Stage.BANNER, Stage.MAIL, Stage.DATA, Stage.END_OF_DATA),
    Kind.DELAY: (Stage.END_OF_DATA,),
    Kind.STALL: (Stage.BANNER, Stage.EHLO, Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.END_OF_DATA),
}
"""Where each kind can strike; first the default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """One way to answer."""

    kind: Kind = Kind.ACCEPT
    stage: Stage = Stage.END_OF_DATA
    share: float = 1.0
    """Of the commands at that stage, above 0 and up to 1."""
    client: str = ""
    """Only connections from this address; all if empty."""
    delay_s: float = 0.0

    def as_dict(self) -> dict[str, object]:
        """The form that ``parse_mode`` reads."""
        return {
            "mode": self.kind,
            "stage": self.stage,
            "share": self.share,
            "client": self.client,
            "seconds": self.delay_s,
        }


def parse_mode(text: str | bytes) -> Mode:
    """Read ``{"mode": "tempfail", "stage": "rcpt", "share": 0.5, "client": "10.0.0.1"}``; only mode is needed.

    ``{"mode": "delay", "seconds": 2}`` needs the seconds as well.

    Raises MailcheckError with what is allowed.
    """
    try:
        fields = json.loads(text)
        kind = Kind(fields.pop("mode"))
        stage = Stage(fields.pop("stage", _STAGES[kind][0]))
        share, delay_s = float(fields.pop("share", 1.0)), float(fields.pop("seconds", 0.0))
        client = str(fields.pop("client", ""))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise MailcheckError(f"not a mode: {error!r}; modes are {', '.join(Kind)}") from error
    if fields:
        raise MailcheckError(f"unknown in a mode: {', '.join(sorted(fields))}")
    if stage not in _STAGES[kind]:
        raise MailcheckError(f"{kind} can be at {', '.join(_STAGES[kind])}, not at {stage}")
    if not 0 < share <= 1 or not 0 <= delay_s <= 3600:
        raise MailcheckError("share must be above 0 and up to 1, seconds between 0 and 3600")
    if (kind is Kind.DELAY) != (delay_s > 0):
        raise MailcheckError("seconds belong to delay, and delay needs them")
    return Mode(kind=kind, stage=stage, share=share, client=client, delay_s=delay_s)


class ModeSwitch:
    """The mode that holds now, and whom it strikes."""

    def __init__(self, mode: Mode | None = None) -> None:
        self.mode = mode or Mode()
        self._seen = 0

    def set(self, mode: Mode) -> None:
        """Let another mode hold from the next command on."""
        self.mode = mode
        self._seen = 0

    def strike(self, stage: Stage, client: str) -> Mode | None:
        """The mode, if it strikes this command, else None: answer as usual. Counts towards the share."""
        mode = self.mode
        if mode.kind is Kind.ACCEPT or stage is not mode.stage or mode.client not in ("", client):
            return None
        before = _struck_of(self._seen, mode.share)
        self._seen += 1
        return mode if _struck_of(self._seen, mode.share) > before else None


def _struck_of(commands: int, share: float) -> int:
    return floor(commands * share + 1e-9)  # 100 * 0.29 is a little less than 29
