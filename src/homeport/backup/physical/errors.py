"""What can go wrong with physical backups."""

from homeport.kernel.errors import Kind, declare

NO_PROGRAM = declare("backup.no_pgbackrest", Kind.MISSING_PART, "pgBackRest is not on this machine.")
NO_MEMORY = declare(
    "backup.no_memory_directory",
    Kind.MISSING_PART,
    "There is no private place in memory for what pgBackRest must read and no disk may hold.",
)
BAD_PASSPHRASE = declare(
    "backup.bad_passphrase", Kind.INVALID, "A passphrase or key cannot be written into a configuration."
)
WRONG_PASSPHRASE = declare(
    "backup.wrong_passphrase", Kind.INVALID, "A repository cannot be read with the passphrase that was given."
)
OTHER_CLUSTER = declare(
    "backup.other_cluster", Kind.CONFLICT, "A repository holds the backups of another cluster."
)
BUSY = declare(
    "backup.busy", Kind.CONFLICT, "Another backup, proof or restore of the cluster is under way.", retry=True
)
UNREACHABLE = declare(
    "backup.repository_unreachable", Kind.UNAVAILABLE, "A repository does not answer.", retry=True
)
NO_BUCKET = declare("backup.no_bucket", Kind.NOT_FOUND, "A store has no bucket of the name that was given.")
REFUSED = declare("backup.store_refuses", Kind.INVALID, "A store does not take the key that was given.")
FAILED = declare("backup.failed", Kind.FAILED, "pgBackRest ended with an error.", retry=True)
DAMAGED = declare("backup.damaged", Kind.FAILED, "What a repository holds is not what was put into it.")
MISSING = declare("backup.missing_files", Kind.FAILED, "Files of a backup that is listed are gone.")
WAL_GAP = declare(
    "backup.wal_gap", Kind.FAILED, "A segment of the server's log is missing between a backup and the target."
)
OTHER_TIMELINE = declare(
    "backup.other_timeline",
    Kind.CONFLICT,
    "A backup is of a part of the cluster's history that was left by a return to an earlier moment.",
)
CLOCK = declare("backup.clock", Kind.CONFLICT, "The machine's clock is behind the newest backup.")
NOT_ARCHIVING = declare(
    "backup.not_archiving", Kind.FAILED, "The server's log does not reach the repositories.", retry=True
)
SERVER = declare("backup.server", Kind.FAILED, "A server does not do what backups of it need.", retry=True)
NO_SPACE = declare("backup.no_space", Kind.NO_SPACE, "The disk has no room for a copy of the cluster.")
UNKNOWN = declare("backup.unknown_backup", Kind.NOT_FOUND, "There is no backup of that name.")
NOTHING_BEFORE = declare(
    "backup.nothing_before", Kind.NOT_FOUND, "No backup was finished before the moment to return to."
)
IN_FUTURE = declare("backup.in_future", Kind.INVALID, "The moment to return to has not come yet.")
NOT_REACHED = declare(
    "backup.target_not_reached", Kind.FAILED, "The log ends before the moment to return to."
)
NOT_STARTED = declare(
    "backup.copy_not_started", Kind.FAILED, "A server could not be started on a restored copy."
)
IN_THE_WAY = declare("backup.in_the_way", Kind.CONFLICT, "There are files where a copy would be restored to.")
