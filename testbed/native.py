"""A cluster made of namespaces of this machine: bringing it up, repairing it, breaking it, taking it down.

`up` compares what runs with what should run and adds what is missing, so it is the same for a first start, a repeated
one, one after a crash half-way, and a repair.
"""

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from testbed import (
    addons,
    base_images,
    binaries,
    cables,
    cgroups,
    configuration,
    control_plane,
    image_stores,
    images,
    inside,
    machine,
    node,
    preflight,
    settings,
    volumes,
)
from testbed.addresses import NodeNet
from testbed.base_images import Image
from testbed.commands import run
from testbed.errors import NotReadyError, TestbedError
from testbed.identity import CONTROL_PLANE, Cluster
from testbed.images import Recipe
from testbed.polling import until
from testbed.progress import say, step
from testbed.settings import Settings

_CTR = ("ctr", "--namespace=k8s.io")


class NativeCluster:
    """See `testbed.provider.Provider`."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._control_plane = cluster.machine_dir(CONTROL_PLANE)
        self._nodes = {name: NodeNet(index) for index, name in enumerate(cluster.node_names, start=1)}

    def up(self) -> None:
        """Bring up what is not up; undo faults; return when nodes, DNS and storage are ready."""
        preflight.check(self.cluster)
        programs = {name: binaries.go_program(name) for name in ("k8s", "coredns")}
        tools = binaries.client_tools()
        pause = base_images.pause()
        own = images.build(self.cluster.checkout)
        with step(f"start cluster {self.cluster.name}"):
            link_tools(self.cluster, tools)
            port = self._port()
            configuration.write(self.cluster, port=port, pause_image=pause.reference)
            self._start_control_plane(port, programs)
            for name in self._nodes:
                image_stores.fill(self.cluster.machine_dir(name) / node.IMAGE_STORE, pause, own)
            until(self._ask_api_server, f"the API server, see {self._control_plane / 'log'}")
            for name in self._nodes:
                self._start_node(name)
            manifests = addons.manifests().encode()
            self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifests)
            self._each_node(partial(self._load_pause, pause))
            self._await_nodes()
            # A daemon that ended during a fault is started again by its machine, a moment later.
            until(self._ask_daemons, f"every daemon, see {self.cluster.state}/*/log")

    def _ask_daemons(self) -> None:
        if down := {name: line for name, line in self.status().items() if line != "up"}:
            raise NotReadyError(f"not up: {down}")

    def _port(self) -> int:
        """The cluster's port on 127.0.0.1: chosen once."""
        known = settings.load(self.cluster)
        if known is not None:
            return known.port
        port = next(port for port in range(self.cluster.preferred_port, 32768) if preflight.is_free(port))
        settings.save(self.cluster, Settings(kind="native", nodes=self.cluster.nodes, port=port))
        return port

    def _start_control_plane(self, port: int, programs: Mapping[str, Path]) -> None:
        if machine.find(self._control_plane) is not None:
            return
        forwarder = Path(__file__).with_name("api_forwarder.py")
        specification = control_plane.specification(
            port=port, programs={**programs, "api-forwarder": forwarder}
        )
        with socket.create_server(("127.0.0.1", port)) as listener:
            group = f"{self.cluster.cgroup}/{CONTROL_PLANE}"
            machine.boot(self._control_plane, specification, cgroup=group, listener=listener)
        machine.await_booted(self._control_plane)

    def _ask_api_server(self) -> None:
        self.api_server("resume")  # a test that was interrupted may have left it paused
        self.kubectl("get", "--raw", "/readyz")

    def _start_node(self, name: str) -> None:
        """Switch a node on and plug it in; a node that is on is only plugged in."""
        directory, net = self.cluster.machine_dir(name), self._nodes[name]
        init = machine.find(directory)
        if init is None:
            specification = node.specification(net=net, k8s=binaries.go_program("k8s"))
            init = machine.boot(directory, specification, cgroup=f"{self.cluster.cgroup}/{name}")
        others = [other for other in self._nodes.values() if other != net]
        cables.plug_in(machine.require(self._control_plane), init, net, others=others)
        machine.await_booted(directory)

    def _await_nodes(self) -> None:
        names = [f"node/{name}" for name in self._nodes]
        wait = partial(self.kubectl, "wait", "--for=condition=Ready", "--timeout=60s", *names)
        until(wait, f"the nodes, see {self.cluster.state}/n*/log")
        until(partial(self.kubectl, "get", "serviceaccount", "default"), "the controllers")

    def kubectl(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run kubectl as administrator and return its output."""
        tool = str(self.cluster.tools / "kubectl")
        return run([tool, f"--kubeconfig={self.cluster.kubeconfig}", *arguments], stdin=stdin)

    def load_images(self) -> Mapping[str, str]:
        """Build this checkout's images if need be, and put them into the nodes under their hash and as `:dev`."""
        wanted = images.build(self.cluster.checkout)
        with step("load images into the nodes"):
            self._each_node(partial(self._load_own, wanted))
        references = {recipe.target: recipe.reference for recipe in wanted}
        images.write_references(self.cluster.state / "images.json", references)
        return references

    def _each_node(self, action: Callable[[str], None]) -> None:
        with ThreadPoolExecutor() as pool:
            for _ in pool.map(action, self._nodes):
                pass  # an error of any node is raised here

    def _load_pause(self, image: Image, name: str) -> None:
        # Asking costs as much as starting does: not before there is somebody to ask.
        until(partial(self._inside, name, "test", "-S", node.CONTAINERD_SOCKET), f"containerd of {name}")
        until(partial(self._inside, name, *_CTR, "version"), f"containerd of {name}")
        if image.reference not in self._inside(name, *_CTR, "images", "ls", "-q").split():
            with image.archive.open("rb") as archive:
                machine.inside(
                    self.cluster.machine_dir(name), [*_CTR, "images", "import", "-"], stdin=archive
                )

    def _load_own(self, wanted: Sequence[Recipe], name: str) -> None:
        present = self._inside(name, *_CTR, "images", "ls", "-q").split()
        for recipe in wanted:
            if recipe.reference not in present:
                self._send(recipe, name)
            tag = f"{recipe.repository}:dev"
            self._inside(name, *_CTR, "images", "tag", "--force", recipe.reference, tag)

    def _send(self, recipe: Recipe, name: str) -> None:
        layers = set(self._inside(name, *_CTR, "content", "ls", "-q").split())
        with tempfile.TemporaryFile() as archive:
            images.write_archive(recipe, archive, without=layers)
            archive.seek(0)
            machine.inside(self.cluster.machine_dir(name), [*_CTR, "images", "import", "-"], stdin=archive)

    def _inside(self, name: str, *argv: str) -> str:
        return machine.inside(self.cluster.machine_dir(name), argv)

    def status(self) -> Mapping[str, str]:
        """Which machines and daemons run, and whether the nodes are connected."""
        lines: dict[str, str] = {}
        init = machine.find(self._control_plane)
        links = cables.links(init) if init is not None else {}
        for name in (CONTROL_PLANE, *self._nodes):
            stopped = [
                daemon for daemon, up in machine.daemons(self.cluster.machine_dir(name)).items() if not up
            ]
            cut = name in self._nodes and not links.get(self._nodes[name].link, False)
            if machine.find(self.cluster.machine_dir(name)) is None:
                lines[name] = "DOWN"
            elif stopped:
                lines[name] = f"DOWN: {', '.join(stopped)}"
            else:
                lines[name] = "cut off: DOWN" if cut else "up"
        return lines

    def command(self, argv: Sequence[str], *, source: str) -> list[str]:
        """The command line that runs `argv` in the network of the control plane (`cp`) or of a node."""
        place = self._control_plane if source == CONTROL_PLANE else self._machine_dir(source)
        resolver = self._control_plane / "in-cluster-resolv.conf"
        return inside.command(argv, init=machine.require(place), resolver=resolver)

    def node(self, action: str, name: str) -> None:
        """Stop (all processes get SIGKILL), start, cut (the cable is down) or connect a node."""
        directory = self._machine_dir(name)
        match action:
            case "stop":
                machine.halt(directory)
            case "start":
                self._start_node(name)
            case _:
                init = machine.require(self._control_plane)
                cables.set_connected(init, self._nodes[name], connected=action == "connect")

    def _machine_dir(self, name: str) -> Path:
        if name not in self._nodes:
            raise TestbedError(f"There is no node {name}: take one of {', '.join(self._nodes)}.")
        return self.cluster.machine_dir(name)

    def api_server(self, action: str) -> None:
        """Pause the API server, so that connections are made and never answered, or resume it."""
        with machine.daemon(self._control_plane, "kube-apiserver") as process:
            process.signal(signal.SIGSTOP if action == "pause" else signal.SIGCONT)

    def volume(self, action: str, volume: str) -> None:
        """Fill or free a volume of class local-path-sized."""
        (volumes.fill if action == "fill" else volumes.free)(self.cluster, volume)

    def mail_zone(self, records: str) -> None:
        """Replace the records of the mail domain."""
        machine.require(self._control_plane)
        addons.write_mail_zone(self._control_plane / "zones", records)

    def down(self) -> None:
        """Leave nothing: no process, mount, namespace, interface, control group or file of this cluster."""
        machine.halt(self.cluster.state)
        cgroups.remove(self.cluster.cgroup)
        remove_files(self.cluster)
        say(f"   cluster {self.cluster.name} is gone")


def link_tools(cluster: Cluster, tools: Path) -> None:
    """Make kubectl and helm reachable from the checkout."""
    cluster.tools.mkdir(parents=True, exist_ok=True)
    for tool in ("kubectl", "helm"):
        link = cluster.tools / tool
        staged = link.with_name(f".{tool}.{os.getpid()}")
        staged.symlink_to(tools / tool)
        staged.rename(link)


def remove_files(cluster: Cluster) -> None:
    """Remove the cluster's files, and those that all clusters of the checkout share when it was the last."""
    if cluster.state.exists():
        shutil.rmtree(cluster.state)
    cluster.kubeconfig.unlink(missing_ok=True)
    if cluster.tools.exists() and not any(cluster.home.glob("*/cluster.json")):
        shutil.rmtree(cluster.tools)
    if cluster.home.exists() and not any(cluster.home.iterdir()):
        cluster.home.rmdir()
