"""A change as it happens, and its end: the verdict decides the exit status."""

import json
from typing import Any

import click

from homeport.cli import screen
from homeport.cli.context import Session
from homeport.kernel.errors import EXIT_INTERRUPTED, Kind
from homeport.kernel.units import format_duration, format_size

QUIET_KINDS = {"change.started", "change.finished", "change.failed", "instance.started", "release.promoted"}


class Interrupted(click.exceptions.Exit):
    def __init__(self) -> None:
        super().__init__(EXIT_INTERRUPTED)


def follow(session: Session, change: dict[str, Any], *, quiet: bool = False) -> None:
    """Show a change until its verdict; exits with status 7 when it was not kept.

    Ctrl-C leaves the change running and says so.
    """
    printer = _Printer(show=not (session.json or quiet))
    final = change
    try:
        for kind, data in session.client.stream(f"/v1/changes/{change['id']}/stream"):
            if kind == "done":
                final = data
                break
            printer.tell(kind, data)
    except KeyboardInterrupt:
        printer.close()
        screen.note(
            f"{change['kind']} {change['id']} goes on without this terminal; homeport events -f shows it, "
            "homeport deploy --replace takes over"
        )
        raise Interrupted from None
    printer.close()
    if session.json:
        click.echo(json.dumps(final, indent=2))
    else:
        _verdict(session, final)
    if final["result"]["verdict"] != "promoted":
        raise click.exceptions.Exit(_exit_status(final))


def _exit_status(change: dict[str, Any]) -> int:
    return Kind.ROLLED_BACK.exit_status


def _verdict(session: Session, change: dict[str, Any]) -> None:
    result = change["result"]
    after = format_duration(result["seconds"])
    if result["verdict"] == "promoted":
        environment = session.client.get(f"/v1/apps/{change['app']}/environments/{change['environment']}")
        serving = ", ".join(environment["releases"]) or environment["serving"]
        mark = click.style("✓", fg=screen.GOOD)
        urls = "  ".join(environment["urls"][:3])
        click.echo(
            f"{mark} {screen.bold(serving)} serves {change['environment']} after {after}  {urls}".rstrip()
        )
        return
    failure = change["failure"] or {
        "sentence": "cannot go on: no reason was recorded",
        "hint": "",
        "lines": [],
    }
    for line in failure["lines"]:
        click.echo(f"  {screen.dim('│')} {screen.printable(line)}", err=True)
    click.echo(
        f"{click.style('error:', fg=screen.BAD, bold=True)} {screen.printable(failure['sentence'])}", err=True
    )
    if result["serving"]:
        click.echo(
            f"       {result['serving']} serves {change['environment']} on, untouched ({after})", err=True
        )
    else:
        click.echo(f"       nothing serves {change['environment']} yet ({after})", err=True)
    if failure["hint"]:
        click.echo(f"{click.style('hint:', fg='cyan')} {failure['hint']}", err=True)


class _Printer:
    """One line a step; build output indented below it."""

    def __init__(self, *, show: bool) -> None:
        self._show = show
        self._partial = ""

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        if not self._show:
            return
        if kind == "output":
            text = self._partial + data["text"]
            *lines, self._partial = text.split("\n")
            for line in lines:
                click.echo(f"  {screen.dim('│')} {screen.printable(line.rstrip(chr(13)))}")
            return
        self.close()
        line = _sentence(kind, data["data"])
        if line is not None:
            click.echo(line)

    def close(self) -> None:
        if self._partial and self._show:
            click.echo(f"  {screen.dim('│')} {screen.printable(self._partial)}")
        self._partial = ""


def _sentence(kind: str, data: dict[str, Any]) -> str | None:
    good = click.style("✓", fg=screen.GOOD)
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
            return f"  {click.style('✗', fg=screen.BAD)} build    {data['release']}: {data['reason']}"
        case "instance.started":
            port = f" on port {data['port']}" if data["port"] else ""
            return screen.dim(f"    started  {short(data['instance'])}{port}")
        case "instance.ready":
            return f"  {good} ready    {short(data['instance'])} in {format_duration(data['seconds'])}"
        case "traffic.shifted":
            to = sorted({name.split(".")[2] for name, weight in data["weights"].items() if weight})
            how = "by a reload" if data["method"] == "reload" else "without a reload"
            return f"  {good} traffic  to {', '.join(to) or 'nobody'} in {data['milliseconds']:.0f} ms, {how}"
        case "instance.stopped":
            return screen.dim(f"    stopped  {short(data['instance'])}")
        case "change.failed":
            return f"  {click.style('✗', fg=screen.BAD)} {screen.printable(data['reason'])}"
    return None


def short(instance: str) -> str:
    """``r2.web.1`` of ``shop.production.r2.web.1``."""
    return ".".join(instance.split(".")[2:])
