"""The pool of the edge: it trusts one address, from which this machine's programs come, and has users."""

import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from scenario.load import ROOT
from scenario.stage import Stage
from tests.cluster.edge import logins
from tests.conformance import table
from tests.conformance.clients import CLIENTS
from tests.conformance.features import MECHANISMS

LIMIT_BYTES: Final = 10 * 2**20
"""Of a message."""
_USERS: Final = "outbound-users"


@dataclass(frozen=True, kw_only=True)
class Edge:
    """The stage, the one address that its pool trusts, the pool's address and name."""

    stage: Stage
    trusted: str
    address: str
    name: str


def made(stage: Stage) -> Edge:
    """Make the pool."""
    trusted = _own_address(stage)
    _store_users(stage)
    stage.pool(
        replicas=1,
        balancing={"replicas": 1},
        submission={
            "trustedNetworks": [f"{trusted}/32"],
            "messageSizeLimit": str(LIMIT_BYTES),
            "authentication": {"secretName": _USERS},
        },
    )
    return Edge(
        stage=stage,
        trusted=trusted,
        address=stage.address(),
        name=f"outbound.{stage.namespace}.svc.cluster.local",
    )


def _store_users(stage: Stage) -> None:
    users = {
        f"{client.name}.{mechanism.lower()}": table.PASSWORD
        for client in CLIENTS
        for mechanism in MECHANISMS.values()
    }
    stage.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": _USERS, "namespace": stage.namespace},
            "stringData": users | {logins.USER: logins.ENTRY},
        }
    )


def _own_address(stage: Stage) -> str:
    program = f"from tests.cluster.edge.open_relay import own_address; print(own_address('{stage.address('sink')}'))"
    done = subprocess.run(
        stage.kube.inside([sys.executable, "-c", program]), cwd=ROOT, capture_output=True, text=True, check=True
    )  # fmt: skip
    return done.stdout.strip()


def logged_in(stage: Stage) -> set[tuple[str, str]]:
    """Which user handed in mail after which mechanism, as Postfix logs it."""
    log = stage.kube.run("logs", stage.pods("relay")[0].name, "-n", stage.namespace, "--tail=-1")
    found = re.findall(r"client=[^\"]*, sasl_method=([^,]+), sasl_username=([^\",]+)", log)
    return {(user, mechanism) for mechanism, user in found}
