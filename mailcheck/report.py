"""A run as text for people: what the clients saw, what arrived, and the picture of it."""

from collections.abc import Iterable, Sequence

from mailcheck.chart import render_chart
from mailcheck.checker import Verdict
from mailcheck.model import Arrival, Attempt, Outcome
from mailcheck.table import format_number, render_table
from mailcheck.timeline import (
    Fault,
    Percentiles,
    acknowledge_latency,
    delivery_latency,
    impacts,
    longest_gap,
    reasons,
    schedule_lag,
)

_SHOWN = 10


def render_load(attempts: Sequence[Attempt]) -> str:
    """What the clients were told, how fast, and how punctual the generator was."""
    counts = {o: sum(a.outcome is o for a in attempts) for o in Outcome}
    rows: list[tuple[str, object]] = [("attempted", len(attempts)), *((str(o), n) for o, n in counts.items())]
    gap = longest_gap(attempts)
    rows.append(("longest gap without acknowledgement", f"{format_number(gap.seconds)} s" if gap else None))
    rows.append(("acknowledged after", _spread(acknowledge_latency(attempts))))
    rows.append(("generator late by", _spread(schedule_lag(attempts))))
    text = render_table(("clients", "value"), rows)
    errors = reasons(attempts)
    if errors:
        text += "\n\n" + render_table(("error", "messages"), list(errors.items()))
    return text


def render_verdict(verdict: Verdict, attempts: Sequence[Attempt], arrivals: Sequence[Arrival]) -> str:
    """The accounting, one line per kind, then the first few of each bad kind by name."""
    rows: list[tuple[str, object]] = [
        ("delivered (message and recipient)", verdict.delivered),
        ("lost (acknowledged, never arrived)", len(verdict.lost)),
        ("unexpected (arrived, never attempted)", len(verdict.unexpected)),
        ("corrupted (another body)", len(verdict.corrupted)),
        ("duplicated", f"{len(verdict.duplicated)} ({verdict.extra_copies} copies too many)"),
        ("recovered (indeterminate, but arrived)", len(verdict.recovered)),
        ("contradicted (arrived, though refused)", len(verdict.contradicted)),
        ("arrived after", _spread(delivery_latency(attempts, arrivals))),
    ]
    named = [
        *(f"lost: {id_} for {recipient}" for id_, recipient in verdict.lost[:_SHOWN]),
        *(f"unexpected: {a.id or 'no Message-ID'} from {a.client}" for a in verdict.unexpected[:_SHOWN]),
        *(f"corrupted: {a.id} from {a.client}" for a in verdict.corrupted[:_SHOWN]),
    ]
    verdict_line = "OK: nothing lost, unexpected or corrupted" if verdict.ok else "FAILED"
    return "\n".join([render_table(("accounting", "value"), rows), *named, verdict_line])


def render_faults(attempts: Sequence[Attempt], faults: Iterable[Fault]) -> str:
    """What each fault cost; empty without faults."""
    rows = [
        (i.fault.name, i.errors, None if i.last_error_s is None else f"{i.last_error_s:.2f} s")
        for i in impacts(attempts, faults)
    ]
    return render_table(("fault", "errors", "last error after"), rows) if rows else ""


def render_run(
    verdict: Verdict, attempts: Sequence[Attempt], arrivals: Sequence[Arrival], faults: Sequence[Fault] = ()
) -> str:
    """Everything, as demo and ``check`` print it."""
    parts = (
        render_load(attempts),
        render_chart(attempts, faults),
        render_faults(attempts, faults),
        render_verdict(verdict, attempts, arrivals),
    )
    return "\n\n".join(part for part in parts if part)


def _spread(p: Percentiles | None) -> str | None:
    if p is None:
        return None
    p50, p90, p99, longest = (f"{1000 * value:.1f}" for value in (p.p50, p.p90, p.p99, p.max))
    return f"p50 {p50}  p90 {p90}  p99 {p99}  max {longest} ms"
