"""The tables of docs/clients.md and docs/security.md say what the tests of the edge try."""

from pathlib import Path

import pytest

from scenario.hostile import attacks
from tests.cluster.edge import hand_off
from tests.cluster.edge.canaries import REFUSED as REFUSED_CANARY
from tests.cluster.edge.canaries import SPELLINGS, Spelling
from tests.cluster.edge.logins import LOGINS, Login
from tests.cluster.edge.open_relay import ATTEMPTS, direct
from tests.cluster.edge.smuggling import ENDS, REFUSED
from tests.conformance.table import render

DOCS = Path(__file__).resolve().parents[2] / "docs"
SECURITY = (DOCS / "security.md").read_text()


def _row(title: str) -> str:
    """The second cell of the row."""
    found = [text for text in SECURITY.splitlines() if text.startswith(f"| {title} |")]
    assert len(found) == 1, f"{title}: {len(found)} rows"
    return found[0].split(" | ")[1].removesuffix(" |")


def test_the_clients_are_those_that_are_run() -> None:
    text = (DOCS / "clients.md").read_text()
    shown = text.split("<!-- python -m tests.conformance.table -->\n")[1].split("<!-- end -->")[0]
    assert shown == render()


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.title)
def test_each_attempt_to_relay_is_shown_with_its_answers(attempt: object) -> None:
    found = next(known for known in ATTEMPTS if known is attempt)
    assert _row(found.title) == ", ".join(found.codes)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda spelling: spelling.title)
def test_each_spelling_of_the_canaries_address_is_shown_with_its_answers(spelling: Spelling) -> None:
    assert _row(spelling.title) == REFUSED_CANARY


@pytest.mark.parametrize("login", LOGINS, ids=lambda login: login.title)
def test_each_attempt_around_a_log_in_is_shown_with_its_answers(login: Login) -> None:
    assert _row(login.title) == ", ".join(login.codes)


@pytest.mark.parametrize("attempt", hand_off.ATTEMPTS, ids=lambda attempt: attempt.title)
def test_each_attempt_to_hand_over_is_shown_with_its_answers(attempt: hand_off.Attempt) -> None:
    assert _row(attempt.title) == ", ".join(attempt.codes)


@pytest.mark.parametrize("title", [session.title for session in direct("10.0.0.1")])
def test_each_session_with_a_relay_itself_is_shown(title: str) -> None:
    assert _row(title)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.title)
def test_each_end_of_data_is_shown_with_what_becomes_of_it(end: object) -> None:
    found = next(known for known in ENDS if known is end)
    assert _row(found.title).startswith("refused" if found.code == REFUSED else "one message")


@pytest.mark.parametrize("attack", attacks(1024), ids=lambda attack: attack.title)
def test_each_attack_is_shown(attack: object) -> None:
    assert _row(getattr(attack, "title", ""))


@pytest.mark.parametrize(
    "titles",
    [
        [a.title for a in ATTEMPTS],
        [x.title for x in LOGINS],
        [spelling.title for spelling in SPELLINGS],
        [e.title for e in ENDS],
        [a.title for a in attacks(1)],
    ],
)
def test_no_two_rows_have_the_same_title(titles: list[str]) -> None:
    assert len(set(titles)) == len(titles)
