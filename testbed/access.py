"""Who may do what on the API server: static tokens and the kubeconfigs that carry them.

A few lines of CSV give real RBAC (`Node,RBAC`) without a client certificate for each component. Kubeconfigs are JSON,
which every reader of kubeconfigs takes.
"""

import base64
import json
import os
import secrets
import threading
from pathlib import Path

ADMIN = "admin"
_GROUPS = {ADMIN: "system:masters"}


def users(node_names: tuple[str, ...]) -> dict[str, str]:
    """User name to group of every account that the cluster starts with."""
    components = ("kube-controller-manager", "kube-scheduler", "kube-proxy")
    return {
        **_GROUPS,
        **{f"system:{component}": "" for component in components},
        **{f"system:node:{node}": "system:nodes" for node in node_names},
    }


def make_tokens(path: Path, node_names: tuple[str, ...]) -> dict[str, str]:
    """User name to token; makes the file that the API server reads unless it is there already."""
    accounts = users(node_names)
    lines = path.read_text().splitlines() if path.exists() else []
    known = {user: token for token, user, *_ in (line.split(",") for line in lines)}
    tokens = {user: known.get(user) or secrets.token_hex(16) for user in accounts}
    rows = [f'{tokens[user]},{user},{user},"{group}"' for user, group in accounts.items()]
    write_private(path, "\n".join(rows) + "\n")
    return tokens


def kubeconfig(*, server: str, authority: bytes, user: str, token: str, name: str) -> str:
    """A kubeconfig as text."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [
                {
                    "name": name,
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": base64.b64encode(authority).decode(),
                    },
                }
            ],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        },
        indent=1,
    )


def write_private(path: Path, text: str) -> None:
    """Write a file that holds a secret."""
    write_whole(path, text, mode=0o600)


def write_whole(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace a file at once: a crash leaves the old or the new one, never a part."""
    staged = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    staged.touch(mode=mode)
    staged.write_text(text)
    staged.rename(path)
