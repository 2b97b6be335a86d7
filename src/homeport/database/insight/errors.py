"""What can go wrong with insight."""

from homeport.kernel.errors import Kind, declare

UNKNOWN_RULE = declare(
    "database.unknown_rule", Kind.NOT_FOUND, "Insight was asked for a rule that there is not."
)
TOO_OLD = declare(
    "database.insight_too_old", Kind.INVALID, "Insight was asked for on a server older than PostgreSQL 15."
)
BUSY = declare(
    "database.insight_busy",
    Kind.CONFLICT,
    "Insight or upkeep was given a connection that is in a transaction, or goes through a pool.",
)
LOST = declare(
    "database.insight_lost",
    Kind.UNAVAILABLE,
    "The connection to PostgreSQL was lost while insight looked.",
    retry=True,
)
