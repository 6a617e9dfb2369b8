"""Files that a cluster reads are whole, private where they hold secrets, and stay valid over repeated starts."""

import json
from pathlib import Path

import pytest

from testbed import access, addons, cgroups, inside
from testbed.cgroups import Hierarchy
from testbed.control_plane import corefile
from testbed.identity import Cluster


def test_tokens_are_made_once_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "tokens.csv"
    first = access.make_tokens(file, ("n1",))
    assert access.make_tokens(file, ("n1",)) == first
    assert len(set(first.values())) == len(first)
    assert file.stat().st_mode & 0o777 == 0o600


def test_another_node_gets_a_token_without_changing_the_others(tmp_path: Path) -> None:
    first = access.make_tokens(tmp_path / "tokens.csv", ("n1",))
    second = access.make_tokens(tmp_path / "tokens.csv", ("n1", "n2"))
    assert {**second, **first} == second


def test_the_administrator_is_in_the_group_that_may_do_all(tmp_path: Path) -> None:
    access.make_tokens(tmp_path / "tokens.csv", ())
    lines = (tmp_path / "tokens.csv").read_text().splitlines()
    assert any(line.endswith(',admin,admin,"system:masters"') for line in lines)


def test_replacing_a_file_leaves_nothing_beside_it(tmp_path: Path) -> None:
    access.write_whole(tmp_path / "a", "1")
    access.write_whole(tmp_path / "a", "2")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"a": "2"}


def test_a_kubeconfig_names_server_user_and_authority() -> None:
    text = access.kubeconfig(
        server="https://127.0.0.1:1", authority=b"CA", user="admin", token="t", name="dev"
    )
    config = json.loads(text)
    assert config["current-context"] == "dev"
    assert config["clusters"][0]["cluster"]["certificate-authority-data"] == "Q0E="
    assert config["users"][0]["user"] == {"token": "t"}


def test_every_change_of_the_mail_zone_has_a_higher_serial(tmp_path: Path) -> None:
    serials = []
    for record in ("@ MX 10 mx1", "@ MX 10 mx2", "@ MX 10 mx1"):
        addons.write_mail_zone(tmp_path, record)
        serials.append(addons.serial_of((tmp_path / "mail.test").read_text()))
    assert serials == sorted(set(serials))


def test_names_outside_the_cluster_do_not_exist() -> None:
    assert "file /run/testbed/zones/root ." in corefile()
    assert addons.root_zone().startswith(". 60 IN SOA")


def test_a_command_in_the_cluster_resolves_like_a_pod() -> None:
    assert inside.resolver_configuration("172.30.0.1") == (
        "search default.svc.cluster.local svc.cluster.local cluster.local\n"
        "nameserver 172.30.0.1\noptions ndots:5\n"
    )


def test_a_command_in_the_cluster_keeps_the_callers_kubeconfig_if_it_has_one(tmp_path: Path) -> None:
    cluster = Cluster(name="dev", checkout=tmp_path)
    assert inside.environment(cluster, {"KUBECONFIG": "/own"})["KUBECONFIG"] == "/own"
    assert inside.environment(cluster, {})["KUBECONFIG"] == str(cluster.kubeconfig)


@pytest.mark.parametrize(
    ("mounts", "found"),
    [
        ("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", [Hierarchy(Path("/sys/fs/cgroup"), unified=True)]),
        (
            "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n",
            [Hierarchy(Path("/sys/fs/cgroup/cpu"), unified=False)],
        ),
    ],
)
def test_control_groups_of_both_versions_are_found(mounts: str, found: list[Hierarchy]) -> None:
    assert cgroups.hierarchies(mounts) == found
