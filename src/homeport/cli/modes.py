"""Maintenance and read-only."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from homeport.cli import screen
from homeport.cli.context import Session, pass_session
from homeport.kernel.errors import Kind, declare
from homeport.kernel.units import parse_duration

BAD_END = declare("cli.bad_end", Kind.INVALID, "The end of a mode is neither a duration nor a time.")


def _group(mode: str, words: str) -> click.Group:
    @click.group(name=mode, help=words)
    def group() -> None: ...

    @group.command("on")
    @click.option("--message", default="", help="For those who are turned away.")
    @click.option(
        "--allow", multiple=True, metavar="CIDR", help="A network or address that is let through. Repeatable."
    )
    @click.option("--until", metavar="TIME", help="It ends by itself: after 30m, or at 2026-11-21T14:00Z.")
    @pass_session
    def on(session: Session, message: str, allow: tuple[str, ...], until: str | None) -> None:
        """Switch it on, or change it. Every new request obeys when this command returns."""
        end = _end(until, session.clock.now()) if until is not None else None
        wanted = {"message": message, "allow": list(allow), "until": end}
        found = session.client.send("PUT", session.path(f"/modes/{mode}"), wanted)

        def show(data: dict[str, Any]) -> None:
            ends = f" until {screen.local_time(data['until'])}" if data["until"] else ""
            click.echo(f"{click.style('✓', fg=screen.GOOD)} {mode} is on in {session.environment}{ends}")
            if data["note"]:
                screen.note(data["note"])

        session.show(found, show)

    @group.command("off")
    @pass_session
    def off(session: Session) -> None:
        """Switch it off."""
        session.client.send("DELETE", session.path(f"/modes/{mode}"))
        session.show(
            {"mode": mode, "on": False},
            lambda _: click.echo(
                f"{click.style('✓', fg=screen.GOOD)} {mode} is off in {session.environment}"
            ),
        )

    @group.command("show")
    @pass_session
    def show_(session: Session) -> None:
        """Print whether it is on, since when, by whom and why."""
        found = [m for m in session.client.get(session.path("/modes")) if m["mode"] == mode]

        def show(modes: list[dict[str, Any]]) -> None:
            for m in modes:
                since = screen.ago(m["since"], session.clock.now())
                click.echo(f"on since {since}, by {m['actor']}")
                for label, value in (
                    ("message", screen.printable(m["message"])),
                    ("let through", ", ".join(m["allow"])),
                    ("until", screen.local_time(m["until"]) if m["until"] else ""),
                ):
                    if value:
                        click.echo(f"  {label}: {value}")
            if not modes:
                click.echo("off")

        session.show(found, show)

    return group


maintenance = _group("maintenance", "Turn everybody away, with 503 and a page that says why.")
read_only = _group("read-only", "Refuse what would change something: all but GET, HEAD and OPTIONS.")


def _end(text: str, now: datetime) -> str:
    """A duration from now, or a time, as the API takes it."""
    end: datetime | None = None
    if re.fullmatch(r"[0-9.]+[a-z]+", text):
        try:
            end = now + timedelta(seconds=parse_duration(text))
        except (ValueError, OverflowError):
            end = None
    else:
        try:
            end = datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError:
            end = None
        if end is not None and end.tzinfo is None:
            end = end.astimezone()
    if end is None:
        raise BAD_END.error(
            f"cannot read {text!r} as an end",
            hint="a duration such as 30m, or a time such as 2026-11-21T14:00Z",
        )
    return end.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
