"""What can go wrong with backups of files and dumps."""

from homeport.kernel.errors import Kind, declare

NO_RESTIC = declare("backup.no_restic", Kind.MISSING_PART, "restic is not on this machine.")
NO_REPOSITORY = declare(
    "backup.no_repository", Kind.NOT_FOUND, "There is no repository of files at the place that was named."
)
NOT_OPENED = declare(
    "backup.repository_not_opened", Kind.INVALID, "The password or passphrase does not open the repository."
)
REFUSED = declare(
    "backup.store_refused", Kind.INVALID, "A store refuses the access key, or has no such bucket."
)
NOT_ANSWERING = declare(
    "backup.store_not_answering", Kind.UNAVAILABLE, "A store does not answer, or not in time.", retry=True
)
STORE_FAILED = declare(
    "backup.store_failed",
    Kind.UNAVAILABLE,
    "A store answers with errors, or with part of an answer.",
    retry=True,
)
LOCKED = declare(
    "backup.repository_locked", Kind.CONFLICT, "Another program works with the repository.", retry=True
)
BROKEN = declare(
    "backup.repository_broken", Kind.FAILED, "What a repository of files holds is not what was put into it."
)
FULL = declare(
    "backup.disk_full", Kind.NO_SPACE, "A disk has no room for a backup, or for what it is made from."
)
UNREADABLE = declare(
    "backup.unreadable_source", Kind.FAILED, "A file that is to be backed up cannot be read."
)
NO_SNAPSHOT = declare("backup.no_snapshot", Kind.NOT_FOUND, "The repository has no such backup of files.")
NO_FILE = declare("backup.no_such_file", Kind.NOT_FOUND, "The backup has no such file or directory.")
RESTIC_FAILED = declare("backup.restic_failed", Kind.FAILED, "restic ended with an error.", retry=True)
RUN_FAILED = declare(
    "backup.run_failed",
    Kind.FAILED,
    "A backup did not reach every repository; the others have it.",
    retry=True,
)
WORKING = declare(
    "backup.files_busy",
    Kind.CONFLICT,
    "Another backup or proof of this data directory is under way.",
    retry=True,
)
DUMP_FAILED = declare("backup.dump_failed", Kind.FAILED, "A database could not be dumped.", retry=True)
NOT_EMPTY = declare("backup.directory_not_empty", Kind.CONFLICT, "A recovery needs an empty data directory.")
NOT_PROVEN = declare("backup.not_as_backed_up", Kind.FAILED, "What was restored is not what was backed up.")
NOT_SEALED_SO = declare(
    "backup.not_unsealed", Kind.INVALID, "The passphrase does not open the secrets' key of a backup."
)
NO_PASSPHRASE = declare(
    "backup.no_passphrase",
    Kind.CONFLICT,
    "Secrets are to be backed up, and no passphrase to seal them for was set.",
)
NO_SCRATCH = declare(
    "backup.no_scratch_database",
    Kind.UNAVAILABLE,
    "There is no database server that a dump could be restored to for its proof.",
    retry=True,
)
RESTORE_FAILED = declare("backup.restore_failed", Kind.FAILED, "A dump could not be restored.")
