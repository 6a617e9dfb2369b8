"""What can go wrong with the API server, by what the operator can do about it."""

import json
from typing import Final

_MESSAGE_LIMIT: Final = 500
# How the server says that an applied uid is not the object's: the object was replaced meanwhile.
_UID_CHANGED: Final = "metadata.uid: Invalid value"


class ClusterError(Exception):
    """A call to the API server failed. The message names the object and carries the server's words."""


class NotFoundError(ClusterError):
    """404: the object, or its kind, does not exist."""


class ConflictError(ClusterError):
    """409: the object changed meanwhile, or is another one than meant. Look again, then decide again."""


class RefusedError(ClusterError):
    """403, 422 and other 4xx: the server will say the same again until a person changes something."""


class UnavailableError(ClusterError):
    """No answer in time, no connection, 401, 429 or 5xx: the same call may work later.

    Attributes:
        retry_after_s: how long the server asks to wait, 0 if it does not say.
    """

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotLeadingError(ClusterError):
    """The lease has run out: another operator may be at work, so this one must not write."""


def error_for(*, status: int, body: str, what: str, retry_after: str = "") -> ClusterError:
    """The error for an answer of the API server.

    Args:
        status: HTTP status code.
        body: the answer, usually a metav1.Status.
        what: the call, such as ``apply Service mail/outbound``.
        retry_after: the header of that name.
    """
    message = f"{what}: {status} {_message(body)}"
    if status == 404:
        return NotFoundError(message)
    if status == 409 or (status == 422 and _UID_CHANGED in message):
        return ConflictError(message)
    if status in {401, 408, 429} or status >= 500:
        seconds = float(retry_after) if retry_after.isdigit() else 0.0
        return UnavailableError(message, retry_after_s=seconds)
    return RefusedError(message)


def _message(body: str) -> str:
    try:
        parsed = json.loads(body)
    except ValueError:
        return body[:_MESSAGE_LIMIT]
    text = parsed.get("message", body) if isinstance(parsed, dict) else body
    return str(text)[:_MESSAGE_LIMIT]
