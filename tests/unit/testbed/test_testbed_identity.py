"""Clusters of different names or checkouts have nothing in common that is visible outside them."""

from pathlib import Path

import pytest

from testbed.addresses import NodeNet
from testbed.errors import TestbedError
from testbed.identity import Cluster, from_environment

CHECKOUT = Path("/src/smtpfleet")


def cluster(name: str = "smtpfleet", checkout: Path = CHECKOUT) -> Cluster:
    return Cluster(name=name, checkout=checkout)


def outside_names(of: Cluster) -> set[str]:
    return {str(of.state), str(of.kubeconfig), of.cgroup, of.kind_name, str(of.preferred_port)}


@pytest.mark.parametrize("other", [cluster("dev"), cluster(checkout=Path("/src/other"))])
def test_clusters_of_another_name_or_checkout_share_no_name(other: Cluster) -> None:
    assert not outside_names(cluster()) & outside_names(other)


def test_the_same_name_and_checkout_give_the_same_names_every_time() -> None:
    assert outside_names(cluster()) == outside_names(cluster())


def test_the_default_cluster_has_its_kubeconfig_where_the_documentation_says() -> None:
    assert cluster().kubeconfig == CHECKOUT / ".cluster" / "kubeconfig"


def test_any_other_cluster_has_its_kubeconfig_in_its_own_state() -> None:
    assert cluster("dev").kubeconfig == CHECKOUT / ".cluster" / "dev" / "kubeconfig"


def test_the_preferred_port_is_below_the_ephemeral_ones() -> None:
    assert all(20000 <= cluster(f"c{n}").preferred_port < 30000 for n in range(200))


def test_interface_names_fit_into_the_kernels_fifteen_characters() -> None:
    assert all(len(NodeNet(index).link) <= 15 for index in range(1, 21))


def test_nodes_have_addresses_of_their_own() -> None:
    nets = [NodeNet(index) for index in range(1, 21)]
    assert len({net.address for net in nets} | {net.pod_range for net in nets}) == 2 * len(nets)


def test_the_environment_names_the_cluster() -> None:
    found = from_environment({"CLUSTER_NAME": "dev", "CLUSTER_NODES": "3"}, checkout=CHECKOUT)
    assert (found.name, found.node_names) == ("dev", ("n1", "n2", "n3"))


def test_an_empty_environment_means_the_default_cluster_with_two_nodes() -> None:
    assert from_environment({"CLUSTER_NAME": ""}, checkout=CHECKOUT) == cluster()


@pytest.mark.parametrize("name", ["Dev", "a/b", "..", "-a", "a" * 31, "bin"])
def test_a_name_that_could_leave_its_directory_or_break_kind_is_refused(name: str) -> None:
    with pytest.raises(TestbedError, match="CLUSTER_NAME="):
        from_environment({"CLUSTER_NAME": name}, checkout=CHECKOUT)


@pytest.mark.parametrize("nodes", ["0", "21", "two", "-1"])
def test_an_impossible_number_of_nodes_is_refused(nodes: str) -> None:
    with pytest.raises(TestbedError, match="CLUSTER_NODES="):
        from_environment({"CLUSTER_NODES": nodes}, checkout=CHECKOUT)
