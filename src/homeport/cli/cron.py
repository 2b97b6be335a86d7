"""Scheduled commands."""

from typing import Any

import click

from homeport.cli import screen
from homeport.cli.context import Session, name, pass_session
from homeport.kernel.errors import Kind, declare
from homeport.kernel.units import format_duration

NOT_RUNNING = declare(
    "cli.cron_not_running", Kind.CONFLICT, "A scheduled command to be stopped does not run."
)


@click.group()
def cron() -> None:
    """Commands that run by the clock."""


@cron.command("list")
@pass_session
def list_(session: Session) -> None:
    """Print the scheduled commands of the release that serves."""

    def show(found: list[dict[str, Any]]) -> None:
        screen.columns(
            ("NAME", "SCHEDULE", "NEXT", "LAST", "TOOK"),
            [
                (
                    c["name"],
                    f"{c['schedule']} {c['timezone']}" if c["timezone"] != "UTC" else c["schedule"],
                    f"paused by {c['paused_by']}"
                    if c["paused_by"]
                    else (screen.local_time(c["next"]) if c["next"] else ""),
                    _how(c["last"]) if c["last"] else "",
                    _took(c["last"]) if c["last"] else "",
                )
                for c in found
            ],
        )
        if not found:
            click.echo("the release that serves has no [cron.*]", err=True)

    session.show(session.client.get(session.path("/cron")), show)


@cron.command("run")
@click.argument("job", metavar="NAME")
@pass_session
def run(session: Session, job: str) -> None:
    """Run a scheduled command now, wait for its end and print its output. Exit status 1: it failed."""
    started = session.client.send("POST", session.path(f"/cron/{name('job', job)}/runs"))
    while True:
        runs = session.client.get(session.path("/cron/runs"), name=job, limit=200)
        found = next((r for r in runs if r["id"] == started["id"]), None)
        if found is not None and found["state"] not in ("waiting", "running"):
            break
        session.clock.sleep(0.2)
    output = session.client.text(session.path(f"/cron/runs/{started['id']}/output"))

    def show(r: dict[str, Any]) -> None:
        for line in output.splitlines():
            click.echo(f"  {screen.dim('│')} {screen.printable(line)}")
        click.echo(f"{_how(r)} after {_took(r)}")

    session.show(found, show)
    if found["state"] != "succeeded":
        raise click.exceptions.Exit(1)


@cron.command("history")
@click.argument("job", metavar="NAME", required=False)
@click.option("-n", "--lines", "limit", default=20, type=click.IntRange(1, 1000), help="How many runs.")
@click.option("--output", "with_output", is_flag=True, help="With what each printed.")
@pass_session
def history(session: Session, job: str | None, limit: int, with_output: bool) -> None:
    """Print the last runs, newest first."""
    runs = session.client.get(session.path("/cron/runs"), name=name("job", job) if job else None, limit=limit)

    def show(found: list[dict[str, Any]]) -> None:
        if not with_output:
            screen.columns(
                ("NAME", "DUE", "BY", "ENDED", "TOOK", "RELEASE"),
                [
                    (
                        r["name"],
                        screen.local_time(r["due_at"]),
                        r["cause"],
                        _how(r),
                        _took(r),
                        r["release"] or "",
                    )
                    for r in found
                ],
            )
        else:
            for r in found:
                click.echo(
                    f"{screen.bold(r['name'])} {screen.local_time(r['due_at'])}  {_how(r)}  {_took(r)}"
                )
                text = session.client.text(session.path(f"/cron/runs/{r['id']}/output"))
                for line in text.splitlines():
                    click.echo(f"  {screen.dim('│')} {screen.printable(line)}")
        if not found:
            click.echo("nothing has run yet", err=True)

    session.show(runs, show)


@cron.command("stop")
@click.argument("job", metavar="NAME")
@pass_session
def stop(session: Session, job: str) -> None:
    """End its run: SIGTERM, and SIGKILL after its stop_grace. Runs that wait are dropped."""
    runs = session.client.get(session.path("/cron/runs"), name=name("job", job), limit=1000)
    active = [r for r in runs if r["state"] in ("waiting", "running")]
    if not active:
        raise NOT_RUNNING.error(f"cannot stop {job}: it does not run", hint="homeport cron history")
    for r in active:
        session.client.send("POST", session.path(f"/cron/runs/{r['id']}/stop"))
    session.show([r["id"] for r in active], lambda ids: click.echo(f"{len(ids)} run(s) of {job} are ended"))


@cron.command("pause")
@click.argument("job", metavar="NAME")
@pass_session
def pause(session: Session, job: str) -> None:
    """Run it no more by the clock, until resumed."""
    session.client.send("PUT", session.path(f"/cron/{name('job', job)}/pause"))
    session.show({"name": job, "paused": True}, lambda _: click.echo(f"{job} is paused"))


@cron.command("resume")
@click.argument("job", metavar="NAME")
@pass_session
def resume(session: Session, job: str) -> None:
    """Run it by the clock again; what was due meanwhile does not run."""
    session.client.send("DELETE", session.path(f"/cron/{name('job', job)}/pause"))
    session.show({"name": job, "paused": False}, lambda _: click.echo(f"{job} runs by the clock again"))


def _how(run: dict[str, Any]) -> str:
    state = run["state"]
    colour = {"succeeded": screen.GOOD, "waiting": screen.DIM, "running": screen.CAREFUL}.get(
        state, screen.BAD
    )
    more = f" ({run['exit']})" if run["exit"] and state != "succeeded" else ""
    tries = f", try {run['attempt']}" if run["attempt"] > 1 else ""
    return click.style(f"{state}{more}{tries}", fg=colour)


def _took(run: dict[str, Any]) -> str:
    return format_duration(run["seconds"]) if run["seconds"] is not None else ""
