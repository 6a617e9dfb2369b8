"""Attempts and arrivals as JSON lines: the form in which they are kept, and sent by the sink's control port.

Lines are ASCII. Bytes of an envelope that are not UTF-8 survive as lone surrogates (PEP 383).
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mailcheck.errors import MailcheckError
from mailcheck.model import Arrival, Attempt, Failure, Outcome, Stage


def encode_attempt(attempt: Attempt) -> str:
    """One line without its end; fields that decided nothing are left out."""
    fields: dict[str, object] = {
        "id": attempt.id,
        "outcome": attempt.outcome,
        "stage": attempt.stage,
        "planned": round(attempt.planned, 6),
        "start": round(attempt.start, 6),
        "end": round(attempt.end, 6),
        "target": attempt.target,
        "digest": attempt.digest,
        "recipients": attempt.recipients,
    }
    if attempt.code is not None:
        fields["code"] = attempt.code
    if attempt.failure is not None:
        fields["failure"] = attempt.failure
    if attempt.refused:
        fields["refused"] = attempt.refused
    return json.dumps(fields)


def encode_arrival(arrival: Arrival) -> str:
    """One line without its end."""
    fields: dict[str, object] = {
        "id": arrival.id,
        "time": round(arrival.time, 6),
        "client": arrival.client,
        "helo": arrival.helo,
        "sender": arrival.sender,
        "recipients": arrival.recipients,
        "size": arrival.size_bytes,
        "digest": arrival.digest,
    }
    if arrival.tls:
        fields["tls"] = arrival.tls
    if arrival.user:
        fields["user"] = arrival.user
    return json.dumps(fields)


def decode_attempts(lines: Iterable[str]) -> list[Attempt]:
    """Read what ``encode_attempt`` wrote.

    Raises:
        MailcheckError: a line is not an attempt.
    """
    return [_attempt(fields, number) for number, fields in _objects(lines)]


def decode_arrivals(lines: Iterable[str]) -> list[Arrival]:
    """Read what ``encode_arrival`` wrote.

    Raises:
        MailcheckError: a line is not an arrival.
    """
    return [_arrival(fields, number) for number, fields in _objects(lines)]


def read_attempts(path: Path) -> list[Attempt]:
    """All attempts of a file."""
    return decode_attempts(_lines(path))


def read_arrivals(path: Path) -> list[Arrival]:
    """All arrivals of a file."""
    return decode_arrivals(_lines(path))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MailcheckError(f"cannot read {path}: {error}") from error


def _objects(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise MailcheckError(f"line {number} is not JSON: {error}") from error
        if not isinstance(fields, dict):
            raise MailcheckError(f"line {number} is not a JSON object")
        yield number, fields


def _attempt(fields: dict[str, Any], number: int) -> Attempt:
    try:
        return Attempt(
            id=str(fields["id"]),
            digest=str(fields["digest"]),
            recipients=tuple(fields["recipients"]),
            planned=float(fields["planned"]),
            start=float(fields["start"]),
            end=float(fields["end"]),
            outcome=Outcome(fields["outcome"]),
            stage=Stage(fields["stage"]),
            code=int(fields["code"]) if "code" in fields else None,
            failure=Failure(fields["failure"]) if "failure" in fields else None,
            refused=tuple(fields.get("refused", ())),
            target=str(fields.get("target", "")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MailcheckError(f"line {number} is not an attempt: {error!r}") from error


def _arrival(fields: dict[str, Any], number: int) -> Arrival:
    try:
        return Arrival(
            id=str(fields["id"]),
            digest=str(fields["digest"]),
            sender=str(fields["sender"]),
            recipients=tuple(fields["recipients"]),
            size_bytes=int(fields["size"]),
            time=float(fields["time"]),
            client=str(fields["client"]),
            helo=str(fields["helo"]),
            tls=str(fields.get("tls", "")),
            user=str(fields.get("user", "")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MailcheckError(f"line {number} is not an arrival: {error!r}") from error
