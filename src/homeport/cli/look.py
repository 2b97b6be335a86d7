"""Commands that look."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from homeport.cli import screen
from homeport.cli.context import Session, pass_session
from homeport.cli.progress import Interrupted, short
from homeport.cli.ship import release_name
from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.kernel.units import format_duration, format_size, parse_duration

NARROW = 80
"""Columns of a terminal below which the long last column of a table stands below each row."""

BAD_SINCE = declare("cli.bad_since", Kind.INVALID, "A --since is neither a duration nor a time.")


def _is_narrow() -> bool:
    room = screen.width()
    return room is not None and room < NARROW


@click.command()
@pass_session
def status(session: Session) -> None:
    """What serves now, as observed. Exit status 1 when something wanted does not serve."""
    found = session.client.get("/v1/status")
    if session.app_option is not None:
        found["apps"] = [session.client.get(f"/v1/apps/{session.app}")]
    session.show(found, lambda s: _status(session, s))
    bad = any(e["health"] in ("down", "degraded") for a in found["apps"] for e in a["environments"])
    bad = bad or any(p["is_down"] for p in found["databases"])
    if bad or found["edge"] == "down" or found["supervisor"] == "down":
        raise click.exceptions.Exit(1)


def _status(session: Session, s: dict[str, Any]) -> None:
    listens = s["http"] + (f" and {s['https']} (TLS)" if s["https"] else "")
    head = (
        f"Homeport {s['version']} in {s['data_dir']}, edge {screen.word(s['edge'])} on {listens}, "
        f"control plane up {format_duration(s['uptime'])} with {format_size(s['memory'])}"
    )
    for line in screen.wrapped(head, 0):
        click.echo(line)
    now = session.clock.now()
    for app in s["apps"]:
        for e in app["environments"]:
            click.echo()
            _environment(e, now, session.environment)
    if not s["apps"]:
        click.echo("no apps yet: homeport deploy in an app's repository")
    for p in s["databases"]:
        click.echo()
        mark = click.style("✗", fg=screen.BAD if p["is_down"] else screen.CAREFUL)
        for line in screen.wrapped(f"{mark} {screen.printable(p['sentence'])}", 2):
            click.echo(line)
        click.echo(screen.dim(f"  {screen.printable(p['hint'])}"))


def _environment(e: dict[str, Any], now: datetime, default: str) -> None:
    traffic = f"{', '.join(e['releases']) or 'nothing'} serves"
    if e["health"] == "asleep":
        traffic = f"the next request starts {e['serving']}"
    click.echo(f"{screen.bold(e['app'])} {e['name']}: {screen.word(e['health'])}, {traffic}")
    if e["commit"]:
        click.echo(screen.dim(f"  {e['commit'][:10]} {screen.printable(e['subject'] or '')}"))
    for p in e["processes"]:
        click.echo(f"  {p['name']}: {p['serving']} of {p['wanted']}")
    for mode in e["modes"]:
        click.echo(f"  {click.style(f'{mode} is on', fg=screen.CAREFUL)}  homeport {mode} show")
    for url in e["urls"]:
        click.echo(f"  {url}")
    if e["rollback_target"]:
        flag = "" if e["name"] == default else f" --env {e['name']}"
        click.echo(screen.dim(f"  homeport rollback{flag} goes to {e['rollback_target']}"))
    change = e["change"]
    if change is not None and not change["done"]:
        click.echo(f"  {change['kind']} {change['id']} to {change['release']} runs, by {change['actor']}")
    elif change is not None:
        result = change["result"]
        when = screen.ago(change["finished_at"], now)
        click.echo(screen.dim(f"  last: {change['kind']} {change['release']}, {result['verdict']}, {when}"))


@click.command()
@pass_session
def ps(session: Session) -> None:
    """The instances of the app, with what the supervisor and the edge say of them."""
    session.show(session.client.get(session.path()), lambda e: _instances(session, e))


def _instances(session: Session, e: dict[str, Any]) -> None:
    now = session.clock.now()
    rows = []
    for i in e["instances"]:
        healthy = {True: screen.word("up"), False: screen.word("down"), None: ""}[i["healthy"]]
        traffic = f"{i['share']:.0%}" if i["port"] else "worker"
        note = i["exit"]
        if i["retire_at"]:
            left = (datetime.fromisoformat(i["retire_at"]) - now).total_seconds()
            note = f"warm for {format_duration(left)}" if left > 0 else "draining"
        rows.append(
            [
                short(i["name"]),
                screen.word(i["state"]),
                healthy,
                traffic,
                str(i["sessions"]) if i["port"] else "",
                str(i["port"] or ""),
                str(i["pid"] or ""),
                format_size(i["memory"]) if i["memory"] else "",
                format_duration(i["since"]),
                screen.dim(note),
            ]
        )
    head = ["INSTANCE", "STATE", "HEALTH", "TRAFFIC", "REQUESTS", "PORT", "PID", "MEMORY", "SINCE", ""]
    notes: list[str] = []
    if _is_narrow():
        head, notes, rows = head[:-1], [row[-1] for row in rows], [row[:-1] for row in rows]
    screen.columns(head, rows, drop=("PID", "PORT", "MEMORY", "REQUESTS", "SINCE", "HEALTH"), under=notes)
    if not rows:
        click.echo("no instances")


@click.command()
@pass_session
def releases(session: Session) -> None:
    """The app's releases, newest first."""
    session.show(session.client.get(f"/v1/apps/{session.app}/releases"), lambda r: _releases(session, r))


def _releases(session: Session, found: list[dict[str, Any]]) -> None:
    now = session.clock.now()
    rows = [
        [
            screen.bold(r["id"]) if r["serving"] else r["id"],
            screen.word(r["state"]),
            _became(r),
            r["commit"][:10] + ("+" if r["dirty"] else ""),
            format_size(r["size"]) if r["size"] else "",
            format_duration(r["build_seconds"]) if r["build_seconds"] is not None else "",
            screen.ago(r["created_at"], now),
            screen.printable(r["subject"][:50]),
        ]
        for r in found
    ]
    screen.columns(
        ["RELEASE", "FILES", "VERDICT", "COMMIT", "SIZE", "BUILD", "MADE", "SUBJECT"],
        rows,
        shorten={"SUBJECT": 10},
        drop=("SIZE", "BUILD", "FILES", "COMMIT", "MADE", "SUBJECT"),
        under=[screen.printable(r["reason"] or "") for r in found],
    )
    if not rows:
        click.echo("no releases yet: homeport deploy makes the first")


def _became(r: dict[str, Any]) -> str:
    where = [f"{screen.word('serves')} {e}" for e in r["serving"]] or [screen.word(r["verdict"])]
    return ", ".join([*where, *(f"warm in {e}" for e in r["warm"])])


@click.command()
@pass_session
def apps(session: Session) -> None:
    """All apps of this Homeport."""

    def show(found: list[dict[str, Any]]) -> None:
        rows = [
            [a["name"], e["name"], screen.word(e["health"]), e["serving"] or "", "  ".join(e["urls"][:2])]
            for a in found
            for e in a["environments"]
        ]
        head = ["APP", "ENVIRONMENT", "HEALTH", "SERVES", "URL"]
        urls: list[str] = []
        if _is_narrow():
            head, urls, rows = head[:-1], [row[-1] for row in rows], [row[:-1] for row in rows]
        screen.columns(head, rows, under=urls)
        if not rows:
            click.echo("no apps yet")

    session.show(session.client.get("/v1/status")["apps"], show)


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option("--process", help="Only this process, such as web.")
@click.option("--since", help="From then on: 10m, 2h, or a time such as 2026-11-20T14:03:00Z.")
@click.option("-n", "--lines", default=100, show_default=True, help="How many lines at the most.")
@click.option("--build", metavar="RELEASE", help="What this release's build printed, instead.")
@pass_session
def logs(
    session: Session, follow: bool, process: str | None, since: str | None, lines: int, build: str | None
) -> None:
    """What the app's instances print, those that are gone included."""
    if build is not None:
        text = session.client.text(f"/v1/apps/{session.app}/releases/{release_name(build)}/log")
        for line in text.splitlines():
            click.echo(screen.printable(line))
        return
    from_time = _since(since, session.clock.now()) if since else None
    path = session.path("/logs")
    limit = min(max(lines, 1), 10_000)
    chosen = {"process": process, "since": from_time, "limit": limit}
    if follow:
        try:
            for _, line in session.client.stream(f"{path}/stream", **chosen):
                _line(session, line)
        except KeyboardInterrupt:
            raise Interrupted from None
    found = session.client.get(path, **chosen)
    for line in found:
        _line(session, line)
    if not found and not session.json:
        _no_lines(session, since)


def _no_lines(session: Session, since: str | None) -> None:
    what = f"no lines since {since}" if since else "no lines yet"
    screen.note(
        f"{what}: here comes what the app itself prints to stdout and stderr. Requests are logged by the "
        f"edge, in {session.data_dir / 'edge' / 'access.log'}"
    )


def _line(session: Session, line: dict[str, str]) -> None:
    if session.json:
        click.echo(json.dumps(line))
    else:
        at, who = screen.clock_time(line["at"]), short(line["instance"])
        click.echo(f"{screen.dim(at)} {click.style(who, fg='cyan')} {screen.printable(line['text'])}")


def _since(text: str, now: datetime) -> str:
    try:
        at = now - timedelta(seconds=parse_duration(text))
    except ValueError:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?", text):
            raise _bad_since(text) from None
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise _bad_since(text) from None
    except OverflowError:
        raise _bad_since(text) from None
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _bad_since(text: str) -> HomeportError:
    return BAD_SINCE.error(f"cannot read --since {text!r}", hint="write 10m, 2h, or 2026-11-20T14:03:00Z")


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with new events until Ctrl-C.")
@click.option("-n", "--lines", default=30, show_default=True, help="How many at the most.")
@click.option("--all", "everything", is_flag=True, help="Of all apps.")
@pass_session
def events(session: Session, follow: bool, lines: int, everything: bool) -> None:
    """The journal: what happened, when, and by whom. With --env of that environment only."""
    app = None if everything or (session.app_option is None and session.project() is None) else session.app
    only = session.environment if session.environment_option is not None else None
    # Of one environment there may be few among many.
    found = session.client.get("/v1/events", app=app, limit=1000 if only else min(max(lines, 1), 1000))
    newest = found[-1]["seq"] if found else 0
    found = [e for e in found if only in (None, e["environment"])][-max(lines, 1) :]
    if session.json and not follow:
        click.echo(json.dumps(found, indent=2))
        return
    for event in found:
        _event(session, event)
    if not follow:
        return
    try:
        for _, event in session.client.stream("/v1/events/stream", app=app, after=newest):
            if only in (None, event["environment"]):
                _event(session, event)
    except KeyboardInterrupt:
        raise Interrupted from None


def _event(session: Session, e: dict[str, Any]) -> None:
    if session.json:
        click.echo(json.dumps(e))
        return
    where = "/".join(x for x in (e["app"], e["environment"]) if x)
    at = datetime.fromisoformat(e["at"]).astimezone().strftime("%m-%d %H:%M:%S")
    head = f"{screen.dim(at)} {screen.bold(e['kind'])} {where} {screen.dim('by ' + e['actor'])}"
    figures = [
        f"{name}={screen.printable(text)}" for name, text in map(_figure, e["data"].items()) if text != ""
    ]
    room = screen.width()
    line = "  ".join([head, *figures])
    if room is None or len(click.unstyle(line)) <= room:
        click.echo(line)
        return
    click.echo(head)
    for line in screen.wrapped("  ".join(figures), 6):
        click.echo(line)


def _figure(item: tuple[str, Any]) -> tuple[str, str]:
    """A figure of an event, short: instances without the app and environment that stand before them."""
    name, value = item
    if value in (None, "", [], {}):
        return name, ""
    match name, value:
        case "lines", [*_, last]:
            return "last line", _short_text(str(last))
        case "instance", str():
            return name, short(value) or value
        case "weights", dict():
            return name, ",".join(f"{short(i) or i}:{weight}" for i, weight in value.items())
        case "commit", str():
            return name, value[:10]
        case _, float():
            return name, json.dumps(_rounded(value)).removesuffix(".0")
        case "reason" | "answer" | "problem", str():
            return name, value
    return name, _short_text(value if isinstance(value, str) else json.dumps(_rounded(value)))


def _rounded(value: Any) -> Any:
    """With floats, however deep, of three digits that matter."""
    match value:
        case float():
            return round(value) if 1000 <= abs(value) < 1e15 else float(f"{value:.3g}")
        case dict():
            return {k: _rounded(v) for k, v in value.items()}
        case list():
            return [_rounded(v) for v in value]
    return value


def _short_text(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "…"


@click.command()
@pass_session
def doctor(session: Session) -> None:
    """Look for what is wrong on this machine and in this Homeport. Exit status 1 when something is."""
    findings = session.lifecycle.doctor(session.data_dir)
    try:
        # A control plane that cannot start on these files is not waited for.
        if all(f["ok"] for f in findings if f["name"] == "files"):
            findings += session.client.get("/v1/doctor")["findings"]
    except Exception as e:
        findings.append(
            {"name": "control plane", "ok": False, "detail": str(e), "hint": getattr(e, "hint", "")}
        )

    def show(found: list[dict[str, Any]]) -> None:
        for f in found:
            mark = click.style("✓", fg=screen.GOOD) if f["ok"] else click.style("✗", fg=screen.BAD)
            click.echo(f"{mark} {f['name']}: {f['detail']}")
            if f["hint"] and not f["ok"]:
                click.echo(f"  {click.style('hint:', fg='cyan')} {f['hint']}")

    session.show(findings, show)
    if not all(f["ok"] for f in findings):
        raise click.exceptions.Exit(1)
