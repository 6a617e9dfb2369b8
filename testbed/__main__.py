"""The command line: `python -m testbed up`, `down`, `status` and so on.

CLUSTER_NAME, CLUSTER and CLUSTER_NODES choose the cluster; see README.md in this directory.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from testbed import cache, inside, settings
from testbed.chosen import provider
from testbed.errors import TestbedError
from testbed.identity import CONTROL_PLANE, Cluster, from_environment
from testbed.provider import Provider


def parser() -> argparse.ArgumentParser:
    """The grammar of the command line."""
    top = argparse.ArgumentParser(prog="python -m testbed", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="bring the cluster up, or repair it; prints the kubeconfig's path")
    up.add_argument("--no-images", action="store_true", help="leave this checkout's images alone")
    commands.add_parser("down", help="remove the cluster and all it left")
    commands.add_parser("status", help="what of the cluster runs; exit status 1 if not all does")
    commands.add_parser("images", help="build this checkout's images and put them into the nodes")
    execute = commands.add_parser("exec", help="run a command in the cluster's network")
    execute.add_argument("--from", dest="source", default=CONTROL_PLANE, help="a node, or cp (default)")
    execute.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD …")
    node = commands.add_parser("node", help="fault of a node")
    node.add_argument("action", choices=["stop", "start", "cut", "connect"])
    node.add_argument("name", help="n1, n2, …")
    api_server = commands.add_parser("apiserver", help="freeze the API server")
    api_server.add_argument("action", choices=["pause", "resume"])
    volume = commands.add_parser("volume", help="make a volume of class local-path-sized full")
    volume.add_argument("action", choices=["fill", "free"])
    volume.add_argument("volume", help="claim, namespace/claim or the volume's directory")
    commands.add_parser("dns", help="replace the records of mail.test by those on standard input")
    return top


def main(argv: Sequence[str]) -> int:
    """Do what the arguments say and return the exit status; raises TestbedError."""
    arguments = parser().parse_args(argv)
    cluster = settings.settle(from_environment(), nodes=os.environ.get("CLUSTER_NODES") or "")
    chosen = provider(cluster)
    if arguments.command == "exec":
        words = arguments.argv[1:] if arguments.argv[:1] == ["--"] else arguments.argv
        inside.execute(chosen.command(words, source=arguments.source), inside.environment(cluster))
    if arguments.command == "status":
        return show_status(chosen)
    with cache.locked(f"cluster-{cluster.digest}"):
        change(cluster, chosen, arguments)
    return 0


def change(cluster: Cluster, chosen: Provider, arguments: argparse.Namespace) -> None:
    """Carry out a command that changes the cluster; never two of them at once for the same cluster."""
    match arguments.command:
        case "up":
            chosen.up()
            if not arguments.no_images:
                chosen.load_images()
            print(cluster.kubeconfig)
        case "down":
            chosen.down()
        case "images":
            for target, reference in chosen.load_images().items():
                print(target, reference)
        case "node":
            chosen.node(arguments.action, arguments.name)
        case "apiserver":
            chosen.api_server(arguments.action)
        case "volume":
            chosen.volume(arguments.action, arguments.volume)
        case "dns":
            chosen.mail_zone(sys.stdin.read())


def show_status(chosen: Provider) -> int:
    """Print the status; 1 when a part is not up."""
    parts = chosen.status()
    for part, state in parts.items():
        print(f"{part:12} {state}")
    return int(any("DOWN" in state for state in parts.values()))


if __name__ == "__main__":
    # Debian leaves these out of the path of a user who became root with `su`.
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    try:
        sys.exit(main(sys.argv[1:]))
    except TestbedError as error:
        sys.exit(f"testbed: {error}")
