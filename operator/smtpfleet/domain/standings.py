"""What a pool's status remembers of the health of a relay, and how that is read again."""

from datetime import datetime
from typing import Final

from smtpfleet.api.reasons import REASONS, Reason
from smtpfleet.api.status import RelayEntry, RelayOutage, RelayShare
from smtpfleet.domain.figures import timestamp
from smtpfleet.domain.health import Outage, Standing
from smtpfleet.domain.share import Share

PAUSED_WORDS: Final = "paused by annotation"
"""Ends the message of a paused relay's entry."""


def standing_of(entry: RelayEntry) -> Standing:
    """What a status says of a relay."""
    reason = Reason(entry.reason) if entry.reason in REASONS else Reason.POD_READY
    return Standing(
        state=entry.state,
        reason=reason,
        since=datetime.fromisoformat(entry.since),
        message=entry.message.removesuffix(PAUSED_WORDS).removesuffix("; "),
        ejections=entry.ejections,
        readmitted=_moment(entry.readmitted),
        outage=_outage(entry.outage) if entry.outage else None,
        share=_share(entry.share) if entry.share else None,
    )


def stored_outage(outage: Outage | None) -> RelayOutage | None:
    """The form in which an outage is stored."""
    if outage is None:
        return None
    return RelayOutage(
        since=timestamp(outage.since),
        restarted=stored_moment(outage.restarted),
        pod_uid=outage.pod_uid,
        replaced=stored_moment(outage.replaced),
    )


def stored_share(share: Share | None) -> RelayShare | None:
    """The form in which a share is stored."""
    if share is None:
        return None
    return RelayShare(percent=share.percent, since=timestamp(share.since), falls=share.falls)


def stored_moment(moment: datetime | None) -> str:
    """A time, or nothing."""
    return timestamp(moment) if moment else ""


def _outage(stored: RelayOutage) -> Outage:
    return Outage(
        since=datetime.fromisoformat(stored.since),
        restarted=_moment(stored.restarted),
        pod_uid=stored.pod_uid,
        replaced=_moment(stored.replaced),
    )


def _share(stored: RelayShare) -> Share:
    return Share(stored.percent, datetime.fromisoformat(stored.since), stored.falls)


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
