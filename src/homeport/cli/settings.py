"""Commands for an environment's variables and configuration."""

import sys
from pathlib import Path
from typing import Any

import click

from homeport.cli import screen
from homeport.cli.context import Session, name, pass_session
from homeport.kernel.errors import Kind, declare

BAD_ASSIGNMENT = declare(
    "cli.bad_assignment", Kind.INVALID, "An argument of homeport env set is not NAME=VALUE."
)
IS_SECRET = declare("cli.is_secret", Kind.INVALID, "A variable that homeport.toml declares as a secret.")
NO_FILE = declare("cli.no_file", Kind.NOT_FOUND, "A file that a command was to read is not there.")


@click.group()
def env() -> None:
    """The environment's variables, set by hand."""


@env.command("list")
@pass_session
def list_(session: Session) -> None:
    """Print them, as NAME=VALUE."""

    def show(found: dict[str, Any]) -> None:
        for variable, value in found["variables"].items():
            click.echo(f"{variable}={screen.printable(value) if screen.is_terminal() else value}")
        if not found["variables"]:
            click.echo("no variables are set by hand; homeport config show prints all", err=True)

    session.show(session.client.get(session.path("/variables")), show)


@env.command("set")
@click.argument("assignments", nargs=-1, required=True, metavar="NAME=VALUE...")
@pass_session
def set_(session: Session, assignments: tuple[str, ...]) -> None:
    """Set variables, for the next deploy; nothing is restarted.

    Not for secrets: arguments can be read by every user of this machine. See homeport secrets set.
    """
    variables = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise BAD_ASSIGNMENT.error(f"cannot read {name!r}", hint="write NAME=VALUE")
        variables[name] = value
    secret = [n for n in variables if n in session.declared_secrets()]
    if secret:
        raise IS_SECRET.error(
            f"cannot set {', '.join(secret)}: homeport.toml declares it as a secret",
            hint=f"homeport secrets set {secret[0]}{flag(session)}",
        )
    _change(session, {"set": variables})


@env.command("unset")
@click.argument("names", nargs=-1, required=True)
@pass_session
def unset(session: Session, names: tuple[str, ...]) -> None:
    """Remove variables."""
    _change(session, {"unset": list(names)})


def _change(session: Session, wanted: dict[str, Any]) -> None:
    found = session.client.send("PATCH", session.path("/variables"), {**wanted, "declared": session.declared})
    session.show(found, lambda _: click.echo(next_step(session)))


def next_step(session: Session) -> str:
    """What has to be done for a change of the configuration to reach instances."""
    return f"kept for the next deploy; homeport deploy --config-only{flag(session)} rolls out just this"


def flag(session: Session) -> str:
    """The option that means the same environment again."""
    return f" --env {session.environment}" if session.environment_option is not None else ""


@env.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@pass_session
def import_(session: Session, file: Path) -> None:
    """Set what a .env FILE holds ("-" reads stdin). What the app declares as a secret becomes one."""
    if str(file) == "-":
        text = sys.stdin.read()
    else:
        try:
            text = (session.directory / file).read_text("utf-8")
        except UnicodeDecodeError:
            raise BAD_ASSIGNMENT.error(f"cannot read {file}: it is not UTF-8 text") from None
        except OSError as e:
            raise NO_FILE.error(f"cannot read {file}: {e.strerror}") from e
    wanted = {"text": text, "secrets": session.declared_secrets(), "declared": session.declared}
    found = session.client.send("POST", session.path("/variables/import"), wanted)

    def show(done: dict[str, Any]) -> None:
        click.echo(f"{len(done['variables'])} variable(s): {', '.join(done['variables']) or '-'}")
        click.echo(f"{len(done['secrets'])} secret(s): {', '.join(done['secrets']) or '-'}")
        click.echo(next_step(session))

    session.show(found, show)


@env.command("export")
@pass_session
def export(session: Session) -> None:
    """Print the variables set by hand as a .env file. Secrets are named, never printed."""
    click.echo(session.client.text(session.path("/variables/export")), nl=False)


@click.group()
def config() -> None:
    """What instances see: every variable and where it comes from."""


@config.command("show")
@click.option("--process", help="As an instance of this process sees it. Default: web, else the first one.")
@pass_session
def show_(session: Session, process: str | None) -> None:
    """Print every variable of an instance with its origin. Secrets are masked."""
    found = session.client.get(session.path("/config"), process=process)

    def show(data: dict[str, Any]) -> None:
        screen.columns(
            ("VARIABLE", "VALUE", "FROM"),
            [(s["name"], _value(s), _origin(s)) for s in data["deployed"]],
        )
        waiting = [r["name"] for r in compare(data["deployed"], data["next"], same_environment=True)]
        if waiting:
            click.echo()
            names = ", ".join(waiting)
            screen.note(f"set, but not deployed yet: {names}; homeport deploy --config-only{flag(session)}")

    session.show(found, show)


@config.command("diff")
@click.argument("first", metavar="ENVIRONMENT")
@click.argument("second", metavar="ENVIRONMENT")
@click.option("--process", help="As an instance of this process sees it. Default: web, else the first one.")
@pass_session
def diff(session: Session, first: str, second: str, process: str | None) -> None:
    """Print the variables that differ between two environments. Exit status 1 when some do."""
    found = []
    for environment in (first, second):
        path = f"/v1/apps/{session.app}/environments/{name('environment', environment)}/config"
        found.append(session.client.get(path, process=process)["deployed"])
    differences = compare(*found, same_environment=False)
    session.show(differences, lambda rows: print_differences(rows, first, second))
    if differences:
        raise click.exceptions.Exit(1)


def compare(
    before: list[dict[str, Any]], after: list[dict[str, Any]], *, same_environment: bool
) -> list[dict[str, Any]]:
    """Settings that are not the same, but for Homeport's own.

    Two secrets of different environments count as different, whatever their versions.
    """
    left = {s["name"]: s for s in before if s["origin"] != "Homeport"}
    right = {s["name"]: s for s in after if s["origin"] != "Homeport"}
    rows = []
    for key in sorted(left.keys() | right.keys()):
        a, b = left.get(key), right.get(key)
        same = a is not None and b is not None and (a["value"], a["version"]) == (b["value"], b["version"])
        if not same or (a is not None and a["version"] is not None and not same_environment):
            rows.append({"name": key, "before": a, "after": b})
    return rows


def print_differences(rows: list[dict[str, Any]], first: str, second: str) -> None:
    screen.columns(
        ("VARIABLE", first.upper(), second.upper()),
        [(r["name"], _cell(r["before"]), _cell(r["after"])) for r in rows],
    )
    if not rows:
        click.echo("the same")


def _cell(setting: dict[str, Any] | None) -> str:
    return screen.dim("-") if setting is None else _value(setting)


def _value(setting: dict[str, Any]) -> str:
    if setting["version"] is not None:
        return screen.dim(f"•••••• (version {setting['version']})")
    return screen.printable(setting["value"] or "")


def _origin(setting: dict[str, Any]) -> str:
    origin: str = setting["origin"]
    return f"given by {origin}" if origin == "Homeport" else origin
