"""Runs of the pipeline, and the gates in them."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from homeport.cli import progress, screen, ship, source, stage_log
from homeport.cli.context import SPEC, Session, pass_session
from homeport.cli.run_view import MARKS, RunPrinter, gate_of, tell_end, tell_gate, took
from homeport.kernel.errors import Kind, declare
from homeport.system import process

NO_RUN = declare("cli.no_run", Kind.NOT_FOUND, "The app has no run of its pipeline, or none that waits.")
BAD_RUN = declare("cli.bad_run", Kind.INVALID, "What was given as a run of a pipeline is no id or number.")

ENDED = ("passed", "failed", "cancelled", "superseded")


@click.group()
def pipeline() -> None:
    """A commit's way to production."""


@pipeline.command("run")
@click.argument("commit", required=False)
@click.option("--wait", is_flag=True, help="Wait at a gate until somebody has decided.")
@click.option("-q", "--quiet", is_flag=True, help="Print the end only.")
@pass_session
def run(session: Session, commit: str | None, wait: bool, quiet: bool) -> None:
    """Run the pipeline for COMMIT (the current one by default) and show it.

    Exit status 0: it passed, or waits for approval. 7: it did not pass.
    """
    project = session.project()
    if project is None:
        raise ship.NO_SPEC_HERE.error(
            f"cannot run a pipeline: there is no {SPEC} in {session.directory} or above",
            hint="homeport init writes one",
        )
    app = session.app
    what = source.read(project, commit, dirty=False)
    if what.changed and commit is None:
        screen.note(f"{what.changed} uncommitted change(s) are not part of the run")
    with what.tar as tar:
        archive = session.client.upload("/v1/archives", tar)["digest"]
    begun = session.client.send(
        "POST",
        f"/v1/apps/{app}/runs",
        {
            "archive": archive,
            "commit": what.commit,
            "subject": what.subject,
            "author": what.author,
            "committed_at": what.committed_at,
            "branch": _branch(project),
            "cause": "cli",
        },
    )
    follow(session, begun, wait=wait, quiet=quiet)


def _branch(project: Path) -> str:
    """The branch that is checked out; "" for none."""
    found = process.run(
        ("git", "symbolic-ref", "--short", "--quiet", "HEAD"), timeout=10, cwd=project, check=False
    )
    return found.stdout.strip()[:255]


def follow(session: Session, run: dict[str, Any], *, wait: bool = False, quiet: bool = False) -> None:
    """Show a run until its end, or until it waits at a gate; exits with status 7 when it did not pass.

    Ctrl-C leaves the run going and says so.
    """
    printer = RunPrinter(show=not (session.json or quiet))
    found = run
    try:
        for kind, data in session.client.stream(f"/v1/runs/{run['id']}/stream"):
            if kind == "done":
                found = data
                break
            printer.tell(kind, data)
            if kind == "run.queued" and data["data"]["behind"] is not None and not wait:
                held = _held_up(session, run)
                if held is not None:
                    found = held
                    break
            if kind == "gate.opened":
                found = session.client.get(f"/v1/runs/{run['id']}")
                gate = gate_of(found)
                if gate is None:
                    continue
                if not session.json:
                    tell_gate(found, gate)
                if not wait:
                    break
    except KeyboardInterrupt:
        printer.close()
        screen.note(
            f"run #{run['number']} goes on without this terminal; homeport pipeline show {run['number']} "
            f"shows it, homeport pipeline cancel {run['number']} ends it"
        )
        raise progress.Interrupted from None
    printer.close()
    if session.json:
        click.echo(json.dumps(found, indent=2))
    if found["state"] not in ENDED:
        if not session.json:
            behind = f"run #{found['behind']}, which waits for " if found["behind"] is not None else ""
            click.echo(f"run #{found['number']} waits for {behind}approval")
        return
    if not session.json:
        tell_end(found)
    if found["state"] != "passed":
        raise click.exceptions.Exit(Kind.ROLLED_BACK.exit_status)


def _held_up(session: Session, run: dict[str, Any]) -> dict[str, Any] | None:
    """The run, when it is queued behind one that waits for a person: that may take days."""
    for pause in (0.2, 0.8):
        # A run that makes room for this one takes a moment.
        session.clock.sleep(pause)
        found: dict[str, Any] = session.client.get(f"/v1/runs/{run['id']}")
        if found["state"] != "queued" or found["behind"] is None:
            return None
        ahead = session.client.get(f"/v1/apps/{run['app']}/runs")
        if not any(r["state"] == "waiting" for r in ahead):
            return None
    return found


@pipeline.command("list")
@click.option("-n", "--lines", "limit", default=20, type=click.IntRange(1, 200), help="How many runs.")
@pass_session
def list_(session: Session, limit: int) -> None:
    """Print the last runs, newest first."""
    found = session.client.get(f"/v1/apps/{session.app}/runs", limit=limit)
    now = session.clock.now()

    def show(runs: list[dict[str, Any]]) -> None:
        screen.columns(
            ("RUN", "STATE", "COMMIT", "SUBJECT", "BY", "BEGAN", "TOOK"),
            [
                (
                    f"#{r['number']}",
                    f"{MARKS[r['state']]} {r['state']}",
                    r["commit"][:10],
                    screen.printable(r["subject"]),
                    f"{r['actor']} ({r['cause']})",
                    screen.ago(r["created_at"], now),
                    took(r),
                )
                for r in runs
            ],
            shorten={"SUBJECT": 12},
            drop=("BY", "TOOK"),
            under=[screen.printable(r["reason"]) for r in runs],
        )
        if not runs:
            click.echo("nothing has run yet: homeport pipeline run", err=True)

    session.show(found, show)


@pipeline.command("show")
@click.argument("which", metavar="[RUN]", required=False)
@pass_session
def show(session: Session, which: str | None) -> None:
    """Print a run, such as 12, with its stages and checklist; the newest one by default."""
    session.show(_run(session, which), _show)


def _show(run: dict[str, Any]) -> None:
    click.echo(
        f"{screen.bold('run #' + str(run['number']))} of {run['app']}: {run['state']}  "
        f"{run['commit'][:10]} {screen.printable(run['subject'])}"
    )
    who = f" by {screen.printable(run['author'])}" if run["author"] else ""
    branch = f" on {screen.printable(run['branch'])}" if run["branch"] else ""
    click.echo(screen.dim(f"commit{who}{branch}; started by {run['actor']} ({run['cause']})"))
    if run["behind"] is not None:
        click.echo(f"waits for run #{run['behind']}")
    if run["reason"]:
        click.echo(screen.printable(run["reason"]))
    click.echo("")
    screen.columns(
        ("STAGE", "STATE", "TOOK", "CHANGE"),
        [(s["name"], f"{MARKS[s['state']]} {s['state']}", took(s), s["change"] or "") for s in run["stages"]],
        under=[screen.printable(s["reason"]) for s in run["stages"]],
    )
    for moment, title in (("before", "before the deployment"), ("after", "after the deployment")):
        items = [i for i in run["checklist"] if i["moment"] == moment]
        if items:
            click.echo(f"\n{screen.dim(title)}")
        for item in items:
            detail = f"  {screen.dim(screen.printable(item['detail']))}" if item["detail"] else ""
            click.echo(f"  {MARKS[item['state']]} {screen.printable(item['name'])}: {item['state']}{detail}")
    gate = gate_of(run)
    if gate is not None:
        click.echo("")
        tell_gate(run, gate)


@pipeline.command("logs")
@click.argument("which", metavar="[RUN]", required=False)
@click.argument("stage", required=False)
@pass_session
def logs(session: Session, which: str | None, stage: str | None) -> None:
    """Print what a stage of a run said; by default the last stage that began.

    Of a build or deploy with its steps; of checks that ran side by side those that failed first.
    """
    if which is not None and stage is None and not re.fullmatch(r"#?\d{1,9}|p-[0-9a-f]{10}", which):
        which, stage = None, which
    run = _run(session, which)
    query = f"?stage={_quoted(stage)}" if stage else ""
    text = session.client.text(f"/v1/runs/{run['id']}/logs{query}")
    records = session.client.get(f"/v1/runs/{run['id']}/records{query}")
    stage_log.tell(text, stage_log.chosen(run, stage), records)


def _quoted(text: str) -> str:
    return quote(text, safe="")


@pipeline.command("cancel")
@click.argument("which", metavar="[RUN]", required=False)
@pass_session
def cancel(session: Session, which: str | None) -> None:
    """End a run; what it deploys just now is taken back. What has passed stays."""
    run = _run(session, which, states=("queued", "running", "waiting"))
    found = session.client.send("POST", f"/v1/runs/{run['id']}/cancel")
    while found["state"] not in ENDED:
        session.clock.sleep(0.1)
        found = session.client.get(f"/v1/runs/{run['id']}")
    session.show(
        found,
        lambda r: click.echo(
            f"{MARKS['passed']} run #{r['number']} {'had passed before' if r['state'] == 'passed' else 'is over'}"
            f": {screen.printable(r['reason'] or r['state'])}"
        ),
    )
    if found["state"] == "passed":
        raise click.exceptions.Exit(Kind.CONFLICT.exit_status)


@pipeline.command("retry")
@click.argument("which", metavar="[RUN]", required=False)
@click.option("--wait", is_flag=True, help="Wait at a gate until somebody has decided.")
@click.option("-q", "--quiet", is_flag=True, help="Print the end only.")
@pass_session
def retry(session: Session, which: str | None, wait: bool, quiet: bool) -> None:
    """Go on with a run from the stage that did not pass, and show it."""
    run = _run(session, which)
    follow(session, session.client.send("POST", f"/v1/runs/{run['id']}/retry", {}), wait=wait, quiet=quiet)


@click.command()
@click.argument("which", metavar="[RUN]", required=False)
@click.option("-m", "--reason", required=True, help="Why; it is kept.")
@click.option("--tick", "ticks", multiple=True, metavar="ITEM", help="An item of the checklist that is done.")
@click.option("--tick-all", is_flag=True, help="All of them are done.")
@pass_session
def approve(session: Session, which: str | None, reason: str, ticks: tuple[str, ...], tick_all: bool) -> None:
    """Let the run that waits at a gate go on."""
    run = _run(session, which, states=("waiting",))
    gate = gate_of(run)
    ticked = list(gate["items"] if gate is not None and tick_all else ticks)
    _decide(session, run, {"approved": True, "reason": reason, "ticked": ticked}, "approved")


@click.command()
@click.argument("which", metavar="[RUN]", required=False)
@click.option("-m", "--reason", required=True, help="Why; it is kept.")
@pass_session
def reject(session: Session, which: str | None, reason: str) -> None:
    """End the run that waits at a gate."""
    run = _run(session, which, states=("waiting",))
    _decide(session, run, {"approved": False, "reason": reason, "ticked": []}, "rejected")


def _decide(session: Session, run: dict[str, Any], said: dict[str, Any], word: str) -> None:
    found = session.client.send("POST", f"/v1/runs/{run['id']}/approvals", said)
    session.show(
        found,
        lambda r: click.echo(
            f"{MARKS['passed']} {word} run #{r['number']} of {r['app']}: "
            f"{r['commit'][:10]} {screen.printable(r['subject'])}"
        ),
    )


def _run(session: Session, which: str | None, *, states: tuple[str, ...] = ()) -> dict[str, Any]:
    """The run meant: by id or number, else the newest one, or the one in one of ``states``.

    Raises ``cli.no_run`` and ``cli.bad_run``.
    """
    if which is None:
        runs = session.client.get(f"/v1/apps/{session.app}/runs", limit=50 if states else 1)
        found = [r for r in runs if not states or r["state"] in states]
        if not found:
            raise NO_RUN.error(
                f"cannot find a run of {session.app}{' that is ' + ' or '.join(states) if states else ''}",
                hint="homeport pipeline list" if runs else "homeport pipeline run begins one",
            )
        # Of several that wait, the oldest holds the others up.
        which = found[-1 if states == ("waiting",) else 0]["id"]
    number = which.removeprefix("#")
    if re.fullmatch(r"p-[0-9a-f]{10}", which):
        return dict(session.client.get(f"/v1/runs/{which}"))
    if number.isascii() and number.isdigit() and len(number) < 10 and int(number):
        return dict(session.client.get(f"/v1/apps/{session.app}/runs/{int(number)}"))
    raise BAD_RUN.error(
        f"cannot read {which!r} as a run",
        hint="a run is its number, such as 12 or #12, or its id, p- and ten hexadecimal digits",
    )
