"""What can go wrong at the edge."""

from homeport.kernel.errors import Kind, declare

UNREACHABLE = declare(
    "edge.unreachable",
    Kind.UNAVAILABLE,
    "HAProxy does not answer on its socket; what is on disk is what it will serve when it is back.",
    retry=True,
)
CONFIG_INVALID = declare(
    "edge.config_invalid",
    Kind.INVALID,
    "What the edge was asked to do cannot be said in an HAProxy configuration, or HAProxy refuses it.",
)
BAD_MODE = declare(
    "edge.bad_mode",
    Kind.INVALID,
    "A maintenance or read-only mode has a message, page, network or path that cannot be put in force.",
)
DRIFT = declare(
    "edge.drift",
    Kind.FAILED,
    "HAProxy does not run what it was told, even after a reload.",
    retry=True,
)
MISSING = declare("edge.haproxy_missing", Kind.MISSING_PART, "HAProxy is not installed on this machine.")
TOO_OLD = declare("edge.haproxy_too_old", Kind.MISSING_PART, "HAProxy is older than 2.6.")
PORT_TAKEN = declare(
    "edge.port_taken",
    Kind.CONFLICT,
    "Another process listens on the address and port that the edge should have.",
    retry=True,
)
BIND_DENIED = declare(
    "edge.bind_denied",
    Kind.MISSING_PART,
    "The edge may not listen on the address and port: no right to, or the address is not this machine's.",
)
CONFIG_FOREIGN = declare(
    "edge.config_foreign",
    Kind.FAILED,
    "A file of the edge was truncated or was not written by Homeport; HAProxy is not started on it.",
)
