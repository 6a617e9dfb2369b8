"""The API server, asked by this process: what scenarios look at again and again starts no kubectl.

A run of kubectl costs as much processor time as the answer of a hundred such requests, and waiting is looking.
"""

import argparse
import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import urllib3
from kubernetes.config import new_client_from_config

_PATIENCE: Final = urllib3.Timeout(connect=20, read=120)
_DISCOVERY: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class KubeError(Exception):
    """The API server, or kubectl, said no or nothing; the message is its own."""


class NotFoundError(KubeError):
    """There is no such object, path or kind."""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """What a word such as ``pods`` means: ``root`` is the path of its group and version."""

    root: str
    version: str
    plural: str
    kind: str
    namespaced: bool

    def path(self, namespace: str, name: str, query: dict[str, str]) -> str:
        """Path of an object or, without a name, of a list; an empty namespace is all of them."""
        parts = [self.root]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [self.plural, *([quote(name)] if name else [])]
        return "/".join(parts) + (f"?{urlencode(query)}" if query else "")


def resources(discovered: dict[str, Any]) -> Iterator[tuple[str, Resource]]:
    """Every word for every resource of an APIGroupDiscoveryList, in the server's order of preference."""
    for group in discovered["items"]:
        name = group["metadata"].get("name", "")
        for version in group["versions"]:
            full = f"{name}/{version['version']}" if name else version["version"]
            for entry in version.get("resources", ()):
                found = Resource(
                    root=f"/apis/{full}" if name else f"/api/{full}",
                    version=full,
                    plural=entry["resource"],
                    kind=entry["responseKind"]["kind"],
                    namespaced=entry["scope"] == "Namespaced",
                )
                words = (found.plural, entry.get("singularResource", ""), *entry.get("shortNames", ()))
                for word in filter(None, words):
                    yield word, found
                    yield f"{word}.{name}", found


class ApiServer:
    """One API server and this process's connections to it, which any thread may use."""

    def __init__(self, kubeconfig: Path) -> None:
        client = new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call] # the library has no types
        self._configuration = client.configuration
        self._pool = client.rest_client.pool_manager
        self._known: dict[str, Resource] = {}

    def request(
        self,
        method: str,
        path: str,
        *,
        body: str | None = None,
        accept: str = "*/*",
        content: str = "application/json",
    ) -> str:
        """The body of the answer.

        Raises:
            KubeError: it has another status than 2xx, or there is none.
        """
        headers = {"Accept": accept, "Content-Type": content}
        for setting in self._configuration.auth_settings().values():
            headers[setting["key"]] = setting["value"]
        url = f"{self._configuration.host}{path}"
        try:
            answer = self._pool.request(
                method,
                url,
                body=body,
                headers=headers,
                timeout=_PATIENCE,
                retries=urllib3.Retry(2, redirect=0),
            )
        except urllib3.exceptions.HTTPError as error:
            raise KubeError(f"the API server does not answer: {error}") from error
        text: str = answer.data.decode()
        if answer.status == 404:
            raise NotFoundError(_said(answer.status, text))
        if not 200 <= answer.status < 300:
            raise KubeError(_said(answer.status, text))
        return text

    def get(self, arguments: Sequence[str]) -> dict[str, Any]:
        """The object or list that ``kubectl get … -o json`` prints.

        Raises:
            KubeError: as for a request; the kind is not known.
        """
        asked = _ARGUMENTS.parse_args(arguments)
        namespace = "" if asked.all_namespaces else asked.namespace
        query = {"labelSelector": asked.selector, "fieldSelector": asked.field_selector}
        query = {key: value for key, value in query.items() if value}
        items: list[dict[str, Any]] = []
        for word in asked.kinds.split(","):
            resource = self._resource(word)
            path = resource.path(namespace, asked.name, query)
            found: dict[str, Any] = json.loads(self.request("GET", path))
            if asked.name:
                return found
            # The items of a list do not say what they are.
            marks = {"apiVersion": resource.version, "kind": resource.kind}
            items += [marks | item for item in found["items"]]
        return {"apiVersion": "v1", "kind": "List", "items": items}

    def apply(self, thing: dict[str, Any]) -> None:
        """What ``kubectl apply --server-side --force-conflicts`` does.

        Raises:
            KubeError: as for a request; the kind is not known.
        """
        group, _, _ = thing["apiVersion"].rpartition("/")
        word = ".".join(filter(None, (thing["kind"].lower(), group)))
        metadata = thing["metadata"]
        query = {"fieldManager": "kubectl", "fieldValidation": "Strict", "force": "true"}
        path = self._resource(word).path(metadata.get("namespace", "default"), metadata["name"], query)
        self.request("PATCH", path, body=json.dumps(thing), content="application/apply-patch+yaml")

    def delete(self, word: str, name: str, *, namespace: str = "default", grace_s: int | None = None) -> None:
        """Delete an object or, with an empty name, all of its kind in the namespace; nobody waits for their end.

        Raises:
            KubeError: as for a request; NotFoundError: there is none; the kind is not known.
        """
        options: dict[str, Any] = {"propagationPolicy": "Background"}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        path = self._resource(word).path(namespace, name, {})
        self.request("DELETE", path, body=json.dumps(options))

    def _resource(self, word: str) -> Resource:
        if word not in self._known:
            self._discover()  # a definition may have been installed meanwhile
        if word not in self._known:
            raise NotFoundError(f'the server doesn\'t have a resource type "{word}"')
        return self._known[word]

    def _discover(self) -> None:
        for path in ("/api", "/apis"):
            for word, resource in resources(json.loads(self.request("GET", path, accept=_DISCOVERY))):
                self._known.setdefault(word, resource)


def _said(status: int, text: str) -> str:
    try:
        told = json.loads(text)
        return f"Error from server ({told['reason']}): {told['message']}"
    except (ValueError, KeyError, TypeError):
        return f"Error from server ({status}): {text.strip()}"


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kubectl get", add_help=False)
    parser.add_argument("kinds")
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("-n", "--namespace", default="default")
    parser.add_argument("-A", "--all-namespaces", action="store_true")
    parser.add_argument("-l", "--selector", default="")
    parser.add_argument("--field-selector", default="")
    return parser


_ARGUMENTS: Final = _arguments()


@functools.lru_cache(maxsize=8)
def _server(kubeconfig: Path, _text: str) -> ApiServer:
    return ApiServer(kubeconfig)


def server(kubeconfig: Path) -> ApiServer:
    """The API server of a kubeconfig as the file is now: a cluster that is made anew has another one."""
    return _server(kubeconfig, kubeconfig.read_text())
