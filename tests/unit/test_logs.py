"""The form of log lines."""

import json
import logging
import sys

from smtpfleet.logs import JsonFormatter


def line(message: str, *args: object, **extra: object) -> dict[str, object]:
    record = logging.getLogger("smtpfleet.test").makeRecord(
        "smtpfleet.test", logging.WARNING, __file__, 1, message, args, None, extra=extra
    )
    text = JsonFormatter("relay").format(record)
    assert "\n" not in text
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def test_a_line_has_time_level_component_logger_and_message() -> None:
    found = line("table %s", "abc")
    assert (found["level"], found["component"], found["logger"]) == ("warning", "relay", "smtpfleet.test")
    assert found["message"] == "table abc"
    assert str(found["time"]).endswith("+00:00")


def test_what_is_given_as_extra_stands_under_its_own_name() -> None:
    assert line("x", revision="abc")["revision"] == "abc"


def test_a_line_break_does_not_break_the_line() -> None:
    assert line("one\ntwo")["message"] == "one\ntwo"


def test_a_value_that_json_does_not_know_is_written_as_text() -> None:
    assert line("x", reason=ValueError("why"))["reason"] == "why"


def test_an_exception_is_part_of_the_line() -> None:
    try:
        int("why")
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    assert "ValueError: invalid literal" in json.loads(JsonFormatter("relay").format(record))["exception"]
