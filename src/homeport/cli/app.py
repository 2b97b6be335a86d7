"""The command line: ``homeport``."""

import errno
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from homeport.api.client import Client
from homeport.cli import screen
from homeport.cli.context import Session, pass_session
from homeport.kernel.errors import HomeportError, Kind, declare

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

NO_ROOM = declare("cli.disk_full", Kind.NO_SPACE, "The disk is full where a command had to write.")
SYSTEM = declare("cli.system", Kind.FAILED, "The system refused what a command had to do.")


Completed = Callable[[Client, Session], list[str]]


class _Value(click.ParamType[str]):
    """Text that the shell completes with names that the running Homeport knows."""

    name = "text"

    def __init__(self, known: Completed) -> None:
        self._known = known

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        """Nothing where no Homeport answers at once: completing a line must neither wait nor complain."""
        from click.shell_completion import CompletionItem

        session = ctx.find_object(Session)
        if session is None:
            return []
        try:
            client = Client(session.data_dir, patience=0.0, timeout=COMPLETE_WITHIN)
            known = self._known(client, session)
        except (HomeportError, LookupError, TypeError, ValueError, OSError):
            return []
        given = ctx.params.get(param.name or "")
        used = given if isinstance(given, tuple) else ()
        return [CompletionItem(name) for name in known if name.startswith(incomplete) and name not in used]


COMPLETE_WITHIN = 0.3
"""Seconds that a completion waits for the control plane."""


def _apps(client: Client, _: Session) -> list[str]:
    return [a["name"] for a in client.get("/v1/status")["apps"]]


def _environments(client: Client, session: Session) -> list[str]:
    found = client.get(f"/v1/apps/{session.app}")["environments"]
    return [e["name"] for e in found]


def _releases(client: Client, session: Session) -> list[str]:
    return [r["id"] for r in client.get(f"/v1/apps/{session.app}/releases")]


def _targets(client: Client, session: Session) -> list[str]:
    """Releases that a rollback can go to."""
    found = client.get(f"/v1/apps/{session.app}/releases")
    return [r["id"] for r in found if r["state"] == "ready" and session.environment not in r["serving"]]


def _processes(client: Client, session: Session) -> list[str]:
    return [p["name"] for p in client.get(session.path())["processes"]]


def _counts(client: Client, session: Session) -> list[str]:
    return [f"{p['name']}={p['wanted']}" for p in client.get(session.path())["processes"]]


def _variables(client: Client, session: Session) -> list[str]:
    return list(client.get(session.path("/variables"))["variables"])


def _secrets(client: Client, session: Session) -> list[str]:
    return [s["name"] for s in client.get(session.path("/secrets"))]


def _jobs(client: Client, session: Session) -> list[str]:
    return [c["name"] for c in client.get(session.path("/cron"))]


def _previews(client: Client, session: Session) -> list[str]:
    return [p["name"] for p in client.get(f"/v1/apps/{session.app}/previews")]


def _runs(client: Client, session: Session) -> list[str]:
    return [str(r["number"]) for r in client.get(f"/v1/apps/{session.app}/runs")]


def _waiting(client: Client, session: Session) -> list[str]:
    found = client.get(f"/v1/apps/{session.app}/runs")
    return [str(r["number"]) for r in found if r["state"] == "waiting"]


def _running(client: Client, session: Session) -> list[str]:
    change = client.get(session.path())["change"]
    return [change["id"]] if change and not change["done"] else []


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
            type=_Value(_apps),
            expose_value=False,
            callback=_set("app_option"),
            help="The app meant. Default: the one whose homeport.toml is here or above.",
        ),
        click.Option(
            ["--env"],
            type=_Value(_environments),
            expose_value=False,
            callback=_set("environment_option"),
            help="The environment meant. Default: what homeport.toml names, else production.",
        ),
        click.Option(
            ["--json"], is_flag=True, expose_value=False, callback=_set("json"), help="Print data as JSON."
        ),
    ]


COMPLETED: dict[tuple[str, str], Completed] = {
    ("rollback", "release"): _targets,
    ("cancel", "change"): _running,
    ("scale", "counts"): _counts,
    ("destroy", "target"): _apps,
    ("destroy", "confirmed"): _apps,
    ("logs", "process"): _processes,
    ("logs", "build"): _releases,
    ("exec", "process"): _processes,
    ("run", "process"): _processes,
    ("promote", "source"): _environments,
    ("promote", "target"): _environments,
    ("env unset", "names"): _variables,
    ("secrets set", "name"): _secrets,
    ("secrets reveal", "name"): _secrets,
    ("secrets unset", "name"): _secrets,
    ("config show", "process"): _processes,
    ("config diff", "first"): _environments,
    ("config diff", "second"): _environments,
    ("config diff", "process"): _processes,
    ("diff", "before"): _releases,
    ("diff", "after"): _releases,
    ("preview show", "name"): _previews,
    ("preview extend", "name"): _previews,
    ("preview remove", "name"): _previews,
    ("pipeline show", "which"): _runs,
    ("pipeline logs", "which"): _runs,
    ("pipeline cancel", "which"): _runs,
    ("pipeline retry", "which"): _runs,
    ("approve", "which"): _waiting,
    ("reject", "which"): _waiting,
    ("cron run", "job"): _jobs,
    ("cron history", "job"): _jobs,
    ("cron pause", "job"): _jobs,
    ("cron resume", "job"): _jobs,
}
"""What completes which parameter, by command and name."""


WHERE: dict[str, tuple[str, str]] = {
    "approve": ("pipeline", "approve"),
    "apps": ("look", "apps"),
    "backup": ("backup", "backup"),
    "cache": ("db", "cache"),
    "cancel": ("cancel", "cancel"),
    "ci": ("ci", "ci"),
    "clone": ("clone", "clone"),
    "config": ("settings", "config"),
    "cron": ("cron", "cron"),
    "db": ("db", "db"),
    "deploy": ("ship", "deploy"),
    "destroy": ("ship", "destroy"),
    "diff": ("compare", "diff"),
    "doctor": ("look", "doctor"),
    "dora": ("dora", "dora"),
    "drill": ("drill", "drill"),
    "env": ("settings", "env"),
    "events": ("look", "events"),
    "exec": ("run", "exec_"),
    "git-key": ("git", "git_key"),
    "git-receive": ("receive", "git_receive"),
    "git-shell": ("git", "git_shell"),
    "init": ("begin", "init"),
    "logs": ("look", "logs"),
    "maintenance": ("modes", "maintenance"),
    "migrate": ("migrate", "migrate"),
    "pipeline": ("pipeline", "pipeline"),
    "preview": ("preview", "preview"),
    "promote": ("ship", "promote"),
    "ps": ("look", "ps"),
    "read-only": ("modes", "read_only"),
    "recover": ("recover", "recover"),
    "reject": ("pipeline", "reject"),
    "releases": ("look", "releases"),
    "remote": ("git", "remote"),
    "restart": ("ship", "restart"),
    "restore": ("restore", "restore"),
    "rollback": ("ship", "rollback"),
    "rollout": ("rollout", "rollout"),
    "run": ("run", "run"),
    "scale": ("ship", "scale"),
    "secrets": ("secrets", "secrets"),
    "source": ("git", "source"),
    "status": ("look", "status"),
}
"""In which module of ``homeport.cli`` a command is, and its name there. It is imported when it is asked for: a
command would spend half its time on all the others."""


class _Commands(click.Group):
    """Those of ``WHERE``, and what is declared here."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *WHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in WHERE and cmd_name not in self.commands:
            module, name = WHERE[cmd_name]
            self.add_command(getattr(import_module(f"homeport.cli.{module}"), name), cmd_name)
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as e:
            raise click.exceptions.NoSuchCommand(
                e.command_name, possibilities=self.list_commands(ctx), ctx=ctx
            ) from None

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        _complete(name or cmd.name or "", cmd)
        _extend(cmd)
        super().add_command(cmd, name)


def _complete(path: str, command: click.Command) -> None:
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            _complete(f"{path} {name}".strip(), child)
    for parameter in command.params:
        known = COMPLETED.get((path, parameter.name or ""))
        if known is not None:
            parameter.type = _Value(known)


def _extend(command: click.Command) -> None:
    if isinstance(command, click.Group):
        for child in command.commands.values():
            _extend(child)
    if not isinstance(command, click.Group) or command.invoke_without_command:
        command.params.extend(_common_options())


@click.group(
    cls=_Commands,
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
    stops = _what_runs(session)
    if stops and not session.json:
        click.echo(
            "stopping " + ", ".join(f"{s['instances']} of {s['app']} {s['environment']}" for s in stops)
        )
    report = session.lifecycle.down(session.data_dir) | {"stopped": stops}
    session.show(report, lambda r: click.echo(f"{click.style('✓', fg=screen.GOOD)} {r['message']}"))


def _what_runs(session: Session) -> list[dict[str, Any]]:
    """How many instances of which apps run; [] when the control plane does not tell."""
    try:
        found = Client(session.data_dir, patience=0.0, timeout=5.0).get("/v1/status")
    except HomeportError:
        return []
    return [
        {"app": e["app"], "environment": e["name"], "instances": len(e["instances"])}
        for a in found["apps"]
        for e in a["environments"]
        if e["instances"]
    ]


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell: eval "$(homeport completion bash)"."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(cli, {}, "homeport", "_HOMEPORT_COMPLETE").source())


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
