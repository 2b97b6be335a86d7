"""What can go wrong with object lock."""

from homeport.kernel.errors import Kind, declare

NO_OBJECT_LOCK = declare(
    "backup.no_object_lock",
    Kind.INVALID,
    "A repository's bucket was made without object lock, or its store knows none.",
)
NOT_LOCKED = declare(
    "backup.not_locked",
    Kind.FAILED,
    "A store took a lock and does not do what it says: what is written can be deleted.",
)
NO_VERSIONS = declare(
    "backup.no_versions",
    Kind.CONFLICT,
    "A repository's bucket keeps no versions, so nothing that was deleted can be brought back.",
)
NOT_ALL_BACK = declare(
    "backup.not_all_undeleted",
    Kind.FAILED,
    "Some of what was deleted in a store could not be brought back.",
    retry=True,
)
