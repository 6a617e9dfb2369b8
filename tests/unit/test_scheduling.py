"""Files of tests go to the processes that they are for."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tests.scheduling import ByNeed, is_quick

QUICK = [f"tests/unit/test_{name}.py" for name in "abcde"]
SLOW = ["tests/chaos/test_faults.py", "tests/cluster/test_api.py", "tests/cluster/test_probing.py"]


class _Node:
    """A process of the run as the scheduler sees it; it does at once what it is told."""

    def __init__(self, number: int, collection: Sequence[str]) -> None:
        self.gateway = SimpleNamespace(id=f"gw{number}")
        self.shutting_down = False
        self.given: list[int] = []
        self.collection = collection

    def shutdown(self) -> None:
        self.shutting_down = True

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        self.given.extend(indices)

    @property
    def files(self) -> list[str]:
        """What it was given, in this order."""
        return list(dict.fromkeys(self.collection[index].partition("::")[0] for index in self.given))


def _run(files: Sequence[str], processes: int) -> dict[str, list[str]]:
    """Files by process, where those that wait for a cluster take longest: one of their tests while others do three."""
    collection = [f"{file}::test_{number}" for file in files for number in range(3)]
    option = SimpleNamespace(loadscopereorder=False)
    config: Any = SimpleNamespace(getvalue=lambda _: [f"{processes}*popen"], option=option)
    scheduler = ByNeed(config)
    nodes = [_Node(number, collection) for number in range(processes)]
    for node in nodes:
        scheduler.add_node(node)
        scheduler.add_node_collection(node, collection)
    scheduler.schedule()
    done: dict[str, int] = dict.fromkeys((node.gateway.id for node in nodes), 0)
    for _ in range(len(collection)):
        for node in scheduler.nodes:
            quick = is_quick(node.gateway.id, processes)
            for index in node.given[done[node.gateway.id] :][: 3 if quick else 1]:
                done[node.gateway.id] += 1
                scheduler.mark_test_complete(node, index)
    assert scheduler.tests_finished
    assert all(node.shutting_down for node in nodes)
    assert sorted(index for node in nodes for index in node.given) == list(range(len(collection)))
    return {node.gateway.id: node.files for node in nodes}


def test_one_process_runs_what_needs_no_cluster_and_the_longest_files_begin_first() -> None:
    taken = _run([*SLOW, *QUICK], 3)
    assert set(taken["gw2"]) <= set(QUICK)
    assert len(taken["gw2"]) > 1
    assert taken["gw0"][0] == SLOW[2]
    assert set(SLOW) <= set(taken["gw0"] + taken["gw1"])


def test_processes_with_a_cluster_take_the_rest_when_nothing_else_is_left() -> None:
    many = [f"tests/unit/test_{number:02}.py" for number in range(40)]
    taken = _run([*SLOW, *many], 3)
    assert set(taken["gw2"]) < set(many)
    assert taken["gw0"][-1] in many
    assert taken["gw1"][-1] in many


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("files", [SLOW, QUICK, SLOW[:1], QUICK[:1]])
def test_whatever_there_is_all_of_it_is_run(files: Sequence[str], processes: int) -> None:
    _run(files, processes)
