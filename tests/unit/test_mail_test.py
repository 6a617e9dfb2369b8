"""The chart's mail test: its receiver takes whole messages only."""

import importlib.util
import smtplib
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "charts/smtpfleet/files/mail_test.py"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mail_test", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def _sink(script: ModuleType, arrived: list[bytes]) -> Iterator[tuple[str, int]]:
    script.Sink.arrived = staticmethod(arrived.append)
    with socketserver.TCPServer(("127.0.0.1", 0), script.Sink) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield "127.0.0.1", server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_a_message_arrives_whole(script: ModuleType) -> None:
    arrived: list[bytes] = []
    with _sink(script, arrived) as (host, port), smtplib.SMTP(host, port) as client:
        client.sendmail("a@example.com", ["b@example.com"], "Message-ID: <1@example.com>\r\n\r\nbody\r\n")
    assert arrived == [b"Message-ID: <1@example.com>\r\n\r\nbody\r\n"]


def test_a_message_that_is_cut_off_does_not_arrive(script: ModuleType) -> None:
    arrived: list[bytes] = []
    with _sink(script, arrived) as address, socket.create_connection(address) as client:
        client.sendall(b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nhalf")
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096):
            pass  # to the end of the session
    assert arrived == []


def test_the_pool_trusts_only_the_tests_own_pod(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_IP", "10.244.1.7")
    monkeypatch.setenv("TRUSTED_NETWORKS", "[]")
    monkeypatch.setenv("EPHEMERAL", "true")
    spec = script.pool_manifest("smtpfleet-test")["spec"]
    assert spec["submission"]["trustedNetworks"] == ["10.244.1.7/32"]
    assert spec["delivery"]["smarthost"] == {"host": "10.244.1.7", "port": 2525}
    assert spec["relay"]["storage"] == {"ephemeral": True}
    monkeypatch.setenv("TRUSTED_NETWORKS", '["10.0.0.0/8"]')
    assert script.pool_manifest("x")["spec"]["submission"]["trustedNetworks"] == ["10.0.0.0/8"]
