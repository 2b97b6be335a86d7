"""Which steps a run has, and which is due. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime

from homeport.backup.model import Run, Step
from homeport.backup.port import Wanted
from homeport.spec.model_backup import Backup, Keep
from homeport.spec.schedule import Schedule

EVERY = Backup()
"""When backups are made where nobody says."""


def backup_steps(wanted: Wanted, repositories: Sequence[str], *, full: bool, prove: bool) -> tuple[Step, ...]:
    """Clusters first: what is lost of them is lost for good. Files of Homeport's own last, since they tell of all."""
    steps: list[Step] = []
    for c in wanted.clusters:
        steps.append(
            Step(
                f"back up cluster {c.name}",
                "cluster",
                {"cluster": c.name, "full": full, "synchronous": c.synchronous},
            )
        )
    for d in wanted.dumps:
        request = {"app": d.app, "environment": d.environment, "database": d.database, "secret": d.secret}
        steps.append(Step(f"dump {d.series}", "dump", request))
    for f in (*wanted.files[1:], *wanted.files[:1]):
        sources = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(f.sources).items()}
        steps.append(Step(f"back up files of {f.sources.series}", "files", sources))
    if prove:
        steps += proof_steps(wanted, repositories, after_backup=True)
    steps.append(prune_step(wanted))
    return tuple(steps)


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
            {"cluster": c.name, "repository": name, "questions": list(c.questions)},
            needs=needs(f"back up cluster {c.name}"),
        )
        for c in wanted.clusters
        for name in repositories
    ]
    series = [
        Step(
            f"prove files of {f.sources.series} in {name}",
            "prove-files",
            {"series": f.sources.series, "repository": name},
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
            },
            needs=needs(f"dump {d.series}"),
        )
        for d in wanted.dumps
        for name in repositories
        if wanted.clusters
    ]
    return (*clusters, *series, *dumps)


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
            and (r.request.get("full") or not full)
            and r.started_at <= now
        ),
        None,
    )
