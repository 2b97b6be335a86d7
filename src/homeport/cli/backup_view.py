"""Backups, runs and proofs as people read them."""

from datetime import datetime
from typing import Any

import click

from homeport.cli import run_view, screen
from homeport.cli.context import Session
from homeport.kernel.units import format_duration, format_size

POLL = 0.3
OWN = "homeport"
"""The series of Homeport's own state."""
MISSED = "drill.targets_missed"
MARKS = run_view.MARKS | dict.fromkeys(("skipped", "waiting"), run_view.MARKS["coming"])


def follow(session: Session, run: dict[str, Any]) -> dict[str, Any]:
    """Tell each step as it ends, until the run is over. Ctrl-C leaves it running, and says so."""
    try:
        return _follow(session, run)
    except KeyboardInterrupt:
        id = run["id"]
        click.echo(f"\nit goes on: homeport backup show {id}; homeport backup cancel {id} ends it", err=True)
        raise


def _follow(session: Session, run: dict[str, Any]) -> dict[str, Any]:
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
    if p and p.get("waits"):
        return screen.dim(f"  waits: {screen.printable(p['waits'])}")
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
        said.append(_as_they_were(found))
        if found.get("rate"):
            said.append(f"restored at {format_size(found['rate'])}/s")
        if found.get("paused"):
            said.append(f"held back for {format_duration(found['paused'])}")
    if found.get("removed"):
        said.append(f"{sum(map(len, found['removed'].values()))} removed")
    return screen.dim("  " + "; ".join(said)) if said else ""


def _as_they_were(found: dict[str, Any]) -> str:
    """What a proof compared: of files how many, of databases their rows."""
    said = []
    # A dump is made of files of its own, that nobody knows.
    if found.get("files") and str(found.get("series", "")).count(".") < 2:
        said.append(f"{found['files']:,} files, {format_size(found['bytes'])}, SHA-256")
    if found["tables"] or not said:
        said.append(f"{found['tables']:,} tables, {found['rows']:,} rows")
    return f"{'; '.join(said)} as they were"


def ended(run: dict[str, Any]) -> None:
    seconds = (_time(run["finished_at"]) - _time(run["started_at"])).total_seconds()
    if run["state"] == "passed":
        click.echo(
            f"{MARKS['passed']} {run['kind']} of {run['subject']} passed after {format_duration(seconds)}"
        )
        return
    error = click.style("error:", fg=screen.BAD, bold=True)
    hint = click.style("hint:", fg="cyan")
    missed = next((s["error"] for s in run["steps"] if (s["error"] or {}).get("code") == MISSED), None)
    if missed:
        why = missed["sentence"].rpartition("missed its target: ")[2]
        click.echo(
            f"{error} drill {run['subject']} passed its steps and missed its target: {screen.printable(why)}",
            err=True,
        )
        click.echo(f"{hint} homeport drill show {run['id']}", err=True)
        return
    click.echo(
        f"{error} cannot finish {run['kind']} of {run['subject']}: {screen.printable(run['reason'])}",
        err=True,
    )
    command = "drill" if run["kind"] == "drill" else "backup"
    click.echo(f"{hint} homeport {command} show {run['id']}", err=True)


def run(found: dict[str, Any]) -> None:
    click.echo(
        f"{screen.bold(found['id'])} {found['kind']} of {found['subject']}, by {found['actor']}, "
        f"{screen.local_time(found['started_at'])}: {screen.word(found['state'])}"
    )
    for step in found["steps"]:
        _step(step)
    if found["state"] == "cancelled" and not any(s["error"] for s in found["steps"]):
        click.echo(f"  {screen.printable(found['reason'])}")


def what(run: dict[str, Any]) -> str:
    """Its kind; of a restore which of them."""
    request = run["request"]
    if run["kind"] != "restore":
        return str(run["kind"])
    for key, word in (("plan", "--plan"), ("tables", "--table"), ("schema", "merge"), ("paths", "--files")):
        if request.get(key):
            return f"restore {word}"
    return "restore"


def runs(found: list[dict[str, Any]], now: datetime) -> None:
    screen.columns(
        ("RUN", "WHAT", "OF", "STATE", "BEGAN", "TOOK", "BY"),
        [
            (
                r["id"],
                what(r),
                r["subject"],
                screen.word(r["state"]),
                screen.ago(r["started_at"], now),
                format_duration((_time(r["finished_at"]) - _time(r["started_at"])).total_seconds())
                if r["finished_at"]
                else "",
                r["actor"],
            )
            for r in found
        ],
        shorten={"OF": 10},
        drop=("BY", "TOOK"),
        under=[screen.printable(r["reason"]) for r in found],
    )


def status(found: dict[str, Any], now: datetime) -> None:
    if not found["repositories"]:
        click.echo("nothing is backed up yet: homeport backup repository add NAME DIRECTORY")
        return
    good = MARKS["passed"] if found["ok"] else MARKS["failed"]
    word = (
        "everything could be brought back" if found["recoverable"] else "not everything could be brought back"
    )
    word += ", but:" if found["recoverable"] and not found["ok"] else ""
    click.echo(f"{good} {word}")
    for problem in found["problems"]:
        click.echo(f"  {MARKS['failed']} {screen.printable(problem)}")
    for warning in found.get("warnings", ()):
        screen.note(screen.printable(warning))
    names = ", ".join(f"{r['name']} ({r['place']}{_and_locked(r['lock'])})" for r in found["repositories"])
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
        wanted = f"; at most {format_duration(look['rpo'])} wanted"
        if not look["backed_up"]:
            lost, wanted = "all", ", until it has a backup"
        click.echo(f"  {'would be lost:':<16}{lost} of cluster {look['cluster']}, with the machine{wanted}")
    label = "" if found["looks"] else "would be lost:"
    for line in _files(found["files"], now):
        click.echo(f"  {label:<16}{line}, with the machine")
        label = ""
    for r in found["running"]:
        click.echo(f"  {'under way:':<16}{r['kind']} of {r['subject']} ({r['id']})")


def _files(found: list[dict[str, Any]], now: datetime) -> list[str]:
    """From when on Homeport's own state would be lost, and files: of those that were backed up the longest ago."""
    told = []
    for what, some in (
        ("state", [f for f in found if f["series"] == OWN]),
        ("files", [f for f in found if f["series"] != OWN]),
    ):
        never = [f["series"] for f in some if f["at"] is None]
        if never:
            told.append("the state" if what == "state" else f"all files of {', '.join(never)}")
        elif some:
            oldest = min((f["at"] for f in some), key=_time)
            told.append(f"{what} since {screen.local_time(oldest)} ({screen.ago(oldest, now)})")
    return told


def history(found: list[dict[str, Any]]) -> None:
    for one in found:
        if one["cluster"]:
            click.echo(screen.bold(f"cluster {one['cluster']}"))
        screen.columns(
            (
                "DAY (UTC)",
                "COULD BE LOST",
                "PROOF WAS OLD",
                "PROOFS",
                "RESTORED IN",
                "DRILLS",
                "LOST",
                "BACK AFTER",
            ),
            [
                (
                    d["day"],
                    _seconds(d["rpo"]),
                    _seconds(d["proof_age"]),
                    _count(d["proofs"], d["proofs_failed"]),
                    _seconds(d["restore"]),
                    _count(d["drills"], d["drills_failed"]),
                    _seconds(d["drill_rpo"]),
                    _seconds(d["rto"]),
                )
                for d in _since_the_first(one["days"])
            ],
            drop=("LOST", "RESTORED IN", "PROOF WAS OLD"),
        )
    click.echo(screen.dim("the most, the longest and the oldest of each day"))


def _since_the_first(days: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the days before anything was known; the newest stays."""
    known = [n for n, d in enumerate(days) if any(v for k, v in d.items() if k != "day")]
    return days[: max(known, default=0) + 1]


def _seconds(value: float | None) -> str:
    return "-" if value is None else format_duration(value)


def _count(passed: int, failed: int) -> str:
    return f"{passed} passed, {failed} failed" if failed else f"{passed} passed" if passed else "-"


def files(found: dict[str, Any], now: datetime) -> None:
    for f in found["files"]:
        size = "link" if f["kind"] == "link" else format_size(f["bytes"])
        click.echo(
            f"{size:>10}  {screen.printable(f['path'])}{'  (SQLite)' if f['kind'] == 'sqlite' else ''}"
        )
    more = found["found"] - len(found["files"])
    if more:
        screen.note(f"and {more} more: name a part of the path")
    files = f"{found['of']} file{'' if found['of'] == 1 else 's'}"
    told = files if found["found"] == found["of"] else f"{found['found']} of {files}"
    screen.note(
        f"{told}, {format_size(found['bytes'])}, in backup {found['snapshot'][:10]} of {screen.ago(found['at'], now)}"
        f" ({screen.local_time(found['at'])}) in {found['repository']}"
    )


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
                f"files {b['series']}{' (removed)' if b.get('removed') else ''}",
                b["repository"],
                b["snapshot"][:10],
                "files" if b["finished"] else "unfinished",
                screen.ago(b["at"], now),
                format_size(b["bytes"]) if b.get("bytes") is not None else "",
                "",
                _proof(b["proof"], now),
            ),
        )
        for b in found["files"]
    ]
    screen.columns(
        ("OF", "REPOSITORY", "BACKUP", "KIND", "WHEN", "SIZE", "STORED", "PROOF"),
        [row for _, row in sorted(rows, key=lambda r: r[0], reverse=True)],
        shorten={"OF": 12, "REPOSITORY": 8},
        drop=("STORED", "KIND", "SIZE", "WHEN"),
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


def locked(lock: dict[str, Any] | None) -> str:
    """For how long, as the store had it when it was looked at last."""
    if lock is None:
        return ""
    return f"{lock['days']} d ({lock['mode'].lower()})" if lock["days"] else "no longer"


def _and_locked(lock: dict[str, Any] | None) -> str:
    if lock is None:
        return ""
    return f", locked for {locked(lock)}" if lock["days"] else ", no longer locked"


def undeleted(found: dict[str, Any]) -> None:
    count = found["deleted"] + found["overwritten"]
    if not count:
        click.echo("nothing was deleted or overwritten since then, or it came back already")
        return
    said = f"{found['deleted']:,} files that were deleted, {found['overwritten']:,} that were overwritten"
    click.echo(f"{said}: {'they are back as they were' if found['done'] else 'they would come back'}")
    for key in found["files"]:
        click.echo(f"  {screen.printable(key)}")
    if count > len(found["files"]):
        click.echo(f"  and {count - len(found['files']):,} more")
    if found["done"]:
        click.echo("Whether it can be restored: homeport backup status --now, homeport backup prove")
