"""Frees the clients of a relay that hangs: a script that runs inside HAProxy, so it needs no agent.

``on-marked-down shutdown-sessions`` is made for this, but HAProxy 3.0.11 (Debian 13) leaves a session for
ever that is just connecting to the server when it goes down: the server side is closed, the client side is
not, no timeout runs, and neither the client's leaving nor ``shutdown session`` ends it. (HAProxy's commit
6365eb85e of April 2025, in 3.2, changes what leads to it; 3.0.11 lacks it.) So sessions are closed a little
later, when every connection that was on its way has either been made or has failed over to another relay.

One failed check takes a relay out of the rotation; its sessions are closed only if no check passed until
the script's delay was over. It waits longer while the relay's agent answers, and while more relays look down than up:
that is rather a machine too busy to check than a relay, or a fleet, that hangs, and sessions that still work would be
cut. A process that has just begun has asked no agent yet, and takes every relay to be up that it has not checked:
neither speaks against a relay.

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

SCRIPT: Final = f"""\
-- Closes the sessions of a server that was marked down and stays so.
local function said(server, what)
  local stats = server:get_stats()
  return stats ~= nil and stats[what] or ""
end

local function status(server)
  return said(server, "status")
end

local function more_down_than_up(proxy)
  local down, up = 0, 0
  for _, server in pairs(core.backends[proxy].servers) do
    local now = status(server)
    if now:find("^DOWN") then
      down = down + 1
    elseif now:find("^UP") and not said(server, "check_status"):find("INI") then
      up = up + 1
    end
  end
  return down > up
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
    core.msleep({CLOSE_AFTER_MS})
    local waited = 0
    -- A server that has passed a check again is "DOWN 1/2".
    while waited < {PANIC_MS} and status(server) == "DOWN"
        and (agent_may_answer(server) or more_down_than_up(data.proxy_name)) do
      core.msleep({_LOOK_MS})
      waited = waited + {_LOOK_MS}
    end
    if status(server) == "DOWN" and not (replaced() and greets(server)) then
      server:shut_sess()
      core.log(core.notice, "Server " .. data.proxy_name .. "/" .. data.name .. " stays down: sessions closed.")
    end
  end)
end)
"""
"""What HAProxy loads with ``lua-load``."""
