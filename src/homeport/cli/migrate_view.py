"""Migrations, plans and trials, as people read them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from homeport.cli import screen
from homeport.kernel.units import format_duration, format_size

GOOD, BAD = click.style("✓", fg=screen.GOOD), click.style("✗", fg=screen.BAD)
CAREFUL, LATER = click.style("!", fg=screen.CAREFUL), click.style("·", fg=screen.DIM)
MARKS = {
    "applied": GOOD,
    "pending": click.style("•", fg=screen.CAREFUL),
    "rolled back": click.style("•", fg=screen.CAREFUL),
    "changed": BAD,
    "missing": BAD,
    "out of order": BAD,
    "unfinished": BAD,
}
MOST_STATEMENTS = 12
LOSES = ("drop table", "drop column", "drop schema", "truncate", "delete from", "drop materialized")


def tell_status(found: dict[str, Any], now: datetime) -> None:
    """Every migration in a line; then what stops a run, and what waits."""
    screen.columns(
        ("VERSION", "STATE", "DESCRIPTION", "WHEN", "TOOK", "RELEASE", "BY"),
        [
            (
                s["version"],
                f"{MARKS[s['state']]} {s['state']}" + (" (contract)" if s["contract"] else ""),
                screen.printable(s["description"]),
                screen.ago(s["rolled_back_at"] or s["applied_at"], now),
                format_duration(s["duration"]) if s["duration"] is not None else "",
                s["release"],
                screen.printable(s["by"]),
            )
            for s in found["statuses"]
        ],
        shorten={"DESCRIPTION": 12},
        drop=("BY", "TOOK", "RELEASE"),
    )
    if not found["statuses"]:
        click.echo(f"database {found['database']} has no migrations yet: homeport migrate new WORDS")
    if found["waiting"]:
        click.echo(f"{', '.join(found['waiting'])}: run when the release that serves has served its watch")
    if found["failed"]:
        click.echo(f"{BAD} {', '.join(found['failed'])}: failed; homeport migrate up tries again")
    for problem in found["problems"]:
        tell_problem(problem)


def tell_problem(problem: dict[str, Any], indent: str = "") -> None:
    click.echo(f"{indent}{BAD} {screen.printable(problem['sentence'])}")
    for line in problem["details"]:
        click.echo(f"{indent}    {screen.printable(line)}")
    if problem["hint"]:
        click.echo(f"{indent}  {click.style('hint:', fg='cyan')} {screen.printable(problem['hint'])}")


def tell_plan(found: dict[str, Any]) -> None:
    if not found["steps"]:
        click.echo(nothing_to_do(found))
        return
    click.echo("\n".join(screen.printable(line) for line in found["sql"].splitlines()))
    if found["waiting"]:
        click.echo(
            screen.dim(f"-- not now: {', '.join(found['waiting'])}, until its release has served its watch")
        )


def nothing_to_do(found: dict[str, Any], of: str = "") -> str:
    if found["waiting"]:
        versions = ", ".join(found["waiting"])
        return f"nothing to do now: {versions} runs when the release that serves has served its watch"
    return f"nothing to do: database {found['database']} has every migration{of}"


def tell_reverted(found: dict[str, Any], where: str) -> None:
    """What a run downwards would take back, and what that may cost."""
    click.echo(f"This takes back, in {screen.bold(where)}, of database {found['database']}:")
    loses = False
    for step in found["steps"]:
        click.echo(f"  {screen.printable(step['filename'] or step['act'])}")
        for text in step["statements"][:MOST_STATEMENTS]:
            careful = any(words in text.lower() for words in LOSES)
            loses = loses or careful
            mark = CAREFUL if careful else " "
            click.echo(f"    {mark} {screen.printable(text)}")
        if len(step["statements"]) > MOST_STATEMENTS:
            click.echo(f"      and {len(step['statements']) - MOST_STATEMENTS} more")
    if loses:
        click.echo("Rows in what is dropped are lost; a restore point is made before.")
    else:
        click.echo("Rows may be lost with what it takes away; a restore point is made before.")


def tell_differences(differences: Sequence[dict[str, Any]], indent: str = "") -> None:
    for d in differences:
        click.echo(f"{indent}{BAD} {screen.printable(d['sentence'])}")
        for line in d["diff"]:
            text = screen.printable(line)
            colour = {"-": screen.BAD, "+": screen.GOOD}.get(line[:1])
            click.echo(f"{indent}    {click.style(text, fg=colour) if colour else text}")


def tell_findings(findings: Sequence[dict[str, Any]], indent: str = "") -> None:
    for f in findings:
        mark = BAD if f["stops"] else LATER
        click.echo(
            f"{indent}{mark} {screen.printable(f['filename'])}:{f['line']}: {f['rule']} ({f['level']}): "
            f"{screen.printable(' '.join(f['sentence'].split()))}"
        )
        if f["allowed"]:
            click.echo(f"{indent}    {screen.dim('allowed: ' + screen.printable(f['allowed']))}")
        elif f["hint"]:
            click.echo(f"{indent}    {screen.dim(screen.printable(' '.join(f['hint'].split())))}")


def tell_trial(report: dict[str, Any], indent: str = "") -> None:
    """A trial of what is pending, as :mod:`homeport.rollout.data.schemas` reports it."""
    name = f"database {report['database']}"
    pending = report.get("pending", [])
    if report.get("how") == "tool":
        _tell_tool(report, name, indent)
        return
    if not pending and not report.get("note"):
        click.echo(f"{indent}{name}: nothing is pending")
        return
    click.echo(f"{indent}{name}: {len(pending)} pending{_tried(report)}")
    for migration in pending:
        _tell_migration(report, migration, indent)
    if report.get("note"):
        click.echo(f"{indent}  {CAREFUL} {screen.printable(report['note'])}")
    if report.get("failure") is not None:
        tell_problem(report["failure"], indent + "  ")
    for text in report.get("without_down", ()):
        click.echo(f"{indent}  {CAREFUL} {screen.printable(text)} cannot be taken back")
    _tell_list(report, "leavings", "after up and down the schema is not as before:", indent)
    _tell_list(report, "unstable", "the second up gives another schema than the first:", indent)
    _tell_list(report, "drift", "what is there now is not what the applied migrations give:", indent)
    findings = [f for f in report.get("findings", ()) if f["level"] != "advice"]
    tell_findings(findings, indent + "  ")
    if stopped := sorted({f["filename"] for f in findings if f["stops"]}):
        click.echo(f"{indent}  {BAD} a deploy refuses {screen.printable(', '.join(stopped))} as it stands")
    for problem in report.get("problems", ()):
        if problem["sentence"] != report.get("note"):
            tell_problem(problem, indent + "  ")
            continue
        for line in problem["details"]:
            click.echo(f"{indent}      {screen.printable(line)}")
        if problem["hint"]:
            click.echo(f"{indent}    {click.style('hint:', fg='cyan')} {screen.printable(problem['hint'])}")
    if report.get("waiting"):
        click.echo(f"{indent}  {LATER} still waiting from before: {', '.join(report['waiting'])}")


def _tried(report: dict[str, Any]) -> str:
    ways = [t["direction"] for t in report.get("tried", ())]
    if report.get("failure") is not None:
        return ", tried and failed"
    if not ways:
        return ""
    return ", tried up, down and up" if "down" in ways else ", tried up"


def _tell_migration(report: dict[str, Any], migration: dict[str, Any], indent: str) -> None:
    contract = screen.dim("  contract: after its watch") if migration["contract"] else ""
    click.echo(f"{indent}  {screen.printable(migration['filename'])}{contract}")
    seen: set[str] = set()
    for t in report.get("tried", ()):
        if t["version"] != migration["version"] or t["direction"] in seen:
            continue
        seen.add(t["direction"])
        click.echo(f"{indent}    {t['direction']:<5} {format_duration(t['seconds'])}")
        for touched in t["touched"]:
            click.echo(f"{indent}      {_touched(touched)}")


def _touched(t: dict[str, Any]) -> str:
    """How a table is locked, who waits, and what that means at its size."""
    count = f"{t['rows']} rows" if t["rows"] or not t["size"] else "rows not counted yet"
    rows = f"{count}, {format_size(t['size'])}"
    text = f"{screen.printable(t['table'])} ({rows}): {t['lock']}"
    if t["waits"]:
        text += f", {t['waits']} wait"
    if t["rewritten"]:
        about = f" in about {format_duration(t['reckoned'])}" if t["reckoned"] is not None else ""
        text += click.style(f", written anew{about}", fg=screen.CAREFUL)
    return text


def _tell_tool(report: dict[str, Any], name: str, indent: str) -> None:
    click.echo(f"{indent}{name}: {screen.printable(report['command'])}")
    if report["failure"] is not None:
        tell_problem(report["failure"], indent + "  ")
        return
    click.echo(f"{indent}  {GOOD} tried on a copy of the schema in {format_duration(report['seconds'])}")
    if not report["changes"]:
        click.echo(f"{indent}  it changes nothing")
    for d in report["changes"]:
        click.echo(f"{indent}  {_changed(d)}")


def _changed(d: dict[str, Any]) -> str:
    """A difference between the schema after and before, in other words than those of drift."""
    added = any(line.startswith("+") for line in d["diff"])
    removed = any(line.startswith("-") for line in d["diff"])
    missing = d["sentence"].endswith("is missing")
    word = "-" if missing or (removed and not added) else "~" if removed else "+"
    return f"{word} {d['kind']} {screen.printable(d['name'])}"


def _tell_list(report: dict[str, Any], key: str, head: str, indent: str) -> None:
    if report.get(key):
        click.echo(f"{indent}  {CAREFUL} {head}")
        tell_differences(report[key], indent + "    ")
