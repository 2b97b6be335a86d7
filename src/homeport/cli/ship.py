"""Commands that change what runs."""

from typing import IO

import click

from homeport.cli import progress, restore, screen, source
from homeport.cli.context import SPEC, Session, name, pass_session
from homeport.kernel.errors import Kind, declare
from homeport.kernel.ids import is_release

NO_SPEC_HERE = declare("cli.no_spec", Kind.INVALID, "There is no homeport.toml here or above.")
BAD_SCALE = declare("cli.bad_scale", Kind.INVALID, "An argument of homeport scale is not process=number.")
BAD_RELEASE = declare("cli.bad_release", Kind.INVALID, "What was given as a release is no name of one.")

PAST_GATE = "Ship to an environment with a gate without an approval; the reason is recorded."


@click.command()
@click.argument("commit", required=False)
@click.option(
    "--dirty", is_flag=True, help="Ship the working tree as it lies there, uncommitted changes too."
)
@click.option(
    "--config-only",
    is_flag=True,
    help="Ship no files: give what serves the variables and secrets as they are now.",
)
@click.option("--replace", is_flag=True, help="Take over from a change that runs.")
@click.option("--past-gate", metavar="REASON", default="", help=PAST_GATE)
@click.option("--rebuild", is_flag=True, help="Build anew, also where a release holds the same files.")
@click.option("-q", "--quiet", is_flag=True, help="Print the verdict only.")
@pass_session
def deploy(
    session: Session,
    commit: str | None,
    dirty: bool,
    config_only: bool,
    replace: bool,
    past_gate: str,
    rebuild: bool,
    quiet: bool,
) -> None:
    """Ship COMMIT (the current one by default) and wait for the verdict.

    Exit status 0: the release serves. 7: it was not kept, what served before serves on.
    """
    if config_only:
        if commit is not None or dirty or rebuild:
            raise click.UsageError(
                "--config-only ships no files: it goes with no COMMIT, no --dirty, no --rebuild"
            )
        change = session.client.send("POST", session.path("/configurations"), {"replace": replace})
        progress.follow(session, change, quiet=quiet)
        return
    project = session.project()
    if project is None:
        raise NO_SPEC_HERE.error(
            f"cannot deploy: there is no {SPEC} in {session.directory} or above",
            hint="homeport init writes one",
        )
    if dirty and commit is not None:
        raise click.UsageError("--dirty ships the working tree: it goes with no COMMIT")
    app = session.app
    what = source.read(project, commit, dirty=dirty)
    if what.changed and not dirty and commit is None:
        screen.note(f"{what.changed} uncommitted change(s) are not shipped; --dirty ships them")
    with what.tar as tar:
        archive = _upload(session, tar)
    change = session.client.send(
        "POST",
        f"/v1/apps/{app}/environments/{session.environment}/deploys",
        {
            "archive": archive,
            "commit": what.commit,
            "subject": what.subject,
            "dirty": what.dirty,
            "author": what.author,
            "committed_at": what.committed_at,
            "replace": replace,
            "past_gate": past_gate,
            "rebuild": rebuild,
        },
    )
    progress.follow(session, change, quiet=quiet)


def _upload(session: Session, tar: IO[bytes]) -> str:
    digest: str = session.client.upload("/v1/archives", tar)["digest"]
    return digest


@click.command()
@click.argument("release", required=False)
@click.option("--replace", is_flag=True, help="Take over from a change that runs.")
@click.option(
    "--with-database",
    is_flag=True,
    help="Take the data back too, to before the deploy of the release after RELEASE.",
)
@click.option(
    "--confirm", metavar="APP", help="With --with-database: the app's name, instead of being asked."
)
@click.option("-q", "--quiet", is_flag=True, help="Print the verdict only.")
@pass_session
def rollback(
    session: Session,
    release: str | None,
    replace: bool,
    with_database: bool,
    confirm: str | None,
    quiet: bool,
) -> None:
    """Go back to RELEASE, such as r3; without it to the one that last served well."""
    if with_database:
        restore.with_release(session, release_name(release) if release else None, confirm)
        return
    wanted = {"release": release_name(release) if release else None, "replace": replace}
    change = session.client.send("POST", session.path("/rollbacks"), wanted)
    progress.follow(session, change, quiet=quiet)


def release_name(text: str) -> str:
    """``r3`` of "r3" or "3". Raises ``cli.bad_release``."""
    found = f"r{text}" if text.isascii() and text.isdigit() else text
    if not is_release(found):
        raise BAD_RELEASE.error(
            f"cannot read {text!r} as a release",
            hint="a release is r and its number, such as r3; homeport releases lists them",
        )
    return found


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--replace", is_flag=True, help="Take over from a change that runs.")
@click.option("--past-gate", metavar="REASON", default="", help=PAST_GATE)
@click.option("-q", "--quiet", is_flag=True, help="Print the verdict only.")
@pass_session
def promote(session: Session, source: str, target: str, replace: bool, past_gate: str, quiet: bool) -> None:
    """Ship the release that environment FROM serves to environment TO, such as: promote staging production

    The same build with TO's own configuration: nothing is built.
    """
    name("environment", source)
    session.environment_option = name("environment", target)
    wanted = {"source": source, "replace": replace, "past_gate": past_gate}
    change = session.client.send("POST", session.path("/promotions"), wanted)
    progress.follow(session, change, quiet=quiet)


@click.command()
@click.argument("counts", nargs=-1, required=True, metavar="PROCESS=NUMBER...")
@pass_session
def scale(session: Session, counts: tuple[str, ...]) -> None:
    """Run another number of instances, such as web=3. It holds for later deploys too."""
    processes = {}
    for count in counts:
        process, _, number = count.partition("=")
        if not number.isascii() or not number.isdigit() or process in processes:
            raise BAD_SCALE.error(
                f"cannot read {count!r}", hint="write process=number, such as web=3, each process once"
            )
        processes[name("process", process)] = int(number[:9])
    progress.follow(session, session.client.send("POST", session.path("/scalings"), {"processes": processes}))


@click.command()
@pass_session
def restart(session: Session) -> None:
    """Replace every instance by a new one of the same release and configuration, without a dropped request."""
    progress.follow(session, session.client.send("POST", session.path("/restarts"), {}))


@click.command()
@click.argument("target", metavar="APP")
@click.option(
    "--yes",
    "confirmed",
    metavar="NAME",
    help="The name of the app, or with --env of the environment, once more, instead of being asked.",
)
@pass_session
def destroy(session: Session, target: str, confirmed: str | None) -> None:
    """Take APP away: its instances, releases, settings and routes. Its events stay.

    With --env only that environment goes; the app's releases, and the files of the environment's storage,
    stay.
    """
    app = name("app", target)
    if session.environment_option is not None:
        _destroy_environment(session, app, session.environment, confirmed)
        return
    found = session.client.get(f"/v1/apps/{app}")
    if confirmed is None:
        if not screen.is_terminal():
            raise click.UsageError(
                f"this asks for the app's name: give --yes {app} where there is no terminal"
            )
        running = sum(len(e["instances"]) for e in found["environments"])
        click.echo(f"This stops {running} instance(s) of {screen.bold(app)} and removes all its releases.")
        confirmed = click.prompt("Type the app's name to go on", default="", show_default=False)
    gone = session.client.send("DELETE", f"/v1/apps/{app}", confirm=confirmed)
    session.show(
        gone,
        lambda g: click.echo(f"{app} is gone: {g['instances']} instance(s), {g['releases']} release(s)"),
    )


def _destroy_environment(session: Session, app: str, environment: str, confirmed: str | None) -> None:
    path = f"/v1/apps/{app}/environments/{environment}"
    found = session.client.get(path)
    if confirmed is None:
        if not screen.is_terminal():
            raise click.UsageError(
                f"this asks for the environment's name: give --yes {environment} where there is no terminal"
            )
        click.echo(
            f"This stops {len(found['instances'])} instance(s) of {screen.bold(app)} in {environment} and "
            "removes its variables, secrets and logs."
        )
        confirmed = click.prompt("Type the environment's name to go on", default="", show_default=False)
    gone = session.client.send("DELETE", path, confirm=confirmed)
    kept = f"; the files of its storage stay in {gone['storage']}" if gone["storage_kept"] else ""
    session.show(
        gone,
        lambda g: click.echo(f"{environment} of {app} is gone: {g['instances']} instance(s){kept}"),
    )
