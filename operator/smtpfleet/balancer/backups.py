"""``balancing.backups``: other SMTP servers, for the time in which no relay is available.

Who gets a connection: a relay whose check passes and that does not drain; if there has been none for
:data:`GONE_AFTER_MS`, the first backup whose check passes; else an unchecked copy of a relay, as in a pool without
backups. So the copies bridge a moment in which all checks fail at once, and a broken backup is no worse than none.
The way back needs no time: the first relay that passes its checks takes the next connection. Sessions that are open
with a backup stay there until they end.
"""

import re
from collections.abc import Iterator
from typing import Final

from smtpfleet.api.names import SUBMISSIONS_PORT
from smtpfleet.api.routing import BackupRoute, RoutingTable
from smtpfleet.balancer.place import Place

BACKUPS: Final = "backups"
BACKUPS_TLS: Final = "backups-submissions"
GONE_AFTER_MS: Final = 300
"""A failed check comes 100 ms before the next one: two of them, and their answers."""
_LOOK_MS: Final = 50
SCRIPT: Final = f"""\
-- Knows since when no relay is available.
local gone_since = nil

local function now_ms()
  local now = core.now()
  return now.sec * 1000 + now.usec / 1000
end

core.register_task(function()
  local told = false
  while true do
    if core.backends["relays"]:get_srv_act() > 0 then
      gone_since = nil
    elseif gone_since == nil then
      gone_since = now_ms()
    end
    local gone = gone_since ~= nil and now_ms() - gone_since >= {GONE_AFTER_MS}
    if gone ~= told then
      core.log(core.notice, gone and "No relay is available: backups are asked." or "A relay is available again.")
      told = gone
    end
    core.msleep({_LOOK_MS})
  end
end)

core.register_fetches("relays_gone", function(txn)
  if core.backends["relays"]:get_srv_act() > 0 then return false end
  return gone_since ~= nil and now_ms() - gone_since >= {GONE_AFTER_MS}
end)
"""
"""What HAProxy loads with ``lua-load``."""
_IPV4: Final = re.compile(r"[0-9]+(\.[0-9]+){3}")
_RESOLVERS: Final = """
resolvers pod
    parse-resolv-conf
    accepted_payload_size 8192
    timeout resolve 1s
    timeout retry 1s
    hold valid 10s
    hold nx 1m
    hold obsolete 1m
    hold other 1d
    hold refused 1d
    hold timeout 1d
"""
"""An address stays in use while the DNS is away; a name that no longer exists is believed after a minute."""
_BACKEND: Final = """
backend {name}
    balance first
    timeout connect 2s
    timeout check 3s
    option tcp-check
    tcp-check expect rstring ^220
    tcp-check send "QUIT\\r\\n"
    default-server check inter 2s fastinter 500ms fall 2 rise 2
    default-server observe layer4 error-limit 3 on-error fastinter
"""
_BACKEND_TLS: Final = """
backend {name}
    balance first
    timeout connect 2s
"""


def choice(table: RoutingTable) -> tuple[str, ...]:
    """Lines of the frontend, before its default."""
    if not table.balancing.backups:
        return ()
    led = [f"use_backend {BACKUPS} if {{ lua.relays_gone -m bool }} !tls_first {{ nbsrv({BACKUPS}) gt 0 }}"]
    if _with_tls(table):
        led.append(
            f"use_backend {BACKUPS_TLS} if {{ lua.relays_gone -m bool }} tls_first {{ nbsrv({BACKUPS_TLS}) gt 0 }}"
        )
    return (f"acl tls_first dst_port {SUBMISSIONS_PORT}", *led)


def sections(table: RoutingTable, place: Place) -> str:
    """The backends, and how names of hosts are looked up."""
    if not table.balancing.backups:
        return ""
    named = any(not _IPV4.fullmatch(backup.host) for backup in table.balancing.backups)
    text = (_RESOLVERS if named else "") + _BACKEND.format(name=BACKUPS)
    text += "".join(_servers(table, place))
    if _with_tls(table):
        text += _BACKEND_TLS.format(name=BACKUPS_TLS) + "".join(_servers_tls(table, place))
    return text


def _with_tls(table: RoutingTable) -> bool:
    return any(backup.submissions_port for backup in table.balancing.backups)


def _servers(table: RoutingTable, place: Place) -> Iterator[str]:
    for number, backup in enumerate(table.balancing.backups, 1):
        yield f"    server backup-{number} {_host(backup, place)}:{backup.port}{_options(backup)}\n"


def _servers_tls(table: RoutingTable, place: Place) -> Iterator[str]:
    """They stand and fall with the check of the other port, which speaks in clear."""
    for number, backup in enumerate(table.balancing.backups, 1):
        if backup.submissions_port:
            address = f"{_host(backup, place)}:{backup.submissions_port}"
            yield f"    server backup-{number} {address}{_options(backup)} track {BACKUPS}/backup-{number}\n"


def _options(backup: BackupRoute) -> str:
    header = " send-proxy-v2" if backup.proxy_protocol else ""
    # A start never waits for the DNS.
    return header if _IPV4.fullmatch(backup.host) else f"{header} resolvers pod init-addr none"


def _host(backup: BackupRoute, place: Place) -> str:
    """HAProxy asks the DNS for full names only: it knows no search list."""
    return f"{backup.host}.{place.domain}" if backup.host.endswith(".svc") else backup.host
