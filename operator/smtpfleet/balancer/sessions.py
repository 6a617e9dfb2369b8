"""Frees the clients of a relay that hangs: a script that runs inside HAProxy, so it needs no agent.

``on-marked-down shutdown-sessions`` is made for this, but HAProxy 3.0.11 (Debian 13) leaves a session for
ever that is just connecting to the server when it goes down: the server side is closed, the client side is
not, no timeout runs, and neither the client's leaving nor ``shutdown session`` ends it. (HAProxy's commit
6365eb85e of April 2025, in 3.2, changes what leads to it; 3.0.11 lacks it.) So sessions are closed a little
later, when every connection that was on its way has either been made or has failed over to another relay.

One failed check takes a relay out of the rotation; its sessions are closed only if no check passed until the
script's delay was over. It waits longer while the relay's agent answers (or was not asked yet, by a process that has
just begun), and begins to wait anew while another relay has just begun to greet late, too: that is rather a machine too
busy to check than a relay that hangs, and sessions that still work would be cut. A node that is away is none: its
relays cannot even be connected to.

A process that a reload replaced checks nothing any more, and what its last check said stays so for ever. There the
script asks the relay itself, before it closes the sessions that such a process still has.
"""

from typing import Final

from smtpfleet.api.names import CHECK_PORT

CHECK_AGAIN_MS: Final = 100
"""Pause after a failed check."""
CHECK_TIMEOUT_MS: Final = 200
CONNECT_TIMEOUT_MS: Final = 150
CLOSE_AFTER_MS: Final = CHECK_AGAIN_MS + CHECK_TIMEOUT_MS
"""From the first failed check to the end of the second: longer than any connection takes to be made."""

PANIC_MS: Final = 2000
"""How much longer sessions are kept while other signs speak against a relay that hangs."""
_LOOK_MS: Final = 100
_JUST_S: Final = 2
"""A relay that has been down for longer tells nothing of the machine now."""

SCRIPT: Final = f"""\
-- Closes the sessions of a server that was marked down and stays so.
local function said(server, what)
  local stats = server:get_stats()
  return stats ~= nil and stats[what] or ""
end

local function status(server)
  return said(server, "status")
end

local function greets_late(server)
  local late = status(server):find("^DOWN") and said(server, "check_status"):find("L7TOUT")
  return late and (tonumber(said(server, "lastchg")) or 0) <= {_JUST_S}
end

local function another_greets_late(proxy, name)
  for other, server in pairs(core.backends[proxy].servers) do
    if other ~= name and greets_late(server) then return true end
  end
  return false
end

local function replaced()
  return core.get_info()["Stopping"] == 1
end

local function greets(server)
  local socket = core.tcp()
  socket:settimeout({PANIC_MS} / 1000)
  if not socket:connect(server:get_addr():match("^(.*):%d+$"), {CHECK_PORT}) then return false end
  local banner = socket:receive("*l")
  socket:close()
  return banner ~= nil and banner:find("^220") ~= nil
end

local function agent_may_answer(server)
  local agent = said(server, "agent_status")
  return agent:find("L7OK") ~= nil or agent:find("INI") ~= nil
end

core.event_sub({{"SERVER_DOWN"}}, function(event, data)
  local server = data.reference
  if server == nil then return end
  core.register_task(function()
    local waited, alone = 0, 0
    -- A server that has passed a check again is "DOWN 1/2".
    while status(server) == "DOWN" and waited < {CLOSE_AFTER_MS + PANIC_MS} do
      core.msleep({_LOOK_MS})
      waited = waited + {_LOOK_MS}
      alone = another_greets_late(data.proxy_name, data.name) and 0 or alone + {_LOOK_MS}
      if alone >= {CLOSE_AFTER_MS} and not agent_may_answer(server) then break end
    end
    if status(server) == "DOWN" and not (replaced() and greets(server)) then
      server:shut_sess()
      core.log(core.notice, "Server " .. data.proxy_name .. "/" .. data.name .. " stays down: sessions closed.")
    end
  end)
end)
"""
"""What HAProxy loads with ``lua-load``."""
