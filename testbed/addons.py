"""What a usable cluster has beyond its control plane: DNS as a Service and a default StorageClass.

Both run as programs of the control plane, so they cost no pod and outlive every node; the cluster sees these objects.
"""

import json
import time
from pathlib import Path

from testbed import addresses

_STORAGE_NAMESPACE = "local-path-storage"
DEFAULT_CLASS = "local-path"
SIZED_CLASS = "local-path-sized"
_PROVISIONER = "rancher.io/local-path"

Manifest = dict[str, object]


def manifests(helper_image: str) -> str:
    """Every object, as a JSON list for `kubectl apply`."""
    items = [*_dns(), *_storage(helper_image)]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _dns() -> list[Manifest]:
    """A Service without selector: CoreDNS is beside the API server, not in a pod."""
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
            "spec": {"clusterIP": addresses.DNS_SERVICE_ADDRESS, "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kube-dns",
                "namespace": "kube-system",
                "labels": {
                    "kubernetes.io/service-name": "kube-dns",
                    "endpointslice.kubernetes.io/managed-by": "testbed",
                },
            },
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [
                {
                    "addresses": [addresses.CONTROL_PLANE_ADDRESS],
                    "conditions": {"ready": True, "serving": True},
                }
            ],
        },
    ]


def _storage(helper_image: str) -> list[Manifest]:
    meta = {"namespace": _STORAGE_NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _STORAGE_NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {**meta, "name": "local-path-provisioner-service-account"},
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {**meta, "name": "local-path-config"},
            "data": {
                "config.json": provisioner_configuration(),
                "setup": _SETUP,
                "teardown": _TEARDOWN,
                "helperPod.yaml": helper_pod(helper_image),
            },
        },
        _storage_class(DEFAULT_CLASS, default=True),
        _storage_class(SIZED_CLASS, default=False),
    ]


def _storage_class(name: str, *, default: bool) -> Manifest:
    mark = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": mark},
        "provisioner": _PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    }


# The provisioner gives the volume's directory and size. A directory below local-path-sized is a file system of its own,
# as large as the claim says, so that a test can fill it without filling the machine: the machine's process 1 makes,
# mounts and removes it, for in this pod the mount would stay busy.
_SETUP = f"""#!/bin/sh
set -eu
case "$VOL_DIR" in
*/{SIZED_CLASS}/*)
    test -e "$VOL_DIR.img" || truncate -s "$VOL_SIZE_BYTES" "$VOL_DIR.new"
    test -e "$VOL_DIR.img" || mv "$VOL_DIR.new" "$VOL_DIR.img"
    until test -e "$VOL_DIR.ready"; do sleep 0.1; done
    ;;
*)
    mkdir -m 0777 -p "$VOL_DIR"
    ;;
esac
"""

_TEARDOWN = """#!/bin/sh
set -eu
if test -e "$VOL_DIR.img"; then
    rm -f "$VOL_DIR.img"
    while test -e "$VOL_DIR.ready"; do sleep 0.1; done
else
    rm -rf "$VOL_DIR"
fi
"""


def provisioner_configuration() -> str:
    """Where on a node volumes lie, by StorageClass."""
    everywhere = "DEFAULT_PATH_FOR_NON_LISTED_NODES"
    classes = {
        name: {"nodePathMap": [{"node": everywhere, "paths": [f"/var/{name}"]}]}
        for name in (DEFAULT_CLASS, SIZED_CLASS)
    }
    return json.dumps({"storageClassConfigs": classes})


def helper_pod(helper_image: str) -> str:
    """The pod that makes and removes volumes; a network and an account of its own would be a third of its cost."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "helper-pod"},
            "spec": {
                "tolerations": [{"operator": "Exists"}],
                "priorityClassName": "system-node-critical",
                "hostNetwork": True,
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "containers": [
                    {
                        "name": "helper-pod",
                        "image": helper_image,
                        "imagePullPolicy": "Never",
                    }
                ],
            },
        }
    )


def root_zone() -> str:
    """An empty root zone: names outside the cluster and the mail domain do not exist, and quickly so."""
    return f". 60 IN SOA ns.{addresses.MAIL_DOMAIN}. hostmaster.{addresses.MAIL_DOMAIN}. 1 60 60 60 1\n"


def mail_zone(records: str, *, serial: int) -> str:
    """The mail domain's zone with the given records (names relative to it); CoreDNS reloads it on a new serial."""
    domain = addresses.MAIL_DOMAIN
    return (
        f"$ORIGIN {domain}.\n$TTL 1\n"
        f"@ IN SOA ns hostmaster {serial} 60 60 60 1\n@ NS ns\nns A {addresses.CONTROL_PLANE_ADDRESS}\n{records}\n"
    )


def serial_of(zone: str) -> int:
    """Serial number of a zone that `mail_zone` made."""
    return int(zone.split("hostmaster ")[1].split(maxsplit=1)[0])


def write_mail_zone(directory: Path, records: str) -> None:
    """Replace the records of the mail domain; CoreDNS answers with them within about a second."""
    zone = directory / addresses.MAIL_DOMAIN
    previous = serial_of(zone.read_text()) if zone.exists() else 0
    staged = zone.with_name(f"{zone.name}.new")
    staged.write_text(mail_zone(records, serial=max(previous + 1, int(time.time()))))
    staged.rename(zone)
