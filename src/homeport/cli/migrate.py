"""``homeport migrate``: the schemas of databases, by plain SQL files."""

import base64
from datetime import UTC
from pathlib import Path
from typing import Any

import click

from homeport.api.client import Client
from homeport.cli import migrate_view, progress, screen
from homeport.cli.context import SPEC, Session, pass_session
from homeport.cli.ship import release_name
from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.kernel.ids import PRODUCTION
from homeport.spec import migration_names
from homeport.spec.database_names import MAIN
from homeport.spec.model import Spec
from homeport.spec.model_database import Database
from homeport.spec.parse import parse
from homeport.system import files as local

NO_MIGRATIONS = declare(
    "cli.no_migrations", Kind.INVALID, "The homeport.toml here names no directory of migrations."
)
BAD_WORDS = declare("cli.bad_migration_name", Kind.INVALID, "A migration cannot be named by what was given.")
IS_THERE = declare("cli.migration_exists", Kind.CONFLICT, "A new migration would overwrite a file.")
TOO_LARGE = declare("cli.migration_too_large", Kind.INVALID, "A migration file has more than 10 MB.")

BAD_VERSION = declare("cli.bad_version", Kind.INVALID, "What was given as a migration's version is none.")

TRIAL_TIMEOUT = 900.0
"""Seconds without an answer after which a trial is given up."""


@click.group()
def migrate() -> None:
    """The schema of a database: what is applied, what would be, and running it."""


_database = click.option(
    "--database", metavar="NAME", help="The database meant. Default: the only one, or main."
)


def _version(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is None or (value.isascii() and value.isdigit() and len(value) <= 40):
        return value
    raise BAD_VERSION.error(
        f"cannot read {value[:80]!r} as a version",
        hint="the digits that a migration's name begins with, such as 20261120120000",
    )


_release = click.option("--release", metavar="RELEASE", help="By the files of a release, such as r3.")


@migrate.command()
@click.argument("words", nargs=-1, required=True)
@click.option(
    "--contract", is_flag=True, help="It takes something away: it runs when no release needs that any more."
)
@_database
@pass_session
def new(session: Session, words: tuple[str, ...], contract: bool, database: str | None) -> None:
    """Write a new, empty migration, such as: homeport migrate new add orders"""
    directory = _directory(session, database)
    if directory is None:
        raise NO_MIGRATIONS.error(
            f"cannot write a migration: no {SPEC} here names a directory for it",
            hint='[database.main] migrations = "migrations"',
        )
    name = migration_names.new_name(" ".join(words), session.clock.now().astimezone(UTC))
    if name is None:
        raise BAD_WORDS.error(
            f"cannot name a migration {' '.join(words)[:80]!r}", hint="a few words, such as: add orders"
        )
    path = directory / name
    taken = sorted(directory.glob(f"{name.partition('_')[0]}*.sql")) if directory.is_dir() else []
    if taken:
        raise IS_THERE.error(f"cannot write {path}: {taken[0].name} has its version", hint="try again")
    directory.mkdir(parents=True, exist_ok=True)
    local.write_atomic(path, migration_names.template(contract=contract))
    session.show({"path": str(path)}, lambda p: click.echo(f"{migrate_view.GOOD} wrote {p['path']}"))


@migrate.command()
@_database
@_release
@pass_session
def status(session: Session, database: str | None, release: str | None) -> None:
    """Print how each migration stands: of the files here, else of what serves."""
    found = _ask(session, "status", _request(session, database, release))
    session.show(found, lambda f: migrate_view.tell_status(f, session.clock.now()))


@migrate.command()
@_database
@_release
@click.option("--to", metavar="VERSION", callback=_version, help="This version and none above.")
@click.option("--out-of-order", is_flag=True, help="Also those older than one that was applied.")
@pass_session
def plan(
    session: Session, database: str | None, release: str | None, to: str | None, out_of_order: bool
) -> None:
    """Print the SQL that would run, by the files here, else by those of what serves."""
    wanted = _request(session, database, release) | {"to": to, "out_of_order": out_of_order}
    session.show(_ask(session, "plan", wanted), migrate_view.tell_plan)


@migrate.command()
@_database
@pass_session
def verify(session: Session, database: str | None) -> None:
    """Compare what is there with what the applied migrations give. Exit status 1: it differs."""
    found = _ask(session, "verify", {"database": database}, patient=True)

    def tell(found: dict[str, Any]) -> None:
        if not found["differences"]:
            click.echo(f"{migrate_view.GOOD} database {found['database']} is as its migrations give it")
            return
        click.echo(screen.dim("- by the migrations, + there"))
        migrate_view.tell_differences(found["differences"])

    session.show(found, tell)
    if found["differences"]:
        raise click.exceptions.Exit(1)


@migrate.command()
@_database
@_release
@click.option("--done", "choice", flag_value="done", help="A statement that was cut off has taken effect.")
@click.option("--again", "choice", flag_value="again", help="It has not: begin it anew.")
@click.option("--adopt", is_flag=True, help="Take over what dbmate's own table says.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@pass_session
def repair(
    session: Session, database: str | None, release: str | None, choice: str | None, adopt: bool, yes: bool
) -> None:
    """Bring Homeport's table of migrations back to the truth; says first what it will do, then asks.

    The schema itself is not changed.
    """
    wanted = _request(session, database, release) | {"choice": choice or "", "adopt": adopt}
    found = _ask(session, "repair", wanted)
    if not found["repairs"]:
        session.show(found, lambda f: click.echo(f"nothing to repair in database {f['database']}"))
        return
    if not session.json:
        for r in found["repairs"]:
            click.echo(f"  {screen.printable(r['sentence'])}")
            for line in r["details"]:
                click.echo(f"    {screen.printable(line)}")
    if not yes:
        if session.json or not screen.is_terminal():
            raise click.UsageError("this asks first: give --yes where there is no terminal")
        click.confirm("Do this?", abort=True)
    done = _ask(session, "repair", wanted | {"agreed": found["repairs"]})
    session.show(done, lambda d: click.echo(f"{migrate_view.GOOD} {len(d['repairs'])} repaired"))


@migrate.command()
@_database
@pass_session
def dump(session: Session, database: str | None) -> None:
    """Print the schema as SQL, to keep in the repository: the same text for the same schema."""
    found = session.client.get(session.path("/migrations/schema"), database=database)
    session.show(found, lambda f: click.echo(f["sql"], nl=False))


@migrate.command()
@_database
@_release
@click.option("--all", "every", is_flag=True, help="All files, not only those that are pending.")
@pass_session
def lint(session: Session, database: str | None, release: str | None, every: bool) -> None:
    """Look for what blocks others, or breaks the release that serves. Exit status 1: a deploy would refuse it."""
    wanted = _request(session, database, release)
    here = _declared(session, database)
    wanted |= {"engine": here.engine if here is not None else "postgresql", "every": every}
    found = _ask(session, "lint", wanted)

    def tell(found: dict[str, Any]) -> None:
        migrate_view.tell_findings(found["findings"])
        if not any(f["stops"] for f in found["findings"]):
            which = "pending" if found["database"] is not None else "here"
            click.echo(f"{migrate_view.GOOD} {len(found['files'])} {which}: nothing that would be refused")

    session.show(found, tell)
    if any(f["stops"] for f in found["findings"]):
        raise click.exceptions.Exit(1)


@migrate.command()
@_database
@_release
@pass_session
def trial(session: Session, database: str | None, release: str | None) -> None:
    """Try what is pending up, down and up on a copy of the schema, without rows: times, locks, rewrites.

    Exit status 1: it failed, or could not be tried.
    """
    wanted = _request(session, database, release)
    report = _ask(session, "trial", wanted, patient=True)["report"]
    session.show(report, migrate_view.tell_trial)
    if report["failure"] is not None or report.get("note"):
        raise click.exceptions.Exit(1)


@migrate.command()
@_database
@click.option("--to", metavar="VERSION", callback=_version, help="This version and none above.")
@click.option("--out-of-order", is_flag=True, help="Also those older than one that was applied.")
@click.option("-q", "--quiet", is_flag=True, help="Print the end only.")
@pass_session
def up(session: Session, database: str | None, to: str | None, out_of_order: bool, quiet: bool) -> None:
    """Run what is pending, by the files of the release that serves. Contracts that failed are tried again."""
    wanted = {"database": database, "direction": "up", "to": to, "out_of_order": out_of_order}
    found = _ask(session, "plan", wanted)
    if not found["steps"]:
        session.show(found, lambda f: click.echo(migrate_view.nothing_to_do(f, " of what serves")))
        return
    progress.follow(session, session.client.send("POST", session.path("/migrations"), wanted), quiet=quiet)


@migrate.command()
@click.argument("version", required=False, callback=_version)
@_database
@click.option("--to", metavar="VERSION", callback=_version, help='All above this version; "0" is every one.')
@click.option("--steps", type=click.IntRange(1, 5000), help="So many, counted from the last one.")
@click.option("--confirm", metavar="NAME", help="The environment's name, once more, instead of being asked.")
@click.option("-q", "--quiet", is_flag=True, help="Print the end only.")
@pass_session
def down(
    session: Session,
    version: str | None,
    database: str | None,
    to: str | None,
    steps: int | None,
    confirm: str | None,
    quiet: bool,
) -> None:
    """Take back VERSION, or all above --to, or the last --steps, by the files of the release that serves.

    Says first what that is; rows may be lost. In production it asks for the environment's name.
    """
    if sum(x is not None for x in (version, to, steps)) != 1:
        raise click.UsageError("say what to take back: VERSION, --to VERSION or --steps N, one of them")
    asked = {
        "database": database,
        "direction": "down",
        "to": to,
        "versions": [version] if version is not None else [],
    }
    found = _ask(session, "plan", asked | {"steps": steps})
    if not found["steps"]:
        session.show(found, lambda f: click.echo(f"nothing to take back of database {f['database']}"))
        return
    where = session.environment
    if not session.json:
        migrate_view.tell_reverted(found, where)
    if confirm is None and where == PRODUCTION:
        if session.json or not screen.is_terminal():
            raise click.UsageError(
                f"this asks for the environment's name: give --confirm {where} where there is no terminal"
            )
        confirm = click.prompt("Type the environment's name to go on", default="", show_default=False)
    versions = list(dict.fromkeys(s["version"] for s in found["steps"] if s["direction"] == "down"))
    agreed = {
        "database": found["database"],
        "direction": "down",
        "versions": versions,
        "confirm": confirm or "",
    }
    progress.follow(session, session.client.send("POST", session.path("/migrations"), agreed), quiet=quiet)


# Within


def _ask(session: Session, what: str, wanted: dict[str, Any], *, patient: bool = False) -> dict[str, Any]:
    client = Client(session.data_dir, timeout=TRIAL_TIMEOUT) if patient else session.client
    given = {k: v for k, v in wanted.items() if v is not None}
    found: dict[str, Any] = client.send("POST", session.path(f"/migrations/{what}"), given)
    return found


def _request(session: Session, database: str | None, release: str | None) -> dict[str, Any]:
    """What is looked at: the files here, in a working tree of the app, or a release's."""
    wanted: dict[str, Any] = {"database": database}
    if release is not None:
        return wanted | {"release": release_name(release)}
    directory = _directory(session, database)
    if directory is None:
        return wanted
    if not directory.is_dir():
        raise NO_MIGRATIONS.error(
            f"cannot read the migrations: {directory} is no directory", hint="homeport migrate new makes it"
        )
    return wanted | {"files": [_file(path) for path in sorted(directory.iterdir()) if _is_migration(path)]}


def _is_migration(path: Path) -> bool:
    return path.suffix == ".sql" and not path.name.startswith(".") and path.is_file()


def _file(path: Path) -> dict[str, str]:
    if path.stat().st_size > migration_names.LARGEST:
        raise TOO_LARGE.error(
            f"cannot use {path.name}: it has more than {migration_names.LARGEST // 1_000_000} MB",
            hint="load data apart from migrations, for instance with a one-off command",
        )
    return {"name": path.name, "content": base64.b64encode(path.read_bytes()).decode()}


def _directory(session: Session, database: str | None) -> Path | None:
    """Where the migrations of the app around here are; None where there is none, or another app is meant."""
    project, found = session.project(), _declared(session, database)
    return (
        project / found.migrations if project is not None and found is not None and found.migrations else None
    )


def _declared(session: Session, name: str | None) -> Database | None:
    spec = _spec(session)
    if spec is None:
        return None
    known = [d for d in spec.databases if d.migrations or d.migrate]
    if name is None and len(known) == 1:
        return known[0]
    return next((d for d in spec.databases if d.name == (name or MAIN)), None)


def _spec(session: Session) -> Spec | None:
    """Of the environment meant. Raises what is wrong in it: files are not looked for by half a homeport.toml."""
    project = session.project()
    if project is None:
        return None
    try:
        text = (project / SPEC).read_text("utf-8", "replace")
        spec = parse(text, path=str(project / SPEC))
    except HomeportError:
        if session.app_option is not None:
            return None
        raise
    if session.app_option not in (None, spec.app):
        return None
    return spec.for_environment(session.environment)
