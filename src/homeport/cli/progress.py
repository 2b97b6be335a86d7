"""A change as it happens, and its end: the verdict decides the exit status."""

import json
from collections.abc import Callable
from typing import Any

import click

from homeport.cli import screen, trial
from homeport.cli.context import Session
from homeport.kernel.errors import EXIT_INTERRUPTED, HomeportError, Kind
from homeport.kernel.units import format_duration, format_size


class Interrupted(click.exceptions.Exit):
    def __init__(self) -> None:
        super().__init__(EXIT_INTERRUPTED)


def follow(session: Session, change: dict[str, Any], *, quiet: bool = False) -> None:
    """Show a change until its verdict; exits with status 7 when it was not kept.

    Ctrl-C leaves the change running and says so.
    """
    printer = _Printer(show=not (session.json or quiet))
    final = await_end(session, change, printer.tell, printer.close)
    if session.json:
        click.echo(json.dumps(final, indent=2))
    else:
        _verdict(session, final, printer)
    if final["result"]["verdict"] == "rolled back":
        raise click.exceptions.Exit(Kind.ROLLED_BACK.exit_status)


def await_end(
    session: Session,
    change: dict[str, Any],
    tell: Callable[[str, dict[str, Any]], None],
    close: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The change as it ended; ``tell`` gets all that its stream tells. Ctrl-C leaves it running."""
    final = change
    try:
        for kind, data in session.client.stream(f"/v1/changes/{change['id']}/stream"):
            if kind == "done":
                final = data
                break
            tell(kind, data)
    except KeyboardInterrupt:
        close()
        where = flags(session, change)
        screen.note(
            f"{change['kind']} {change['id']} goes on without this terminal; homeport events -f{where} shows "
            f"it, homeport cancel{where} takes it back"
        )
        raise Interrupted from None
    close()
    return final


def flags(session: Session, change: dict[str, Any]) -> str:
    """The options that a command needs to mean the environment of ``change``, from where the user is."""
    app = f" --app {change['app']}" if session.app_option is not None else ""
    named = session.environment_option is not None or change["environment"] != session.environment
    return app + (f" --env {change['environment']}" if named else "")


def _what_serves(session: Session, change: dict[str, Any]) -> str:
    """What the release of before does now. An exclusive worker had to stop for the new one: then it comes back just
    now. Where nothing of a routed process is up, the edge has nobody to send requests to."""
    serving, name = change["result"]["serving"], change["environment"]
    on = f"{serving} serves {name} on"
    try:
        found = session.client.get(f"/v1/apps/{change['app']}/environments/{name}")
    except HomeportError:
        return on
    if any(p["routed"] and p["serving"] == 0 < p["wanted"] for p in found["processes"]):
        return f"{serving} does not serve {name} either: homeport ps{flags(session, change)}"
    missing = [p["name"] for p in found["processes"] if p["serving"] < p["wanted"]]
    return f"{on}; {', '.join(missing)} starts again" if missing else f"{on}, untouched"


def _verdict(session: Session, change: dict[str, Any], printer: "_Printer") -> None:
    result = change["result"]
    after = format_duration(result["seconds"])
    if result["verdict"] == "promoted":
        environment = session.client.get(f"/v1/apps/{change['app']}/environments/{change['environment']}")
        serving = result["serving"] or change["release"]
        by_now = environment["releases"] or [environment["serving"]]
        mark = click.style("✓", fg=screen.GOOD)
        urls = "  ".join(environment["urls"][:3])
        click.echo(
            f"{mark} {screen.bold(serving)} serves {change['environment']} after {after}  {urls}".rstrip()
        )
        if serving not in by_now:
            # What came after was no part of it, such as a roll-back by what is watched.
            screen.note(
                f"{', '.join(filter(None, by_now)) or 'nothing'} serves {change['environment']} by now"
            )
        before = printer.before
        if change["kind"] == "rollback" and before not in (None, change["release"]):
            forward = f"homeport rollback {before}{flags(session, change)}"
            click.echo(screen.dim(f"  {forward} goes forward to {before} again"))
        return
    if result["verdict"] == "migrated":
        mark = click.style("✓", fg=screen.GOOD)
        click.echo(f"{mark} {screen.bold(change['environment'])} is migrated after {after}")
        return
    failure = change["failure"] or {
        "sentence": "cannot go on: no reason was recorded",
        "hint": "",
        "lines": [],
    }
    # A build's last lines are those that were shown as it ran.
    for line in [] if (printer.showed_build or printer.showed_hook) else failure["lines"]:
        click.echo(f"  {screen.dim('│')} {screen.printable(line)}", err=True)
    click.echo(
        f"{click.style('error:', fg=screen.BAD, bold=True)} {screen.printable(failure['sentence'])}", err=True
    )
    if result["serving"]:
        click.echo(
            f"       {_what_serves(session, change)} ({after})",
            err=True,
        )
    else:
        click.echo(f"       nothing serves {change['environment']} yet ({after})", err=True)
    if failure["hint"]:
        click.echo(f"{click.style('hint:', fg='cyan')} {screen.printable(failure['hint'])}", err=True)


class _Printer:
    """One line a step; build output indented below it. The reason of a failure is left to the verdict."""

    def __init__(self, *, show: bool) -> None:
        self._show = show
        self._partial = ""
        self._live = trial.Live()
        self._output = False
        self.showed_build = False
        """Whether the build failed, and all that it printed was shown."""
        self.showed_hook = False
        """Whether a hook failed, and what it printed was shown."""
        self.before: str | None = None
        """The release that served when the change began."""

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "change.started":
            self.before = data["data"]["before"]
        if not self._show:
            return
        if kind == "trial":
            self._live.tell(data)
            return
        self._live.clear()
        if kind == "output":
            self._output = True
            text = self._partial + data["text"]
            *lines, self._partial = text.split("\n")
            for line in lines:
                click.echo(f"  {screen.dim('│')} {screen.printable(line.rstrip(chr(13)))}")
            return
        self.close()
        if kind == "build.failed":
            self.showed_build = self._output
        if kind == "change.failed" and self.showed_build:
            return
        line = sentence(kind, data["data"])
        if kind == "canary.step":
            self._live.step(data["data"]["step"])
        if kind == "hook.finished":
            if not self._output:
                for text in data["data"]["lines"]:
                    click.echo(f"  {screen.dim('│')} {screen.printable(text)}")
            self.showed_hook = data["data"]["problem"] is not None
        if line is not None:
            click.echo(line)

    def close(self) -> None:
        self._live.clear()
        if self._partial and self._show:
            click.echo(f"  {screen.dim('│')} {screen.printable(self._partial)}")
        self._partial = ""


def sentence(kind: str, data: dict[str, Any]) -> str | None:
    good, bad = click.style("✓", fg=screen.GOOD), click.style("✗", fg=screen.BAD)
    match kind:
        case "change.started":
            before = f", {data['before']} serves" if data["before"] else ""
            return f"{screen.bold(data['what'])} {data['release']}{screen.dim(before)}"
        case "build.started":
            dirty = " with uncommitted changes" if data["dirty"] else ""
            return f"  building {data['release']} from {data['commit'][:10]}{dirty}"
        case "build.reused":
            return f"  {good} built    {data['release']} holds the same files already: nothing to build"
        case "build.finished":
            took, size = format_duration(data["seconds"]), format_size(data["size"])
            return f"  {good} built    {data['release']} in {took}, {size}"
        case "build.failed":
            return f"  {bad} build    {data['release']} failed"
        case "instance.started":
            port = f" on port {data['port']}" if data["port"] else ""
            return screen.dim(f"    started  {short(data['instance'])}{port}")
        case "instance.waiting":
            most = f"{data['at_most']:g} s" if data["at_most"] < 120 else format_duration(data["at_most"])
            return f"    waiting  for {short(data['instance'])}: {screen.printable(data['answer'])} ({most} at most)"
        case "instance.ready":
            return f"  {good} ready    {short(data['instance'])} in {format_duration(data['seconds'])}"
        case "traffic.shifted":
            to = sorted({name.split(".")[2] for name, weight in data["weights"].items() if weight})
            how = "by a reload" if data["method"] == "reload" else "without a reload"
            return f"  {good} traffic  to {', '.join(to) or 'nobody'} in {data['milliseconds']:.0f} ms, {how}"
        case "hook.finished":
            took = format_duration(data["seconds"])
            if data["problem"] is None:
                return f"  {good} hook     {data['hook']} in {took}"
            cross = click.style("✗", fg=screen.BAD)
            return f"  {cross} hook     {data['hook']}: {screen.printable(data['problem'])}"
        case "migration.applied":
            took, again = format_duration(data["seconds"]), data["attempts"]
            way = "" if data["direction"] == "up" else "back "
            tries = f", {again} attempts" if again > 1 else ""
            return f"  {good} migrated {way}{data['name']}: {screen.printable(data['filename'])} in {took}{tries}"
        case "migration.waits":
            return f"    waiting  to migrate {data['name']}: {screen.printable(data['why'])}"
        case "migration.tool_ended":
            return f"  {good} migrated {data['name']} by {screen.printable(data['command'])} in {format_duration(data['seconds'])}"
        case "migration.undo_failed":
            return f"  {bad} migrated {data['name']} and could not be taken back: {screen.printable(data['reason'])}"
        case "migration.contracts_wait":
            count = len(data["versions"])
            what = f"{count} contract migrations wait" if count > 1 else "1 contract migration waits"
            return f"    {what} until {data['release']} has served its watch ({data['name']})"
        case "database.restore_point":
            return screen.dim(f"    restore point {data['point']}")
        case "database.made":
            return (
                f"  {good} made     database {data['name']} ({data['database']} in cluster {data['cluster']})"
            )
        case "canary.step":
            at = trial.percent(data["share"])
            return f"  {good} canary   {data['release']} gets {at} of the requests (step {data['step']} of {data['of']})"
        case "canary.asks":
            return f"    canary   {data['release']} had too little traffic to judge by: {data['missing'][0]}"
        case "canary.steered":
            return f"    canary   {data['what']} was asked for"
        case "release.judged":
            mark = bad if data["outcome"] == "rolled back" else good
            return f"  {mark} verdict  {data['outcome']}: {screen.printable('; '.join(data['reasons']))}"
        case "instance.stopped":
            return screen.dim(f"    stopped  {short(data['instance'])}")
        case "change.failed":
            return f"  {bad} failed   what was started is taken back"
    return None


def short(instance: str) -> str:
    """``r2.web.1`` of ``shop.production.r2.web.1``."""
    return ".".join(instance.split(".")[2:])
