"""One-off commands."""

import json

import click

from homeport.cli import screen
from homeport.cli.context import Session, pass_session
from homeport.kernel.errors import HomeportError
from homeport.system import process as process_

GRACE = 5.0
"""Seconds that a command has to end after the terminal is gone."""
OPTIONS = {"allow_interspersed_args": False}


@click.command("run", context_settings=OPTIONS)
@click.option("--process", help="As an instance of this process. Default: web, else the first one.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@pass_session
def run(session: Session, process: str | None, command: tuple[str, ...]) -> None:
    """Run COMMAND once in a fresh process of the release that serves.

    It has the files, variables, secrets, user and limits of an instance, and this terminal. Its exit
    status is this command's. Write "--" before it: homeport run -- .venv/bin/python manage.py shell
    """
    _run(session, process, command)


@click.command("exec", context_settings=OPTIONS)
@click.option("--process", help="As an instance of this process. Default: web, else the first one.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@pass_session
def exec_(session: Session, process: str | None, command: tuple[str, ...]) -> None:
    """The same as homeport run."""
    _run(session, process, command)


def _run(session: Session, process: str | None, command: tuple[str, ...]) -> None:
    prepared = session.client.send(
        "POST",
        session.path("/commands"),
        {"command": list(command), "process": process, "caller": process_.own_pid()},
    )
    document = prepared["document"]
    inherited = {k: v for k, v in session.variables.items() if k in ("TERM", "LANG", "COLUMNS", "LINES")}
    document["environment"] = inherited | document["environment"]
    status = process_.foreground(prepared["runner"], json.dumps(document).encode(), grace=GRACE)
    try:
        session.client.send("POST", session.path(f"/commands/{prepared['run']}/end"), {"status": status})
    except HomeportError as e:
        screen.note(f"that it ended could not be recorded: {e.sentence}")
    raise click.exceptions.Exit(status)
