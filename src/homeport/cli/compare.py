"""``homeport diff``: what changed between two releases."""

from pathlib import Path
from typing import Any

import click

from homeport.cli import screen
from homeport.cli.context import Session, pass_session
from homeport.cli.settings import compare, print_differences
from homeport.cli.ship import release_name
from homeport.system import process

LOCKS = (
    "requirements.txt",
    "requirements.lock",
    "pyproject.toml",
    "uv.lock",
    "poetry.lock",
    "Pipfile.lock",
    "package.json",
    "package-lock.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "go.sum",
    "Gemfile.lock",
    "composer.lock",
    "Cargo.lock",
)
"""Files that say which packages an app stands on."""


@click.command()
@click.argument("before")
@click.argument("after")
@pass_session
def diff(session: Session, before: str, after: str) -> None:
    """What changed from release BEFORE to AFTER: commits, files, packages, configuration.

    Commits and files are read from the repository around here.
    """
    first, second = release_name(before), release_name(after)
    releases = {r["id"]: r for r in session.client.get(f"/v1/apps/{session.app}/releases")}
    configs = [session.client.get(session.path(f"/releases/{r}/config")) for r in (first, second)]
    old, new = releases.get(first), releases.get(second)
    found: dict[str, Any] = {
        "before": first,
        "after": second,
        "commits": None,
        "files": None,
        "packages": None,
        "config": compare(*configs, same_environment=True),
    }
    project = session.project()
    if old is not None and new is not None and project is not None:
        found |= _repository(project, old["commit"], new["commit"])
    session.show(found, _print)


def _git(directory: Path, *arguments: str) -> list[str] | None:
    result = process.run(("git", *arguments), timeout=60, cwd=directory, check=False)
    return result.stdout.splitlines() if result.ok else None


def _repository(directory: Path, old: str, new: str) -> dict[str, Any]:
    """None for what the repository does not know."""
    forward = _git(directory, "log", "--format=%h %s", f"{old}..{new}", "--", ".")
    back = _git(directory, "log", "--format=%h %s", f"{new}..{old}", "--", ".")
    files = _git(directory, "diff", "--relative", "--name-status", old, new, "--", ".")
    packages = None
    if files is not None:
        touched = [line.split("\t")[-1] for line in files]
        locks = [f for f in touched if Path(f).name in LOCKS]
        packages = []
        for lock in locks:
            lines = _git(directory, "diff", "--relative", "-U0", "--no-color", old, new, "--", lock) or []
            changed = [
                x[:200] for x in lines if x[:1] in "+-" and not x.startswith(("+++", "---")) and x[1:].strip()
            ]
            packages.append({"file": lock, "lines": changed[:200], "more": max(0, len(changed) - 200)})
    commits = None
    if forward is not None and back is not None:
        commits = {"added": forward, "taken_back": back}
    return {"commits": commits, "files": files, "packages": packages}


def _print(found: dict[str, Any]) -> None:
    commits = found["commits"]
    click.echo(screen.bold("Commits"))
    if commits is None:
        click.echo("  this repository does not hold both commits; run it in the app's repository")
    else:
        for line in commits["added"]:
            click.echo(f"  + {screen.printable(line)}")
        for line in commits["taken_back"]:
            click.echo(f"  - {screen.printable(line)}")
        if not commits["added"] and not commits["taken_back"]:
            click.echo("  the same")
    if found["files"] is not None:
        click.echo(screen.bold("Files"))
        for line in found["files"][:100]:
            click.echo(f"  {screen.printable(line.replace(chr(9), '  '))}")
        if len(found["files"]) > 100:
            click.echo(f"  and {len(found['files']) - 100} more")
        if not found["files"]:
            click.echo("  the same")
    if found["packages"]:
        click.echo(screen.bold("Packages"))
        for package in found["packages"]:
            click.echo(f"  {package['file']}")
            for line in package["lines"][:40]:
                click.echo(f"    {screen.printable(line)}")
            more = max(0, len(package["lines"]) - 40) + package["more"]
            if more:
                click.echo(f"    and {more} more lines")
    click.echo(screen.bold("Configuration"))
    print_differences(found["config"], found["before"], found["after"])
