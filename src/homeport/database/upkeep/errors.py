"""What can go wrong with upkeep."""

from homeport.kernel.errors import Kind, declare

NO_TARGET = declare(
    "database.no_upkeep_target", Kind.NOT_FOUND, "What upkeep is to work on is not in the database."
)
WRONG_TARGET = declare(
    "database.wrong_upkeep_target",
    Kind.INVALID,
    "What upkeep is to work on is of another kind than its statement takes.",
)
NO_UNIQUE_INDEX = declare(
    "database.no_unique_index",
    Kind.CONFLICT,
    "REFRESH MATERIALIZED VIEW CONCURRENTLY was asked for a view without a fitting unique index.",
)
UNDER_WAY = declare(
    "database.upkeep_under_way",
    Kind.CONFLICT,
    "The same upkeep runs already, or an index of the table is being built.",
    retry=True,
)
TIMED_OUT = declare(
    "database.upkeep_timed_out", Kind.FAILED, "Upkeep took longer than its time limit and was cancelled."
)
FAILED = declare("database.upkeep_failed", Kind.FAILED, "PostgreSQL refused a statement of upkeep.")
LOST = declare(
    "database.upkeep_lost",
    Kind.UNAVAILABLE,
    "The connection to PostgreSQL was lost while upkeep ran.",
    retry=True,
)
BUSY = declare(
    "database.upkeep_busy", Kind.CONFLICT, "Upkeep was given a connection that is in a transaction."
)
