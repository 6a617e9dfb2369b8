"""Which claims a node's volume provisioner takes on, what it makes for them, and which volumes it removes."""

import copy
from pathlib import Path
from typing import Any

import pytest

from testbed.volume_provisioner import (
    PROVISIONER,
    directory_of,
    is_done_with,
    is_wanted,
    make,
    remove,
    size_of,
    volume_for,
)

Object = dict[str, Any]
CLAIM: Object = {
    "metadata": {
        "name": "queue",
        "namespace": "mail",
        "uid": "1-2",
        "annotations": {
            "volume.kubernetes.io/storage-provisioner": PROVISIONER,
            "volume.kubernetes.io/selected-node": "n1",
        },
    },
    "spec": {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "64Mi"}},
        "storageClassName": "local-path-sized",
    },
}


def changed(thing: Object, value: object, *path: str) -> Object:
    """The object with another value at a place; None takes it away."""
    copied = copy.deepcopy(thing)
    place = copied
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return copied


def released(node: str = "n1") -> Object:
    return volume_for(CLAIM, node) | {"status": {"phase": "Released"}}


def test_a_claim_that_the_scheduler_placed_here_is_wanted() -> None:
    assert is_wanted(CLAIM, "n1")


@pytest.mark.parametrize(
    "claim",
    [
        changed(CLAIM, None, "metadata", "annotations"),
        changed(CLAIM, "n2", "metadata", "annotations", "volume.kubernetes.io/selected-node"),
        changed(CLAIM, None, "metadata", "annotations", "volume.kubernetes.io/selected-node"),
        changed(CLAIM, "other", "metadata", "annotations", "volume.kubernetes.io/storage-provisioner"),
        changed(CLAIM, "pvc-1-2", "spec", "volumeName"),
        changed(CLAIM, "2026-01-01T00:00:00Z", "metadata", "deletionTimestamp"),
    ],
    ids=["not placed", "on another node", "no node", "of another provisioner", "bound", "being deleted"],
)
def test_another_claim_is_left_alone(claim: Object) -> None:
    assert not is_wanted(claim, "n1")


def test_the_volume_is_the_claims_and_of_its_size_on_its_node() -> None:
    volume = volume_for(CLAIM, "n1")
    assert volume["metadata"]["name"] == "pvc-1-2"
    assert volume["spec"]["capacity"] == {"storage": "64Mi"}
    assert volume["spec"]["claimRef"]["uid"] == "1-2"
    assert volume["spec"]["hostPath"]["path"] == "/var/local-path-sized/pvc-1-2_mail_queue"
    (term,) = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["n1"]


def test_a_released_volume_of_this_node_is_removed() -> None:
    assert is_done_with(released(), "n1")


@pytest.mark.parametrize(
    "volume",
    [
        released("n2"),
        changed(released(), "Bound", "status", "phase"),
        changed(released(), "Retain", "spec", "persistentVolumeReclaimPolicy"),
        changed(released(), {}, "metadata", "annotations"),
    ],
    ids=["of another node", "in use", "to be kept", "made by somebody else"],
)
def test_another_volume_is_left_alone(volume: Object) -> None:
    assert not is_done_with(volume, "n1")


@pytest.mark.parametrize(
    ("asked", "size"), [("64Mi", 64 << 20), ("1Gi", 1 << 30), ("5k", 5000), ("77", 77), ("2G", 2 * 10**9)]
)
def test_a_size_is_read_in_the_units_of_kubernetes(asked: str, size: int) -> None:
    assert size_of(changed(CLAIM, asked, "spec", "resources", "requests", "storage")) == size


@pytest.mark.parametrize("asked", ["", "1.5Gi", "500m", "Gi"])
def test_a_size_that_is_not_understood_is_refused(asked: str) -> None:
    with pytest.raises(ValueError, match="not understood"):
        size_of(changed(CLAIM, asked, "spec", "resources", "requests", "storage"))


def test_a_directory_is_made_once_for_every_user_and_removed_with_what_is_in_it(tmp_path: Path) -> None:
    directory = tmp_path / "local-path" / directory_of(CLAIM).name
    directory.parent.mkdir()
    make(directory, 1 << 20)
    assert directory.stat().st_mode & 0o7777 == 0o777
    directory.chmod(0o700)
    (directory / "message").touch()
    make(directory, 1 << 20)
    assert directory.stat().st_mode & 0o7777 == 0o700
    assert (directory / "message").exists()
    remove(directory)
    remove(directory)
    assert not directory.exists()
