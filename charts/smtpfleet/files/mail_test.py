"""Proves that an installed smtpfleet carries mail: makes a pool, sends a message through it, waits for its arrival.

Runs as the pod of `helm test` in the operator's image, with nothing but the standard library. The pod is itself the
pool's smarthost, so nothing leaves the cluster and arrival means arrival, not "queued". The pool and its queue are
deleted in the end, whatever happened.
"""

import email.message
import email.utils
import http.client
import json
import os
import smtplib
import socket
import socketserver
import ssl
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SINK_PORT = 2525
POLL_S = 1.0


class MailTestError(Exception):
    """The installation does not carry mail; the message says how far it came."""


def say(text: str) -> None:
    """One line for `helm test --logs`."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


class Pools:
    """The test's own pool on the API server."""

    def __init__(self, *, namespace: str, name: str) -> None:
        self._collection = f"/apis/smtpfleet.io/v1alpha1/namespaces/{namespace}/smtppools"
        self._item = f"{self._collection}/{name}"
        self._tls = ssl.create_default_context(cafile=str(SERVICE_ACCOUNT / "ca.crt"))

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
        connection = http.client.HTTPSConnection(host, port, timeout=10, context=self._tls)
        try:
            token = (SERVICE_ACCOUNT / "token").read_text()
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            connection.request(method, path, body=json.dumps(body) if body else None, headers=headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"{}")
        finally:
            connection.close()

    def create(self, pool: dict[str, Any]) -> None:
        """Create the pool; raises MailTestError with the API server's words if it is refused."""
        status, answer = self._ask("POST", self._collection, pool)
        if status != 201:
            raise MailTestError(f"the pool was refused: {answer.get('message', status)}")

    def ready(self) -> bool:
        """Whether the pool is Ready; `verdict` then says what its status says."""
        http_status, pool = self._ask("GET", self._item)
        if http_status != 200:
            raise MailTestError(f"the pool cannot be read: {pool.get('message', http_status)}")
        status = pool.get("status", {})
        conditions = {entry["type"]: entry for entry in status.get("conditions", [])}
        ready = conditions.get(
            "Ready", {"status": "Unknown", "reason": "NotSeen", "message": "no operator saw it"}
        )
        lines = [f"Ready={ready['status']} {ready['reason']}: {ready['message']}"]
        lines += [
            f"{relay['name']} {relay['state']} {relay['reason']}: {relay.get('message', '')}"
            for relay in status.get("relays", [])
        ]
        self.verdict = "; ".join(lines)
        return bool(ready["status"] == "True")

    def delete(self) -> None:
        """Ask for the pool's end; it is gone when everything that belongs to it is (foreground deletion)."""
        self._ask("DELETE", self._item, {"propagationPolicy": "Foreground"})

    def gone(self) -> bool:
        """Whether no pool of that name is left."""
        status, answer = self._ask("GET", self._item)
        if status not in {200, 404}:
            raise MailTestError(f"the pool cannot be read: {answer.get('message', status)}")
        return status == 404


class Sink(socketserver.StreamRequestHandler):
    """Just enough of RFC 5321 to take a message from Postfix; each message is handed to `arrived`."""

    arrived: Callable[[bytes], None]
    timeout = 60

    def _reply(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def handle(self) -> None:
        """One session."""
        self._reply("220 smtpfleet-test")
        while line := self.rfile.readline(4096):
            match line[:4].upper():
                case b"QUIT":
                    self._reply("221 bye")
                    return
                case b"DATA":
                    self._reply("354 go on")
                    content = b""
                    while (line := self.rfile.readline(4096)) != b".\r\n":
                        if not line:
                            return  # cut off: nothing has arrived
                        content += line
                    type(self).arrived(content)
                    self._reply("250 arrived")
                case _:
                    self._reply("250 smtpfleet-test")


def wait(what: str, done: Callable[[], bool], until: float, why_not: Callable[[], str] = str) -> None:
    """Ask again and again until it is done; raises MailTestError when the time is over."""
    while not done():
        if time.monotonic() > until:
            raise MailTestError(f"no time left while waiting for {what} {why_not()}")
        time.sleep(POLL_S)


def pool_manifest(name: str) -> dict[str, Any]:
    """The smallest pool that shows everything: one relay, one balancer, this pod as smarthost."""
    address = os.environ["POD_IP"]
    own = f"{address}/{128 if ':' in address else 32}"
    return {
        "apiVersion": "smtpfleet.io/v1alpha1",
        "kind": "SmtpPool",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "submission": {"trustedNetworks": json.loads(os.environ["TRUSTED_NETWORKS"]) or [own]},
            "delivery": {"smarthost": {"host": address, "port": SINK_PORT}},
            "balancing": {"replicas": 1},
            "relay": {"storage": {"ephemeral": os.environ["EPHEMERAL"] == "true"}},
            "deletionPolicy": "Delete",
        },
    }


def reachable(host: str) -> bool:
    """Whether the pool's Service takes connections: nodes learn of its endpoints a moment after they are ready."""
    try:
        socket.create_connection((host, 587), timeout=5).close()
    except OSError:
        return False
    return True


def submit(host: str, identity: str) -> None:
    """Hand one message in; returns after 250."""
    message = email.message.EmailMessage()
    message["From"], message["To"] = os.environ["SENDER"], os.environ["RECIPIENT"]
    message["Date"], message["Message-ID"] = email.utils.formatdate(), identity
    message["Subject"] = "smtpfleet test"
    message.set_content("Sent by helm test.\n")
    with smtplib.SMTP(host, 587, local_hostname="smtpfleet-test", timeout=30) as client:
        client.send_message(message)


def carry(pools: Pools, *, host: str, manifest: dict[str, Any], until: float) -> None:
    """The test itself."""
    identity = f"<{uuid.uuid4()}@smtpfleet.invalid>"
    arrived = threading.Event()

    def note(content: bytes) -> None:
        if identity.encode() in content:
            arrived.set()

    Sink.arrived = staticmethod(note)
    with socketserver.ThreadingTCPServer(("", SINK_PORT), Sink) as sink:
        sink.daemon_threads = True
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        pools.create(manifest)
        say("pool created")
        wait("the pool:", pools.ready, until, lambda: pools.verdict)
        say("pool ready")
        wait("the pool's Service", lambda: reachable(host), until)
        submit(host, identity)
        say("message acknowledged with 250")
        wait("the message's arrival", arrived.is_set, until)
        say("message arrived")
        sink.shutdown()


def main() -> int:
    """Run the test; 0 if mail was carried."""
    name, namespace = os.environ["POOL"], os.environ["POOL_NAMESPACE"]
    until = time.monotonic() + float(os.environ["TIMEOUT_S"])
    pools = Pools(namespace=namespace, name=name)
    try:
        pools.delete()  # left over by a test that was killed
        wait("the last test's pool to go", pools.gone, until)
        carry(pools, host=f"{name}.{namespace}.svc", manifest=pool_manifest(name), until=until)
    except (MailTestError, OSError, smtplib.SMTPException) as error:
        say(f"FAILED: {error}")
        return 1
    finally:
        with suppress(
            OSError
        ):  # the verdict stands; a pool that is left over is named in the notes of the release
            pools.delete()
    return 0


if __name__ == "__main__":
    sys.exit(main())
