"""Restores as people read them."""

from datetime import datetime
from typing import Any

import click

from homeport.cli import backup_view, screen
from homeport.kernel.units import format_duration, format_size

MOST = 40
MOST_VERSIONS = 5


def ended(run: dict[str, Any]) -> None:
    looked = run["request"].get("plan") and run["state"] == "passed"
    if not looked:
        backup_view.ended(run)
    _results(run)
    if looked:
        took = format_duration(_seconds(run["started_at"], run["finished_at"]))
        click.echo(f"{backup_view.MARKS['passed']} nothing was changed; it took {took} to find out")


def shown(run: dict[str, Any]) -> None:
    """A run of the past: what was asked, its steps, what came of them."""
    backup_view.run(run)
    for line in asked(run["request"]):
        click.echo(f"  {screen.printable(line)}")
    _results(run)


def asked(request: dict[str, Any]) -> list[str]:
    """What a restore was asked for, in words."""
    said = []
    if "schema" in request:
        which = " and ".join(w for w in ("missing", "changed") if request.get(w))
        return [f"asked: {which} rows of {request['schema']}, over to what serves"]
    what = "the files" if "paths" in request else f"database {request.get('database', '')}"
    if "cluster" in request:
        what = f"cluster {request['cluster']}"
    if request.get("tables"):
        what = f"{', '.join(request['tables'])} of {what}, beside"
    target = request.get("target") or request.get("dump") or {}
    said.append(
        f"asked: {what}, to {_target(target)}{', only to see (--plan)' if request.get('plan') else ''}"
    )
    if request.get("paths"):
        said.append(f"paths: {', '.join(request['paths'])}")
    return said


def _target(target: dict[str, Any]) -> str:
    kind = target.get("kind")
    if kind == "backup":
        return f"the end of backup {target['label']}"
    if "snapshot" in target:
        return f"the dump of {screen.local_time(target['at'])}"
    if kind == "point":
        return f"before a change of the schema at {screen.local_time(target['at'])}"
    return screen.local_time(target["at"]) if target.get("at") else "the newest moment there was"


def _results(run: dict[str, Any]) -> None:
    found = {s["name"]: s["result"] for s in run["steps"] if s["state"] == "passed" and s["result"]}
    results: dict[str, Any] = {}
    for result in found.values():
        if isinstance(result, dict):
            results |= result
    if "losses" in results:
        _losses(results)
    for database in results.get("databases", []):
        _of_cluster(database)
    if "looked_at" in results:
        _files(results["looked_at"])
    if "differences" in results:
        _differences(results)
    for m in results.get("merged", []):
        if m.get("left"):
            screen.note(
                f"{screen.printable(m['table'])} is as it was: {m['left']}, so its rows cannot be told apart; "
                "bring them over by hand: homeport db shell"
            )
            continue
        word = "came back whole, with" if m["created"] else "got"
        click.echo(f"  {m['table']} {word} {m['inserted']:,} row(s){_updated(m)}")
        for problem in m["problems"]:
            screen.note(f"could not be made again: {screen.printable(problem)}")
    if run["state"] != "passed" and not (results.get("kept") or results.get("kept_files")):
        return
    if run["request"].get("plan"):
        _between(run, results)
    _moment(results)
    _dump(results)
    if "rows" in results and results.get("kept"):
        click.echo(f"  {results['tables']:,} tables with {results['rows']:,} rows, as they are in the copy")
    if "snapshot" in results:
        click.echo(
            f"  {results['files']:,} files of {format_size(results['bytes'])}, as they were at "
            f"{screen.local_time(results['at'])}, from {results['snapshot'][:10]} in repository {results['repository']}"
        )
        if results["moving"]:
            screen.note(f"{results['moving']} of them changed while they were backed up")
    if results.get("kept_files"):
        kept_in = results.get("kept_in", [])
        for path in kept_in[:MOST_VERSIONS]:
            click.echo(
                f"  the former files are in {screen.printable(path)}; copy from there what you want back"
            )
        if len(kept_in) > MOST_VERSIONS:
            click.echo(f"  and {len(kept_in) - MOST_VERSIONS} more beside")
        click.echo(
            f"  {screen.dim('homeport restore drop ' + results['kept_files'] + ' removes the former files')}"
        )
    if results.get("kept"):
        held = results.get("held")
        waited = f"; requests waited for {format_duration(held)}" if held else ""
        click.echo(f"  {results['kept']} is what served before{waited}")
        click.echo(f"  {screen.dim('homeport restore drop ' + results['kept'] + ' removes it')}")
    if results.get("cut_off"):
        screen.note(f"{results['cut_off']} connection(s) past the pooler were ended")
    if results.get("read_only_seconds") is not None:
        click.echo(f"  it was read-only for {format_duration(results['read_only_seconds'])}")
    _versions(results)


def _between(run: dict[str, Any], results: dict[str, Any]) -> None:
    """The time whose writes a return would throw away."""
    target = run["request"].get("target") or run["request"].get("dump") or {}
    at = target.get("at") or results.get("last_commit_at") or results.get("heartbeat_at")
    if not at:
        return
    ago = format_duration(max(0.0, _seconds(at, run["started_at"])))
    lost = results.get("losses") or any(d["losses"] or d["problem"] for d in results.get("databases", []))
    since = f"everything written since {screen.local_time(at)} ({ago}) would be gone"
    same = f"it would go back to {screen.local_time(at)}, {ago} before this was asked"
    click.echo(f"  {since if lost else same}")


def _seconds(first: str, then: str) -> float:
    return (datetime.fromisoformat(then) - datetime.fromisoformat(first)).total_seconds()


def _moment(results: dict[str, Any]) -> None:
    if "label" not in results:
        return
    last = results.get("last_commit_at") or results.get("heartbeat_at")
    until = f", up to {screen.local_time(last)}" if last else ""
    click.echo(f"  from backup {results['label']} in repository {results['repository']}{until}")
    for passed in results.get("passed_over", []):
        screen.note(f"passed over: {screen.printable(passed)}")


def _of_cluster(found: dict[str, Any]) -> None:
    """What of one database would be lost with the return of its cluster."""
    name = f"{found['app']} {found['environment']} {found['name']}"
    if found["problem"]:
        click.echo(f"  {name}: {found['rows']:,} rows in {found['tables']:,} tables then; now is not known")
        screen.note(screen.printable(found["problem"]))
        return
    click.echo(f"  {name}:" if found["was_there"] else f"  {name} was not there then, and would be empty:")
    _losses(found)


def _dump(results: dict[str, Any]) -> None:
    """Of a database that somebody else runs."""
    if "dump" not in results:
        return
    dump = results["dump"]
    click.echo(
        f"  from the dump of {screen.local_time(dump['at'])} ({dump['snapshot'][:10]} in repository "
        f"{dump['repository']}): it goes back to that, not to a moment after it"
    )
    if results.get("unsure"):
        screen.note(results["unsure"])
    for problem in results.get("in_the_way", []):
        screen.note(screen.printable(problem))
    left_out = results.get("left_out", [])
    for what in left_out[:MOST_VERSIONS]:
        screen.note(f"not brought back, its login may not make it: {screen.printable(what)}")
    if len(left_out) > MOST_VERSIONS:
        screen.note(f"and {len(left_out) - MOST_VERSIONS} more; --json has all")


def _files(found: dict[str, Any]) -> None:
    """Which files a return would change."""
    words = (
        ("goes", "would go, and be kept beside"),
        ("comes", "would come back"),
        ("changes", "would be as they were then"),
    )
    for key, word in words:
        some = found[key]
        if not some["files"]:
            continue
        click.echo(f"  {some['files']:,} {'file' if some['files'] == 1 else 'files'} {word}:")
        for path in some["names"][:MOST]:
            click.echo(f"    {screen.printable(path)}")
        if some["files"] > MOST:
            click.echo(f"    and {some['files'] - MOST:,} more; --json has {len(some['names']):,}")
    if not any(found[key]["files"] for key, _ in words):
        click.echo(f"  all {found['files']:,} files are the same")
    for path in found["databases"]:
        click.echo(f"  {screen.printable(path)} is a SQLite file, not compared, and would be as it was then")
    click.echo(
        f"  from {found['from'][:10]} in repository {found['repository']}, of {screen.local_time(found['at'])}"
    )


def _losses(results: dict[str, Any]) -> None:
    losses = results["losses"]
    if not losses:
        click.echo(f"  nothing would be lost: all {results['tables']:,} tables are the same")
        return
    click.echo(f"  {len(losses)} of {results['tables']:,} tables would be otherwise:")
    screen.columns(
        ("TABLE", "ROWS NOW", "ROWS THEN", "LOST", "BACK", "CHANGED"),
        [
            (
                screen.printable(k["table"]),
                "not there" if k["now"] < 0 else f"{k['now']:,}",
                "not there" if k["then"] < 0 else f"{k['then']:,}",
                _count(k["lost"]),
                _count(k["back"]),
                _count(k["changed"]),
            )
            for k in losses[:MOST]
        ],
    )
    _uncounted(losses[:MOST])
    if len(losses) > MOST:
        click.echo(f"  and {len(losses) - MOST} more; --json has all")


def _updated(merged: dict[str, Any]) -> str:
    return f"; {merged['updated']:,} changed back" if merged["updated"] else ""


def _differences(results: dict[str, Any]) -> None:
    click.echo(f"  in schema {results['schema']}, compared with what serves:")
    screen.columns(
        ("TABLE", "ROWS NOW", "ROWS THEN", "MISSING", "CHANGED", "NEW"),
        [
            (
                screen.printable(d["table"]),
                "not there" if d["now"] is None else f"{d['now']:,}",
                f"{d['then']:,}",
                _count(d["missing"]),
                _count(d["changed"]),
                _count(d["extra"]),
            )
            for d in results["differences"]
        ],
    )
    _uncounted(results["differences"])
    click.echo(
        f"  {screen.dim('homeport restore merge ' + results['schema'] + ' --missing [--changed] brings rows over')}"
    )
    click.echo(f"  {screen.dim('homeport restore drop ' + results['schema'] + ' removes the schema')}")


def _uncounted(tables: list[dict[str, Any]]) -> None:
    for t in tables:
        if t.get("why"):
            screen.note(f"rows of {screen.printable(t['table'])} were not counted one by one: {t['why']}")


def _count(number: int | None) -> str:
    return "not counted" if number is None else f"{number:,}"


def _versions(results: dict[str, Any]) -> None:
    versions = results.get("migrations") or []
    if not versions:
        return
    more = f" and {len(versions) - MOST_VERSIONS} more" if len(versions) > MOST_VERSIONS else ""
    names = ", ".join(versions[:MOST_VERSIONS])
    screen.note(
        f"the schema then lacks {names}{more}, which the release that serves may need: homeport migrate up applies "
        "them again; homeport rollback RELEASE --with-database takes both back"
    )


def kept(found: dict[str, Any]) -> None:
    if found["kept"]:
        screen.columns(
            ("NAME", "KIND", "OF", "MADE", "CLUSTER", "SIZE", "RUN"),
            [
                (
                    k["name"],
                    k["kind"],
                    " ".join(x for x in (k["app"], k["environment"], k["database"]) if x),
                    screen.local_time(k["at"])[:16] if k["at"] else "",
                    k["cluster"],
                    format_size(k["bytes"]),
                    k["run"],
                )
                for k in found["kept"]
            ],
            shorten={"OF": 10},
            drop=("RUN", "CLUSTER", "SIZE", "KIND"),
        )
    else:
        click.echo("nothing is kept")
    for problem in found["problems"]:
        click.echo(f"{backup_view.MARKS['failed']} {screen.printable(problem)}", err=True)
