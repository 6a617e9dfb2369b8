"""Which Events a change of status is worth: transitions only, with the conditions' own words."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from smtpfleet.api.reasons import ConditionType, Reason, RelayState
from smtpfleet.api.status import Condition, RelayEntry, SmtpPoolStatus
from smtpfleet.domain import findings, passive
from smtpfleet.domain.health import SERVED

_FOUND: Final = findings.REASONS | passive.REASONS | {Reason.FALLS_BEHIND}
"""Reasons of probes and comparison."""


class Severity(StrEnum):
    """The two types of an Event."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Note:
    """An Event about a pool."""

    severity: Severity
    reason: Reason
    message: str
    action: str


_BAD: Final = {
    ConditionType.READY: "False",
    ConditionType.STALLED: "True",
    ConditionType.AVAILABLE: "False",
    ConditionType.PROBES_HEALTHY: "False",
    ConditionType.QUEUE_HEALTHY: "False",
    ConditionType.CERTIFICATE_VALID: "False",
    ConditionType.USERS_VALID: "False",
    ConditionType.DELIVERY_READY: "False",
    ConditionType.SIGNING_READY: "False",
}
_WARNINGS: Final = frozenset(
    {Reason.CERTIFICATE_EXPIRES_SOON, Reason.SIGNING_KEY_WEAK, Reason.NEEDED_BY_LOAD, Reason.STORAGE_LOW}
)
"""Reasons that are news although the status stays what it was."""
_OF_SIZE: Final = frozenset({ConditionType.SCALING_ACTIVE, ConditionType.SCALING_LIMITED})
_TOLD: Final = frozenset(ConditionType) - {ConditionType.RECONCILING} - _OF_SIZE
_NOT_GROWN: Final = {
    Reason.MAX_REPLICAS_REACHED: Severity.WARNING,
    Reason.RECEIVER_SLOW: Severity.NORMAL,
    Reason.RECEIVER_REFUSES: Severity.NORMAL,
}
"""Why a pool does not grow although mail waits: worth an Event when it begins."""


def notes(old: SmtpPoolStatus, new: SmtpPoolStatus) -> tuple[Note, ...]:
    """Events for what changed between two statuses.

    A pool's first status tells only what is wrong: that it is not ready yet is no news.
    """
    told = [
        note
        for condition in new.conditions
        if condition.type in _TOLD and (note := _note(old.condition(condition.type), condition))
    ]
    return (*told, *_of_size(old, new), *_of_relays(old, new))


def _of_size(old: SmtpPoolStatus, new: SmtpPoolStatus) -> Iterator[Note]:
    """That a pool sized by its queues grew, shrank, or does not grow, and why."""
    if old.autoscaling is None or new.autoscaling is None:
        return
    active = new.condition(ConditionType.SCALING_ACTIVE)
    if active and old.desired_replicas != new.desired_replicas:
        grew = old.desired_replicas < new.desired_replicas
        message = f"from {old.desired_replicas} to {new.desired_replicas} relays: {active.message}"
        reason = Reason.SCALING_UP if grew else Reason.SCALING_DOWN
        yield Note(Severity.NORMAL, reason, message, action=str(ConditionType.SCALING_ACTIVE))
    was, limited = (status.condition(ConditionType.SCALING_LIMITED) for status in (old, new))
    if limited and (was is None or was.reason != limited.reason) and limited.reason in _NOT_GROWN:
        yield _told(limited, _NOT_GROWN[Reason(limited.reason)])


def _of_relays(old: SmtpPoolStatus, new: SmtpPoolStatus) -> Iterator[Note]:
    """What became of relays by their probes: out, weighed less, and back."""
    before = {entry.name: entry for entry in old.relays}
    for entry in new.relays:
        was = before.get(entry.name)
        if was is None:
            continue
        if was.state is not entry.state:
            yield from _of_relay(was, entry)
        yield from _of_hand_off(was, entry)
        yield from _of_outage(was, entry)


def remedies_decided(was: RelayEntry, entry: RelayEntry) -> Iterator[Reason]:
    """What was decided about a relay between two statuses: Restarting, Replacing, or nothing."""
    before, now = was.outage, entry.outage
    if now and now.restarted and not (before and before.restarted):
        yield Reason.RESTARTING
    if now and now.replaced and not (before and before.replaced):
        yield Reason.REPLACING


def _of_outage(was: RelayEntry, entry: RelayEntry) -> Iterator[Note]:
    """What is done about a relay that stays bad, and that its queue cannot be reached."""
    said = {
        Reason.RESTARTING: f"{entry.name} is restarted, for it does not get well by itself: {entry.message}",
        Reason.REPLACING: f"a new relay takes the place of {entry.name}, which does not get well: {entry.message}",
    }
    for reason in remedies_decided(was, entry):
        yield Note(Severity.WARNING, reason, said[reason], action=str(reason))
    if entry.state is RelayState.STRANDED and was.state is not entry.state:
        message = f"{entry.name} cannot be reached, and is kept with its volume until its queue is empty"
        yield Note(Severity.WARNING, Reason.STRANDED, message, action=str(RelayState.STRANDED))


def _of_hand_off(was: RelayEntry, entry: RelayEntry) -> Iterator[Note]:
    """That a queue goes to the siblings, and that it cannot."""
    if entry.state is RelayState.HANDING_OFF and was.state is not entry.state:
        message = f"{entry.name} hands over what it cannot deliver at once"
        yield Note(Severity.NORMAL, Reason.HANDING_OFF, message, action=str(entry.state))
    elif entry.reason == Reason.HAND_OFF_BLOCKED and was.reason != entry.reason:
        yield Note(
            Severity.WARNING,
            Reason.HAND_OFF_BLOCKED,
            f"{entry.name} keeps its queue for now: {entry.message}",
            action=str(entry.state),
        )


def _of_relay(was: RelayEntry, entry: RelayEntry) -> Iterator[Note]:
    reason = Reason(entry.reason)
    if entry.state is RelayState.EJECTED:
        row = f", {entry.ejections} times in a row" if entry.ejections > 1 else ""
        message = f"{entry.name} is ejected{row}: {entry.message}"
        yield Note(Severity.WARNING, reason, message, action=str(RelayState.EJECTED))
    elif was.state is RelayState.EJECTED and entry.state in SERVED:
        yield Note(
            Severity.NORMAL,
            Reason.READMITTED,
            f"{entry.name} gets mail again, at first with weight {entry.weight}",
            action=str(entry.state),
        )
    elif entry.state is RelayState.DEGRADED and reason in _FOUND:
        message = f"{entry.name} gets less mail: {entry.message}"
        yield Note(Severity.WARNING, reason, message, action=str(entry.state))
    elif was.state is RelayState.DEGRADED and was.reason in _FOUND and entry.state in SERVED:
        yield Note(
            Severity.NORMAL,
            Reason.PROBES_PASSED,
            f"{entry.name} has its full weight again",
            action=str(entry.state),
        )


def is_settled(status: SmtpPoolStatus, generation: int, desired: int) -> bool:
    """Whether nothing was under way when the status was written, and spec and size are still the same."""
    reconciling = status.condition(ConditionType.RECONCILING)
    return (
        status.observed_generation == generation
        and status.desired_replicas == desired
        and reconciling is not None
        and reconciling.status == "False"
        and reconciling.reason == Reason.RECONCILED
    )


def _note(before: Condition | None, after: Condition) -> Note | None:
    bad = _BAD.get(after.type) == after.status
    if before is None:
        return _told(after, Severity.WARNING) if bad and after.type is ConditionType.STALLED else None
    stalled_anew = after.type is ConditionType.STALLED and bad and before.message != after.message
    if before.reason != after.reason and after.reason in _WARNINGS:
        return _told(after, Severity.WARNING)
    if before.status == after.status and not stalled_anew:
        return None
    if "Unknown" in {before.status, after.status} and not bad:
        return None  # a relay that starts has not reported yet
    return _told(after, Severity.WARNING if bad else Severity.NORMAL)


def _told(condition: Condition, severity: Severity) -> Note:
    message = condition.message or f"{condition.type} is {condition.status}"
    return Note(severity, Reason(condition.reason), message, action=str(condition.type))
