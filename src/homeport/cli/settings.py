"""Commands for an environment's variables, and for running a command with them."""

from typing import Any

import click

from homeport.cli import screen
from homeport.cli.context import Session, pass_session
from homeport.kernel.errors import Kind, declare
from homeport.system import process

BAD_ASSIGNMENT = declare(
    "cli.bad_assignment", Kind.INVALID, "An argument of homeport env set is not NAME=VALUE."
)
NO_COMMAND = declare(
    "cli.command_not_found", Kind.NOT_FOUND, "The command given to homeport exec cannot be run."
)


@click.group()
def env() -> None:
    """The environment's variables, set by hand."""


@env.command("list")
@pass_session
def list_(session: Session) -> None:
    """Print them, as NAME=VALUE."""

    def show(found: dict[str, Any]) -> None:
        for name, value in found["variables"].items():
            click.echo(f"{name}={screen.printable(value) if screen.is_terminal() else value}")
        if not found["variables"]:
            click.echo("no variables are set by hand", err=True)

    session.show(session.client.get(session.path("/variables")), show)


@env.command("set")
@click.argument("assignments", nargs=-1, required=True, metavar="NAME=VALUE...")
@pass_session
def set_(session: Session, assignments: tuple[str, ...]) -> None:
    """Set variables. They reach instances that start from now on: deploy or restart.

    Not for secrets: arguments can be read by every user of this machine.
    """
    variables = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise BAD_ASSIGNMENT.error(f"cannot read {name!r}", hint="write NAME=VALUE")
        variables[name] = value
    _change(session, {"set": variables})


@env.command("unset")
@click.argument("names", nargs=-1, required=True)
@pass_session
def unset(session: Session, names: tuple[str, ...]) -> None:
    """Remove variables."""
    _change(session, {"unset": list(names)})


def _change(session: Session, wanted: dict[str, Any]) -> None:
    found = session.client.send("PATCH", session.path("/variables"), wanted)
    session.show(
        found, lambda _: click.echo("kept; homeport restart, or the next deploy, gives it to the instances")
    )


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.option("--process", help="As an instance of this process sees it. Default: web, else the first one.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@pass_session
def exec_(session: Session, process: str | None, command: tuple[str, ...]) -> None:
    """Run COMMAND in the serving release's directory, with an instance's variables and user.

    Its exit status is this command's.
    """
    _exec(session, process, command)


def _exec(session: Session, process_name: str | None, command: tuple[str, ...]) -> None:
    sees = session.client.get(session.path("/exec"), process=process_name)
    inherited = {k: v for k, v in session.variables.items() if k in ("TERM", "LANG", "HOME", "COLUMNS")}
    # As an instance has it, not the caller's: that may begin with Homeport's own environment.
    inherited["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    try:
        process.replace(
            command,
            cwd=sees["directory"],
            env=inherited | sees["environment"],
            user=sees["user"],
        )
    except OSError as e:
        raise NO_COMMAND.error(
            f"cannot run {command[0]}: {e.strerror}",
            hint=f"it is looked for in {sees['directory']} and on PATH",
        ) from e
