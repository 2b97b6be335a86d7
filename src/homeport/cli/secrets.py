"""Commands for an environment's secrets. A value is never an argument."""

import sys
from typing import Any

import click

from homeport.cli import screen
from homeport.cli.context import Session, pass_session
from homeport.cli.settings import next_step
from homeport.kernel.errors import Kind, declare

NO_VALUE = declare("cli.no_value", Kind.INVALID, "A secret's value was not given, or is no text.")
LARGEST = 64 * 1024


@click.group()
def secrets() -> None:
    """The environment's secrets: sealed on disk, masked in every log."""


@secrets.command("set")
@click.argument("name")
@pass_session
def set_(session: Session, name: str) -> None:
    """Set a secret: asked for on a terminal, else read from stdin. Restarts nothing.

    A newline at the end of stdin is not part of the value.
    """
    if "=" in name:
        raise NO_VALUE.error(
            "cannot take a value from the command line: every user of this machine could read it",
            hint=f"homeport secrets set {name.partition('=')[0]}, and the value from the prompt or stdin",
        )
    if sys.stdin.isatty():
        value = click.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True, err=True)
    else:
        data = sys.stdin.buffer.read(LARGEST + 2)
        if len(data) > LARGEST + 1:
            raise NO_VALUE.error(f"cannot set {name}: the value is larger than 64 KB")
        try:
            value = data.decode("utf-8").removesuffix("\n")
        except UnicodeDecodeError:
            raise NO_VALUE.error(
                f"cannot set {name}: the value is not UTF-8 text", hint="encode it first, such as with base64"
            ) from None
    if not value:
        raise NO_VALUE.error(
            f"cannot set {name}: no value was given", hint="homeport secrets unset removes one"
        )
    wanted = {"value": value, "declared": session.declared}
    found = session.client.send("PUT", session.path(f"/secrets/{_quoted(name)}"), wanted)
    session.show(found, lambda s: click.echo(f"{s['name']} has version {s['version']}: {next_step(session)}"))


@secrets.command("list")
@pass_session
def list_(session: Session) -> None:
    """Print the names of secrets, and who set them when; no values."""

    def show(found: list[dict[str, Any]]) -> None:
        screen.columns(
            ("SECRET", "VERSION", "SET BY", "WHEN", "FROM"),
            [
                (
                    s["name"],
                    str(s["version"]),
                    s["actor"],
                    screen.ago(s["created_at"], session.clock.now()),
                    screen.printable(s["source"]),
                )
                for s in found
            ],
        )
        if not found:
            click.echo("no secrets are set", err=True)

    session.show(session.client.get(session.path("/secrets")), show)


@secrets.command("reveal")
@click.argument("name")
@pass_session
def reveal(session: Session, name: str) -> None:
    """Print a secret's value. That you did is recorded."""
    found = session.client.send("POST", session.path(f"/secrets/{_quoted(name)}/reveal"))
    session.show(found, lambda s: click.echo(s["value"]))


@secrets.command("unset")
@click.argument("name")
@pass_session
def unset(session: Session, name: str) -> None:
    """Remove a secret. Releases that ran with it keep their version, for a rollback."""
    session.client.send("DELETE", session.path(f"/secrets/{_quoted(name)}"))
    session.show({"name": name}, lambda _: click.echo(next_step(session)))


@secrets.command("rotate-key")
@pass_session
def rotate_key(session: Session) -> None:
    """Seal every secret of every app with a new key. Nothing is restarted."""
    done = session.client.send("POST", "/v1/secrets/rotate-key")
    session.show(
        done,
        lambda d: click.echo(
            f"sealed anew: {d['secrets']} version(s) of secrets, {d['documents']} instance(s)"
        ),
    )


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")
