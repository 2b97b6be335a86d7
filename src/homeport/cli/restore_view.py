"""Restores as people read them."""

from typing import Any

import click

from homeport.cli import backup_view, screen
from homeport.kernel.units import format_duration, format_size

MOST = 40
MOST_VERSIONS = 5


def ended(run: dict[str, Any]) -> None:
    backup_view.ended(run)
    found = {s["name"]: s["result"] for s in run["steps"] if s["state"] == "passed" and s["result"]}
    results: dict[str, Any] = {}
    for result in found.values():
        if isinstance(result, dict):
            results |= result
    if "losses" in results:
        _losses(results)
    if "differences" in results:
        _differences(results)
    for m in results.get("merged", []):
        word = "came back whole, with" if m["created"] else "got"
        click.echo(f"  {m['table']} {word} {m['inserted']:,} row(s){_updated(m)}")
        for problem in m["problems"]:
            screen.note(f"could not be made again: {screen.printable(problem)}")
    if run["state"] != "passed" and not (results.get("kept") or results.get("kept_files")):
        return
    _moment(results)
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


def _moment(results: dict[str, Any]) -> None:
    if "label" not in results:
        return
    last = results.get("last_commit_at") or results.get("heartbeat_at")
    until = f", up to {screen.local_time(last)}" if last else ""
    click.echo(f"  from backup {results['label']} in repository {results['repository']}{until}")
    for passed in results.get("passed_over", []):
        screen.note(f"passed over: {screen.printable(passed)}")


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
    click.echo(
        f"  {screen.dim('homeport restore merge ' + results['schema'] + ' --missing [--changed] brings rows over')}"
    )
    click.echo(f"  {screen.dim('homeport restore drop ' + results['schema'] + ' removes the schema')}")


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
            ("NAME", "KIND", "OF", "CLUSTER", "SIZE", "RUN"),
            [
                (k["name"], k["kind"], k["database"], k["cluster"], format_size(k["bytes"]), k["run"])
                for k in found["kept"]
            ],
        )
    else:
        click.echo("nothing is kept")
    for problem in found["problems"]:
        click.echo(f"{backup_view.MARKS['failed']} {screen.printable(problem)}", err=True)
