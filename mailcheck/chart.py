"""A run as a picture in a terminal: acknowledgements and errors over time, with the moments of faults.

Plain text, at most 100 columns, no colour: it must read the same in a log.
"""

from collections.abc import Iterable, Sequence
from math import ceil

from mailcheck.model import Attempt
from mailcheck.timeline import Fault, buckets

BARS = " ▁▂▃▄▅▆▇█"
MARK = "▲"
WIDTH = 100
_LABEL = 9
_STEPS_S = (0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 3600.0)


def render_chart(
    attempts: Sequence[Attempt], faults: Iterable[Fault] = (), *, width: int = WIDTH, height: int = 3
) -> str:
    """Draw a run; every error shows, however few there are among how many acknowledgements.

    The two rows of bars have scales of their own, named by their largest slice. Slices are 100 ms or the least step
    that fits into the width.
    """
    if not attempts:
        return "(no attempts)"
    columns = max(10, width - _LABEL)
    span = max(a.end for a in attempts) - min(a.planned for a in attempts)
    step = next((s for s in _STEPS_S if span / s < columns), ceil(span / (columns - 1)))
    slices = buckets(attempts, width_s=step)
    n = len(slices.acknowledged)
    peak_ok, peak_errors = max(slices.acknowledged), max(slices.errors)
    lines = [f"per {_seconds(step)}: at most {peak_ok} acknowledged, at most {peak_errors} errors"]
    lines += _labelled("acked", bars(slices.acknowledged, height=height))
    lines += _labelled("errors", bars(slices.errors, height=1))
    lines += _marks(faults, begin=slices.begin, step=step, columns=n, room=columns)
    lines.append(" " * _LABEL + _axis(n, step, room=columns))
    return "\n".join(line.rstrip() for line in lines)


def bars(values: Sequence[int], *, height: int = 1) -> list[str]:
    """Columns of eighths, the highest value filling the height; a value above zero is never invisible."""
    peak, levels = max(values, default=0), height * 8
    filled = [ceil(v * levels / peak) if peak else 0 for v in values]
    return ["".join(BARS[min(8, max(0, f - 8 * row))] for f in filled) for row in reversed(range(height))]


def _labelled(label: str, rows: list[str]) -> list[str]:
    return [f"{label if i == len(rows) - 1 else '':<{_LABEL}}{row}" for i, row in enumerate(rows)]


def _marks(faults: Iterable[Fault], *, begin: float, step: float, columns: int, room: int) -> list[str]:
    """One line per fault, so that names never overlap; the name stands where there is more room for it."""
    lines = []
    for fault in sorted(faults, key=lambda f: f.time):
        column = min(columns - 1, max(0, int((fault.time - begin) / step)))
        text = f"{fault.name} ({fault.time - begin:.1f} s)"
        left, right = max(0, column - 1), max(0, room - column - 2)
        if len(text) <= right or right >= left:
            row = f"{' ' * column}{MARK} {text[:right]}"
        else:
            row = f"{text[:left]} {MARK}".rjust(column + 1)
        lines.append(f"{'fault':<{_LABEL}}{row}")
    return lines


def _axis(columns: int, step: float, *, room: int) -> str:
    """Seconds since the beginning, every ten columns where there is room."""
    axis = ""
    for column in range(0, columns, 10):
        text = _seconds(column * step)
        if len(axis) <= column and column + len(text) <= room:
            axis = axis.ljust(column) + text + " "
    return axis


def _seconds(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") + " s"
