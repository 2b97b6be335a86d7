"""What can go wrong where instances run."""

from homeport.kernel.errors import Kind, declare

UNREACHABLE = declare(
    "runtime.unreachable",
    Kind.UNAVAILABLE,
    "The supervisor of this data directory does not answer.",
    retry=True,
)
UNKNOWN_USER = declare(
    "runtime.unknown_user", Kind.INVALID, "A process asks for a system user that this machine does not have."
)
CANNOT_SWITCH_USER = declare(
    "runtime.cannot_switch_user",
    Kind.MISSING_PART,
    "A process asks for another system user, and Homeport does not run as root.",
)
LIMIT_UNSUPPORTED = declare(
    "runtime.limit_unsupported",
    Kind.MISSING_PART,
    "A process asks for a memory or CPU limit that cannot be made to bind on this machine.",
)
NO_PORT = declare(
    "runtime.no_port", Kind.MISSING_PART, "Every port of the range for instances is taken.", retry=True
)
START_FAILED = declare(
    "runtime.start_failed", Kind.FAILED, "The supervisor refused to start an instance.", retry=True
)
STOP_FAILED = declare(
    "runtime.stop_failed",
    Kind.FAILED,
    "An instance still runs after SIGKILL, held by the kernel.",
    retry=True,
)
BAD_DATA_DIRECTORY = declare(
    "runtime.bad_data_directory",
    Kind.INVALID,
    "The data directory's path cannot be written into the supervisor's configuration, or is too long.",
)
