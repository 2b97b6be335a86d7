"""Commands for databases."""

import sys
from typing import Any

import click

from homeport.cli import db_view, progress, screen
from homeport.cli.context import Session, name, pass_session
from homeport.cli.settings import flag
from homeport.kernel.errors import Kind, declare
from homeport.kernel.units import format_duration, format_size, parse_duration
from homeport.system import process

NO_CLIENT = declare(
    "cli.no_database_client", Kind.MISSING_PART, "The program that a database's shell is, is not here."
)
BAD_TIMEOUT = declare("cli.bad_timeout", Kind.INVALID, "A --timeout is no duration.")
PACKAGES = {"psql": "postgresql-client", "sqlite3": "sqlite3"}
LONG_CALL = 400.0
RETIRED_WITHIN = 60.0
"""Seconds that ``rotate --now`` waits for instances to drain."""
OPTIONS = {"allow_interspersed_args": False}

which = click.option(
    "--database",
    default="main",
    metavar="NAME",
    help="Which one, by its name in homeport.toml. Default: main.",
)
timeout = click.option(
    "--timeout", default="10s", metavar="DURATION", help="What transactions have to end. Default: 10s."
)


@click.group()
def db() -> None:
    """The environment's databases."""


def _path(session: Session, database: str, rest: str) -> str:
    return session.path(f"/databases/{name('database', database)}{rest}")


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError:
        raise BAD_TIMEOUT.error(f"cannot read {text!r} as a duration", hint="such as 10s or 1m") from None


@db.command("list")
@click.option("--all-apps", is_flag=True, help="Of every app, and those kept of apps that are gone.")
@pass_session
def list_(session: Session, all_apps: bool) -> None:
    """Print databases as they are just now: size, connections, pool."""
    found = session.client.get("/v1/databases", app=None if all_apps else session.app)
    session.show(found, lambda f: db_view.databases(f, all_apps=all_apps))


@db.command("url")
@which
@pass_session
def url(session: Session, database: str) -> None:
    """Print the URL that the app is given, with its password. That you did is recorded."""
    found = session.client.send("POST", _path(session, database, "/reveal"))
    session.show(found, lambda f: click.echo(f["url"]))


@db.command("shell", context_settings=OPTIONS)
@which
@click.option("--read-only", is_flag=True, help="With a login that may only read.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- PSQL ARGUMENTS...]")
@pass_session
def shell(session: Session, database: str, read_only: bool, arguments: tuple[str, ...]) -> None:
    """Open psql as the owner of the database, or sqlite3. That you did is recorded.

    The login is good while this runs. Such as: homeport db shell -- -c "SELECT count(*) FROM orders"
    """
    found = session.client.send(
        "POST",
        _path(session, database, "/shells"),
        {"read_only": read_only, "caller": process.own_pid()},
    )
    if found["note"]:
        screen.note(found["note"])
    program = process.program(found["program"])
    argv = [str(program), *found["arguments"]] if program else found["fallback"]
    if not argv:
        package = PACKAGES.get(found["program"], found["program"])
        raise NO_CLIENT.error(
            f"cannot open a shell: {found['program']} is not on this machine",
            hint=f"apt-get install {package}",
        )
    sys.stdout.flush()
    process.replace(
        [*argv, *arguments],
        cwd=session.directory,
        env=session.variables | found["environment"],
        user=found["user"] if program else None,
    )


@db.command("size")
@which
@click.option("-n", "--lines", "most", default=20, type=click.IntRange(1, 1000), help="How many tables.")
@pass_session
def size(session: Session, database: str, most: int) -> None:
    """Print tables and indexes with their sizes, the largest first."""
    found = session.client.get(_path(session, database, "/sizes"))
    session.show(found, lambda f: db_view.sizes(f, most))


@db.command("pause")
@which
@timeout
@pass_session
def pause(session: Session, database: str, timeout: str) -> None:
    """Hold the app's clients between two transactions, for two minutes at most: then they get an error."""
    session.client.send("POST", _path(session, database, "/pause"), {"timeout": _seconds(timeout)})
    hint = f"homeport db resume{flag(session)} lets them go on"
    session.show({"held": True}, lambda _: click.echo(f"clients of {database} wait; {hint}"))


@db.command("resume")
@which
@pass_session
def resume(session: Session, database: str) -> None:
    """Let clients go on."""
    session.client.send("POST", _path(session, database, "/resume"))
    session.show({"held": False}, lambda _: click.echo(f"clients of {database} go on"))


@db.command("restart")
@which
@timeout
@pass_session
def restart(session: Session, database: str, timeout: str) -> None:
    """Restart the database's server. Meanwhile PgBouncer holds the clients of all databases there."""
    found = session.client.send("POST", _path(session, database, "/restart"), {"timeout": _seconds(timeout)})

    def show(f: dict[str, Any]) -> None:
        click.echo(f"cluster {f['cluster']} was restarted in {format_duration(f['seconds'])}")
        if f["cut_off"]:
            screen.note(
                f"no pooler holds the clients of {', '.join(f['cut_off'])}: they had to connect again"
            )

    session.show(found, show)


@db.command("rotate")
@which
@click.option("--now", is_flag=True, help="End what is kept warm for a way back; it has the former login.")
@click.option("-q", "--quiet", is_flag=True, help="Print the verdict only.")
@pass_session
def rotate(session: Session, database: str, now: bool, quiet: bool) -> None:
    """Give the app a new login with a new password. The former one is valid until nothing has it any more."""
    found = session.client.send("POST", _path(session, database, "/rotations"), {"now": now})
    change = found["change"]
    if change is not None and not change["done"]:
        try:
            progress.follow(session, change, quiet=quiet)
        except click.exceptions.Exit as e:
            if e.exit_code == Kind.ROLLED_BACK.exit_status:
                screen.note(
                    "the former login stays valid, and the app is given the new one again by itself; "
                    f"homeport db rotate{flag(session)} does that at once"
                )
            raise
    elif session.json:
        session.show(found, lambda _: None)
    if session.json:
        return
    state = _await_retired(session, database) if now else _rotation(session, database)
    if state["since"] is None:
        click.echo("the former login is valid no more")
        return
    click.echo(f"the former login stays valid until nothing has it: {db_view.holders(state)}")
    if state["warm"] and not now:
        screen.note(
            f"homeport db rotate --now{flag(session)} ends instances that are kept warm for a way back"
        )


def _rotation(session: Session, database: str) -> dict[str, Any]:
    found: dict[str, Any] = session.client.get(_path(session, database, "/rotation"))
    return found


def _await_retired(session: Session, database: str) -> dict[str, Any]:
    until = session.clock.monotonic() + RETIRED_WITHIN
    while (state := _rotation(session, database))["since"] and session.clock.monotonic() < until:
        session.clock.sleep(0.5)
    return state


@db.command("drop")
@click.argument("database", metavar="DATABASE")
@click.option("--confirm", metavar="DATABASE", help="Its name, once more, instead of being asked.")
@pass_session
def drop(session: Session, database: str, confirm: str | None) -> None:
    """Drop DATABASE, by the name that homeport db list has in that column, with all that is in it.

    Only one that no release uses: such as is kept when its app or environment was destroyed.
    """
    if confirm is None:
        if not screen.is_terminal():
            raise click.UsageError(
                f"this asks for the name: give --confirm {database} where there is no terminal"
            )
        click.echo(f"This drops {screen.bold(database)} with all that is in it.")
        confirm = click.prompt("Type its name to go on", default="", show_default=False)
    from urllib.parse import quote

    gone = session.client.send(
        "DELETE",
        f"/v1/databases/{quote(database, safe='')}",
        confirm=confirm,
        app=session.app_option,
        environment=session.environment_option,
    )
    session.show(gone, lambda g: click.echo(f"{g['database']} of {g['app']} {g['environment']} is gone"))


@db.command("insight")
@which
@click.option("--rule", "rules", multiple=True, metavar="RULE", help="Look for this only. May be repeated.")
@pass_session
def insight(session: Session, database: str, rules: tuple[str, ...]) -> None:
    """Print what is wrong with the database, with the statement that mends it and what that locks.

    Exit status 1 when something critical was found.
    """
    query = "".join(f"{'&' if i else '?'}rule={_quoted(r)}" for i, r in enumerate(rules))
    found = session.patient(LONG_CALL).get(_path(session, database, f"/insight{query}"))
    session.show(found, db_view.insight)
    if any(f["severity"] == "critical" for f in found["findings"]):
        raise click.exceptions.Exit(1)


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


@db.command("maintenance")
@pass_session
def maintenance(session: Session) -> None:
    """Print the upkeep that homeport.toml asks for, when it is due next, and how it went last."""
    found = session.client.get(session.path("/maintenance"))
    session.show(found, lambda f: db_view.maintenance(f, session.clock.now()))


@click.group()
def cache() -> None:
    """The environment's caches."""


@cache.command("list")
@click.option("--all-apps", is_flag=True, help="Of every app.")
@pass_session
def cache_list(session: Session, all_apps: bool) -> None:
    """Print caches as they are just now: memory, keys."""

    def show(found: list[dict[str, Any]]) -> None:
        screen.columns(
            ("APP", "ENVIRONMENT", "CACHE", "STATE", "MEMORY", "KEYS", "KEPT", "PORT"),
            [
                (
                    c["app"] if all_apps else "",
                    c["environment"],
                    c["name"],
                    screen.word("up" if c["running"] else "down"),
                    f"{format_size(c['used'])} of {format_size(c['limit'])}" if c["used"] is not None else "",
                    str(c["keys"]) if c["keys"] is not None else "",
                    "on disk" if c["persistent"] else "",
                    str(c["port"] or ""),
                )
                for c in found
            ],
        )
        if not found:
            click.echo("no caches; [cache.main] in homeport.toml gives an app one", err=True)

    session.show(session.client.get("/v1/caches", app=None if all_apps else session.app), show)
