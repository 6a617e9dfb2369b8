"""The cables between nodes and control plane: plugging in, cutting, reconnecting.

The bridge is in the control plane's network namespace; a node's end is its eth0. A cable disappears with either end, so
a node that outlived the control plane is plugged in anew, addresses and routes included.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from testbed.addresses import CONTROL_PLANE_ADDRESS, MACHINE_PREFIX, NodeNet
from testbed.commands import run
from testbed.control_plane import BRIDGE
from testbed.machine import enter

_NODE_END = "eth0"


def links(machine: int) -> dict[str, bool]:
    """Name to "is up" of the links in a machine's network."""
    shown = json.loads(run([*enter(machine, network_only=True), "ip", "-json", "link", "show"]))
    return {link["ifname"]: "UP" in link["flags"] for link in shown}


def plug_in(control_plane: int, node: int, net: NodeNet, *, others: Sequence[NodeNet]) -> None:
    """Connect a node with the control plane and, over it, with the others' pods; connecting twice changes nothing.

    The first two arguments are the numbers of the machines' first processes.
    """
    present = links(control_plane)
    if net.link in present and not _is_plugged_in(node):
        _ip(control_plane, "link", "delete", net.link)  # the other end was unplugged half-way
    elif net.link in present:
        set_connected(control_plane, net, connected=True)
        return
    _ip(control_plane, "link", "add", net.link, "type", "veth", "peer", "name", _NODE_END, "netns", str(node))
    _ip(control_plane, "link", "set", net.link, "master", BRIDGE, "up")
    _ip(control_plane, "route", "replace", net.pod_range, "via", net.address)
    _ip(node, "address", "add", f"{net.address}/{MACHINE_PREFIX}", "dev", _NODE_END)
    _ip(node, "link", "set", _NODE_END, "up")
    for other in others:
        _ip(node, "route", "replace", other.pod_range, "via", other.address)
    _ip(node, "route", "add", "default", "via", CONTROL_PLANE_ADDRESS)


def _is_plugged_in(node: int) -> bool:
    """Whether plugging in went to its end; the default route comes last."""
    routes = Path(f"/proc/{node}/net/route").read_text().splitlines()
    return any(line.split()[:2] == [_NODE_END, "00000000"] for line in routes)


def set_connected(control_plane: int, net: NodeNet, *, connected: bool) -> None:
    """Cut a node off or reconnect it; its own processes go on and see a dead network."""
    _ip(control_plane, "link", "set", net.link, "up" if connected else "down")


def _ip(machine: int, *arguments: str) -> None:
    run([*enter(machine, network_only=True), "ip", *arguments])
