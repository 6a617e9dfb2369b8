"""The cluster that is meant, as what it is."""

import os

from testbed.current import CurrentCluster
from testbed.identity import Cluster
from testbed.kind import KindCluster
from testbed.native import NativeCluster
from testbed.provider import Provider, chosen_kind


def provider(cluster: Cluster) -> Provider:
    """The cluster as what it is, or is to be."""
    match chosen_kind(cluster, os.environ):
        case "kind":
            return KindCluster(cluster)
        case "current":
            return CurrentCluster(cluster)
        case _:
            return NativeCluster(cluster)
