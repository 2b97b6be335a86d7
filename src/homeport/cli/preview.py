"""Previews: environments of branches."""

from datetime import datetime
from typing import Any

import click

from homeport.cli import clone, progress, screen
from homeport.cli import source as reading
from homeport.cli.context import SPEC, Session, pass_session
from homeport.cli.context import name as checked
from homeport.cli.ship import NO_SPEC_HERE
from homeport.kernel.errors import Kind, declare
from homeport.kernel.units import format_duration, format_size, parse_duration
from homeport.spec.model import PREVIEW

BAD_TTL = declare("cli.bad_ttl", Kind.INVALID, "A --ttl is no duration.")


@click.group()
def preview() -> None:
    """Environments of branches: each with a URL of its own, gone after a while."""


@preview.command("create")
@click.argument("branch")
@click.option("--name", help="What it is called, instead of the branch.")
@click.option("--ttl", metavar="DURATION", help="How long it lives, such as 3d. Default: as [previews] says.")
@click.option("--dirty", is_flag=True, help="Ship the working tree as it lies there; BRANCH is checked out.")
@click.option("--clone", "source", metavar="ENVIRONMENT", help="With a clone of its database, people masked.")
@click.option("-q", "--quiet", is_flag=True, help="Print the verdict only.")
@pass_session
def create(
    session: Session,
    branch: str,
    name: str | None,
    ttl: str | None,
    dirty: bool,
    source: str | None,
    quiet: bool,
) -> None:
    """Deploy BRANCH to a preview of its own, and wait for the verdict.

    The branch's preview is brought up to date when there is one already. Exit status 0: it serves. 7: what
    served before serves on.
    """
    if session.environment_option is not None:
        raise click.UsageError("a preview is an environment of its own: it goes with no --env")
    project = session.project()
    if project is None:
        raise NO_SPEC_HERE.error(
            f"cannot make a preview: there is no {SPEC} in {session.directory} or above",
            hint="homeport init writes one",
        )
    seconds = _ttl(ttl) if ttl is not None else None
    app = session.app
    what = reading.read(project, branch, dirty=dirty)
    if dirty and what.commit != reading.head(project):
        raise click.UsageError(f"--dirty ships the working tree, and {branch} is not checked out")
    with what.tar as tar:
        archive = session.client.upload("/v1/archives", tar)["digest"]
    made = session.client.send(
        "POST",
        f"/v1/apps/{app}/previews",
        {
            "archive": archive,
            "commit": what.commit,
            "subject": what.subject,
            "dirty": what.dirty,
            "author": what.author,
            "committed_at": what.committed_at,
            "branch": branch,
            "name": name,
            "ttl": seconds,
        },
    )
    if not (quiet or session.json):
        left = _left(session, made)
        click.echo(f"preview {screen.bold(made['name'])} of {screen.printable(branch)}, for {left}")
    progress.follow(session, made["change"], quiet=quiet)
    if source is not None:
        clone.into_preview(session, source, made["environment"])


@preview.command("list")
@pass_session
def list_(session: Session) -> None:
    """The app's previews."""

    def show(found: list[dict[str, Any]]) -> None:
        now = session.clock.now()
        rows = [
            [
                screen.bold(p["name"]),
                screen.word(p["state"]),
                screen.printable(p["branch"]),
                p["commit"][:10],
                screen.ago(p["created_at"], now),
                f"in {_left(session, p)}, {p['expires_at'][:10]}",
                format_size(p["memory"]) if p["memory"] else "",
                p["urls"][0] if p["urls"] else "",
            ]
            for p in found
        ]
        screen.columns(
            ["NAME", "STATE", "BRANCH", "COMMIT", "MADE", "EXPIRES", "MEMORY", "URL"],
            rows,
            shorten={"BRANCH": 10},
            drop=("COMMIT", "MADE", "MEMORY", "EXPIRES", "BRANCH"),
        )
        if not rows:
            click.echo("no previews: homeport preview create BRANCH", err=True)

    session.show(session.client.get(f"/v1/apps/{session.app}/previews"), show)


@preview.command("show")
@click.argument("name")
@pass_session
def show(session: Session, name: str) -> None:
    """One preview. Exit status 1 when it failed."""

    def people(p: dict[str, Any]) -> None:
        now = session.clock.now()
        serves = f", {p['release']} serves" if p["release"] else ""
        click.echo(f"{screen.bold(p['name'])} of {p['app']}: {screen.word(p['state'])}{serves}")
        click.echo(f"  branch {screen.printable(p['branch'])} at {p['commit'][:10]}")
        for url in p["urls"]:
            click.echo(f"  {url}")
        used = screen.ago(p["used_at"], now)
        click.echo(f"  made {screen.ago(p['created_at'], now)} by {p['actor']}, used {used}")
        memory = f", {format_size(p['memory'])} of memory" if p["memory"] else ""
        click.echo(f"  expires in {_left(session, p)}, {_at(p)}{memory}")
        if p["problem"]:
            click.echo(f"  {click.style(screen.printable(p['problem']), fg=screen.BAD)}")
        click.echo(screen.dim(f"  homeport logs --env {p['environment']}"))

    found = session.client.get(_path(session, name))
    session.show(found, people)
    if found["state"] == "failed":
        raise click.exceptions.Exit(1)


@preview.command("extend")
@click.argument("name")
@click.option("--ttl", metavar="DURATION", required=True, help="How long it lives from now on, such as 3d.")
@pass_session
def extend(session: Session, name: str, ttl: str) -> None:
    """Have a preview live longer, or shorter."""
    found = session.client.send("PATCH", _path(session, name), {"ttl": _ttl(ttl)})
    session.show(found, lambda p: click.echo(f"{name} expires in {_left(session, p)}, {_at(p)}"))


@preview.command("remove")
@click.argument("name")
@pass_session
def remove(session: Session, name: str) -> None:
    """Take a preview away: instances, settings, logs, and the files of its storage."""
    gone = session.client.send("DELETE", _path(session, name))

    def people(r: dict[str, Any]) -> None:
        storage = f" and its storage in {r['storage']}" if r["storage"] else ""
        click.echo(f"{name} is gone, with {r['instances']} instance(s){storage}")

    session.show(gone, people)


def _path(session: Session, name: str) -> str:
    """Of the preview of that name; that of its environment will do. Raises ``cli.bad_name``."""
    short = name.removeprefix(PREVIEW)
    checked("preview", f"{PREVIEW}{short}")
    return f"/v1/apps/{session.app}/previews/{short}"


def _ttl(text: str) -> float:
    try:
        return parse_duration(text)
    except (ValueError, OverflowError):
        raise BAD_TTL.error(f"cannot read --ttl {text!r}", hint="write 12h, 3d or 30m") from None


def _left(session: Session, preview: dict[str, Any]) -> str:
    until = datetime.fromisoformat(preview["expires_at"])
    return format_duration(max(0.0, (until - session.clock.now()).total_seconds()))


def _at(preview: dict[str, Any]) -> str:
    """When it expires."""
    return f"{preview['expires_at'][:16].replace('T', ' ')} UTC"
