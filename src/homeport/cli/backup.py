"""Commands for backups."""

import re
import sys
from typing import Any

import click

from homeport.cli import backup_view, restore_view, screen
from homeport.cli.context import Session, name, pass_session
from homeport.cli.times import moment
from homeport.kernel.errors import Kind, declare
from homeport.kernel.units import parse_duration

NO_PASSPHRASE = declare("cli.no_passphrase", Kind.INVALID, "No passphrase was given.")
NO_KEYS = declare(
    "cli.no_store_keys", Kind.INVALID, "The access key of an S3-compatible store was not given."
)
BAD = declare(
    "cli.backup_wrong",
    Kind.FAILED,
    "A backup, a restore or a drill did not end well, or could not be brought back.",
)
BAD_DAYS = declare("cli.bad_days", Kind.INVALID, "A time that a lock is asked for is not in whole days.")
NO_RUN = declare("cli.no_backup_run", Kind.NOT_FOUND, "No run of a backup, a restore or a drill has that id.")
LARGEST = 1000
KINDS = ("backup", "state", "prove", "restore", "clone", "drill")
LONG_CALL = 400.0


def run_id(text: str, *, hint: str = "homeport backup runs") -> str:
    """A run as the API finds it, or does not. Raises ``cli.no_backup_run``."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,40}", text) is None:
        raise NO_RUN.error(f"cannot find run {text[:40]!r}", hint=hint)
    return text


@click.group()
def backup() -> None:
    """Backups of databases, files and Homeport itself, and their proofs."""


@backup.command("run")
@click.option("--full", is_flag=True, help="Of databases everything, not only what changed.")
@click.option("--no-proof", is_flag=True, help="Do not restore and check it afterwards.")
@click.option("--no-wait", is_flag=True, help="Begin it, and do not wait for its end.")
@pass_session
def run(session: Session, full: bool, no_proof: bool, no_wait: bool) -> None:
    """Back up everything now, and prove it by restoring it."""
    found = session.client.send("POST", "/v1/backups", {"full": full, "prove": not no_proof})
    finish(session, found, wait=not no_wait)


@backup.command("prove")
@click.argument("repository", required=False)
@click.option("--no-wait", is_flag=True, help="Begin it, and do not wait for its end.")
@pass_session
def prove(session: Session, repository: str | None, no_wait: bool) -> None:
    """Restore the newest backup of everything and check it, in REPOSITORY or in all."""
    body = {"repository": name("repository", repository)} if repository else {}
    finish(session, session.client.send("POST", "/v1/backups/proofs", body), wait=not no_wait)


def finish(session: Session, run: dict[str, Any], *, wait: bool) -> None:
    """Follow a run to its end; exit 7 where it did not pass."""
    if wait:
        run = backup_view.follow(session, run)
    session.show(run, lambda r: backup_view.ended(r) if wait else click.echo(f"{r['id']} began"))
    if wait and run["state"] != "passed":
        sys.exit(7)


@backup.command("status")
@click.option("--now", is_flag=True, help="Look now, not at what was seen within the last minute.")
@click.option("--history", is_flag=True, help="What could be lost, proofs and drills, day by day.")
@click.option("--days", default=14, type=click.IntRange(1, 400), help="Of --history.", show_default=True)
@pass_session
def status(session: Session, now: bool, history: bool, days: int) -> None:
    """Whether everything could be brought back. Exit status 1 where not, and where something else is wrong."""
    if history:
        session.show(session.client.get("/v1/backups/history", days=days), backup_view.history)
        return
    client = session.patient(LONG_CALL) if now else session.client
    found = client.get("/v1/backups/status", now=now or None)
    session.show(found, lambda f: backup_view.status(f, session.clock.now()))
    if not found["ok"]:
        sys.exit(1)


@backup.command("list")
@pass_session
def list_(session: Session) -> None:
    """Print all backups in all repositories, with their proofs."""
    found = session.patient(LONG_CALL).get("/v1/backups")
    session.show(found, lambda f: backup_view.backups(f, session.clock.now()))


@backup.command("files")
@click.argument("pattern", default="")
@click.option(
    "--at", metavar="TIME", help='In the newest backup that is not after it, such as 14:03 or "1 day ago".'
)
@click.option("--backup", "label", default="", metavar="ID", help="In this one: homeport backup list")
@click.option("--repository", metavar="NAME", help="Read this repository; else whichever has it.")
@pass_session
def files(session: Session, pattern: str, at: str | None, label: str, repository: str | None) -> None:
    """Print which files of the environment's storage a backup has: the newest, or the one that is named.

    PATTERN is a part of the path, or with * and ? all of it. homeport restore --files --path brings a file back.
    """
    if at and label:
        raise click.UsageError("name one moment: --at or --backup")
    found = session.patient(LONG_CALL).get(
        session.path("/backups/files"),
        pattern=pattern,
        at=moment(at, session.clock.now()) if at else None,
        backup=label,
        repository=name("repository", repository) if repository else None,
    )
    session.show(found, lambda f: backup_view.files(f, session.clock.now()))


@backup.command("runs")
@click.option("-n", "--lines", "most", default=20, type=click.IntRange(1, 500), help="How many.")
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Of one kind alone, or of some."
)
@pass_session
def runs(session: Session, most: int, kinds: tuple[str, ...]) -> None:
    """Print runs of backups, restores and drills, the newest first."""
    found = session.client.get("/v1/backups/runs", limit=most, kind=list(kinds) or None)
    session.show(
        found,
        lambda f: backup_view.runs(f, session.clock.now()) if f else click.echo("no runs yet"),
    )


@backup.command("show")
@click.argument("run")
@pass_session
def show(session: Session, run: str) -> None:
    """Print a run with its steps."""
    found = session.client.get(f"/v1/backups/runs/{run_id(run)}")
    session.show(found, restore_view.shown if found["kind"] == "restore" else backup_view.run)


@backup.command("cancel")
@click.argument("run")
@pass_session
def cancel(session: Session, run: str) -> None:
    """End a run; what it made so far stays, or is tidied up by the next one."""
    found = session.client.send("POST", f"/v1/backups/runs/{run_id(run)}/cancel")
    session.show(found, lambda f: click.echo(f"{f['id']} ends"))


@backup.command("resume")
@pass_session
def resume(session: Session) -> None:
    """Back up again, on a machine that was recovered: the one before it is gone for good."""
    found = session.patient(LONG_CALL).send("POST", "/v1/backups/resume")
    session.show(
        found, lambda f: click.echo(f"backups go to {', '.join(r['name'] for r in f)} from this machine now")
    )


@backup.command("passphrase")
@pass_session
def passphrase(session: Session) -> None:
    """Set another passphrase for all repositories: asked for, or from stdin. It is not kept."""
    session.patient(LONG_CALL).send("PUT", "/v1/backups/passphrase", {"passphrase": asked(session)})
    session.show({}, lambda _: click.echo("set. Keep it where neither this machine nor the repositories are"))


def asked(session: Session, *, confirm: bool = True) -> str:
    """A passphrase, from the terminal or from stdin."""
    if sys.stdin.isatty():
        return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True))
    text = sys.stdin.buffer.read(LARGEST + 1).decode("utf-8", "replace").strip("\r\n")
    if not text:
        raise NO_PASSPHRASE.error(
            "cannot go on: no passphrase was given", hint="type it at the prompt, or give it to stdin"
        )
    return text


def place_of(
    session: Session,
    doing: str,
    path: str | None,
    endpoint: str,
    bucket: str,
    prefix: str,
    region: str,
    ca: str,
) -> tuple[dict[str, str], dict[str, str]]:
    """A repository's place and its store's access key, from options and the environment."""
    keys = {"key": "", "secret_key": ""}
    if bucket:
        for key, variable in (("key", "AWS_ACCESS_KEY_ID"), ("secret_key", "AWS_SECRET_ACCESS_KEY")):
            keys[key] = session.variables.get(variable, "")
            if not keys[key]:
                raise NO_KEYS.error(
                    f"cannot {doing}: {variable} is not set",
                    hint="the environment, not the command line, which every user of this machine can read",
                )
    place = {
        "path": str((session.directory / path).resolve()) if path else "",
        "endpoint": endpoint,
        "bucket": bucket,
        "prefix": prefix.strip("/"),
        "region": region,
        "ca": str(session.directory / ca) if ca else "",
    }
    return place, keys


@backup.group("repository")
def repository() -> None:
    """Where backups go: directories and S3-compatible stores."""


@repository.command("list")
@pass_session
def repositories(session: Session) -> None:
    """Print the repositories."""
    found = session.client.get("/v1/backups/repositories")
    session.show(
        found,
        lambda f: (
            screen.columns(
                ("REPOSITORY", "PLACE", "LOCKED"),
                [(r["name"], r["place"], backup_view.locked(r["lock"])) for r in f],
            )
            if f
            else click.echo("none: homeport backup repository add NAME DIRECTORY")
        ),
    )


@repository.command("add")
@click.argument("name_", metavar="NAME")
@click.argument("path", required=False, metavar="[DIRECTORY]")
@click.option("--endpoint", default="", metavar="URL", help="Of an S3-compatible store: https://HOST")
@click.option("--bucket", default="", help="Its bucket, which exists.")
@click.option("--prefix", default="", help="A path in the bucket.")
@click.option("--region", default="", help="The bucket's region.")
@click.option("--ca", default="", metavar="FILE", help="Certificates that the store's is checked by.")
@click.option(
    "--lock", default="", metavar="TIME", help="Have the store keep each file so long, such as 30d."
)
@click.option(
    "--compliance", is_flag=True, help="Of --lock: nobody may remove it before, whatever their rights."
)
@pass_session
def add(
    session: Session,
    name_: str,
    path: str | None,
    endpoint: str,
    bucket: str,
    prefix: str,
    region: str,
    ca: str,
    lock: str,
    compliance: bool,
) -> None:
    """Have one more place for backups: a directory, or an S3-compatible store.

    Asks for the passphrase (or reads it from stdin) that opens backups when this machine is gone; the same for all
    repositories. The store's access key is taken from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
    """
    place, keys = place_of(session, f"add {name_}", path, endpoint, bucket, prefix, region, ca)
    if compliance and not lock:
        raise click.UsageError("--compliance is of --lock")
    locked = {"days": days_of(lock), "compliance": compliance} if lock else None
    body = {
        "name": name("repository", name_),
        "place": place,
        **keys,
        "passphrase": asked(session),
        "lock": locked,
    }
    found = session.patient(LONG_CALL).send("POST", "/v1/backups/repositories", body)

    def told(f: dict[str, Any]) -> None:
        click.echo(
            f"{f['name']} is {f['place']}. The first backup begins within a minute: homeport backup status"
        )
        click.echo(
            "Without the passphrase nobody opens it, and Homeport does not keep it: write it down elsewhere"
        )
        if f["lock"]:
            click.echo(f"What is written there is locked for {backup_view.locked(f['lock'])}")
        if f.get("shares_disk"):
            screen.note(
                "it is on the disk of the data directory, and would be lost with it; another one elsewhere would not"
            )

    session.show(found, told)


@repository.command("remove")
@click.argument("name_", metavar="NAME")
@pass_session
def remove(session: Session, name_: str) -> None:
    """Back up there no more. What it holds stays."""
    found = session.patient(LONG_CALL).send("DELETE", f"/v1/backups/repositories/{name('repository', name_)}")
    session.show(
        found, lambda f: click.echo(f"{f['name']} gets no more backups; what {f['place']} holds stays")
    )


@repository.command("lock")
@click.argument("name_", metavar="NAME")
@click.argument("time", metavar="TIME")
@click.option("--compliance", is_flag=True, help="Nobody may remove it before, whatever their rights.")
@pass_session
def lock(session: Session, name_: str, time: str, compliance: bool) -> None:
    """Have a store keep each file for TIME, such as 30d, whoever deletes it (object lock).

    A lock is never made shorter here. TIME "none": Homeport does not look at it any more; the store's own goes on.
    """
    days = 0 if time == "none" else days_of(time)
    if days == 0 and compliance:
        raise click.UsageError("--compliance is of a time")
    body = {"days": days, "compliance": compliance}
    path = f"/v1/backups/repositories/{name('repository', name_)}/lock"
    found = session.patient(LONG_CALL).send("PUT", path, body)

    def told(f: dict[str, Any]) -> None:
        if not f["lock"]:
            click.echo(f"{f['name']}: its lock is not looked at any more; what the store locks stays locked")
            return
        click.echo(f"what {f['name']} holds and gets is locked for {backup_view.locked(f['lock'])}")
        if f["lock"]["problem"] or not f["lock"]["extended_at"]:
            why = f["lock"]["problem"] or "there is much of it; the next backup goes on"
            screen.note(f"not all of what it holds is locked yet: {screen.printable(why)}")

    session.show(found, told)


@repository.command("undelete")
@click.argument("name_", metavar="NAME")
@click.option("--since", required=True, metavar="TIME", help="Before it all was well; local, or with a zone.")
@click.option("--plan", is_flag=True, help="Only tell what would come back.")
@pass_session
def undelete(session: Session, name_: str, since: str, plan: bool) -> None:
    """Bring back what was deleted or overwritten in a store since TIME.

    For a store that keeps versions: one with --lock does. What was pruned since comes back too, until it is pruned
    again.
    """
    path = f"/v1/backups/repositories/{name('repository', name_)}/undelete"
    body = {"since": moment(since, session.clock.now()), "plan": plan}
    found = session.patient(LONG_CALL).send("POST", path, body)
    session.show(found, backup_view.undeleted)


def days_of(text: str) -> int:
    """Whole days of "30d". Raises ``cli.bad_days``."""
    try:
        seconds = parse_duration(text.strip())
    except ValueError:
        seconds = 0.0
    days = seconds / 86400
    if not 1 <= days <= 3650 or days != int(days):
        raise BAD_DAYS.error(
            f"cannot read {text[:60]!r} as a time to lock for", hint="whole days, such as 30d; at most 3650d"
        )
    return int(days)
