"""The cluster of a whole test run, and which fault tests a short run takes.

The cluster comes up before the first test that uses it and is taken down after the last one, unless it was there
before. Set SMTPFLEET_KEEP=1 to keep it for the next run.
"""

import os
import random
from collections.abc import Iterator

import pytest

from scenario.cluster import Local, current, install
from testbed.handle import ClusterHandle

os.environ["CLUSTER_NAME"] = os.environ.get("CLUSTER_NAME") or "smtpfleet-test"
_SHORT_CHAOS = 3


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos", choices=("short", "all"), default="short", help="how many of tests/chaos")
    parser.addoption(
        "--conformance",
        choices=("light", "all"),
        default="light",
        help="clients of test_edge.py that are run",
    )
    parser.addoption("--chaos-seed", type=int, default=None, help="repeat the choice of an earlier short run")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A short run takes some fault tests, chosen by a seed that is printed."""
    chaos = [item for item in items if item.nodeid.startswith("tests/chaos/")]
    if config.getoption("--chaos") == "all" or len(chaos) <= _SHORT_CHAOS:
        return
    seed = config.getoption("--chaos-seed")
    if seed is None:
        seed = random.randrange(10_000)
    chosen = random.Random(seed).sample(chaos, _SHORT_CHAOS)
    left_out = [item for item in chaos if item not in chosen]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
    config.stash[_CHOICE] = (
        f"chaos: {len(chosen)} of {len(chaos)} tests by --chaos-seed={seed}; `make chaos` runs all"
    )


_CHOICE: pytest.StashKey[str] = pytest.StashKey()


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    chosen = config.stash.get(_CHOICE, None)
    return [chosen] if chosen else []


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
