"""What can go wrong with SQLite databases."""

from homeport.kernel.errors import Kind, declare

UNUSABLE = declare(
    "database.sqlite_unusable",
    Kind.CONFLICT,
    "A SQLite database's file cannot be opened or made, is no SQLite database, or cannot be in WAL mode there.",
)
BUSY = declare(
    "database.sqlite_busy",
    Kind.UNAVAILABLE,
    "Others held a SQLite database for longer than anybody waits.",
    retry=True,
)
