"""The volume provisioner of a node: makes directories for the claims that are to be on it, and removes them.

Run as a file, a daemon of each node's machine, so that a node that is off or cut off makes and removes nothing. It acts
in its own process instead of starting a pod for each volume, which would cost a second of processor time and several
of waiting. It does what Kubernetes asks of a provisioner: a claim that the scheduler has placed here gets a
PersistentVolume, and one that is released and to be deleted goes with its directory.

A volume of the class local-path-sized is a file system of the claim's size of its own, so that a test can fill it
without filling the machine.

Arguments: `mount`, to mount the volumes that are there before anybody uses them, or kubeconfig and name of the node.
"""

import base64
import http.client
import json
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PROVISIONER = "testbed.smtpfleet.io/local-path"
DEFAULT_CLASS = "local-path"
SIZED_CLASS = "local-path-sized"
VOLUMES = Path("/var")
_MADE_BY = "pv.kubernetes.io/provisioned-by"
_ASKED = "volume.kubernetes.io/storage-provisioner"
_PLACED = "volume.kubernetes.io/selected-node"
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_WATCH_S = 15
"""After this everything is looked at again: what failed, and what a watch missed whose cable was cut."""
_AGAIN_S = 1.0

Object = dict[str, Any]


def is_wanted(claim: Object, node: str) -> bool:
    """Whether the claim waits for a volume of this provisioner on this node."""
    metadata = claim["metadata"]
    marks = metadata.get("annotations", {})
    return bool(
        (marks.get(_ASKED), marks.get(_PLACED)) == (PROVISIONER, node)
        and not claim["spec"].get("volumeName")
        and "deletionTimestamp" not in metadata
    )


def is_done_with(volume: Object, node: str) -> bool:
    """Whether nobody needs the volume any more, and this provisioner is to remove it."""
    metadata, spec = volume["metadata"], volume["spec"]
    return bool(
        metadata.get("annotations", {}).get(_MADE_BY) == PROVISIONER
        and spec["nodeAffinity"] == _only_on(node)
        and spec["persistentVolumeReclaimPolicy"] == "Delete"
        and volume["status"].get("phase") == "Released"
    )


def directory_of(claim: Object) -> Path:
    """Where on its node the volume of a claim is."""
    metadata = claim["metadata"]
    name = f"pvc-{metadata['uid']}_{metadata['namespace']}_{metadata['name']}"
    return VOLUMES / str(claim["spec"]["storageClassName"]) / name


def size_of(claim: Object) -> int:
    """The bytes that a claim asks for.

    Raises:
        ValueError: in words that are not understood here.
    """
    asked = claim["spec"]["resources"]["requests"]["storage"]
    found = re.fullmatch(r"(\d+)([A-Za-z]*)", asked)
    if found is None or found[2] not in _UNITS:
        raise ValueError(f"the size {asked!r} is not understood")
    return int(found[1]) * _UNITS[found[2]]


def volume_for(claim: Object, node: str) -> Object:
    """The PersistentVolume for a claim whose directory is there."""
    metadata, spec = claim["metadata"], claim["spec"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"pvc-{metadata['uid']}", "annotations": {_MADE_BY: PROVISIONER}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "volumeMode": "Filesystem",
            "storageClassName": spec["storageClassName"],
            "persistentVolumeReclaimPolicy": "Delete",
            "hostPath": {"path": str(directory_of(claim)), "type": "Directory"},
            "nodeAffinity": _only_on(node),
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
        },
    }


def _only_on(node: str) -> Object:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}


def make(directory: Path, size: int) -> None:
    """Make a volume unless it is there."""
    if directory.parent.name != SIZED_CLASS:
        if directory.exists():
            return
        directory.mkdir()
    else:
        if directory.is_mount():
            return
        image = image_of(directory)
        if not image.exists():
            staged = image.with_suffix(".new")
            with staged.open("wb") as file:
                file.truncate(size)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(staged)], check=True)
            staged.rename(image)
        mount(image)
    directory.chmod(0o777)


def image_of(directory: Path) -> Path:
    """The file that holds the file system of a sized volume."""
    return directory.with_name(f"{directory.name}.img")


def mount(image: Path) -> None:
    """Mount the file system of a sized volume where the volume is."""
    directory = image.with_suffix("")
    directory.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(directory)], check=True)


def remove(directory: Path) -> None:
    """Remove a volume with all that is in it, if it is there."""
    if directory.is_mount():
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
    if directory.parent.name == SIZED_CLASS:
        image_of(directory).unlink(missing_ok=True)
    if directory.exists():
        shutil.rmtree(directory)


class ApiServer:
    """The API server of a kubeconfig as the test bed writes it; each request has a connection of its own."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        address = urlsplit(cluster["server"])
        self._host, self._port = address.hostname or "", address.port
        self._tls = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        self._headers = {"Authorization": f"Bearer {user['token']}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: Object | None = None) -> http.client.HTTPResponse:
        """The answer to a request, not read yet; raises OSError or HTTPException when there is none."""
        connection = http.client.HTTPSConnection(
            self._host, self._port or 443, context=self._tls, timeout=_WATCH_S + 5
        )
        connection.request(method, path, body=json.dumps(body) if body else None, headers=self._headers)
        return connection.getresponse()

    def read(
        self, method: str, path: str, body: Object | None = None, *, fine: tuple[int, ...] = ()
    ) -> Object:
        """The object of the answer; raises OSError for a status that is neither success nor one of `fine`."""
        with self.ask(method, path, body) as answer:
            text = answer.read().decode()
            if answer.status >= 300 and answer.status not in fine:
                raise OSError(f"{method} {path}: {answer.status} {text}")
        found: Object = json.loads(text)
        return found

    def objects(self, path: str) -> Iterator[Object]:
        """Each object of a list, then each that is added or changed, until the watch ends."""
        listed = self.read("GET", path)
        yield from listed["items"]
        version = listed["metadata"]["resourceVersion"]
        query = f"watch=1&resourceVersion={version}&timeoutSeconds={_WATCH_S}"
        with self.ask("GET", f"{path}?{query}") as events:
            for line in events:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                if event["type"] != "DELETED":
                    yield event["object"]


class Provisioner:
    """Makes and removes the volumes of one node."""

    def __init__(self, server: ApiServer, node: str) -> None:
        self._server = server
        self._node = node

    def provide(self, claim: Object) -> None:
        """Make the volume of a claim if it waits for one here."""
        if is_wanted(claim, self._node):
            make(directory_of(claim), size_of(claim))
            # A claim is seen several times before it is bound: then the volume exists.
            self._server.read(
                "POST",
                "/api/v1/persistentvolumes",
                volume_for(claim, self._node),
                fine=(http.client.CONFLICT,),
            )

    def reclaim(self, volume: Object) -> None:
        """Remove a volume that nobody needs any more."""
        if is_done_with(volume, self._node):
            remove(Path(volume["spec"]["hostPath"]["path"]))
            path = f"/api/v1/persistentvolumes/{volume['metadata']['name']}"
            self._server.read("DELETE", path, fine=(http.client.NOT_FOUND,))

    def run(self) -> None:
        """Do both for ever."""
        released = threading.Thread(target=self._go_on, args=("persistentvolumes", self.reclaim), daemon=True)
        released.start()
        self._go_on("persistentvolumeclaims", self.provide)

    def _go_on(self, kind: str, see: Callable[[Object], None]) -> None:
        """Look at everything again and again; what fails is printed, hinders nothing else, and is tried again."""
        while True:
            try:
                for found in self._server.objects(f"/api/v1/{kind}"):
                    try:
                        see(found)
                    except Exception:  # what is wrong with one must cost no other its volume
                        traceback.print_exc()
            except Exception as error:  # a daemon whose thread has ended would look well, and do nothing
                print(f"{kind}: {error!r}", file=sys.stderr)
                time.sleep(_AGAIN_S)


if __name__ == "__main__":
    if sys.argv[1:] == ["mount"]:
        for image in (VOLUMES / SIZED_CLASS).glob("*.img"):
            mount(image)
    else:
        Provisioner(ApiServer(Path(sys.argv[1])), sys.argv[2]).run()
