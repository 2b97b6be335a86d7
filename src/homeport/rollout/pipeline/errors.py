"""What people may ask of a pipeline and not get, as errors."""

from homeport.kernel.errors import Kind, declare

UNKNOWN_RUN = declare("pipeline.unknown_run", Kind.NOT_FOUND, "No run of a pipeline has that id or number.")
UNKNOWN_STAGE = declare("pipeline.unknown_stage", Kind.NOT_FOUND, "The run has no stage of that name.")
NOT_WAITING = declare(
    "pipeline.not_waiting", Kind.CONFLICT, "The run waits for nobody: it has ended, or is not at a gate."
)
NOT_ALLOWED = declare(
    "pipeline.not_allowed", Kind.CONFLICT, "The gate names others who may approve, or it is one's own commit."
)
NOT_TICKED = declare(
    "pipeline.not_ticked", Kind.INVALID, "Items of the gate's checklist were not ticked, or are none of it."
)
NO_REASON = declare(
    "pipeline.no_reason", Kind.INVALID, "An approval or rejection was given without a reason."
)
ENDED = declare("pipeline.ended", Kind.CONFLICT, "The run has ended already.")
NOT_ENDED = declare(
    "pipeline.not_ended", Kind.UNAVAILABLE, "A run that was cancelled does not end in time.", retry=True
)
NOT_FAILED = declare(
    "pipeline.not_failed", Kind.CONFLICT, "A run that is to be tried again is under way, or has passed."
)
OVERTAKEN = declare(
    "pipeline.overtaken",
    Kind.CONFLICT,
    "A run that is to be tried again is older than one that has passed since.",
)
KEY_REUSED = declare(
    "pipeline.key_reused", Kind.INVALID, "An idempotency key was used before, for another run."
)
INTERNAL = declare(
    "pipeline.internal", Kind.FAILED, "Homeport itself failed; the log of the control plane says how."
)
STOPPING = declare(
    "pipeline.stopping", Kind.UNAVAILABLE, "The control plane ends; the next one goes on.", retry=True
)
