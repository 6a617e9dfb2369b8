"""What a usable cluster has beyond its control plane: DNS as a Service and a default StorageClass.

Both are daemons of machines, so they cost no pod; the cluster sees these objects.
"""

import json
import time
from pathlib import Path

from testbed import addresses
from testbed.volume_provisioner import DEFAULT_CLASS, PROVISIONER, SIZED_CLASS

Manifest = dict[str, object]


def manifests() -> str:
    """Every object, as a JSON list for `kubectl apply`."""
    classes = [_storage_class(DEFAULT_CLASS, default=True), _storage_class(SIZED_CLASS, default=False)]
    items = [*_dns(), *classes]
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


def _storage_class(name: str, *, default: bool) -> Manifest:
    mark = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": mark},
        "provisioner": PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    }


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
