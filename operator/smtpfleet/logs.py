"""One form of log for operator and agents: a JSON object per line on standard output.

Guarantees: every line parses as JSON and has ``time`` (UTC, ISO 8601), ``level``, ``component``, ``logger``
and ``message``; what callers give as ``extra`` stands beside them under its own name; a value that JSON does
not know is written as its text, so that a log call never fails for its content.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object."""

    def __init__(self, component: str) -> None:
        super().__init__()
        self._component = component

    def format(self, record: logging.LogRecord) -> str:
        """The record's line, without the line end."""
        extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        line: dict[str, object] = extra | {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "component": self._component,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure(component: str, *, level: int = logging.INFO) -> None:
    """Send every logger's records from ``level`` on to standard output, marked with ``component``.

    Replaces handlers that are already there, so that a library that installs its own does not double lines.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(component))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
