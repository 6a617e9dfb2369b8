"""The cluster of kubectl's current context: somebody else made it, so it is only used.

What such a cluster cannot do for tests (faults, its network, its image store) raises UnsupportedError.
"""

import os
from collections.abc import Mapping, Sequence
from typing import NoReturn

from testbed import access, binaries, settings
from testbed.commands import run
from testbed.errors import UnsupportedError
from testbed.identity import Cluster
from testbed.native import link_tools, remove_files
from testbed.progress import say
from testbed.settings import Settings


class CurrentCluster:
    """See `testbed.provider.Provider`."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def up(self) -> None:
        """Write a kubeconfig of the current context and see that its API server answers."""
        tools = binaries.client_tools()
        shown = run(
            [str(tools / "kubectl"), "config", "view", "--minify", "--raw", "--flatten", "-o", "json"]
        )
        settings.save(self.cluster, Settings(kind="current", nodes=self.cluster.nodes, port=0))
        link_tools(self.cluster, tools)
        access.write_private(self.cluster.kubeconfig, shown)
        run([str(tools / "kubectl"), f"--kubeconfig={self.cluster.kubeconfig}", "get", "--raw", "/readyz"])

    def down(self) -> None:
        """Forget the cluster; it goes on."""
        remove_files(self.cluster)

    def load_images(self) -> Mapping[str, str]:
        """None: only a registry of the cluster's owner can bring images into its nodes."""
        say(
            "   this checkout's images are not loaded: push them to a registry and name them in the chart's values"
        )
        return {}

    def status(self) -> Mapping[str, str]:
        """The nodes, as kubectl shows them."""
        tool = str(self.cluster.tools / "kubectl")
        listed = run([tool, f"--kubeconfig={self.cluster.kubeconfig}", "get", "nodes", "--no-headers"])
        rows = [line.split() for line in listed.splitlines()]
        return {name: "up" if state.startswith("Ready") else f"DOWN: {state}" for name, state, *_ in rows}

    def command(self, argv: Sequence[str], *, source: str) -> list[str]:
        """Not possible: we are outside its network."""
        self._refuse(f"run {argv[0]} in the network of {source}")

    def node(self, action: str, name: str) -> None:
        """Not possible."""
        self._refuse(f"{action} node {name}")

    def api_server(self, action: str) -> None:
        """Not possible."""
        self._refuse(f"{action} its API server")

    def volume(self, action: str, volume: str) -> None:
        """Not possible."""
        self._refuse(f"{action} volume {volume}")

    def mail_zone(self, records: str) -> None:
        """Not possible."""
        self._refuse(f"change its DNS ({len(records.splitlines())} records)")

    def _refuse(self, what: str) -> NoReturn:
        context = os.environ.get("KUBECONFIG", "the default kubeconfig")
        raise UnsupportedError(
            f"With CLUSTER=current ({context}) the test bed cannot {what}: use native or kind."
        )
