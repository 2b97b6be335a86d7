"""A run's steps, played without doing anything."""

from dataclasses import replace
from datetime import UTC, datetime

from homeport.backup.model import CANCELLED, FAILED, PASSED, RETURNING, RUNNING, SKIPPED, Run, Step, next_step

AT = datetime(2026, 11, 21, 16, 30, tzinfo=UTC)


def played(steps: tuple[Step, ...], fails: str = "", cancel_at: str = "") -> dict[str, str]:
    """How each step ends where one fails, or somebody cancels while it runs."""
    run = Run("b-0123456789", "restore", "x", RETURNING, {}, "me", RUNNING, steps, "", AT, None)
    while (found := next_step(run)) is not None:
        step, how = found
        state = {"skip": SKIPPED, "cancel": CANCELLED}.get(how, PASSED)
        if step.name == cancel_at:
            run = replace(run, cancel="somebody")
        if how == "do" and step.name in (fails, cancel_at):
            state = FAILED if step.name == fails else CANCELLED
        run = run.with_step(replace(step, state=state))
    return {s.name: s.state for s in run.steps}
