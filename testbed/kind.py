"""A cluster that kind makes of Docker containers, with the same images, chart, commands and tests as a native one.

Its nodes are called n1 and n2 in commands, as everywhere; in Kubernetes they have kind's names.
"""

import json
import os
from collections.abc import Mapping, Sequence

from testbed import addons, binaries, containerfile, images, inside, settings
from testbed.addresses import DNS_SERVICE_ADDRESS, MAIL_DOMAIN
from testbed.commands import run, run_logged
from testbed.errors import TestbedError, UnsupportedError
from testbed.identity import CONTROL_PLANE, Cluster
from testbed.native import link_tools, remove_files
from testbed.polling import until
from testbed.progress import step
from testbed.settings import Settings

_NETWORK = "kind"
# What `recipe` hashes instead of our own base image, which is not used where Docker pulls the public one.
_PUBLIC_BASE = "debian:trixie-slim"


class KindCluster:
    """See `testbed.provider.Provider`."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def up(self) -> None:
        """Create the cluster, or start its containers again; undo faults."""
        _need_docker()
        tools, kind = binaries.client_tools(), str(binaries.go_program("kind"))
        name = self.cluster.kind_name
        if name not in run([kind, "get", "clusters"]).split():
            self._create(kind)
        settings.save(self.cluster, Settings(kind="kind", nodes=2, port=0))
        link_tools(self.cluster, tools)
        run([kind, "export", "kubeconfig", f"--name={name}", f"--kubeconfig={self.cluster.kubeconfig}"])
        for machine in (CONTROL_PLANE, *self.cluster.node_names):
            self._revive(machine)
        self.api_server("resume")
        until(lambda: self.kubectl("wait", "--for=condition=Ready", "nodes", "--all"), "the nodes")
        self._make_mail_zone()

    def _create(self, kind: str) -> None:
        log = self.cluster.state / "kind.log"
        config = self.cluster.checkout / "kind-config.yaml"
        with step(f"create kind cluster {self.cluster.kind_name} (its node image is pulled the first time)"):
            run_logged(
                [
                    *(kind, "create", "cluster", f"--name={self.cluster.kind_name}", f"--config={config}"),
                    *(f"--kubeconfig={self.cluster.state / 'kubeconfig.kind'}", "--wait=180s"),
                ],
                log=log,
            )

    def _revive(self, machine: str) -> None:
        container = container_name(self.cluster, machine)
        run(["docker", "start", container])
        networks = json.loads(
            run(["docker", "inspect", "-f", "{{json .NetworkSettings.Networks}}", container])
        )
        if _NETWORK not in networks:
            self.node("connect", machine)

    def _make_mail_zone(self) -> None:
        """Make the cluster's CoreDNS read the mail domain's zone from a second key of its ConfigMap."""
        config = json.loads(self.kubectl("-n", "kube-system", "get", "configmap", "coredns", "-o", "json"))
        if MAIL_DOMAIN in config["data"]:
            return
        corefile = with_mail_zone(config["data"]["Corefile"])
        self._patch_dns_config({"Corefile": corefile, MAIL_DOMAIN: addons.mail_zone("", serial=1)})
        self.kubectl("-n", "kube-system", "patch", "deployment", "coredns", "-p", json.dumps(_ZONE_VOLUME))

    def _patch_dns_config(self, data: Mapping[str, str]) -> None:
        self.kubectl("-n", "kube-system", "patch", "configmap", "coredns", "-p", json.dumps({"data": data}))

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl as administrator and return its output."""
        return run(
            [str(self.cluster.tools / "kubectl"), f"--kubeconfig={self.cluster.kubeconfig}", *arguments]
        )

    def down(self) -> None:
        """Delete the containers and forget the cluster."""
        kind = str(binaries.go_program("kind"))
        run([kind, "delete", "cluster", f"--name={self.cluster.kind_name}"])
        remove_files(self.cluster)

    def load_images(self) -> Mapping[str, str]:
        """Build with Docker what it does not have yet, and load it into the nodes."""
        checkout = self.cluster.checkout
        stages = containerfile.stages((checkout / "images" / "Containerfile").read_text())
        references = {}
        for target in images.TARGETS:
            recipe = images.recipe(target, stages, checkout=checkout, base=_PUBLIC_BASE)
            if not run(["docker", "images", "-q", recipe.reference]).strip():
                self._build(recipe)
            references[target] = recipe.reference
        with step("load images into the nodes"):
            kind = str(binaries.go_program("kind"))
            loaded = [name for reference in references.values() for name in (reference, _dev_tag(reference))]
            run([kind, "load", "docker-image", f"--name={self.cluster.kind_name}", *loaded])
        images.write_references(self.cluster.state / "images.json", references)
        return references

    def _build(self, recipe: images.Recipe) -> None:
        definition = self.cluster.checkout / "images" / "Containerfile"
        with step(f"build image {recipe.target}"):
            run_logged(
                [
                    *("docker", "build", f"--file={definition}", f"--target={recipe.target}"),
                    *(f"--tag={recipe.reference}", f"--tag={_dev_tag(recipe.reference)}"),
                    str(self.cluster.checkout),
                ],
                log=self.cluster.state / f"image-{recipe.target}.log",
            )

    def status(self) -> Mapping[str, str]:
        """Whether the containers run."""
        lines = {}
        for machine in (CONTROL_PLANE, *self.cluster.node_names):
            container = container_name(self.cluster, machine)
            state = run(["docker", "inspect", "-f", "{{.State.Status}}", container]).strip()
            lines[machine] = "up" if state == "running" else f"DOWN: {state}"
        return lines

    def command(self, argv: Sequence[str], *, source: str) -> list[str]:
        """The command line that runs `argv` in the network of the control plane (`cp`) or of a node; needs root."""
        container = container_name(self.cluster, source)
        pid = int(run(["docker", "inspect", "-f", "{{.State.Pid}}", container]))
        if os.geteuid() != 0:
            raise UnsupportedError(
                "Running a command in the cluster's network needs root on the Docker host."
            )
        resolver = self.cluster.state / "in-cluster-resolv.conf"
        return inside.command(argv, init=pid, resolver=resolver, server=DNS_SERVICE_ADDRESS)

    def node(self, action: str, name: str) -> None:
        """Kill, start, disconnect or connect a node's container; it keeps its address."""
        container = container_name(self.cluster, name)
        match action:
            case "stop":
                run(["docker", "kill", container])
            case "start":
                run(["docker", "start", container])
            case "cut":
                run(["docker", "network", "disconnect", _NETWORK, container])
            case _:
                run(["docker", "network", "connect", "--ip", self._address(container), _NETWORK, container])

    def _address(self, node: str) -> str:
        addresses = self.kubectl("get", "node", node, "-o", "json")
        found: str = next(
            entry["address"]
            for entry in json.loads(addresses)["status"]["addresses"]
            if entry["type"] == "InternalIP"
        )
        return found

    def api_server(self, action: str) -> None:
        """Freeze the API server, or let it go on."""
        signal = "STOP" if action == "pause" else "CONT"
        script = f"kill -{signal} $(pidof kube-apiserver)"
        run(["docker", "exec", container_name(self.cluster, CONTROL_PLANE), "sh", "-c", script])

    def volume(self, action: str, volume: str) -> None:
        """Not possible: kind's volumes share the disk of the Docker engine."""
        raise UnsupportedError(f"With kind the test bed cannot {action} volume {volume}: use CLUSTER=native.")

    def mail_zone(self, records: str) -> None:
        """Replace the records of the mail domain; the pods' annotation makes the kubelet look at once."""
        config = json.loads(self.kubectl("-n", "kube-system", "get", "configmap", "coredns", "-o", "json"))
        serial = addons.serial_of(config["data"][MAIL_DOMAIN]) + 1
        self._patch_dns_config({MAIL_DOMAIN: addons.mail_zone(records, serial=serial)})
        pods = ("-n", "kube-system", "annotate", "pods", "--selector=k8s-app=kube-dns", "--overwrite")
        self.kubectl(*pods, f"smtpfleet.io/mail-zone={serial}")


_ZONE_VOLUME = {
    "spec": {
        "template": {
            "spec": {
                "volumes": [
                    {
                        "name": "config-volume",
                        "configMap": {
                            "name": "coredns",
                            "items": [{"key": key, "path": key} for key in ("Corefile", MAIL_DOMAIN)],
                        },
                    }
                ]
            }
        }
    }
}


def with_mail_zone(corefile: str) -> str:
    """The Corefile with a server for the mail domain in front."""
    zone = f"file /etc/coredns/{MAIL_DOMAIN} {{\n        reload 1s\n    }}"
    return f"{MAIL_DOMAIN}:53 {{\n    errors\n    {zone}\n}}\n{corefile}"


def container_name(cluster: Cluster, machine: str) -> str:
    """kind's name of a machine: control-plane, worker, worker2, …; raises TestbedError for an unknown one."""
    if machine == CONTROL_PLANE:
        return f"{cluster.kind_name}-control-plane"
    if machine not in cluster.node_names:
        raise TestbedError(f"There is no node {machine}: take one of {', '.join(cluster.node_names)}.")
    index = cluster.node_names.index(machine) + 1
    return f"{cluster.kind_name}-worker{index if index > 1 else ''}"


def _dev_tag(reference: str) -> str:
    return f"{reference.rsplit(':', 1)[0]}:dev"


def _need_docker() -> None:
    try:
        run(["docker", "info"], timeout_s=30)
    except TestbedError as error:
        raise TestbedError(
            "No Docker engine answers (`docker info`): start it, or set CLUSTER=native."
        ) from error
