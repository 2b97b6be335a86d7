"""What can go wrong with scheduled commands."""

from homeport.kernel.errors import Kind, declare

UNKNOWN_JOB = declare(
    "runtime.unknown_cron", Kind.NOT_FOUND, "The release that serves has no scheduled command of that name."
)
UNKNOWN_RUN = declare(
    "runtime.unknown_cron_run",
    Kind.NOT_FOUND,
    "No run of a scheduled command has that name, or not any more.",
)
NOT_SERVING = declare(
    "runtime.cron_not_serving",
    Kind.CONFLICT,
    "A scheduled command was asked for in an environment in which no release serves.",
)
RUN_ENDED = declare(
    "runtime.cron_run_ended", Kind.CONFLICT, "A run that was to be stopped has ended already."
)
