"""``homeport clone``: real shapes without real people."""

import sys
from typing import Any

import click

from homeport.cli import backup_view, screen
from homeport.cli.context import Session, name, pass_session
from homeport.kernel.ids import PRODUCTION

FAILED = 7
UNMASKED = "backup.unmasked"


@click.command("clone")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option(
    "--database",
    metavar="NAME",
    help="Which one, by its name in homeport.toml. Default: the only one, or main.",
)
@click.option("--backup", "label", default="", metavar="LABEL", help="This proven backup, not the newest.")
@click.option("--repository", metavar="NAME", help="Read this repository; else whichever has it.")
@click.option("--replace", is_flag=True, help="Drop the database that served before, instead of keeping it.")
@click.option(
    "--files", "with_files", is_flag=True, help="The files of [storage], too: no mask reaches them."
)
@click.option("--confirm", metavar="TO", help="The name of TO, once more, instead of being asked.")
@click.option("--no-wait", is_flag=True, help="Begin it, and do not wait for its end.")
@pass_session
def clone(
    session: Session,
    source: str,
    target: str,
    database: str | None,
    label: str,
    repository: str | None,
    replace: bool,
    with_files: bool,
    confirm: str | None,
    no_wait: bool,
) -> None:
    """Have the database of environment FROM in environment TO, with masked values: [backup.mask] in homeport.toml.

    It comes from the newest backup that was proven. Columns that look as if they told of people are refused unless a
    mask names them. What TO had before is kept beside: homeport restore list.
    """
    if session.environment_option is not None:
        raise click.UsageError("a clone names both environments: it goes with no --env")
    name("environment", source), name("environment", target)
    wanted: dict[str, Any] = {
        "source": source,
        "database": name("database", database) if database else None,
        "backup": label,
        "repository": name("repository", repository) if repository else None,
        "replace": replace,
        "files": with_files,
        "confirm": _confirmed(session, target, confirm, replace=replace),
    }
    begun = session.client.send("POST", _path(session, target), wanted)
    if no_wait:
        session.show(begun, lambda r: click.echo(f"{r['id']} began"))
    else:
        run = _followed(session, begun, target)
        session.show(run, lambda r: None)


def into_preview(session: Session, source: str, target: str) -> None:
    """Clone into an environment that was just made: what it has is dropped. Exits with 7 where it did not pass."""
    wanted = {"source": name("environment", source), "replace": True, "confirm": target}
    _followed(session, session.client.send("POST", _path(session, target), wanted), target)


def _path(session: Session, target: str) -> str:
    return f"/v1/apps/{session.app}/environments/{target}/clones"


def _followed(session: Session, begun: dict[str, Any], target: str) -> dict[str, Any]:
    run = backup_view.follow(session, begun)
    if not session.json:
        _ended(run, target)
    if run["state"] != "passed":
        session.show(run, lambda r: None)
        sys.exit(FAILED)
    return run


def _confirmed(session: Session, target: str, confirm: str | None, *, replace: bool) -> str:
    if confirm is not None:
        return confirm
    lost = "is lost" if replace else "is kept beside"
    if target == PRODUCTION or session.json or not sys.stdin.isatty():
        raise click.UsageError(
            f"what {target} has now {lost}: give --confirm {target}, which is asked for nowhere else"
            if target == PRODUCTION
            else f"this asks for the environment's name: give --confirm {target} where there is no terminal"
        )
    click.echo(f"This takes the place of the database of {session.app} {target}, which {lost}.", err=True)
    return str(click.prompt("Type the environment's name to go on", default="", show_default=False, err=True))


def _ended(run: dict[str, Any], target: str) -> None:
    for step in run["steps"]:
        if (step["error"] or {}).get("code") == UNMASKED:
            click.echo("[backup.mask]")
            for line in step["error"]["details"]:
                click.echo(screen.printable(line))
    backup_view.ended(run)
    if run["state"] != "passed":
        return
    results = {s["name"]: s["result"] or {} for s in run["steps"]}
    masked = next((r for r in results.values() if "columns" in r), {})
    if masked:
        click.echo(
            f"  {masked['columns']} columns of {masked['tables']} tables masked, {masked['rows']:,} rows"
        )
    copied = next((r for r in results.values() if "label" in r), {})
    if copied:
        click.echo(f"  from backup {copied['label']} of {screen.local_time(copied['of'])}")
    kept = run["request"]["kept"]
    if kept:
        click.echo(f"  what {target} had is kept as {kept}: homeport restore list --env {target}")
    brought = next((r for r in results.values() if "snapshot" in r), {})
    if brought:
        kept_files = f"; those of {target} are kept in {brought['former']}" if brought["former"] else ""
        click.echo(f"  {brought['files']:,} files, as they are{kept_files}")
    missing: list[str] = next((r["migrations"] for r in results.values() if r.get("migrations")), [])
    if missing:
        click.echo(
            f"  {target} had {len(missing)} migrations that the clone lacks: homeport migrate up --env {target}"
        )
