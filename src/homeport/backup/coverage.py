"""Which repository has a backup of what, from what was recorded of runs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from homeport.backup.files.model import dump_series
from homeport.backup.model import COPIES, FAILED, PROOFS, Run, Step
from homeport.backup.port import Wanted
from homeport.backup.repositories import Recorded
from homeport.journal.store import parse_time

Thing = tuple[str, str]
"""(what works on it: "cluster", "files" or "dump"; its name)."""
Kept = Mapping[Thing, Mapping[str, datetime]]
"""By thing and repository: when the newest backup of it there was begun."""


def of(step: Step) -> Thing | None:
    """What a step makes copies of."""
    r = step.request
    match step.work:
        case "cluster":
            return "cluster", str(r["cluster"])
        case "files":
            return "files", str(r["series"])
        case "dump":
            return "dump", dump_series(str(r["app"]), str(r["environment"]), str(r["database"]))
    return None


def made_in(step: Step) -> frozenset[str]:
    """The repositories that have what a step made."""
    return frozenset(str(m["repository"]) for m in (step.result or {}).get("made", ()))


def kept(runs: Iterable[Run], repositories: Iterable[Recorded], now: datetime) -> Kept:
    """A time after ``now`` tells of a clock that was wrong, and one before a repository came of another one of its
    name."""
    since = {r.name: r.since for r in repositories}
    found: dict[Thing, dict[str, datetime]] = {}
    for run in runs:
        for step in run.steps:
            thing = of(step)
            if thing is None or not step.started_at:
                continue
            at = parse_time(step.started_at)
            for name in made_in(step) & since.keys():
                came = since[name]
                if at <= now and (came is None or at >= came):
                    there = found.setdefault(thing, {})
                    there[name] = max(at, there.get(name, at))
    return found


def wanted_things(wanted: Wanted) -> tuple[Thing, ...]:
    return (
        *(("cluster", c.name) for c in wanted.clusters),
        *(("dump", d.series) for d in wanted.dumps),
        *(("files", f.sources.series) for f in wanted.files),
    )


def told(thing: Thing) -> str:
    kind, name = thing
    return {"cluster": f"cluster {name}", "files": f"files of {name}", "dump": f"database {name}"}[kind]


def missing(wanted: Wanted, there: Kept, repositories: Iterable[Recorded]) -> dict[str, tuple[Thing, ...]]:
    """By repository what it has nothing of and should have by now: clusters, whose log is worth nothing without a
    backup, and what another repository has."""
    found = {}
    for r in repositories:
        lacks = tuple(
            thing
            for thing in wanted_things(wanted)
            if r.name not in there.get(thing, {}) and (thing[0] == "cluster" or there.get(thing))
        )
        if lacks:
            found[r.name] = lacks
    return found


def is_new(wanted: Wanted, repositories: Iterable[Recorded], last: Run | None) -> bool:
    """Whether something came since the last backup of everything began that cannot wait for the next: a repository,
    or a cluster."""
    if last is None:
        return True
    known = {thing for step in last.steps if (thing := of(step)) is not None}
    return any(r.since is not None and r.since > last.started_at for r in repositories) or any(
        ("cluster", c.name) not in known for c in wanted.clusters
    )


def still_wrong(run: Run, repositories: Sequence[Recorded]) -> tuple[Step, ...]:
    """Steps of a run that failed, but for what concerns only repositories that are removed since."""
    names = frozenset(r.name for r in repositories)

    def is_over(step: Step) -> bool:
        if step.work in COPIES:
            return bool(names) and names <= made_in(step)
        return step.work in PROOFS and step.request.get("repository") not in names

    return tuple(s for s in run.steps if s.state == FAILED and not is_over(s))
