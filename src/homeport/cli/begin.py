"""``homeport init``."""

from fnmatch import fnmatch
from pathlib import Path

import click

from homeport.cli import screen
from homeport.cli.context import SPEC, Session, pass_session
from homeport.kernel.errors import Kind, declare
from homeport.spec import detect
from homeport.system.files import write_atomic

EXISTS = declare("cli.spec_exists", Kind.CONFLICT, "homeport init would overwrite a homeport.toml.")
UNRECOGNISED = declare(
    "cli.app_not_recognised", Kind.INVALID, "homeport init cannot tell how the app starts."
)


@click.command()
@click.option("--name", help="The app's name; the directory's by default.")
@click.option("--build", "build_command", help="The build command, when it is not recognised.")
@click.option("--start", "start_command", help="The start command, when it is not recognised. It gets $PORT.")
@pass_session
def init(session: Session, name: str | None, build_command: str | None, start_command: str | None) -> None:
    """Write a homeport.toml with comments for the app in this directory."""
    path = session.directory / SPEC
    if path.exists():
        raise EXISTS.error(f"cannot write {path}: it is there already", hint="edit it, or move it away")
    app = detect.app_name_from(name or session.directory.name)
    if name is not None and app != name:
        raise click.UsageError(f"--name {name}: 1 to 40 of a-z, 0-9 and inner hyphens, a letter first")
    found = None
    if start_command is None:
        found = detect.detect(_files(session.directory), [p.name for p in session.directory.iterdir()])
    if found is not None:
        text = detect.write(found, app)
        click.echo(f"{click.style('✓', fg=screen.GOOD)} found {found.title}")
    else:
        build_command, start_command = _ask(build_command, start_command)
        text = detect.write_blank(app, build_command, start_command)
    write_atomic(path, text)
    click.echo(f"{click.style('✓', fg=screen.GOOD)} wrote {path}")
    click.echo("next: look it over, git add homeport.toml && git commit, then homeport deploy")


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
