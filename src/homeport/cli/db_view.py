"""Databases printed for people."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from homeport.cli import screen
from homeport.kernel.units import format_duration, format_size

COLOURS = {
    "ready": screen.GOOD,
    "held": screen.CAREFUL,
    "down": screen.BAD,
    "kept": screen.DIM,
    "critical": screen.BAD,
    "warning": screen.CAREFUL,
    "notice": screen.DIM,
    "done": screen.GOOD,
    "failed": screen.BAD,
    "refused": screen.BAD,
    "timed out": screen.BAD,
}
Row = dict[str, Any]


def word(text: str) -> str:
    return click.style(text, fg=COLOURS[text]) if text in COLOURS else text


def databases(found: Sequence[Row], *, all_apps: bool) -> None:
    """``all_apps``: with a column for the app."""
    screen.columns(
        ("APP", "ENVIRONMENT", "NAME", "STATE", "ENGINE", "SIZE", "CONNECTIONS", "POOL", "DATABASE", "WHERE"),
        [
            (
                d["app"] if all_apps else "",
                d["environment"],
                d["name"],
                word(d["state"]),
                engine(d),
                format_size(d["bytes"]) if d["bytes"] is not None else "",
                connections(d),
                pool(d),
                d["database"] or "",
                screen.printable(d["where"]),
            )
            for d in found
        ],
        shorten={"WHERE": 12},
        drop=("ENGINE",),
        under=[note(d) for d in found],
    )
    if not found:
        click.echo("no databases; [database.main] in homeport.toml gives an app one", err=True)


def engine(d: Row) -> str:
    """``postgresql 15.18, attached``"""
    version = f" {d['version']}" if d["version"] else ""
    return f"{d['engine']}{version}{', attached' if d['kind'] == 'attached' else ''}"


def connections(d: Row) -> str:
    """At the server: ``3 of 8``."""
    if d["connections"] is None:
        return ""
    allowed = d["connections_allowed"]
    return f"{d['connections']} of {allowed}" if allowed is not None else str(d["connections"])


def pool(d: Row) -> str:
    if not d["pool"] or d["pool"] == "none" or d["clients"] is None:
        return d["pool"] or ""
    waiting = f", {d['waiting']} wait" if d["waiting"] else ""
    return f"{d['pool']}: {d['clients']} client{'s' if d['clients'] != 1 else ''}{waiting}"


def note(d: Row) -> str:
    if d["problem"]:
        return screen.printable(d["problem"])
    if d["state"] == "kept":
        return f"nothing uses it; homeport db drop {d['database']} takes it away"
    if d["rotating_since"]:
        return f"its former login is valid still, since {screen.local_time(d['rotating_since'])}"
    return ""


def holders(rotation: Row) -> str:
    """Who may have the former login."""
    told = []
    if not rotation["serves"]:
        told.append("the app has it, and is given the new one as soon as it can")
    if rotation["warm"]:
        told.append(f"{_count(rotation['warm'], 'instance')} kept warm for a way back")
    if rotation["others"]:
        told.append(_count(rotation["others"], "instance, run or command", "instances, runs or commands"))
    return "; ".join(told) or "a change is under way"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def sizes(found: Row, most: int) -> None:
    rows = []
    for table in found["tables"][:most]:
        total = [table["bytes"], *(i["bytes"] for i in table["indexes"])]
        known = [x for x in total if x is not None]
        rows.append(
            (
                screen.printable(table["name"]),
                table["kind"],
                f"{table['rows']:,.0f}" if table["rows"] is not None else "",
                _size(table["bytes"]),
                _size(sum(known)) if known else "",
            )
        )
        rows += [
            (f"  {screen.printable(i['name'])}", "index", "", _size(i["bytes"]), "") for i in table["indexes"]
        ]
    screen.columns(("TABLE", "KIND", "ROWS", "SIZE", "WITH INDEXES"), rows, shorten={"TABLE": 20})
    left = len(found["tables"]) - most
    more = f", {_count(left, 'table')} more" if left > 0 else ""
    click.echo(f"{format_size(found['bytes'])} in all{more}")
    if not found["exact"]:
        screen.note("as of the last VACUUM or ANALYZE: somebody locks a table just now")


def _size(size: int | None) -> str:
    return format_size(size) if size is not None else ""


def insight(found: Row) -> None:
    f = found["figures"]
    hits = f", {f['cache_hits']:.1%} of blocks from the cache" if f.get("cache_hits") is not None else ""
    click.echo(
        f"{screen.bold(found['database'])} PostgreSQL {found['version']}, {format_size(f['bytes'])}, "
        f"{f['connections']} of {f['max_connections']} connections{hits}"
    )
    if found["growth"]:
        g = found["growth"]
        click.echo(
            f"{format_size(g['before'])} on {screen.local_time(g['since'])[:10]}, {format_size(g['now'])} now"
        )
    for finding in found["findings"]:
        click.echo()
        head = f"{word(finding['severity'])} {finding['rule']}: {screen.printable(finding['sentence'])}"
        for line in screen.wrapped(head, 0):
            click.echo(line)
        for line in mend(finding["mend"]):
            click.echo(f"  {line}")
    click.echo()
    if not found["findings"]:
        click.echo(click.style("nothing is wrong", fg=screen.GOOD))
    queries(found["queries"])
    for s in found["skipped"]:
        click.echo(screen.dim(f"not looked at: {s['rule']}: {screen.printable(s['reason'])}"))


def mend(m: Row) -> list[str]:
    """What to do, what that locks, and when not to."""
    lines = [screen.printable(line) for line in m["statement"].splitlines()]
    if m["note"]:
        lines.append(screen.printable(m["note"]))
    when = "" if m["safe"] else "; not while the app is under load"
    if m["statement"]:
        lines.append(screen.dim(f"locks: {screen.printable(m['locks'])}{when}"))
    return lines


def queries(found: Sequence[Row]) -> None:
    """But for Homeport's own."""
    found = [q for q in found if q["user"] != "homeport"]
    if not found:
        return
    click.echo("Statements that took most time in all:")
    screen.columns(
        ("SHARE", "CALLS", "MEAN", "STATEMENT"),
        [
            (
                f"{q['share']:.0%}",
                f"{q['calls']:,}",
                f"{q['mean'] * 1000:.1f} ms",
                screen.printable(" ".join(q["text"].split()))[:160],
            )
            for q in found[:5]
        ],
        shorten={"STATEMENT": 20},
    )


def maintenance(found: Sequence[Row], now: datetime) -> None:
    screen.columns(
        ("DATABASE", "NAME", "WHAT", "SCHEDULE", "NEXT", "LAST", "TOOK"),
        [
            (
                u["database"],
                u["name"],
                f"{u['kind']} {u['target']}".rstrip(),
                u["schedule"] if u["timezone"] == "UTC" else f"{u['schedule']} {u['timezone']}",
                screen.local_time(u["next"]) if u["next"] else "",
                last(u, now),
                format_duration(u["last"]["seconds"]) if u["last"] and not u["running"] else "",
            )
            for u in found
        ],
        under=[_problem(u) for u in found],
    )
    if not found:
        click.echo(
            "no upkeep by the clock; [database.main.maintenance] in homeport.toml asks for it", err=True
        )


def last(u: Row, now: datetime) -> str:
    if u["running"]:
        return "runs"
    if not u["last"]:
        return ""
    return f"{word(u['last']['state'])} {screen.ago(u['started_at'], now)}"


def _problem(u: Row) -> str:
    if not u["last"] or u["running"]:
        return ""
    told = [u["last"]["problem"], u["last"]["hint"]]
    before, after = u["last"]["bytes_before"], u["last"]["bytes_after"]
    if before is not None and after is not None and before != after:
        told.append(f"{format_size(before)} before, {format_size(after)} after")
    return screen.printable("; ".join(t for t in told if t))
