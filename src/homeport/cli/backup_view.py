"""Backups, runs and proofs as people read them."""

from datetime import datetime
from typing import Any

import click

from homeport.cli import run_view, screen
from homeport.cli.context import Session
from homeport.kernel.units import format_duration, format_size

POLL = 0.3
MARKS = run_view.MARKS | dict.fromkeys(("skipped", "waiting"), run_view.MARKS["coming"])


def follow(session: Session, run: dict[str, Any]) -> dict[str, Any]:
    """Tell each step as it ends, until the run is over. Ctrl-C leaves it running."""
    show = not session.json
    if show:
        click.echo(f"{screen.bold(run['id'])} {run['kind']} of {run['subject']}")
    told: set[str] = set()
    live = show and screen.is_terminal()
    drawn = False
    while True:
        for step in run["steps"]:
            if step["name"] not in told and step["state"] not in ("waiting", "running"):
                told.add(step["name"])
                if drawn:
                    click.echo("\r\033[K", nl=False)
                    drawn = False
                if show:
                    _step(step)
        now = next((s for s in run["steps"] if s["state"] == "running"), None)
        if live and now is not None:
            click.echo(f"\r\033[K  {MARKS['running']} {now['name']}{_progress(now)}", nl=False)
            drawn = True
        if run["state"] != "running":
            if drawn:
                click.echo("\r\033[K", nl=False)
            return run
        session.clock.sleep(POLL)
        run = session.client.get(f"/v1/backups/runs/{run['id']}")


def _progress(step: dict[str, Any]) -> str:
    p = step["progress"]
    if not p or not p.get("total"):
        return ""
    rate = f", {format_size(p['rate'])}/s" if p.get("rate") else ""
    where = f" into {p['repository']}" if p.get("repository") else ""
    return screen.dim(f"{where}  {p['done'] * 100 // p['total']} % of {format_size(p['total'])}{rate}")


def _step(step: dict[str, Any]) -> None:
    after = screen.dim(format_duration(step["seconds"])) if step["started_at"] else ""
    click.echo(f"  {MARKS[step['state']]} {step['name']}  {after}{_result(step)}")
    error = step["error"]
    if error:
        click.echo(f"      {screen.printable(error['sentence'])}")
        for detail in error["details"][:5]:
            click.echo(f"      {screen.printable(str(detail))}")
        if error["hint"]:
            click.echo(f"      {screen.dim('hint: ' + screen.printable(error['hint']))}")


def _result(step: dict[str, Any]) -> str:
    found = step["result"]
    if not isinstance(found, dict):
        return ""
    said: list[str] = []
    for made in found.get("made", []):
        if not isinstance(made, dict):
            continue
        what = made.get("kind") or f"{made.get('files', 0):,} files"
        rate = f", {format_size(made['rate'])}/s" if made.get("rate") else ""
        said.append(f"{made['repository']}: {what} of {format_size(made['bytes'])}{rate}")
    if "rows" in found and "failures" in found:
        said.append(f"{found['tables']:,} tables, {found['rows']:,} rows as they were")
    if found.get("removed"):
        said.append(f"{sum(map(len, found['removed'].values()))} removed")
    return screen.dim("  " + "; ".join(said)) if said else ""


def ended(run: dict[str, Any]) -> None:
    seconds = (_time(run["finished_at"]) - _time(run["started_at"])).total_seconds()
    if run["state"] == "passed":
        click.echo(
            f"{MARKS['passed']} {run['kind']} of {run['subject']} passed after {format_duration(seconds)}"
        )
        return
    error = click.style("error:", fg=screen.BAD, bold=True)
    hint = click.style("hint:", fg="cyan")
    click.echo(
        f"{error} cannot finish {run['kind']} of {run['subject']}: {screen.printable(run['reason'])}",
        err=True,
    )
    click.echo(f"{hint} homeport backup show {run['id']}", err=True)


def run(found: dict[str, Any]) -> None:
    click.echo(
        f"{screen.bold(found['id'])} {found['kind']} of {found['subject']}, by {found['actor']}, "
        f"{screen.local_time(found['started_at'])}: {screen.word(found['state'])}"
    )
    for step in found["steps"]:
        _step(step)


def runs(found: list[dict[str, Any]], now: datetime) -> None:
    screen.columns(
        ("RUN", "WHAT", "OF", "STATE", "BEGAN", "TOOK", "BY", ""),
        [
            (
                r["id"],
                r["kind"],
                r["subject"],
                screen.word(r["state"]),
                screen.ago(r["started_at"], now),
                format_duration((_time(r["finished_at"]) - _time(r["started_at"])).total_seconds())
                if r["finished_at"]
                else "",
                r["actor"],
                screen.printable(r["reason"]),
            )
            for r in found
        ],
    )


def status(found: dict[str, Any], now: datetime) -> None:
    if not found["repositories"]:
        click.echo("nothing is backed up yet: homeport backup repository add NAME DIRECTORY")
        return
    good = MARKS["passed"] if found["ok"] else MARKS["failed"]
    word = "everything could be brought back" if found["ok"] else "not everything could be brought back"
    click.echo(f"{good} {word}")
    for problem in found["problems"]:
        click.echo(f"  {MARKS['failed']} {screen.printable(problem)}")
    names = ", ".join(f"{r['name']} ({r['place']})" for r in found["repositories"])
    click.echo(f"  {'repositories:':<16}{names}")
    last = found["last"]
    if last:
        took = format_duration((_time(last["finished_at"]) - _time(last["started_at"])).total_seconds())
        click.echo(
            f"  {'last backup:':<16}{screen.word(last['state'])} {screen.ago(last['started_at'], now)}, took {took} ({last['id']})"
        )
    proven = screen.ago(found["proven_at"], now) if found["proven_at"] else "not yet"
    click.echo(f"  {'proven:':<16}{proven}")
    for look in found["looks"]:
        lost = "not known" if look["lost"] is None else f"the last {format_duration(float(look['lost']))}"
        click.echo(f"  {'would be lost:':<16}{lost} of cluster {look['cluster']}, with the machine")
    for r in found["running"]:
        click.echo(f"  {'under way:':<16}{r['kind']} of {r['subject']} ({r['id']})")


def backups(found: dict[str, Any], now: datetime) -> None:
    rows = [
        (
            b["stopped_at"],
            (
                f"cluster {b['cluster']}",
                b["repository"],
                b["label"],
                b["kind"],
                screen.ago(b["stopped_at"], now),
                format_size(b["bytes"]),
                format_size(b["stored_bytes"]),
                _proof(b["proof"], now),
            ),
        )
        for b in found["clusters"]
    ]
    rows += [
        (
            b["at"],
            (
                f"files {b['series']}",
                b["repository"],
                b["snapshot"][:10],
                "files" if b["finished"] else "unfinished",
                screen.ago(b["at"], now),
                "",
                "",
                _proof(b["proof"], now),
            ),
        )
        for b in found["files"]
    ]
    screen.columns(
        ("OF", "REPOSITORY", "BACKUP", "KIND", "WHEN", "SIZE", "STORED", "PROOF"),
        [row for _, row in sorted(rows, key=lambda r: r[0], reverse=True)],
    )
    for p in found["problems"]:
        click.echo(
            f"{MARKS['failed']} {p['repository']} ({p['of']}): {screen.printable(p['problem'])}", err=True
        )


def _proof(proof: dict[str, Any] | None, now: datetime) -> str:
    if proof is None:
        return "not proven"
    when = screen.ago(proof["at"], now)
    return f"proven {when}" if proof["passed"] else f"FAILED {when}"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
