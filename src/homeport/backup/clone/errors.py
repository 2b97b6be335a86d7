"""Errors of clones."""

from homeport.kernel.errors import Kind, declare

UNMASKED = declare(
    "backup.unmasked",
    Kind.CONFLICT,
    "Columns look as if they told of people, and no mask names them: nothing is cloned.",
)
BAD_MASK = declare(
    "backup.bad_mask", Kind.INVALID, "A mask does not fit what the database has, so nothing is cloned."
)
MASK_FAILED = declare(
    "backup.mask_failed", Kind.FAILED, "The database refuses what a mask makes of its values."
)
NOT_PROVEN_YET = declare(
    "backup.not_proven_yet", Kind.CONFLICT, "No backup that was proven is there to be cloned from."
)
CLONE_FAILED = declare("backup.clone_failed", Kind.FAILED, "A clone could not be taken out, or put in place.")
CLONE_NOT_CONFIRMED = declare(
    "backup.clone_not_confirmed",
    Kind.CONFLICT,
    "A clone takes the place of a database only when its environment's name is given again.",
)
CANNOT_CLONE = declare(
    "backup.cannot_clone", Kind.CONFLICT, "A database of this kind, or into that environment, is not cloned."
)
