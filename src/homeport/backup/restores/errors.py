"""What can go wrong with a restore."""

from homeport.kernel.errors import Kind, declare

NOT_CONFIRMED = declare(
    "restore.not_confirmed", Kind.INVALID, "A restore over what serves was not confirmed by the app's name."
)
NO_DATABASE = declare(
    "restore.no_database", Kind.NOT_FOUND, "What is to be brought back did not exist then, or does not now."
)
NOT_OURS = declare(
    "restore.attached_database",
    Kind.CONFLICT,
    "A database that somebody else runs cannot be taken back in place.",
)
IS_FILE = declare(
    "restore.sqlite_file", Kind.INVALID, "A SQLite database is brought back with the environment's files."
)
SERVER_DOWN = declare(
    "restore.server_down",
    Kind.CONFLICT,
    "The PostgreSQL that a database is to be brought back into does not run; its whole cluster can be brought back.",
)
MOVING = declare(
    "restore.change_under_way", Kind.CONFLICT, "A change of the environment is under way.", retry=True
)
DIFFERS = declare(
    "restore.not_as_copied", Kind.FAILED, "What was taken out of a copy is not what is in the copy."
)
PROGRAM_FAILED = declare("restore.program_failed", Kind.FAILED, "pg_dump or pg_restore ended with an error.")
CANNOT_SWITCH = declare(
    "restore.cannot_switch",
    Kind.FAILED,
    "The database that was brought back could not take the place of the one that serves.",
    retry=True,
)
UNKNOWN_KEPT = declare("restore.unknown", Kind.NOT_FOUND, "Nothing of that name was kept by a restore.")
BAD_TARGET = declare("restore.bad_moment", Kind.INVALID, "The moment to return to is not clear.")
NO_TABLE = declare("restore.no_table", Kind.NOT_FOUND, "A table to bring back was not there then.")
CANNOT_MERGE = declare("restore.cannot_merge", Kind.CONFLICT, "Rows that were brought back cannot be put in.")
NO_FILES = declare("restore.no_files", Kind.NOT_FOUND, "No backup of these files is there.")
NO_DUMP = declare(
    "restore.no_dump",
    Kind.NOT_FOUND,
    "No dump of a database that somebody else runs fits what was asked for.",
)
SERVER_NEWER = declare(
    "restore.server_newer",
    Kind.CONFLICT,
    "A server that somebody else runs is newer than the pg_restore of this machine.",
)
