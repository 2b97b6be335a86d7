"""The measures of software delivery."""

from typing import Any

import click

from homeport.cli import screen
from homeport.cli.context import Session, pass_session
from homeport.kernel.units import format_duration

NOTHING = "—"
"""Stands where there is too little data to tell."""


@click.command()
@click.option(
    "--since",
    default="30d",
    show_default=True,
    metavar="WHEN",
    help="From then on: 30d back from now, or a time in UTC such as 2026-11-01.",
)
@pass_session
def dora(session: Session, since: str) -> None:
    """Deployment frequency, lead time, failure rate, time to restore; the time in each stage."""
    found = session.client.get(session.path("/dora"), since=since)
    session.show(found, _show)


def _show(d: dict[str, Any]) -> None:
    period = f"{_time(d['since'])} to {_time(d['until'])} UTC"
    click.echo(f"{screen.bold(d['app'])} {d['environment']}, {period}")
    click.echo()
    lead, restore = d["lead_time"], d["restore"]
    failed = d["taken_back"] + d["rolled_back"]
    screen.columns(
        ("measure", "median", "p90", "of"),
        [
            ("deployment frequency", _frequency(d["per_day"]), "", _count(d["deployments"], "deployment")),
            (
                "lead time for changes",
                _seconds(lead["median"]),
                _seconds(lead["p90"]),
                _count(lead["count"], "commit"),
            ),
            ("change failure rate", _share(d["failure_rate"]), "", f"{failed} of {d['exposed']} failed"),
            (
                "time to restore",
                _seconds(restore["median"]),
                _seconds(restore["p90"]),
                _count(restore["count"], "failure"),
            ),
        ],
    )
    told = [
        (d["taken_back"], "taken back under requests"),
        (d["rolled_back"], "rolled back after promotion"),
        (d["unrestored"], "not restored yet"),
        (d["kept_back"], "failed before any request, not counted"),
        (d["cancelled"], "cancelled, not counted"),
    ]
    if any(n for n, _ in told):
        for line in screen.wrapped(", ".join(f"{n} {what}" for n, what in told if n), 0):
            click.echo(screen.dim(line))
    if d["stages"]:
        click.echo()
        screen.columns(
            ("stage", "median", "p90", "passed", "failed"),
            [
                (
                    s["name"],
                    _seconds(s["seconds"]["median"]),
                    _seconds(s["seconds"]["p90"]),
                    str(s["passed"]),
                    str(s["failed"]),
                )
                for s in d["stages"]
            ],
        )
    click.echo()
    for line in screen.wrapped(f"{NOTHING} is too little data; what counts: {d['definition']}", 0):
        click.echo(screen.dim(line))


def _time(text: str) -> str:
    return text[:16].replace("T", " ")


def _seconds(seconds: float | None) -> str:
    return NOTHING if seconds is None else format_duration(seconds)


def _share(share: float | None) -> str:
    return NOTHING if share is None else f"{share * 100:.3g} %"


def _frequency(per_day: float | None) -> str:
    """In the largest unit in which it is at least one."""
    if per_day is None:
        return NOTHING
    for unit, days in (("day", 1.0), ("week", 7.0)):
        if per_day * days >= 1:
            return f"{per_day * days:.3g} a {unit}"
    return f"{per_day * 30:.3g} in 30 d"


def _count(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
