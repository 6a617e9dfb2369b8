"""When Postfix is told something new: at once where this relay alone is meant, else one relay after the other."""

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from smtpfleet.relay.loading import TURN_S, TURNS, Loaded, Loading, wait_s
from smtpfleet.relay.mainconf import Configuration, Phase
from smtpfleet.relay.ways import BY_MX_ALONE, Ways
from tests.unit.relay.goldens import table


def _loaded(
    *,
    setting: str = "1",
    phase: Phase = Phase.OPEN,
    ways: Ways = BY_MX_ALONE,
    revision: str = "2",
) -> Loaded:
    """``setting``: whatever the size of the pool has no part in."""
    rest = Configuration(
        main_cf=f"a = {setting} {phase} {replace(ways, connections=0, siblings=())}\n", master_cf=""
    )
    whole = replace(rest, main_cf=f"{rest.main_cf}b = {ways.connections} {ways.siblings} {revision}\n")
    return Loaded(whole, rest, phase, revision, ways)


FIRST = _loaded(revision="1")


@dataclass
class Postfix:
    """A directory, a clock, and how often there was a reload."""

    directory: Path
    now_s: float = 1000.0
    reloads: int = 0
    loading: Loading = field(init=False)

    def __post_init__(self) -> None:
        self.loading = Loading(directory=self.directory, reload=self._reload, clock=lambda: self.now_s)
        assert not self.loading.load(FIRST, wait_s=TURN_S)

    def _reload(self) -> None:
        self.reloads += 1

    @property
    def text(self) -> str:
        return (self.directory / "main.cf").read_text()


@pytest.fixture
def postfix(tmp_path: Path) -> Postfix:
    return Postfix(tmp_path)


def test_the_first_configuration_is_written_at_once_and_needs_no_reload(postfix: Postfix) -> None:
    assert FIRST.configuration is not None
    assert (postfix.text, postfix.reloads) == (FIRST.configuration.main_cf, 0)
    assert postfix.loading.now == FIRST


def test_another_revision_of_the_same_text_is_taken_and_nothing_is_loaded(postfix: Postfix) -> None:
    wanted = replace(FIRST, revision="2")
    postfix.loading.load(wanted, wait_s=TURN_S)
    assert (postfix.reloads, postfix.loading.now) == (0, wanted)


@pytest.mark.parametrize(
    ("wanted", "tries"),
    [
        (_loaded(setting="2"), False),
        (_loaded(phase=Phase.CLOSED), False),
        (_loaded(phase=Phase.FROZEN), False),
        (_loaded(ways=Ways(siblings=("10.0.0.1",))), False),
        (_loaded(ways=Ways(default="smtp:[next.example]")), True),
        (_loaded(ways=Ways(recipients=Path("/maps/a.regexp"))), True),
    ],
    ids=["a setting", "drained", "frozen", "to siblings", "smarthost", "route"],
)
def test_what_the_size_of_the_pool_does_not_decide_is_loaded_at_once(
    postfix: Postfix, wanted: Loaded, tries: bool
) -> None:
    assert postfix.loading.load(wanted, wait_s=TURN_S) is tries
    assert (postfix.reloads, postfix.loading.now) == (1, wanted)


def test_what_it_decides_waits_for_its_turn_and_keeps_what_was_there(postfix: Postfix) -> None:
    wanted, text = _loaded(ways=Ways(connections=7)), postfix.text
    assert not postfix.loading.load(wanted, wait_s=TURN_S)
    assert (postfix.text, postfix.reloads, postfix.loading.now) == (text, 0, FIRST)
    postfix.now_s += TURN_S
    assert not postfix.loading.load(wanted, wait_s=TURN_S)
    assert (postfix.reloads, postfix.loading.now) == (1, wanted)


def test_changes_that_follow_each_other_put_nothing_off_for_longer_and_are_loaded_together(
    postfix: Postfix,
) -> None:
    for step in range(10):
        postfix.loading.load(_loaded(revision=f"change {step}"), wait_s=10 * TURN_S)
        postfix.now_s += TURN_S
    assert postfix.reloads == 0
    postfix.loading.load(_loaded(revision="last"), wait_s=10 * TURN_S)
    assert postfix.reloads == 1
    postfix.loading.load(_loaded(revision="the next"), wait_s=10 * TURN_S)
    assert postfix.reloads == 1


def test_a_change_that_is_taken_back_in_time_is_never_loaded(postfix: Postfix) -> None:
    postfix.loading.load(_loaded(), wait_s=TURN_S)
    postfix.now_s += TURN_S / 2
    postfix.loading.load(FIRST, wait_s=TURN_S)
    postfix.now_s += TURN_S
    postfix.loading.load(_loaded(), wait_s=TURN_S)
    assert postfix.reloads == 0


def test_neighbours_of_a_table_have_different_turns_and_all_come_soon() -> None:
    names = [f"outbound-relay-{number}" for number in range(2 * TURNS + 1)]
    relays = tuple(table(relay=name).relays[0] for name in names)
    listed = table().model_copy(update={"relays": relays})
    waits = [wait_s(listed, name) for name in names]
    assert all(a != b for a, b in itertools.pairwise(waits))
    assert (min(waits), max(waits)) == (0.0, TURN_S * (TURNS - 1))
    assert wait_s(listed, "outbound-relay-99") == 0
