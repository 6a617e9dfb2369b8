"""How agents get the routing table and show what they do: shared by relay and balancer."""

import os

# When aiohttp is loaded, it reads all certification authorities of the system into memory for a default of its own:
# 2 MB and 0.1 s of an agent's start. No agent asks anybody but the API server, whose certificate is in a file of its
# own; nor does the operator rely on that default, and it has loaded aiohttp before.
_CERTIFICATES = "SSL_CERT_FILE"
_before = os.environ.get(_CERTIFICATES)
os.environ[_CERTIFICATES] = os.devnull
try:
    import aiohttp as _  # noqa: F401 - it is to be loaded now, and used by others
finally:
    del os.environ[_CERTIFICATES]
    if _before is not None:
        os.environ[_CERTIFICATES] = _before
