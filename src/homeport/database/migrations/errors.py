"""What can go wrong with migrations. No sentence, hint or detail holds a password."""

from homeport.kernel.errors import Kind, declare

BAD_FILE = declare(
    "database.migration_invalid",
    Kind.INVALID,
    "A migration file cannot be used: its name, its encoding, its sections or its SQL.",
)
UNREADABLE = declare(
    "database.migrations_unreadable",
    Kind.INVALID,
    "The directory of migrations, or a file in it, cannot be read.",
)
CHANGED = declare(
    "database.migration_changed",
    Kind.CONFLICT,
    "A migration that was applied is not what it was: its file was edited or is gone.",
)
OUT_OF_ORDER = declare(
    "database.migration_out_of_order",
    Kind.CONFLICT,
    "A migration is older than one that was applied already, and that was not allowed.",
)
NO_DOWN = declare(
    "database.migration_no_down", Kind.CONFLICT, "A migration that was to be taken back has no down section."
)
UNFINISHED = declare(
    "database.migration_unfinished",
    Kind.CONFLICT,
    "A statement that runs outside a transaction was cut off, and nothing shows how far it came.",
)
UNKNOWN_VERSION = declare(
    "database.unknown_migration",
    Kind.NOT_FOUND,
    "There is no migration of that version, or none that was applied.",
)
FAILED = declare(
    "database.migration_failed",
    Kind.FAILED,
    "PostgreSQL refused a statement of a migration; nothing of that file stayed.",
)
LOCK_BUSY = declare(
    "database.migration_locked",
    Kind.CONFLICT,
    "Another migration of the same database is under way.",
    retry=True,
)
BLOCKED = declare(
    "database.migration_blocked",
    Kind.UNAVAILABLE,
    "A migration did not get a lock on a table, however often it tried, because others hold it.",
    retry=True,
)
TIMED_OUT = declare(
    "database.migration_timed_out",
    Kind.FAILED,
    "A statement of a migration ran past statement_timeout.",
)
CANCELLED = declare(
    "database.migration_cancelled",
    Kind.CONFLICT,
    "A migration was stopped because somebody asked for it.",
    retry=True,
)
LOST = declare(
    "database.migration_connection_lost",
    Kind.UNAVAILABLE,
    "The connection to PostgreSQL broke during a migration.",
    retry=True,
)
UNREACHABLE = declare(
    "database.migration_unreachable",
    Kind.UNAVAILABLE,
    "PostgreSQL does not answer when a migration wants to begin.",
    retry=True,
)
REFUSED = declare(
    "database.migration_login_refused",
    Kind.INVALID,
    "The URL of a database to migrate cannot be read, or PostgreSQL refuses its role, password or database.",
)
UNSUITABLE = declare(
    "database.migration_server_unsuitable",
    Kind.MISSING_PART,
    "The server cannot be migrated: it is older than PostgreSQL 15, read-only, or the role may not.",
)
NO_SPACE = declare(
    "database.migration_no_space",
    Kind.NO_SPACE,
    "PostgreSQL's disk filled up during a migration.",
    retry=True,
)
UNSAFE = declare(
    "database.migration_unsafe",
    Kind.INVALID,
    "A migration blocks others or breaks the release that serves, and no comment in it allows that.",
)
LINT_FAILED = declare(
    "database.migration_lint_failed", Kind.FAILED, "The linter of migrations did not give a result."
)
TOOL_FAILED = declare(
    "database.migration_tool_failed", Kind.FAILED, "The app's own migration command ended with an error."
)
TRIAL_FAILED = declare(
    "database.migration_trial_failed",
    Kind.FAILED,
    "Pending migrations did not run up, down and up on a copy of the schema, or the copy could not be made.",
)
WRONG_ENGINE = declare(
    "database.migrations_not_of_this_engine",
    Kind.CONFLICT,
    "What was asked of migrations is done with PostgreSQL only.",
)
