"""Which process of a run takes which file of tests.

Those that need a cluster mostly wait, each process with a cluster of its own; one process more runs what needs none
meanwhile, in the time that they leave. The longest files begin first, for what begins last is what all wait for.
"""

import contextlib
import os
from collections.abc import Mapping
from typing import Final

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

_QUICK: Final = "tests/unit/"
_LONGEST: Final = (
    "tests/cluster/test_probing.py",
    "tests/cluster/test_operator_process.py",
    "tests/chaos/test_leaving_relays.py",
    "tests/cluster/test_operator_children.py",
    "tests/cluster/test_balancing.py",
)


def is_quick(number: str, count: int) -> bool:
    """Whether the process of this name is the one for tests without a cluster: the last of several."""
    return count > 1 and number == f"gw{count - 1}"


def yield_to_others(environ: Mapping[str, str]) -> None:
    """Let a process for tests without a cluster have only a small part of the processor while others want it."""
    if is_quick(environ.get("PYTEST_XDIST_WORKER", ""), int(environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))):
        os.setsid()  # a priority counts within a session only, where the kernel gives each its part
        os.nice(10)
        with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as autogroup:
            autogroup.write("10")


class ByNeed(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Files that need a cluster go to the processes that have one; these take the others when none is left."""

    def _assign_work_unit(self, node: WorkerController) -> None:
        scope = self._next_for(node)
        if scope is None:
            node.shutdown()
            return
        self.workqueue.move_to_end(scope, last=False)
        super()._assign_work_unit(node)

    def _next_for(self, node: WorkerController) -> str | None:
        quick = [scope for scope in self.workqueue if scope.startswith(_QUICK)]
        slow = [scope for scope in self.workqueue if not scope.startswith(_QUICK)]
        slow.sort(key=lambda scope: _LONGEST.index(scope) if scope in _LONGEST else len(_LONGEST))
        if is_quick(node.gateway.id, self.numnodes) and len(self.nodes) > 1:
            return quick[0] if quick else None
        return next(iter([*slow, *quick]), None)
