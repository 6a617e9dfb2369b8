"""The API server without kubectl: what words mean, where they lead, what is asked, what a refusal says."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from scenario.apiserver import ApiServer, KubeError, NotFoundError, resources, server


def _kind(plural: str, kind: str, *, short: str = "", scope: str = "Namespaced") -> dict[str, Any]:
    entry = {
        "resource": plural,
        "responseKind": {"kind": kind},
        "singularResource": kind.lower(),
        "scope": scope,
    }
    return entry | ({"shortNames": [short]} if short else {})


CORE = {
    "items": [
        {
            "metadata": {},
            "versions": [
                {
                    "version": "v1",
                    "resources": [
                        _kind("events", "Event"),
                        _kind("pods", "Pod", short="po"),
                        _kind("nodes", "Node", scope="Cluster"),
                    ],
                }
            ],
        }
    ]
}
GROUPS: dict[str, Any] = {
    "items": [
        {
            "metadata": {"name": "events.k8s.io"},
            "versions": [{"version": "v1", "resources": [_kind("events", "Event")]}],
        },
        {
            "metadata": {"name": "smtpfleet.io"},
            "versions": [{"version": "v1", "resources": []}, {"version": "v1alpha1"}],
        },
    ]
}
POD = "/api/v1/namespaces/mail/pods"
ANSWERS: dict[str, Any] = {
    POD: {"items": [{"metadata": {"name": "a"}}]},
    f"{POD}?labelSelector=x%3Dy%2Cz": {"items": []},
    f"{POD}/a": {"kind": "Pod", "metadata": {"name": "a"}},
    "/api/v1/pods?fieldSelector=metadata.name%3Da": {"items": [{"metadata": {"name": "everywhere"}}]},
    "/api/v1/nodes": {"items": [{"metadata": {"name": "n1"}}]},
    "/apis/events.k8s.io/v1/namespaces/mail/events": {"items": [{"reason": "Kept"}]},
}


changes: list[tuple[str, str, str, Any]] = []
"""Method, path, kind of content and content of what was to be changed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        discovered = {"/api": CORE, "/apis": GROUPS}
        if self.headers["Authorization"] != "Bearer right":
            self._say(401, {"reason": "Unauthorized", "message": "who are you?"})
        elif self.path in discovered and "apidiscovery" in self.headers["Accept"]:
            self._say(200, discovered[self.path])
        elif self.path in ANSWERS:
            self._say(200, ANSWERS[self.path])
        else:
            self._say(404, {"reason": "NotFound", "message": f"no {self.path}"})

    def do_POST(self) -> None:
        self._say(201, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def do_PATCH(self) -> None:
        self._keep()

    def do_DELETE(self) -> None:
        self._keep()

    def _keep(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        changes.append((self.command, self.path, self.headers["Content-Type"], body))
        self._say(200, {})

    def _say(self, status: int, body: Any) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Path]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as http:
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}).start()
        path = tmp_path / "kubeconfig"
        path.write_text(_kubeconfig(http.server_port, "right"))
        yield path
        http.shutdown()


def _kubeconfig(port: int, token: str) -> str:
    return json.dumps(
        {
            "current-context": "x",
            "clusters": [{"name": "x", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "x", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        }
    )


@pytest.fixture
def api(kubeconfig: Path) -> ApiServer:
    changes.clear()
    return server(kubeconfig)


@pytest.mark.parametrize("word", ["pods", "pod", "po"])
def test_a_kind_has_a_plural_a_singular_and_short_names(api: ApiServer, word: str) -> None:
    assert api.get([word, "a", "-n", "mail"])["metadata"] == {"name": "a"}


def test_the_items_of_lists_say_what_they_are(api: ApiServer) -> None:
    found = api.get(["pods,nodes", "-n", "mail"])["items"]
    assert [(item["apiVersion"], item["kind"], item["metadata"]["name"]) for item in found] == [
        ("v1", "Pod", "a"),
        ("v1", "Node", "n1"),
    ]


def test_selectors_and_all_namespaces(api: ApiServer) -> None:
    assert api.get(["pods", "-n", "mail", "-l", "x=y,z"])["items"] == []
    everywhere = api.get(["pods", "--all-namespaces", "--field-selector=metadata.name=a"])["items"]
    assert [item["metadata"]["name"] for item in everywhere] == ["everywhere"]


def test_the_first_group_with_a_kind_is_meant_unless_one_is_named(api: ApiServer) -> None:
    assert dict(reversed([*resources(CORE)]))["events"].root == "/api/v1"
    assert api.get(["events.events.k8s.io", "-n", "mail"])["items"] == [
        {"apiVersion": "events.k8s.io/v1", "kind": "Event", "reason": "Kept"}
    ]


def test_a_kind_that_is_defined_later_is_found_then(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFoundError, match="resource type"):
        api.get(["smtp", "outbound", "-n", "mail"])
    pool = _kind("smtppools", "SmtpPool", short="smtp")
    monkeypatch.setitem(GROUPS["items"][1]["versions"][1], "resources", [pool])
    monkeypatch.setitem(
        ANSWERS, "/apis/smtpfleet.io/v1alpha1/namespaces/mail/smtppools/outbound", {"found": 1}
    )
    assert api.get(["smtp", "outbound", "-n", "mail"]) == {"found": 1}


def test_a_refusal_is_told_in_the_words_of_kubectl(api: ApiServer) -> None:
    with pytest.raises(
        NotFoundError, match=r"Error from server \(NotFound\): no /api/v1/namespaces/mail/pods/b"
    ):
        api.get(["pod", "b", "-n", "mail"])


def test_what_is_posted_arrives(api: ApiServer) -> None:
    assert json.loads(api.request("POST", "/anything", body='{"mode": "accept"}')) == {"mode": "accept"}


@pytest.mark.parametrize(
    ("thing", "path"),
    [
        ({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "mail"}}, f"{POD}/a"),
        (
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}},
            "/api/v1/namespaces/default/pods/a",
        ),
        ({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}, "/api/v1/nodes/n1"),
        (
            {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}},
            "/apis/events.k8s.io/v1/namespaces/default/events/e",
        ),
    ],
)
def test_what_is_applied_is_applied_on_the_servers_side(
    api: ApiServer, thing: dict[str, Any], path: str
) -> None:
    api.apply(thing)
    query = "?fieldManager=kubectl&fieldValidation=Strict&force=true"
    assert changes == [("PATCH", path + query, "application/apply-patch+yaml", thing)]


def test_one_object_or_all_of_a_kind_are_deleted(api: ApiServer) -> None:
    api.delete("pods", "a", namespace="mail")
    api.delete("pods", "", namespace="mail", grace_s=1)
    options = {"propagationPolicy": "Background"}
    assert [(method, path, body) for method, path, _, body in changes] == [
        ("DELETE", f"{POD}/a", options),
        ("DELETE", POD, options | {"gracePeriodSeconds": 1}),
    ]


def test_a_kubeconfig_that_changed_is_read_anew(kubeconfig: Path) -> None:
    first = server(kubeconfig)
    assert server(kubeconfig) is first
    kubeconfig.write_text(kubeconfig.read_text().replace("right", "wrong"))
    with pytest.raises(KubeError, match="who are you"):
        server(kubeconfig).request("GET", "/api")


def test_no_answer_is_an_error_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(_kubeconfig(1, "right"))
    with pytest.raises(KubeError, match="does not answer"):
        server(path).request("GET", "/api")
