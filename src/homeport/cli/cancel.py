"""``homeport cancel``."""

import json
import re
from typing import Any

import click

from homeport.cli import progress, screen
from homeport.cli.context import Session, pass_session
from homeport.kernel.errors import Kind, declare
from homeport.kernel.units import format_duration

NOTHING_RUNS = declare(
    "cli.nothing_runs", Kind.NOT_FOUND, "There is no change that runs and could be cancelled."
)
BAD_CHANGE = declare("cli.bad_change", Kind.INVALID, "What was given as a change is no id of one.")
TOO_LATE = declare(
    "cli.too_late_to_cancel", Kind.CONFLICT, "The change was over before it could be taken back."
)


@click.command()
@click.argument("change", required=False)
@pass_session
def cancel(session: Session, change: str | None) -> None:
    """Take back the change that runs in the environment, or CHANGE, such as c-1f2e3d4c5b.

    What served before serves on. Exit status 0: it was taken back; 5: it was over before.
    """
    running = _running(session, change)
    if not session.json:
        click.echo(
            f"cancelling {running['kind']} {running['id']} of {running['app']} to {running['release']}, "
            f"by {running['actor']}"
        )
    session.client.send("POST", f"/v1/changes/{running['id']}/abort")
    tell_taken_back(session, running, "cancel")


def tell_taken_back(session: Session, change: dict[str, Any], what: str) -> None:
    """Wait for the end of a change that was asked to be taken back, and tell it.

    Raises ``cli.too_late_to_cancel``; ``what`` was asked for.
    """
    final = progress.await_end(session, change, lambda *_: None)
    result = final["result"]
    if session.json:
        click.echo(json.dumps(final, indent=2))
    if result["verdict"] == "promoted":
        raise TOO_LATE.error(
            f"cannot {what} {change['kind']} {change['id']}: {result['release']} serves "
            f"{change['environment']} already",
            hint=f"homeport rollback{progress.flags(session, change)} goes back"
            if change["kind"] not in ("rollback", "scale", "restart", "heal")
            else "",
        )
    if not session.json:
        serving = f"{result['serving']} serves" if result["serving"] else "nothing serves"
        mark = click.style("✓", fg=screen.GOOD)
        click.echo(
            f"{mark} {change['kind']} {change['id']} is taken back, {serving} {change['environment']} "
            f"({format_duration(result['seconds'])} after it began)"
        )


def _running(session: Session, id: str | None) -> dict[str, Any]:
    """The change meant. Raises ``cli.nothing_runs`` when there is none that runs."""
    if id is None:
        environment = session.client.get(session.path())
        last = environment["change"]
        if last is None or last["done"]:
            raise NOTHING_RUNS.error(
                f"cannot cancel: no change of {environment['app']} runs in {environment['name']}",
                hint=_last(last) or "homeport status tells of each environment; --env names another one",
            )
        return dict(last)
    if not re.fullmatch(r"c-[0-9a-f]{10}", id):
        raise BAD_CHANGE.error(
            f"cannot read {id!r} as a change",
            hint="a change is c- and ten hexadecimal digits; homeport status shows the one that runs",
        )
    found: dict[str, Any] = session.client.get(f"/v1/changes/{id}")
    if found["done"]:
        raise NOTHING_RUNS.error(f"cannot cancel {id}: it is over", hint=_last(found))
    return found


def _last(change: dict[str, Any] | None) -> str:
    if change is None or change["result"] is None:
        return ""
    return (
        f"the last one: {change['kind']} {change['id']} to {change['release']}, {change['result']['verdict']}"
    )
