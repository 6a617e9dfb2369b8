"""Tables for people: plain text that fits a terminal and a log."""

from collections.abc import Sequence

WIDTH = 100


def render_table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, width: int = WIDTH) -> str:
    """Columns two blanks apart; columns of numbers to the right; the widest ones give way if all of it is too wide.

    Floats are shown with three significant digits, ``None`` as a dash. Raises ValueError if a row has not as many cells
    as there are headers.
    """
    cells = [[_text(value) for value in row] for row in rows]
    if any(len(row) != len(headers) for row in cells):
        raise ValueError("each row needs as many cells as there are headers")
    widths = [max(len(line[i]) for line in [list(headers), *cells]) for i in range(len(headers))]
    while widths and sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    right = [_numeric([row[i] for row in rows]) for i in range(len(headers))]
    lines = [_line(headers, widths, right), "  ".join("─" * w for w in widths)]
    return "\n".join([*lines, *(_line(row, widths, right) for row in cells)])


def format_number(value: float) -> str:
    """Three significant digits, and never fewer than the whole part."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1e}"


def _text(value: object) -> str:
    if value is None:
        return "-"
    return format_number(value) if isinstance(value, float) else str(value)


def _numeric(values: Sequence[object]) -> bool:
    return bool(values) and all(value is None or isinstance(value, (int, float)) for value in values)


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    fitted = (_fit(cell, w, to_right=r) for cell, w, r in zip(cells, widths, right, strict=True))
    return "  ".join(fitted).rstrip()


def _fit(cell: str, width: int, *, to_right: bool) -> str:
    if len(cell) > width:
        cell = cell[: width - 1] + "…"
    return cell.rjust(width) if to_right else cell.ljust(width)
