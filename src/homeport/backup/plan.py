"""Which steps a run has, and which is due. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from homeport.backup.files.model import HOMEPORT, OWN_STATE
from homeport.backup.model import PASSED, Run, Step
from homeport.backup.port import Wanted, WantedFiles
from homeport.journal.store import parse_time
from homeport.spec.model_backup import Backup, Keep
from homeport.spec.schedule import Schedule

EVERY = Backup()
"""When backups are made where nobody says."""
LOOK = Step("look at what could be lost", "here:look")
"""So that what is told right after a backup is not of the minute before."""


def backup_steps(wanted: Wanted, repositories: Sequence[str], *, full: bool, prove: bool) -> tuple[Step, ...]:
    """Clusters first: what is lost of them is lost for good. Files of Homeport's own last, since they tell of all."""
    steps: list[Step] = []
    for c in wanted.clusters:
        steps.append(
            Step(
                f"back up cluster {c.name}",
                "cluster",
                {"cluster": c.name, "full": full, "synchronous": c.synchronous, "rate": c.rates.backup},
            )
        )
    for d in wanted.dumps:
        request: dict[str, Any] = {
            "app": d.app,
            "environment": d.environment,
            "database": d.database,
            "secret": d.secret,
        }
        request |= {"rate": d.rates.backup}
        steps.append(Step(f"dump {d.series}", "dump", request))
    steps += [_files_step(f) for f in (*wanted.files[1:], *wanted.files[:1])]
    if prove:
        steps += proof_steps(wanted, repositories, after_backup=True)
    steps.append(records_step())
    steps.append(prune_step(wanted))
    if wanted.clusters:
        steps.append(LOOK)
    return tuple(steps)


def state_steps(wanted: Wanted) -> tuple[Step, ...]:
    """Of Homeport's own state alone, beside all else that works on files."""
    return tuple(_files_step(f, lane=OWN_STATE) for f in wanted.files if f.sources.series == HOMEPORT)


def _files_step(f: WantedFiles, **more: Any) -> Step:
    sources: dict[str, Any] = {
        k: list(v) if isinstance(v, tuple) else v for k, v in asdict(f.sources).items()
    }
    return Step(f"back up files of {f.sources.series}", "files", {**sources, "rate": f.rates.backup, **more})


def proof_steps(
    wanted: Wanted, repositories: Sequence[str], *, after_backup: bool = False
) -> tuple[Step, ...]:
    """Of the newest backup of everything in each repository. ``after_backup``: in the run that makes them."""

    def needs(step: str) -> tuple[str, ...]:
        return (step,) if after_backup else ()

    clusters = [
        Step(
            f"prove cluster {c.name} in {name}",
            "prove",
            {
                "cluster": c.name,
                "repository": name,
                "questions": list(c.questions),
                "rate": c.rates.proof,
            },
            needs=needs(f"back up cluster {c.name}"),
        )
        for c in wanted.clusters
        for name in repositories
    ]
    series = [
        Step(
            f"prove files of {f.sources.series} in {name}",
            "prove-files",
            {
                "series": f.sources.series,
                "repository": name,
                "rate": f.rates.proof,
                "questions": list(f.questions),
            },
            needs=needs(f"back up files of {f.sources.series}"),
        )
        for f in wanted.files
        for name in repositories
    ]
    dumps = [
        Step(
            f"prove dump {d.series} in {name}",
            "prove-dump",
            {
                "app": d.app,
                "environment": d.environment,
                "database": d.database,
                "repository": name,
                # A server of our own is what a dump is restored to.
                "cluster": wanted.clusters[0].name,
                "questions": list(d.questions),
                "rate": d.rates.proof,
            },
            needs=needs(f"dump {d.series}"),
        )
        for d in wanted.dumps
        for name in repositories
        if wanted.clusters
    ]
    return (*clusters, *series, *dumps)


def records_step() -> Step:
    """After proofs, whatever they found: a machine that is brought back knows of them."""
    return Step("keep what is known of them", "records")


def locks_step() -> Step:
    """Last: what was removed need not stay locked."""
    return Step("look at locks", "locks", {"extend": True})


def prune_step(wanted: Wanted) -> Step:
    keeps = {c.name: asdict(c.keep) for c in wanted.clusters}
    keeps |= {f.sources.series: asdict(f.keep) for f in wanted.files}
    keeps |= {d.series: asdict(d.keep) for d in wanted.dumps}
    return Step(
        "remove what need not be kept",
        "prune",
        {
            "clusters": [c.name for c in wanted.clusters],
            "keep": keeps,
            "others": asdict(Keep()),
            "window": wanted.window,
        },
    )


def files_as_of(made: Iterable[Run], series: Iterable[str], now: datetime) -> dict[str, datetime | None]:
    """When each series was begun to be backed up the last time that every repository got it. A time after ``now``
    tells of a clock that was wrong, and nothing else."""
    found: dict[str, datetime | None] = dict.fromkeys(series)
    for run in made:
        for step in run.steps:
            name = str(step.request.get("series"))
            if step.work == "files" and step.state == PASSED and step.started_at and name in found:
                at = parse_time(step.started_at)
                if at <= now:
                    found[name] = max(at, found[name] or at)
    return found


def due(schedules: Iterable[Backup], last: datetime | None, now: datetime, *, full: bool) -> datetime | None:
    """The newest time since ``last`` at which one of the schedules was due; None: none was.

    Where there was never one, it is due now.
    """
    if last is None:
        return now
    found: list[datetime] = []
    for backup in tuple(schedules) or (EVERY,):
        line = backup.full if full else backup.schedule
        found += Schedule(line, backup.timezone).due(last, now, most=1)
    return max(found, default=None)


def _came_out_full(run: Run) -> bool:
    """Whether all clusters were backed up as a whole, as they are where there was no backup before."""
    clusters = [s for s in run.steps if s.work == "cluster"]
    made = [m for s in clusters for m in (s.result or {}).get("made", ())]
    return (
        bool(clusters) and all(s.state == PASSED for s in clusters) and all(m["kind"] == "full" for m in made)
    )


def last_of(runs: Iterable[Run], now: datetime, *, full: bool) -> datetime | None:
    """When the newest run began that did what a schedule asks for, however it ended.

    One that began after ``now`` tells of a clock that was wrong then, and nothing else.
    """
    return next(
        (
            r.started_at
            for r in runs
            if r.kind == "backup"
            and r.subject == "all"
            and (not full or r.request.get("full") or _came_out_full(r))
            and r.started_at <= now
        ),
        None,
    )
