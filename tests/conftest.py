"""The cluster of a test run, and which fault tests a short run takes.

Each process of the run (pytest-xdist) has a cluster of its own, so tests of different files never meet. It comes up
before the first test that uses it and is taken down after the last one, unless it was there before. Set
SMTPFLEET_KEEP=1 to keep it for the next run.
"""

import itertools
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from scenario.cluster import Local, current, install
from testbed.handle import ClusterHandle
from tests.scheduling import ByNeed, yield_to_others

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
_NAME = os.environ.get("CLUSTER_NAME") or "smtpfleet-test"
os.environ["CLUSTER_NAME"] = f"{_NAME}-{_WORKER}" if _WORKER else _NAME
_SHORT_CHAOS = 2
# How long an example takes is the machine's business.
settings.register_profile("smtpfleet", deadline=None)
settings.load_profile("smtpfleet")


def pytest_addoption(parser: pytest.Parser) -> None:
    # By the environment, which all processes of a run have in common: they must choose the same.
    seed = int(os.environ.setdefault("SMTPFLEET_CHAOS_SEED", str(random.randrange(10_000))))
    parser.addoption("--chaos", choices=("short", "all"), default="short", help="how many of tests/chaos")
    parser.addoption("--chaos-seed", type=int, default=seed, help="repeat the choice of an earlier short run")
    parser.addoption(
        "--conformance",
        choices=("light", "all"),
        default="light",
        help="clients of test_edge.py that are run: all by every port, or light ones each feature by one",
    )
    parser.addoption("--thorough", action="store_true", help="also what is marked thorough")


def pytest_configure(config: pytest.Config) -> None:
    yield_to_others(os.environ)
    # The rounds of tests/chaos take their seeds from there, also when the option gives it.
    os.environ["SMTPFLEET_CHAOS_SEED"] = str(config.option.chaos_seed)
    config.addinivalue_line(
        "markers",
        "thorough(why): it takes long, and a shorter test shows most of it: for `make test-all`, and `make chaos`",
    )


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByNeed:
    return ByNeed(config, log)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What a short run leaves out, and who does not."""
    option, lines = config.option, []
    if option.chaos != "all":
        lines.append(
            f"chaos: {_SHORT_CHAOS} tests chosen by --chaos-seed={option.chaos_seed}; `make chaos` runs all"
        )
    if not option.thorough:
        lines.append("left out: what is marked thorough; `make test-all` runs it")
    return lines


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A short run takes some fault tests, chosen by the seed, and leaves out what a shorter test shows as well."""
    chaos = [item for item in items if item.nodeid.startswith("tests/chaos/")]
    every_fault, thorough = config.option.chaos == "all", config.option.thorough
    left_out = [
        item
        for item in items
        if item.get_closest_marker("thorough") and not thorough and not (every_fault and item in chaos)
    ]
    chaos = [item for item in chaos if item not in left_out]
    if not every_fault and len(chaos) > _SHORT_CHAOS:
        chosen = _of_every_file(chaos, random.Random(config.option.chaos_seed))
        left_out += [item for item in chaos if item not in chosen]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def _of_every_file(items: list[pytest.Item], chance: random.Random) -> list[pytest.Item]:
    """A few, of as many files as may be: of any one all could be of the longest kind."""
    files: dict[str, list[pytest.Item]] = {}
    for item in chance.sample(items, len(items)):
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    in_turn = [item for row in itertools.zip_longest(*files.values()) for item in row if item is not None]
    return in_turn[:_SHORT_CHAOS]


@pytest.fixture(scope="session")
def rate(pytestconfig: pytest.Config) -> int:
    """Messages a second that tests of faults hand in.

    A short run has another process of itself beside it, on few cores: with all of the load nothing would be seen but a
    machine that is too small.
    """
    return 100 if pytestconfig.option.chaos == "all" else 30


@pytest.fixture(scope="session")
def cluster() -> Iterator[ClusterHandle]:
    """The running cluster of the tests."""
    handle = ClusterHandle.of_environment(os.environ)
    was_there = handle.identity.state.exists()
    handle.up()
    yield handle
    if was_there or os.environ.get("SMTPFLEET_KEEP"):
        handle.repair()
    else:
        handle.testbed("down")


@pytest.fixture(scope="session")
def local(cluster: ClusterHandle) -> Local:
    """The cluster with this checkout's operator in it."""
    found = current(cluster.identity)
    install(found)
    return found
