"""Errors of backups as a whole."""

from homeport.backup import stores as _stores
from homeport.backup.files import errors as _files
from homeport.backup.locks import errors as _locks
from homeport.backup.physical import errors as _physical
from homeport.kernel.errors import Kind, declare

OF_CHILDREN = (_files, _locks, _physical, _stores)
"""Errors that a child may end with: imported, they are in the catalogue."""

UNKNOWN_REPOSITORY = declare(
    "backup.unknown_repository", Kind.NOT_FOUND, "No repository for backups has that name."
)
REPOSITORY_EXISTS = declare(
    "backup.repository_exists", Kind.CONFLICT, "A repository of that name is another place."
)
BAD_REPOSITORY = declare("backup.bad_repository", Kind.INVALID, "A repository's name or place is not usable.")
OTHER_PASSPHRASE = declare(
    "backup.other_passphrase", Kind.INVALID, "The passphrase is not the one that the other repositories have."
)
WEAK_PASSPHRASE = declare(
    "backup.weak_passphrase", Kind.INVALID, "A passphrase is too short to protect a backup."
)
NO_REPOSITORIES = declare(
    "backup.no_repositories", Kind.CONFLICT, "There is no repository for backups yet, so none can be made."
)
MADE_WAY = declare(
    "backup.made_way", Kind.CONFLICT, "A proof was ended, or not begun, since somebody brings something back."
)
UNDER_WAY = declare("backup.run_under_way", Kind.CONFLICT, "A run of the same kind is under way.", retry=True)
UNKNOWN_RUN = declare("backup.unknown_run", Kind.NOT_FOUND, "There is no run of that id.")
NOT_RUNNING = declare("backup.not_running", Kind.CONFLICT, "The run ended already.")
NOTHING_TO_DO = declare("backup.nothing_to_do", Kind.INVALID, "What is to be backed up is not there.")
KEY_REUSED = declare("backup.key_reused", Kind.CONFLICT, "The idempotency key began another run.")
HELD = declare(
    "backup.held",
    Kind.CONFLICT,
    "This machine was recovered from its backups, and nobody said yet that the former one is gone.",
)
NOT_HELD = declare(
    "backup.not_held", Kind.CONFLICT, "Backups do not wait for a word: there is nothing to resume."
)
