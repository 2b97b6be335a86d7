"""The command line: ``homeport``."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from homeport.cli import begin, look, screen, settings, ship
from homeport.cli.context import Session, pass_session
from homeport.kernel.errors import HomeportError, Kind, declare

NO_ROOM = declare("cli.disk_full", Kind.NO_SPACE, "The disk is full where a command had to write.")
SYSTEM = declare("cli.system", Kind.FAILED, "The system refused what a command had to do.")


def _set(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(context: click.Context, _: click.Parameter, value: Any) -> None:
        if value not in (None, False):
            setattr(context.find_object(Session), name, value)

    return callback


def _common_options() -> list[click.Option]:
    """Options that every command takes, before or after its name."""
    return [
        click.Option(
            ["--data-dir"],
            type=click.Path(path_type=Path, file_okay=False, resolve_path=True),
            expose_value=False,
            callback=_set("data_dir"),
            help="Where Homeport lives. Default: HOMEPORT_HOME, else /var/lib/homeport as root, "
            "else ./.homeport.",
        ),
        click.Option(
            ["--app"],
            expose_value=False,
            callback=_set("app_option"),
            help="The app meant. Default: the one whose homeport.toml is here or above.",
        ),
        click.Option(
            ["--env"],
            expose_value=False,
            callback=_set("environment"),
            help="The environment meant. Default: production.",
        ),
        click.Option(
            ["--json"], is_flag=True, expose_value=False, callback=_set("json"), help="Print data as JSON."
        ),
    ]


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=_common_options(),
)
@click.version_option(package_name="homeport", prog_name="homeport", message="%(prog)s %(version)s")
def cli() -> None:
    """Ship, watch, guard and recover web apps on your own machines."""


@cli.command()
@click.option(
    "--http",
    metavar="ADDRESS:PORT",
    help="Where the edge listens. Default: HOMEPORT_HTTP, else 0.0.0.0:80 as root, else 127.0.0.1:8080.",
)
@click.option(
    "--https",
    metavar="ADDRESS:PORT",
    help="Where the edge listens with TLS. Default: HOMEPORT_HTTPS, else nowhere.",
)
@click.option(
    "--systemd", is_flag=True, help="Write a systemd unit that does this at every boot, and print what to do."
)
@pass_session
def up(session: Session, http: str | None, https: str | None, systemd: bool) -> None:
    """Start Homeport here; nothing when it runs. Comes back in the background."""
    if systemd:
        click.echo(session.lifecycle.write_systemd_unit(session.data_dir, http, https))
        return
    report = session.lifecycle.up(session.data_dir, http, https)
    session.show(report, lambda r: click.echo(f"{click.style('✓', fg=screen.GOOD)} {r['message']}"))


@cli.command()
@pass_session
def down(session: Session) -> None:
    """Stop Homeport here: the edge and every app with it. Nothing is removed."""
    report = session.lifecycle.down(session.data_dir)
    session.show(report, lambda r: click.echo(f"{click.style('✓', fg=screen.GOOD)} {r['message']}"))


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell: eval "$(homeport completion bash)"."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(cli, {}, "homeport", "_HOMEPORT_COMPLETE").source())


for command in (
    begin.init,
    ship.deploy,
    ship.rollback,
    look.releases,
    look.status,
    look.ps,
    look.logs,
    ship.scale,
    settings.env,
    settings.exec_,
    ship.restart,
    look.events,
    look.apps,
    ship.destroy,
    look.doctor,
):
    cli.add_command(command)


def _extend(command: click.Command) -> None:
    if isinstance(command, click.Group):
        for child in command.commands.values():
            _extend(child)
    else:
        command.params.extend(_common_options())


for each in cli.commands.values():
    _extend(each)


def run(session: Session, arguments: list[str]) -> int:
    """Run one command line; returns the exit status. Errors go to stderr."""
    try:
        status = cli.main(arguments, prog_name="homeport", obj=session, standalone_mode=False)
        return status if isinstance(status, int) else 0
    except HomeportError as e:
        screen.error(e)
        return e.kind.exit_status
    except click.exceptions.Exit as e:
        return e.exit_code
    except click.ClickException as e:
        e.show()
        return e.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:
        return 141
    except OSError as e:
        full = e.errno in (errno.ENOSPC, errno.EDQUOT)
        where = f" {e.filename}" if e.filename else ""
        problem = (NO_ROOM if full else SYSTEM).error(f"cannot go on:{where} {e.strerror or e}")
        screen.error(problem)
        return problem.kind.exit_status
