"""What an answer of the API server means for the operator."""

import json

import pytest

from smtpfleet.cluster.errors import (
    ClusterError,
    ConflictError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    error_for,
)

UID_CHANGED = 'ConfigMap "x" is invalid: metadata.uid: Invalid value: "a": field is immutable'


def _error(status: int, message: str = "because", retry_after: str = "") -> ClusterError:
    body = json.dumps({"kind": "Status", "message": message})
    return error_for(status=status, body=body, what="patch ConfigMap mail/x", retry_after=retry_after)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RefusedError),
        (401, UnavailableError),
        (403, RefusedError),
        (404, NotFoundError),
        (405, RefusedError),
        (408, UnavailableError),
        (409, ConflictError),
        (413, RefusedError),
        (422, RefusedError),
        (429, UnavailableError),
        (500, UnavailableError),
        (502, UnavailableError),
        (503, UnavailableError),
        (504, UnavailableError),
    ],
)
def test_each_status_has_its_meaning_and_keeps_the_servers_words(
    status: int, kind: type[ClusterError]
) -> None:
    error = _error(status)
    assert type(error) is kind
    assert str(error) == f"patch ConfigMap mail/x: {status} because"


def test_an_object_that_was_replaced_meanwhile_is_a_conflict() -> None:
    assert isinstance(_error(422, UID_CHANGED), ConflictError)


def test_the_time_that_the_server_asks_to_wait_is_kept() -> None:
    asked, unclear = _error(429, retry_after="7"), _error(429, retry_after="soon")
    assert isinstance(asked, UnavailableError)
    assert isinstance(unclear, UnavailableError)
    assert (asked.retry_after_s, unclear.retry_after_s) == (7.0, 0.0)


def test_an_answer_that_is_no_json_is_kept_in_part() -> None:
    error = error_for(status=502, body="<html>" + "x" * 10_000, what="get Pod a/b")
    assert str(error).startswith("get Pod a/b: 502 <html>")
    assert len(str(error)) < 600
