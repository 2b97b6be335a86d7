"""``homeport init``."""

from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import urlsplit

import click

from homeport.api.client import Client
from homeport.cli import screen
from homeport.cli.context import SPEC, Session, pass_session
from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.spec import detect, reference
from homeport.system.files import write_atomic

EXISTS = declare("cli.spec_exists", Kind.CONFLICT, "homeport init would overwrite a homeport.toml.")
UNRECOGNISED = declare(
    "cli.app_not_recognised", Kind.INVALID, "homeport init cannot tell how the app starts."
)


@click.command()
@click.option("--name", help="The app's name; the directory's by default.")
@click.option("--build", "build_command", help="The build command, when it is not recognised.")
@click.option("--start", "start_command", help="The start command, when it is not recognised. It gets $PORT.")
@click.option("--keys", is_flag=True, help="Describe every key of homeport.toml instead.")
@pass_session
def init(
    session: Session, name: str | None, build_command: str | None, start_command: str | None, keys: bool
) -> None:
    """Write a homeport.toml with comments for the app in this directory.

    It routes requests for any host to the app, unless another app here has them: then APP.localhost.
    """
    if keys:
        click.echo(reference.render().partition("\n")[2].lstrip())
        return
    path = session.directory / SPEC
    if path.exists():
        raise EXISTS.error(f"cannot write {path}: it is there already", hint="edit it, or move it away")
    app = detect.app_name_from(name or session.directory.name)
    if name is not None and app != name:
        raise click.UsageError(f"--name {name}: 1 to 40 of a-z, 0-9 and inner hyphens, a letter first")
    owner, port = _who_has_any_host(session)
    host = detect.ANY_HOST if owner in (None, app) else f"{app}.localhost"
    found = None
    if start_command is None:
        found = detect.detect(_files(session.directory), [p.name for p in session.directory.iterdir()])
    if found is not None:
        text = detect.write(found, app, host)
        click.echo(f"{click.style('✓', fg=screen.GOOD)} found {found.title}")
    else:
        build_command, start_command = _ask(build_command, start_command)
        text = detect.write_blank(app, build_command, start_command, host)
    write_atomic(path, text)
    click.echo(f"{click.style('✓', fg=screen.GOOD)} wrote {path}")
    if host != detect.ANY_HOST:
        click.echo(f'{owner} has "*" in [routes], so {app} gets http://{host}{port}/')
    click.echo("next: look it over, git add homeport.toml && git commit, then homeport deploy")


def _who_has_any_host(session: Session) -> tuple[str | None, str]:
    """The app that gets requests for any host, and the ":8080" of its URL; (None, "") when nobody tells."""
    try:
        found = Client(session.data_dir, patience=0.0, timeout=2.0).get("/v1/status")
    except HomeportError:
        return None, ""
    for app in found["apps"]:
        for environment in app["environments"]:
            for route, url in zip(environment["routes"], environment["urls"], strict=False):
                if route.partition("/")[::2] == (detect.ANY_HOST, ""):
                    port = urlsplit(url).port
                    return app["name"], f":{port}" if port else ""
    return None, ""


def _ask(build: str | None, start: str | None) -> tuple[str, str]:
    if start is None:
        if not screen.is_terminal():
            raise UNRECOGNISED.error(
                "cannot tell how this app starts",
                hint="name its commands: homeport init --build 'make' --start './server --port $PORT'",
            )
        click.echo("This is no Python, Node or static app that homeport knows: two questions.")
        build = click.prompt("Build command (empty for none)", default="", show_default=False)
        start = click.prompt("Start command (it must listen on $PORT)")
    return build or "", start or ""


def _files(directory: Path) -> dict[str, str]:
    """The app's file names, with the text of those that tell what it is."""
    files = {}
    for pattern in detect.WANTED:
        for path in sorted(directory.glob(pattern))[:200]:
            relative = path.relative_to(directory)
            skipped = any(fnmatch(part, p) for part in relative.parts[:-1] for p in detect.PASSED_OVER)
            if path.is_file() and not skipped:
                small = path.stat().st_size <= detect.LARGEST_READ
                files[relative.as_posix()] = path.read_text("utf-8", "replace") if small else ""
    return files
