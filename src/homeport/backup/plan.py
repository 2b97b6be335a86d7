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
    """Clusters first: what is lost of them is lost for good. Files of Homeport's own last, since they tell of all.

    Each proof restores from one repository; all repositories take turns where there are many proofs.
    """
    steps: list[Step] = []
    for c in wanted.clusters:
        steps.append(
            Step(
                f"back up cluster {c.name}",
                "cluster",
                {"cluster": c.name, "full": full, "synchronous": c.synchronous},
            )
        )
    for f in (*wanted.files[1:], *wanted.files[:1]):
        sources = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(f.sources).items()}
        steps.append(Step(f"back up files of {f.sources.series}", "files", sources))
    if prove:
        for c in wanted.clusters:
            for name in repositories:
                steps.append(
                    Step(
                        f"prove cluster {c.name} in {name}",
                        "prove",
                        {"cluster": c.name, "repository": name, "questions": list(c.questions)},
                        needs=(f"back up cluster {c.name}",),
                    )
                )
        for f in wanted.files:
            for name in repositories:
                steps.append(
                    Step(
                        f"prove files of {f.sources.series} in {name}",
                        "prove-files",
                        {"series": f.sources.series, "repository": name},
                        needs=(f"back up files of {f.sources.series}",),
                    )
                )
    steps.append(prune_step(wanted))
    return tuple(steps)


def prune_step(wanted: Wanted) -> Step:
    keeps = {c.name: asdict(c.keep) for c in wanted.clusters}
    keeps |= {f.sources.series: asdict(f.keep) for f in wanted.files}
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


def last_of(runs: Iterable[Run], *, full: bool) -> datetime | None:
    """When the newest run began that did what a schedule asks for, however it ended."""
    return next(
        (
            r.started_at
            for r in runs
            if r.kind == "backup" and r.subject == "all" and (r.request.get("full") or not full)
        ),
        None,
    )
