"""What people may ask for and not get, as errors."""

from homeport.kernel.errors import Kind, declare

INVALID_NAME = declare(
    "rollout.invalid_name", Kind.INVALID, "An app, environment or process name is not one."
)
WRONG_APP = declare("rollout.wrong_app", Kind.INVALID, "The commit's homeport.toml names another app.")
BUSY = declare("rollout.busy", Kind.CONFLICT, "Another change of this environment runs.", retry=True)
ROUTE_TAKEN = declare(
    "rollout.route_taken", Kind.CONFLICT, "Another app or environment has the route already."
)
NOTHING_SERVES = declare(
    "rollout.nothing_serves", Kind.CONFLICT, "The environment has no release that serves."
)
NO_TARGET = declare(
    "rollout.no_rollback_target", Kind.CONFLICT, "There is no earlier release that served well."
)
UNKNOWN_PROCESS = declare(
    "rollout.unknown_process", Kind.NOT_FOUND, "The release has no process of that name."
)
BAD_COUNT = declare("rollout.bad_count", Kind.INVALID, "A number of replicas is out of range.")
BAD_CONFIG = declare(
    "rollout.bad_config", Kind.INVALID, "A variable that the app declares is missing or does not fit."
)
UNDECLARED = declare(
    "rollout.undeclared_environment",
    Kind.NOT_FOUND,
    "The app's homeport.toml declares environments, and none of that name.",
)
NOTHING_NEW = declare(
    "rollout.nothing_new", Kind.CONFLICT, "What is asked for serves already, with the same configuration."
)
MOVED_ON = declare(
    "rollout.moved_on",
    Kind.CONFLICT,
    "Another release began to serve while a change was prepared.",
    retry=True,
)
NOT_YET = declare(
    "rollout.not_yet", Kind.INVALID, "The homeport.toml asks for what this version does not do yet."
)
GATED = declare(
    "rollout.gated",
    Kind.CONFLICT,
    "The environment has a gate, and a deploy past it needs a person's approval.",
)
NO_ARCHIVE = declare("rollout.no_archive", Kind.NOT_FOUND, "The named source archive was not uploaded.")
NOT_CONFIRMED = declare(
    "rollout.not_confirmed", Kind.INVALID, "A destructive call was not confirmed by the app's name."
)
KEY_REUSED = declare(
    "rollout.key_reused", Kind.INVALID, "An idempotency key was used before, for another call."
)
