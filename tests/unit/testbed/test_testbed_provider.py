"""One set of commands for every kind of cluster; a running cluster is never taken for another kind."""

from pathlib import Path

import pytest

from testbed import settings
from testbed.errors import TestbedError
from testbed.identity import Cluster
from testbed.kind import container_name, with_mail_zone
from testbed.provider import chosen_kind
from testbed.settings import Settings
from testbed.volumes import is_volume_of


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(name="dev", checkout=tmp_path)


@pytest.mark.parametrize(("docker_answers", "kind"), [(True, "kind"), (False, "native")])
def test_without_a_wish_docker_decides(cluster: Cluster, docker_answers: bool, kind: str) -> None:
    assert chosen_kind(cluster, {"CLUSTER": ""}, docker_answers=docker_answers) == kind


@pytest.mark.parametrize("kind", ["native", "kind", "current"])
def test_a_wish_is_followed(cluster: Cluster, kind: str) -> None:
    assert chosen_kind(cluster, {"CLUSTER": kind}, docker_answers=False) == kind


def test_an_unknown_kind_is_refused(cluster: Cluster) -> None:
    with pytest.raises(TestbedError, match="CLUSTER='minikube'"):
        chosen_kind(cluster, {"CLUSTER": "minikube"})


def test_a_running_cluster_stays_what_it_is(cluster: Cluster) -> None:
    settings.save(cluster, Settings(kind="native", nodes=2, port=20000))
    assert chosen_kind(cluster, {}, docker_answers=True) == "native"
    with pytest.raises(TestbedError, match="is of kind native, not kind"):
        chosen_kind(cluster, {"CLUSTER": "kind"})


def test_a_running_cluster_keeps_its_number_of_nodes(cluster: Cluster) -> None:
    settings.save(cluster, Settings(kind="native", nodes=3, port=20000))
    assert settings.settle(cluster, nodes="").node_names == ("n1", "n2", "n3")
    with pytest.raises(TestbedError, match="has 3 nodes, not 2"):
        settings.settle(cluster, nodes="2")


def test_nodes_are_called_the_same_with_kind(cluster: Cluster) -> None:
    names = [container_name(cluster, machine) for machine in ("cp", "n1", "n2")]
    assert names == [f"{cluster.kind_name}-{role}" for role in ("control-plane", "worker", "worker2")]


def test_a_node_that_does_not_exist_is_an_error(cluster: Cluster) -> None:
    with pytest.raises(TestbedError, match="no node n7"):
        container_name(cluster, "n7")


def test_kinds_dns_gets_a_server_for_the_mail_domain() -> None:
    corefile = with_mail_zone(".:53 {\n}\n")
    assert corefile.startswith("mail.test:53 {")
    assert corefile.endswith(".:53 {\n}\n")


@pytest.mark.parametrize("wanted", ["queue", "mail/queue", "/var/local-path-sized/pvc-1-2_mail_queue"])
def test_a_volume_is_found_by_claim_by_namespace_and_claim_or_by_directory(wanted: str) -> None:
    assert is_volume_of("pvc-1-2_mail_queue", wanted)


@pytest.mark.parametrize("wanted", ["other", "default/queue", "pvc-1-2"])
def test_another_claim_is_another_volume(wanted: str) -> None:
    assert not is_volume_of("pvc-1-2_mail_queue", wanted)
