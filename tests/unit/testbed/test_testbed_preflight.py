"""Each thing that is missing is named in one sentence that says what to do."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testbed.preflight import Facts, available_memory, file_system_of, findings

GIB = 1 << 30
FIT = Facts(
    is_linux=True,
    is_root=True,
    missing_packages=(),
    go_is_needed=True,
    has_go=True,
    refused=(),
    state_file_system="ext4",
    state=Path("/src/.cluster/smtpfleet"),
    cgroups_writable=True,
    low_limits=(),
    port=23456,
    port_is_free=True,
    free_disk=20 * GIB,
    free_memory=8 * GIB,
)


def test_a_machine_that_has_everything_passes() -> None:
    assert findings(FIT) == []


@pytest.mark.parametrize(
    ("lack", "words"),
    [
        ({"is_linux": False}, "needs Linux"),
        ({"is_root": False}, "run the command as root"),
        ({"missing_packages": ("nftables", "runc")}, "apt-get install nftables runc"),
        ({"has_go": False}, "install Go"),
        ({"refused": ("namespaces",)}, "does not permit new network, mount and process namespaces"),
        ({"refused": ("nftables",)}, "modprobe nf_tables"),
        ({"state_file_system": "overlay"}, "/src/.cluster/smtpfleet lies on an overlay file system"),
        ({"cgroups_writable": False}, "/sys/fs/cgroup"),
        ({"low_limits": ("max_user_instances",)}, "sysctl -w fs.inotify.max_user_instances=4096"),
        ({"port_is_free": False}, "Port 23456 of 127.0.0.1"),
        ({"free_disk": GIB}, "Too little disk space: 1.0 GiB are free, 8 GiB are needed"),
        ({"free_memory": GIB}, "Too little memory"),
    ],
)
def test_each_lack_is_one_sentence(lack: dict[str, Any], words: str) -> None:
    (sentence,) = findings(replace(FIT, **lack))
    assert words in sentence
    assert sentence.endswith(".")


def test_all_lacks_are_named_at_once() -> None:
    assert len(findings(replace(FIT, missing_packages=("runc",), has_go=False, free_disk=0))) == 3


def test_go_is_not_asked_for_when_the_binaries_are_there() -> None:
    assert findings(replace(FIT, go_is_needed=False, has_go=False)) == []


def test_a_cluster_without_a_port_yet_has_no_port_to_complain_about() -> None:
    assert findings(replace(FIT, port=None, port_is_free=True)) == []


def test_the_file_system_is_that_of_the_nearest_mount_above() -> None:
    mountinfo = (
        "1 0 0:1 / / rw,relatime - overlay overlay rw\n"
        "2 1 8:1 / /src\\040code rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    )
    assert file_system_of(Path("/src code/a"), mountinfo) == "ext4"
    assert file_system_of(Path("/home/a"), mountinfo) == "overlay"


def test_available_memory_is_read_in_bytes() -> None:
    assert available_memory("MemTotal: 100 kB\nMemAvailable:   64 kB\n") == 64 * 1024
