"""What happens to a release on trial."""

from typing import Any

import click

from homeport.cli import progress, trial
from homeport.cli.cancel import tell_taken_back
from homeport.cli.context import Session, pass_session
from homeport.kernel.errors import Kind


@click.group()
def rollout() -> None:
    """A release on trial: how it compares, and what becomes of it."""


@rollout.command()
@pass_session
def show(session: Session) -> None:
    """Shares, both sides' figures, the verdict forming and why; of the last one when none is on trial."""
    session.show(session.client.get(session.path("/rollout")), trial.show)


def _steer(session: Session, what: str) -> None:
    session.show(session.client.send("POST", session.path(f"/rollout/{what}"), {}), trial.show)


@rollout.command()
@pass_session
def pause(session: Session) -> None:
    """Keep a canary at its step; it is still taken back when it is worse."""
    _steer(session, "pause")


@rollout.command()
@pass_session
def resume(session: Session) -> None:
    """Let a paused canary go on; one that asked takes its next step."""
    _steer(session, "resume")


@rollout.command()
@pass_session
def promote(session: Session) -> None:
    """Give a canary all of the requests now, whatever the figures; keep a release that is watched.

    Waits until it has them. Exit status 7: it did not get them.
    """
    asked = session.client.send("POST", session.path("/rollout/promote"), {})
    if asked["state"] != "running":
        session.show(asked, trial.show)
        return
    change = session.client.get(f"/v1/changes/{asked['change']}")
    final = progress.await_end(session, change, lambda *_: None)
    session.show(session.client.get(session.path("/rollout")), trial.show)
    if final["result"]["verdict"] == "rolled back":
        raise click.exceptions.Exit(Kind.ROLLED_BACK.exit_status)


@rollout.command()
@pass_session
def abort(session: Session) -> None:
    """Take the release on trial back, and wait for it. Exit status 5: it was kept before."""
    change: dict[str, Any] = session.client.send("POST", session.path("/rollout/abort"), {})
    if change["kind"] == "rollback":
        progress.follow(session, change)
        return
    if not session.json:
        click.echo(f"taking back {change['release']} of {change['app']}")
    tell_taken_back(session, change, "abort")
