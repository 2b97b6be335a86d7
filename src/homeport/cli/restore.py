"""Commands that bring back what was backed up."""

import sys
from typing import Any

import click

from homeport.cli import backup_view, restore_view, screen
from homeport.cli.context import Session, name, pass_session
from homeport.cli.times import moment

LONG_CALL = 400.0
BAD = 7


@click.group(invoke_without_command=True)
@click.option(
    "--database",
    metavar="NAME",
    help="Which one, by its name in homeport.toml. Default: the only one, or main.",
)
@click.option(
    "--at",
    metavar="TIME",
    help='To this time: "2026-11-20 14:03:10", 14:03, "10 minutes ago"; local unless it names a zone.',
)
@click.option(
    "--backup", "label", default="", metavar="LABEL", help="To the end of this backup: homeport backup list"
)
@click.option(
    "--before-deploy", metavar="RELEASE", help="To the moment before this release changed the schema."
)
@click.option("--repository", metavar="NAME", help="Read this repository; else whichever has it.")
@click.option(
    "--table",
    "tables",
    multiple=True,
    metavar="TABLE",
    help="Only this one, or several with commas, into a schema beside; may be given again.",
)
@click.option("--files", "files", is_flag=True, help="The environment's files, not its database.")
@click.option(
    "--path", "paths", multiple=True, metavar="PATH", help="With --files: only this one; may be given again."
)
@click.option("--cluster", metavar="NAME", help="A whole cluster, with the data of every app in it.")
@click.option("--plan", is_flag=True, help="Only find out what would be lost.")
@click.option("--stay-writable", is_flag=True, help="Do not switch the environment to read-only meanwhile.")
@click.option("--confirm", metavar="APP", help="The app's name, instead of being asked.")
@click.option("--no-wait", is_flag=True, help="Begin it, and do not wait for its end.")
@click.pass_context
def restore(
    context: click.Context,
    database: str | None,
    at: str | None,
    label: str,
    before_deploy: str | None,
    repository: str | None,
    tables: tuple[str, ...],
    files: bool,
    paths: tuple[str, ...],
    cluster: str | None,
    plan: bool,
    stay_writable: bool,
    confirm: str | None,
    no_wait: bool,
) -> None:
    """Take the environment's database back: to the newest moment there is, or the one that is named.

    It is restored beside what serves, compared, and switched in while the app's requests wait; the one that served is
    kept until homeport restore drop. --plan shows first what would be lost. A database that somebody else runs goes back
    to one of its dumps: the newest that is not after --at.
    """
    if context.invoked_subcommand is not None:
        return
    session = context.find_object(Session)
    assert session is not None
    if paths and not files:
        raise click.UsageError("--path is of files: add --files")
    if files and (tables or database or before_deploy):
        raise click.UsageError("--files is of the storage: leave --database, --table, --before-deploy out")
    if plan and tables:
        raise click.UsageError(
            "--table changes nothing that serves, and tells how it differs: leave --plan out"
        )
    if sum(x is not None for x in (at, label or None, before_deploy)) > 1:
        raise click.UsageError("name one moment: --at, --backup or --before-deploy")
    at = moment(at, session.clock.now()) if at else None
    if cluster is not None:
        _cluster(
            session,
            name("cluster", cluster),
            at,
            label,
            repository,
            confirm,
            (database, tables, before_deploy),
            plan,
            stay_writable,
            not no_wait,
        )
        return
    wanted: dict[str, Any] = {
        "database": name("database", database) if database else None,
        "to": {
            "at": at,
            "backup": label,
            "before_deploy": _release(before_deploy) if before_deploy else None,
            "repository": name("repository", repository) if repository else None,
        },
        "plan": plan,
        "stay_writable": stay_writable,
        "tables": [t.strip() for several in tables for t in several.split(",") if t.strip()],
        "files": files,
        "paths": list(paths),
    }
    if not plan and not tables:
        thing = "files" if files else "the database"
        what = (
            f"{thing} of {session.app} {session.environment} by what it was {_when(at, label, before_deploy)}"
        )
        wanted["confirm"] = _confirmed(session, confirm, what)
    _follow(session, wanted, wait=not no_wait)


def _cluster(
    session: Session,
    cluster: str,
    at: str | None,
    label: str,
    repository: str | None,
    confirm: str | None,
    others: tuple[Any, ...],
    plan: bool,
    stay_writable: bool,
    wait: bool,
) -> None:
    if any(others):
        raise click.UsageError(
            "--cluster is of everything in it: leave --database, --table, --before-deploy out"
        )
    if confirm is None and not plan:
        if session.json or not screen.is_terminal():
            raise click.UsageError(
                "this asks for the apps' names: give --confirm APP,APP where there is no terminal; "
                "--plan shows what would be lost"
            )
        click.echo(f"This replaces the data of every app in cluster {cluster}. Its files are kept beside.")
        confirm = click.prompt("Type the names of all of them, with commas", default="", show_default=False)
    to = {
        "at": at,
        "backup": label,
        "repository": name("repository", repository) if repository else None,
    }
    apps = [a.strip() for a in (confirm or "").split(",") if a.strip()]
    wanted = {"to": to, "plan": plan, "stay_writable": stay_writable, "confirm": apps}
    found = session.patient(LONG_CALL).send("POST", f"/v1/clusters/{cluster}/restores", wanted)
    _follow_run(session, found, wait=wait)


def with_release(session: Session, release: str | None, confirm: str | None) -> None:
    """Roll back to a release, None for the one that last served well, and take the data back to before the one after
    it."""
    by = release or "the release that last served well"
    what = f"the release and the database of {session.app} {session.environment} by {by} and its data"
    wanted = {
        "rollback": release,
        "rollback_to_last": release is None,
        "confirm": _confirmed(session, confirm, what),
    }
    _follow(session, wanted, wait=True)


def _follow(session: Session, wanted: dict[str, Any], *, wait: bool) -> None:
    _follow_run(
        session, session.patient(LONG_CALL).send("POST", session.path("/restores"), wanted), wait=wait
    )


def _follow_run(session: Session, found: dict[str, Any], *, wait: bool) -> None:
    if wait:
        _show(session, backup_view.follow(session, found))
    else:
        session.show(found, lambda f: click.echo(f"{f['id']} began"))


def _show(session: Session, run: dict[str, Any]) -> None:
    session.show(run, restore_view.ended)
    if run["state"] != "passed":
        sys.exit(BAD)


@restore.command("merge")
@click.argument("schema", metavar="SCHEMA")
@click.option("--missing", is_flag=True, help="Rows that are not there any more, and tables that are gone.")
@click.option("--changed", is_flag=True, help="Rows that are otherwise now.")
@click.option("--confirm", metavar="APP", help="The app's name, instead of being asked.")
@pass_session
def merge(session: Session, schema: str, missing: bool, changed: bool, confirm: str | None) -> None:
    """Bring rows over from tables that homeport restore --table brought back. All or nothing.

    A table without a primary key is left as it is: its rows cannot be told apart.
    """
    if not missing and not changed:
        raise click.UsageError("say which rows: --missing, --changed, or both")
    which = " and ".join(w for w, on in (("missing", missing), ("changed", changed)) if on)
    what = f"{which} rows in {session.app} {session.environment} by those of {schema}"
    wanted = {
        "schema": schema,
        "missing": missing,
        "changed": changed,
        "confirm": _confirmed(session, confirm, what, kept=False),
    }
    found = session.patient(LONG_CALL).send("POST", session.path("/restores/merge"), wanted)
    _show(session, backup_view.follow(session, found))


@restore.command("list")
@pass_session
def list_(session: Session) -> None:
    """Print what restores have kept."""
    found = session.patient(LONG_CALL).get(session.path("/restores/kept"))
    session.show(found, restore_view.kept)


@restore.command("drop")
@click.argument("kept", metavar="NAME")
@click.option("--confirm", metavar="NAME", help="Its name, once more, instead of being asked.")
@pass_session
def drop(session: Session, kept: str, confirm: str | None) -> None:
    """Remove what a restore has kept: homeport restore list"""
    if confirm is None:
        if session.json or not screen.is_terminal():
            raise click.UsageError(
                f"this asks for the name: give --confirm {kept} where there is no terminal"
            )
        confirm = click.prompt("Type its name to go on", default="", show_default=False)
    found = session.patient(LONG_CALL).send(
        "DELETE", session.path(f"/restores/kept/{name_of(kept)}"), confirm=confirm
    )
    session.show(found, lambda f: click.echo(f"{f['name']} is gone"))


def name_of(kept: str) -> str:
    if not kept.replace("_", "").replace("-", "").isalnum() or not kept.isascii():
        raise click.UsageError(f"{kept!r} is no name of what was kept: homeport restore list")
    return kept


def _confirmed(session: Session, given: str | None, what: str, *, kept: bool = True) -> str:
    if given is not None:
        return given
    app = session.app
    if session.json or not screen.is_terminal():
        raise click.UsageError(
            f"this asks for the app's name: give --confirm {app} where there is no terminal; "
            "--plan shows what would be lost"
        )
    click.echo(f"This replaces {what}.{' What serves now is kept beside.' if kept else ''}")
    return str(click.prompt("Type the app's name to go on", default="", show_default=False))


def _when(at: str | None, label: str, before_deploy: str | None) -> str:
    if at:
        return f"at {screen.local_time(at)}"
    if label:
        return f"at the end of backup {label}"
    return (
        f"before the deploy of {before_deploy}"
        if before_deploy
        else "at the newest moment that was backed up"
    )


def _release(text: str) -> str:
    from homeport.cli.ship import release_name

    return release_name(text)
