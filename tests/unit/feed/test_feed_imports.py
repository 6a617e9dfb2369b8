"""What an agent does not load."""

import os
import subprocess
import sys
from pathlib import Path

import certifi
import pytest

_SCRIPT = """
import gc, os, ssl
import smtpfleet.feed.web
contexts = [one for one in gc.get_objects() if isinstance(one, ssl.SSLContext)]
print(len(contexts) > 0, sum(len(one.get_ca_certs()) for one in contexts))
print(os.environ.get("SSL_CERT_FILE"), len(ssl.create_default_context().get_ca_certs()) > 0)
"""


@pytest.mark.parametrize("told", [True, False])
def test_an_agent_keeps_no_authorities_that_it_never_asks(told: bool) -> None:
    """The libraries' contexts have none; whoever wants those of the system has them as before."""
    environment = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
    if told:
        environment["SSL_CERT_FILE"] = certifi.where()
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    libraries, system = done.stdout.splitlines()
    assert libraries == "True 0"
    if told or Path("/etc/ssl/certs/ca-certificates.crt").exists():
        assert system == f"{certifi.where() if told else None} True"
