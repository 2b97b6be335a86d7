"""What can go wrong with caches. No sentence, hint or detail holds a password."""

from homeport.kernel.errors import Kind, declare

REDIS_MISSING = declare(
    "database.redis_missing",
    Kind.MISSING_PART,
    "An app asks for a cache, and Redis 7 or newer, or the system user that it runs as, is not on this machine.",
)
REDIS_FAILED = declare(
    "database.redis_failed",
    Kind.FAILED,
    "A Redis server did not start, did not answer in time, or refused what it was told.",
    retry=True,
)
UNKNOWN_CACHE = declare(
    "database.unknown_cache", Kind.NOT_FOUND, "The environment has no cache of that name."
)
