"""A run of a pipeline as it happens: one line a stage, what it prints and changes indented below it."""

from collections import deque
from datetime import datetime
from typing import Any

import click

from homeport.cli import migrate_view, progress, screen
from homeport.kernel.units import format_duration

MARKS = {
    "passed": click.style("✓", fg=screen.GOOD),
    "ok": click.style("✓", fg=screen.GOOD),
    "failed": click.style("✗", fg=screen.BAD),
    "missing": click.style("✗", fg=screen.BAD),
    "cancelled": click.style("✗", fg=screen.CAREFUL),
    "superseded": click.style("✗", fg=screen.CAREFUL),
    "running": click.style("•", fg=screen.CAREFUL),
    "waiting": click.style("•", fg=screen.CAREFUL),
    "queued": click.style("•", fg=screen.DIM),
    "coming": click.style("·", fg=screen.DIM),
    "not there": click.style("·", fg=screen.DIM),
}

NEAR = 12
"""Lines of output above its end within which a failure's last line is seen."""


class RunPrinter:
    """Tells what a run's stream tells."""

    def __init__(self, *, show: bool) -> None:
        self._show = show
        self._partial = ""
        self._output = False
        self._near: deque[str] = deque(maxlen=NEAR)
        """The last lines that a stage printed."""

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        if not self._show:
            return
        if kind == "output":
            self._output = True
            *lines, self._partial = (self._partial + data["text"]).split("\n")
            for line in lines:
                self._near.append(line.rstrip("\r"))
                click.echo(f"  {screen.dim('│')} {screen.printable(self._near[-1])}")
            return
        self.close()
        told = data["data"]
        match kind:
            case "run.queued":
                click.echo(
                    f"{screen.bold('run #' + str(told['number']))} of {data['app']}  "
                    f"{told['commit'][:10]} {screen.dim(screen.printable(told['subject']))}"
                )
                if told["behind"] is not None:
                    click.echo(f"  waits for run #{told['behind']}")
            case "stage.started":
                self._output = False
                self._near.clear()
                click.echo(f"  {screen.bold(told['stage'])}")
            case "stage.waits":
                click.echo(f"    waits: {screen.printable(told['why'])}")
            case "stage.finished":
                self._stage(told)
            case "run.tries_migrations":
                names = ", ".join(told["databases"])
                click.echo(f"  trying the migrations of {names} on a copy of its schema")
            case "gate.decided":
                word = "approved" if told["approved"] else "rejected"
                click.echo(f"  {word} by {told['person']}: {screen.printable(told['reason'])}")
            case "gate.changed":
                click.echo(f"    {told['serving'] or 'nothing'} serves {data['environment']} now")
            case "run.cancelled":
                click.echo(f"  {data['actor']} cancels it")
            case _:
                line = progress.sentence(kind, told) if data["change"] is not None else None
                if kind == "hook.finished" and not self._output:
                    for text in told["lines"]:
                        click.echo(f"  {screen.dim('│')} {screen.printable(text)}")
                if line is not None and kind != "change.started":
                    click.echo(f"  {line}")

    def _stage(self, told: dict[str, Any]) -> None:
        lines = told["lines"] if told["outcome"] == "failed" else []
        # Checks run side by side: what one said may stand far above what another said since. And a stage may
        # end sooner than what it printed is read.
        if lines and lines[-1] not in self._near:
            for text in lines:
                click.echo(f"  {screen.dim('│')} {screen.printable(text)}", err=True)
        after = screen.dim(format_duration(told["seconds"]))
        click.echo(f"  {MARKS[told['outcome']]} {told['stage']}  {after}")

    def close(self) -> None:
        if self._partial and self._show:
            click.echo(f"  {screen.dim('│')} {screen.printable(self._partial)}")
        self._partial = ""


def gate_of(run: dict[str, Any]) -> dict[str, Any] | None:
    """The stage at which a run waits for a person."""
    return next((s for s in run["stages"] if s["state"] == "waiting"), None)


def tell_gate(run: dict[str, Any], gate: dict[str, Any]) -> None:
    """What is to be approved, by whom, and how."""
    what = gate["found"].get("what", {})
    serving = f", {what['serving']} serves it" if what.get("serving") else ", nothing serves it yet"
    click.echo(
        f"  {MARKS['waiting']} {screen.bold(gate['name'])} waits for a person{serving if what else ''}"
    )
    who = ", ".join(gate["people"]) or "anybody"
    if not gate["own"]:
        who += f"; not who wrote the commit ({screen.printable(run['author'])}) or started the run ({run['actor']})"
    click.echo(f"    {'may approve:':<13} {who}")
    tell_what(what)
    for item in gate["items"]:
        click.echo(f"    {'to tick:':<13} {screen.printable(item)}")
    ticks = " --tick-all" if gate["items"] else ""
    click.echo(f"    {'how:':<13} homeport approve {run['number']} -m REASON{ticks} --app {run['app']}")
    click.echo(f"    {'':<13} homeport reject {run['number']} -m REASON --app {run['app']}")


def tell_what(what: dict[str, Any]) -> None:
    """What an approval lets through."""
    for index, commit in enumerate(what.get("commits", [])):
        click.echo(f"    {'commits:' if not index else '':<13} {screen.printable(commit)}")
    more = what.get("commits_in_all", 0) - len(what.get("commits", []))
    if more > 0:
        click.echo(f"    {'':<13} and {more} more")
    if not what.get("commits_known", True):
        since = f" since {what['serving']}" if what.get("serving") else ""
        click.echo(f"    {'':<13} others{since} are not known here, or not yet")
    if files := what.get("files"):
        click.echo(f"    {'files:':<13} {screen.printable(files[-1].strip())}")
    for index, c in enumerate(what.get("config", [])):
        values = f"{c['before'] or ''} → {c['after'] or ''}" if c["change"] == "changed" else c["change"]
        click.echo(f"    {'config:' if not index else '':<13} {c['name']} {screen.printable(values)}")
    for report in what.get("migrations", []):
        click.echo("    migrations:")
        migrate_view.tell_trial(report, " " * 6)
    if what.get("spec"):
        changed = [line for line in what["spec"] if line[:1] in "+-"]
        for index, line in enumerate(changed[:20]):
            click.echo(f"    {'homeport.toml' if not index else '':<13} {screen.printable(line)}")
        if len(changed) > 20 or what["spec"][-1].startswith("…"):
            click.echo(f"    {'':<13} and more, which is not shown here: git diff")


def tell_end(run: dict[str, Any]) -> None:
    """How a run ended."""
    began = run["started_at"] or run["created_at"]
    seconds = 0.0
    if run["finished_at"]:
        seconds = max(0.0, _seconds(began, run["finished_at"]))
    after = format_duration(seconds)
    if run["state"] == "passed":
        click.echo(f"{MARKS['passed']} {screen.bold('run #' + str(run['number']))} passed after {after}")
        return
    error = click.style("error:", fg=screen.BAD, bold=True)
    reason = f": {screen.printable(run['reason'])}" if run["reason"] else ""
    word = {"failed": "failed", "cancelled": "was cancelled", "superseded": "was superseded"}[run["state"]]
    click.echo(f"{error} cannot finish run #{run['number']}: it {word} after {after}{reason}", err=True)
    if run["state"] != "superseded":
        hint = click.style("hint:", fg="cyan")
        click.echo(
            f"{hint} homeport pipeline retry {run['number']} goes on from there; "
            f"homeport pipeline logs {run['number']} prints what the stage said",
            err=True,
        )


def _seconds(first: str, last: str) -> float:
    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()


def took(thing: dict[str, Any]) -> str:
    """How long a stage or a run took."""
    if not thing["started_at"] or not thing["finished_at"]:
        return ""
    return format_duration(max(0.0, _seconds(thing["started_at"], thing["finished_at"])))
