"""``homeport recover``."""

import sys
from collections.abc import Mapping
from typing import Any

import click

from homeport.cli import backup_view, screen
from homeport.cli.backup import asked, place_of
from homeport.cli.context import Session, pass_session
from homeport.cli.times import instant
from homeport.kernel.units import format_duration, format_size


@click.command()
@click.argument("path", required=False, metavar="[DIRECTORY]")
@click.option("--endpoint", default="", metavar="URL", help="Of an S3-compatible store: https://HOST")
@click.option("--bucket", default="", help="Its bucket.")
@click.option("--prefix", default="", help="A path in the bucket.")
@click.option("--region", default="", help="The bucket's region.")
@click.option("--ca", default="", metavar="FILE", help="Certificates that the store's is checked by.")
@click.option("--before", metavar="TIME", help='What was at that moment, such as "2026-11-20 14:03:10".')
@click.option(
    "--undelete-since",
    metavar="TIME",
    help="Bring back first what was deleted or overwritten in the store since then; it must keep versions.",
)
@click.option("--http", metavar="ADDRESS:PORT", help="Where the edge listens. Default: where it did.")
@click.option(
    "--https", metavar="ADDRESS:PORT", help="Where the edge listens with TLS. Default: where it did."
)
@click.option(
    "--former-is-gone",
    is_flag=True,
    help="The machine that was backed up never comes back: back up where it did, at once.",
)
@pass_session
def recover(
    session: Session,
    path: str | None,
    endpoint: str,
    bucket: str,
    prefix: str,
    region: str,
    ca: str,
    before: str | None,
    undelete_since: str | None,
    http: str | None,
    https: str | None,
    former_is_gone: bool,
) -> None:
    """Bring a whole Homeport back on an empty data directory, from a repository and its passphrase.

    State, releases, secrets, files and databases come back, and everything serves again. DIRECTORY is what
    "homeport backup repository add" was given; a store's access key is taken from AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY. Asks for the passphrase, or reads it from stdin. Cut off, it goes on when it is
    called again. Exit status 1 where not everything could be brought back.
    """
    place, keys = place_of(session, "recover", path, endpoint, bucket, prefix, region, ca)
    now = session.clock.now()
    moment = instant(before, now) if before else None
    since = instant(undelete_since, now) if undelete_since else None
    session.lifecycle.check_recover(session.data_dir, place)
    passphrase = asked(session, confirm=False)
    try:
        report = session.lifecycle.recover(
            session.data_dir,
            place,
            keys={k: v for k, v in keys.items() if v},
            passphrase=passphrase,
            before=moment,
            undelete_since=since,
            http=http,
            https=https,
            former_is_gone=former_is_gone,
            told=_teller(session),
        )
    except KeyboardInterrupt:
        click.echo(
            "\nit is not done: homeport recover again, as it was called, goes on where it was", err=True
        )
        raise
    session.show(report, _show)
    if not report["ok"]:
        sys.exit(1)


def _teller(session: Session) -> Any:
    live = not session.json and screen.is_terminal()

    def told(step: Mapping[str, Any]) -> None:
        if session.json:
            return
        if step["state"] == "running":
            if live:
                click.echo(
                    f"\r\033[K  {backup_view.MARKS['running']} {step['step']}{_progress(step)}", nl=False
                )
            return
        said = f"  {screen.printable(step['said'])}" if step["said"] else ""
        took = format_duration(step["seconds"])
        start = "\r\033[K" if live else ""
        click.echo(f"{start}  {backup_view.MARKS[step['state']]} {step['step']}  {screen.dim(took + said)}")

    return told


def _progress(step: Mapping[str, Any]) -> str:
    p = step.get("progress")
    if not p or not p["total"]:
        return ""
    return screen.dim(f"  {p['done'] * 100 // p['total']} % of {format_size(p['total'])}")


def _show(report: Mapping[str, Any]) -> None:
    mark = backup_view.MARKS["passed" if report["ok"] else "failed"]
    end = "this came back" if report["ok"] else "not everything could be brought back; this came back"
    click.echo(f"{mark} {end}, after {format_duration(report['seconds'])}:")
    for found in report["as_of"]:
        when = f"as of {screen.local_time(found['at'])}" if found["at"] else "of a moment that is not known"
        click.echo(f"  {screen.printable(found['what'])}: {when}")
    click.echo("  what was written after these moments is not there")
    for e in report["serving"]:
        urls = "  ".join(e["urls"][:1])
        click.echo(f"  {e['app']} {e['environment']}: {e['release']} is {screen.word(e['health'])}  {urls}")
    for text in report["lost"]:
        click.echo(f"  {backup_view.MARKS['failed']} {screen.printable(text)}")
    for text in report["notes"]:
        click.echo(f"  {screen.dim('·')} {screen.printable(text)}")
    if report["todo"]:
        click.echo("next:")
    for text in report["todo"]:
        click.echo(f"  {screen.printable(text)}")
