"""What an agent does not load."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = """
import gc, os, ssl
import {module}
contexts = [one for one in gc.get_objects() if isinstance(one, ssl.SSLContext)]
print(len(contexts) > 0, sum(len(one.get_ca_certs()) for one in contexts))
print(os.environ.get("SSL_CERT_FILE"), len(ssl.create_default_context().get_ca_certs()) > 0)
"""
_SYSTEM = Path("/etc/ssl/certs/ca-certificates.crt")


# Where the system has no authorities, none can be loaded by mistake.
@pytest.mark.skipif(not _SYSTEM.exists(), reason=f"this machine has no {_SYSTEM}")
@pytest.mark.parametrize("module", ["smtpfleet.relay.__main__", "smtpfleet.balancer.running"])
@pytest.mark.parametrize("told", [None, str(_SYSTEM)])
def test_an_agent_keeps_no_authorities_that_it_never_asks(module: str, told: str | None) -> None:
    """The libraries' contexts have none; whoever wants those of the system has them as before."""
    environment = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
    if told:
        environment["SSL_CERT_FILE"] = told
    script = _SCRIPT.format(module=module)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["True 0", f"{told} True"]
