"""HAProxy's first configuration, written before HAProxy starts.

It needs nothing of the agent, whose libraries take longer to load than all this: a balancer serves that much earlier.
"""

from pathlib import Path
from typing import Final

from smtpfleet.api.names import ROUTING_DIRECTORY, ROUTING_KEY
from smtpfleet.api.routing import parse_table
from smtpfleet.balancer.config import SCRIPTS, render
from smtpfleet.balancer.files import Files
from smtpfleet.balancer.place import Place, cluster_domain
from smtpfleet.balancer.settings import Settings

TABLE_FILE: Final = Path(ROUTING_DIRECTORY) / ROUTING_KEY
RESOLV_CONF: Final = Path("/etc/resolv.conf")


def place_of(settings: Settings) -> Place:
    """Where this pod is.

    Raises:
        OSError: the kubelet gave it no resolv.conf.
    """
    return Place(settings.pod, settings.address, cluster_domain(RESOLV_CONF.read_text()))


def render_first(settings: Settings) -> None:
    """Write the configuration that HAProxy starts with, from the mounted table.

    Raises:
        OSError: no table is mounted.
        TableError: it is not one.
    """
    files, text = Files(), render(parse_table(TABLE_FILE.read_text()), place_of(settings))
    files.write_scripts(SCRIPTS)
    files.write(text)
    files.note_loaded(text)
