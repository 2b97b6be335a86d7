"""What can go wrong with drills, and what they find wrong."""

from homeport.kernel.errors import Kind, declare

UNKNOWN = declare("drill.unknown_scenario", Kind.NOT_FOUND, "No drill has that name.")
UNKNOWN_REPORT = declare("drill.unknown_report", Kind.NOT_FOUND, "No drill has that id.")
NO_CLUSTER = declare("drill.no_cluster", Kind.NOT_FOUND, "There is no cluster that a drill could copy.")
BAD_SCHEDULE = declare("drill.bad_schedule", Kind.INVALID, "When drills are due cannot be read.")
NOT_NOW = declare(
    "drill.not_now",
    Kind.CONFLICT,
    "A deploy is under way, or the disk is short: a drill by the clock waits.",
    retry=True,
)
NOT_ASKED = declare("drill.passphrase_not_asked", Kind.INVALID, "A scenario has no use for the passphrase.")
NOTHING_TO_BREAK = declare(
    "drill.nothing_to_break", Kind.CONFLICT, "No table has rows, or none that a scenario could spoil."
)
NOT_DETECTED = declare("drill.not_detected", Kind.FAILED, "What was broken on purpose was not found.")
NOT_BROUGHT_BACK = declare(
    "drill.not_brought_back", Kind.FAILED, "What was restored is not what there was before."
)
SMOKE = declare("drill.smoke_failed", Kind.FAILED, "An app's own question is not answered as it should be.")
NO_OTHER = declare("drill.no_other_repository", Kind.FAILED, "There is only one repository for backups.")
WRONG_PASSPHRASE = declare(
    "drill.wrong_passphrase", Kind.FAILED, "The passphrase that a person has does not open the backups."
)
MISSED = declare("drill.targets_missed", Kind.FAILED, "A drill lost more, or took longer, than its targets.")
