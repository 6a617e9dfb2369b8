"""Attempts and arrivals for tests, with only what matters named."""

from mailcheck.model import Arrival, Attempt, Failure, Outcome, Stage

DIGEST = "d" * 64


def attempt(
    id_: str = "m1",
    outcome: Outcome = Outcome.ACKNOWLEDGED,
    *,
    planned: float = 0.0,
    start: float | None = None,
    end: float | None = None,
    recipients: tuple[str, ...] = ("r@example.net",),
    refused: tuple[str, ...] = (),
    digest: str = DIGEST,
) -> Attempt:
    start = planned if start is None else start
    code = 451 if outcome is Outcome.REJECTED else None
    failed = outcome in (Outcome.FAILED_BEFORE, Outcome.INDETERMINATE)
    return Attempt(
        id=id_,
        digest=digest,
        recipients=recipients,
        planned=planned,
        start=start,
        end=start if end is None else end,
        outcome=outcome,
        stage=Stage.RCPT if code else Stage.END_OF_DATA,
        code=code,
        failure=Failure.RESET if failed else None,
        refused=refused,
        target="127.0.0.1:25",
    )


def arrival(
    id_: str = "m1",
    *,
    recipients: tuple[str, ...] = ("r@example.net",),
    digest: str = DIGEST,
    time: float = 0.0,
) -> Arrival:
    return Arrival(
        id=id_,
        digest=digest,
        sender="sender@example.com",
        recipients=recipients,
        size_bytes=2000,
        time=time,
        client="10.0.0.1",
        helo="relay",
    )
