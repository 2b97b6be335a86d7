"""A service that is asleep: its requests are held, and that they are here is told.

A held request sits in a Lua action that looks at two things :data:`TICK_MILLISECONDS` apart: whether its
service is still in ``asleep.map``, and whether it has a server that is up. Then it goes on as if it had come
just now. As long as it waits it sees to it that its service is in ``wanted.map``, which
:meth:`homeport.edge.port.Edge.wanted` reads and empties; when it goes on it takes that back, so that the wish
is not found when the service sleeps the next time. Sleeping takes HAProxy no thread.

In a worker that was replaced by a reload the servers that wake are not known: there a held request is sent
to the same address again (307, with its method and body), where the new worker takes it.

An HAProxy without Lua answers 503 and tells the wish all the same.
"""

from homeport.edge.commands import Layout

SECONDS = 30
"""How long a request is held; then it is a 503."""
TICK_MILLISECONDS = 50
ACTION = "homeport_hold"
LATE, MOVED = "late", "moved"
"""What ``txn.held`` says of a request that does not go on."""


def program(layout: Layout) -> str:
    return f"""\
-- Holds a request of a service that is asleep until it is awake and has a server that is up.
local asleep = Map.new("{layout.asleep}", Map._str)
local wanted = Map.new("{layout.wanted}", Map._str)
core.register_action("{ACTION}", {{"http-req"}}, function(txn)
    local service = txn.f:be_name()
    local last = core.now().sec + {SECONDS}
    while true do
        if txn.f:stopping() ~= 0 then
            txn:set_var("txn.held", "{MOVED}")
            return
        end
        local sleeps = asleep:lookup(service)
        if not sleeps and txn.f:nbsrv(service) > 0 then
            core.del_map("{layout.wanted}", service)
            return
        end
        if core.now().sec >= last then
            txn:set_var("txn.held", "{LATE}")
            return
        end
        if sleeps and not wanted:lookup(service) then
            core.set_map("{layout.wanted}", service, service)
        end
        core.msleep({TICK_MILLISECONDS})
    end
end)
"""


def rules(layout: Layout, maintenance: str, passes: str) -> list[str]:
    """Rules of a service with a mode. ``maintenance`` and ``passes`` are conditions: it has that mode, and
    the client is one that its mode lets through."""
    asleep = f"{{ be_name,map_str({layout.asleep}) -m found }}"
    held = f"if {asleep} !{maintenance} or {asleep} {passes}"
    # set-map alone would not make it a map that can be shown: the look-up does.
    unknown = f"!{{ be_name,map_str({layout.wanted}) -m found }}"
    return [
        ".if feature(LUA)",
        f"    http-request lua.{ACTION} {held}",
        f"    http-request redirect code 307 location %[pathq] if {{ var(txn.held) -m str {MOVED} }}",
        ".else",
        f"    http-request set-var(txn.held) str({LATE}) {held}",
        f"    http-request set-map({layout.wanted}) %[be_name] %[be_name]"
        f" if {{ var(txn.held) -m found }} {unknown}",
        ".endif",
        f"    http-request deny deny_status 503 if {{ var(txn.held) -m str {LATE} }}",
        "    # What its mode is now; it may have been switched off meanwhile.",
        f"    http-request allow unless {{ be_name,map_str({layout.modes}),set-var(txn.mode) -m found }}",
    ]
