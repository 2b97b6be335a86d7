"""Commands for drills: recoveries rehearsed on a twin."""

import base64
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from homeport.backup.drills.model import SCENARIOS, Scenario
from homeport.cli import backup as backups
from homeport.cli import backup_view, screen
from homeport.cli.backup_view import MARKS
from homeport.cli.context import Session, name, pass_session
from homeport.kernel.errors import Kind, declare
from homeport.kernel.units import format_duration, parse_duration

BAD = 7
BY_HAND = 'by hand only: homeport drill schedule "0 5 * * 0" rehearses one each Sunday'
NOT_WRITTEN = declare("cli.report_not_written", Kind.FAILED, "A report could not be written to a file.")


class _Seconds(click.ParamType["float"]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return float(parse_duration(str(value)))
        except ValueError as e:
            self.fail(f"{value!r} {e}", param, ctx)


@click.group(invoke_without_command=True)
@click.pass_context
def drill(context: click.Context) -> None:
    """Rehearse a recovery on a twin, beside production, and measure it.

    Without a scenario: what can be rehearsed, when it was last, and how it ended.
    """
    if context.invoked_subcommand is not None:
        return
    session = context.find_object(Session)
    assert session is not None
    found = session.client.get("/v1/drills")
    session.show(found, lambda f: _scenarios(f, session.clock.now()))


def _command(scenario: Scenario) -> click.Command:
    @click.option("--cluster", metavar="NAME", help="Whose recovery is rehearsed. Default: the first.")
    @click.option("--rpo", type=_Seconds(), help="The most of writes that may be lost, such as 30s.")
    @click.option("--rto", type=_Seconds(), help="The longest until it answers again, such as 10m.")
    @click.option("--no-wait", is_flag=True, help="Begin it, and do not wait for its end.")
    @pass_session
    def rehearse(
        session: Session,
        cluster: str | None,
        rpo: float | None,
        rto: float | None,
        no_wait: bool,
        passphrase: bool = False,
    ) -> None:
        body = {
            "scenario": scenario.name,
            "cluster": name("cluster", cluster) if cluster else None,
            "rpo": rpo,
            "rto": rto,
            "passphrase": backups.asked(session, confirm=False) if passphrase else "",
        }
        run = session.patient(backups.LONG_CALL).send("POST", "/v1/drills", body)
        if no_wait:
            backups.finish(session, run, wait=False)
            return
        ended = backup_view.follow(session, run)
        if ended["state"] != "passed":
            backup_view.ended(ended)
        session.show(session.client.get(f"/v1/drills/reports/{run['id']}"), _outcome)
        if ended["state"] != "passed":
            sys.exit(BAD)

    if scenario.asks_passphrase:
        rehearse = click.option(
            "--passphrase", is_flag=True, help="Show that you have it: asked for, or from stdin."
        )(rehearse)
    story = f"{scenario.story[:1].upper()}{scenario.story[1:]}."
    return click.command(scenario.name, help=story)(rehearse)


for _scenario in SCENARIOS:
    drill.add_command(_command(_scenario))


@drill.command("history")
@click.option("-n", "--lines", "most", default=20, type=click.IntRange(1, 500), help="How many.")
@pass_session
def history(session: Session, most: int) -> None:
    """Print what came of drills, the newest first."""
    found = session.client.get("/v1/drills/reports", limit=most)
    session.show(found, lambda f: _history(f, session.clock.now()))


@drill.command("show")
@click.argument("run", metavar="DRILL")
@click.option(
    "--pdf", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write it as PDF."
)
@click.option("--markdown", is_flag=True, help="Print it as Markdown.")
@pass_session
def show(session: Session, run: str, pdf: Path | None, markdown: bool) -> None:
    """Print the report of a drill."""
    path = f"/v1/drills/reports/{backups.run_id(run, hint='homeport drill history')}"
    if pdf is not None or markdown:
        found = session.client.get(f"{path}/files")
        if pdf is not None:
            _write(session.directory / pdf, base64.b64decode(found["pdf"]))
            click.echo(f"written to {pdf}", err=markdown)
        if markdown:
            click.echo(found["markdown"], nl=False)
        return
    session.show(session.client.get(path), _report)


@drill.command("schedule")
@click.argument("line", metavar="daily|weekly|monthly|CRON|off")
@pass_session
def schedule(session: Session, line: str) -> None:
    """Rehearse by the clock, each scenario in turn: weekly, or "0 5 * * 0" for Sundays at 5, UTC."""
    found = session.client.send("PUT", "/v1/drills/schedule", {"line": "" if line == "off" else line})
    session.show(found, lambda f: click.echo(_due(f)))


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as e:
        raise NOT_WRITTEN.error(f"cannot write {path}: {e.strerror}") from e


def _scenarios(found: dict[str, Any], now: datetime) -> None:
    rows = []
    for s in found["scenarios"]:
        last = s["last"]
        when = f"{_mark(last)} {screen.ago(last['at'], now)}" if last else screen.dim("never")
        rows.append((s["name"], when, s["story"]))
    screen.columns(("SCENARIO", "REHEARSED", "WHAT HAPPENS"), rows, shorten={"WHAT HAPPENS": 20})
    timed = found["timetable"]
    for t in timed:
        click.echo(
            f"by the clock, of {t['of']}: {t['line']} ({t['timezone']}), next {screen.local_time(t['next_at'])}"
        )
    if not timed:
        click.echo(BY_HAND)


def _due(schedule: dict[str, Any]) -> str:
    if not schedule["line"]:
        return BY_HAND
    return f"by the clock: {schedule['line']} (UTC), next {screen.local_time(schedule['next_at'])}"


def _history(found: list[dict[str, Any]], now: datetime) -> None:
    if not found:
        click.echo("nothing was rehearsed yet: homeport drill")
        return
    screen.columns(
        ("DRILL", "SCENARIO", "ENDED", "BEGAN", "LOST", "TOOK", "BY"),
        [
            (
                r["run"],
                r["scenario"],
                f"{_mark(r)} {'passed' if r['passed'] else 'failed'}",
                screen.ago(r["at"], now),
                _seconds(r["rpo"]),
                _seconds(r["rto"]),
                r["actor"],
            )
            for r in found
        ],
        drop=("BY", "LOST"),
        under=[screen.printable(r["wrong"][0]) if r["wrong"] else "" for r in found],
    )


def _outcome(r: dict[str, Any]) -> None:
    _head(r)
    _people(r)
    click.echo(screen.dim(f"  the report: homeport drill show {r['run']} --pdf FILE"))


def _report(r: dict[str, Any]) -> None:
    _head(r)
    for line in r["timeline"]:
        took = screen.dim(format_duration(line["seconds"])) if line["started_at"] else ""
        click.echo(f"  {MARKS[line['state']]} {line['phase']}  {took}")
        for told in line["told"] or ([line["error"]] if line["error"] else []):
            click.echo(f"      {screen.printable(told)}")
    _people(r)


def _head(r: dict[str, Any]) -> None:
    of = f" of cluster {r['cluster']}" if r["cluster"] else ""
    ended = "passed" if r["passed"] else "failed"
    click.echo(
        f"{_mark(r)} {screen.bold(r['scenario'])}{of} {ended}, {screen.local_time(r['at'])}, by {r['actor']}"
    )
    targets = r["targets"]
    click.echo(f"  {'writes lost:':<14}{_seconds(r['rpo'])}, at most {_seconds(targets['rpo'])} wanted")
    click.echo(f"  {'back after:':<14}{_seconds(r['rto'])}, at most {_seconds(targets['rto'])} wanted")


def _people(r: dict[str, Any]) -> None:
    for title, lines in (("what went wrong", r["wrong"]), ("what people have to do", r["todo"])):
        if lines:
            click.echo(f"  {title}:")
            for text in lines:
                click.echo(f"    - {screen.printable(text)}")


def _mark(report: dict[str, Any]) -> str:
    return MARKS["passed" if report["passed"] else "failed"]


def _seconds(value: float | None) -> str:
    return "not measured" if value is None else format_duration(value)
