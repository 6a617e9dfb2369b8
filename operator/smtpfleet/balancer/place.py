"""Where this balancer is: what its configuration needs besides the routing table."""

import re
import zlib
from dataclasses import dataclass
from typing import Final

_SERVICES: Final = re.compile(r"^\s*search\s.*?\bsvc\.(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Place:
    """A balancer's pod: its name and address, and the domain of the cluster's Services.

    One without a name tells the other balancers nothing.
    """

    pod: str = ""
    address: str = ""
    domain: str = "cluster.local"

    @property
    def share(self) -> float:
        """From 0 to below 1, another one for another pod: what all balancers do, they do at different times."""
        return zlib.crc32(self.pod.encode()) / 2**32


def cluster_domain(resolv_conf: str) -> str:
    """The domain of the cluster, from the search list that the kubelet gives every pod."""
    found = _SERVICES.search(resolv_conf)
    return found[1].rstrip(".") if found else "cluster.local"
