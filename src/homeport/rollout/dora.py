"""The four measures of software delivery, from what the journal tells of one environment. Pure.

By https://dora.dev/guides/dora-metrics-four-keys/ they are deployment frequency, change lead time, change fail
rate and failed deployment recovery time. What counts here:

- A *deployment* is a change of kind deploy, promote or configure that brought another release and was promoted.
- *Lead time* runs from a commit to its first promotion in the environment. It is that of the newest commit of a
  deployment; those that came with it are not known. A release made from uncommitted changes has none.
- A *failure* is a release that was taken back after it got requests (a canary, or a cut-over that failed), or
  one that was promoted and that people, or the watch after it, rolled back from. Their rate is of all that got
  requests. What failed before that (a build, an instance that never became ready) and what was cancelled broke
  nothing; both are counted apart. A failure that was mended by the next deployment is not recognised.
- *Time to restore* runs from the promotion of such a release, or from its first requests, to the next promotion
  of one that nobody rolled back from, or to when it got no more requests.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from homeport.journal.model import Record
from homeport.kernel.ids import ReleaseId

DEFINITION = "https://dora.dev/guides/dora-metrics-four-keys/"
DEPLOYS = frozenset(("deploy", "promote", "configure"))
ROLLBACK = "rollback"
ROLLED_BACK = "rolled back"
CANCELLED = "rollout.cancelled"
KINDS = (
    "app.destroyed",
    "change.started",
    "change.failed",
    "change.finished",
    "traffic.shifted",
    "release.promoted",
)
"""Of the records that are looked at."""
P90_FROM = 10
"""Fewer values have no 90th percentile worth the name: it would be the largest one."""
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Commit:
    """What a release was made from."""

    id: str
    at: datetime | None
    dirty: bool = False


@dataclass(slots=True)
class Deployment:
    """A change of one environment as far as the journal tells of it."""

    change: str
    what: str
    release: ReleaseId
    started_at: datetime
    exposed_at: datetime | None = None
    """When its release got the first requests."""
    withdrawn_at: datetime | None = None
    """When it got no more of them, before it was promoted."""
    promoted_at: datetime | None = None
    finished_at: datetime | None = None
    rolled_back: bool = False
    """That is its verdict: what served before serves on."""
    cancelled: bool = False

    @property
    def taken_back(self) -> bool:
        """It got requests, and they were taken from it again."""
        return self.rolled_back and self.exposed_at is not None and not self.cancelled

    @property
    def kept_back(self) -> bool:
        """It failed before it got a request."""
        return self.rolled_back and self.exposed_at is None and not self.cancelled


@dataclass(frozen=True, slots=True)
class Spread:
    """Of some durations in seconds. None: there are too few."""

    count: int
    median: float | None
    p90: float | None
    """The nearest rank; from :data:`P90_FROM` values on."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One attempt at a stage of a pipeline that has ended."""

    kind: str
    name: str
    environment: str | None
    position: int
    state: str
    seconds: float


@dataclass(frozen=True, slots=True)
class StageTime:
    kind: str
    name: str
    environment: str | None
    passed: int
    failed: int
    seconds: Spread
    """Of those that passed or failed; an approval's is the wait for the person."""


@dataclass(frozen=True, slots=True)
class Dora:
    """The measures over a period. What there is too little data for is None, never 0."""

    since: datetime
    """The period's begin, or the environment's first change where that came later."""
    until: datetime
    deployments: int
    per_day: float | None
    """None for less than a day."""
    lead_time: Spread
    exposed: int
    """Deployments and releases taken back: all that got requests."""
    taken_back: int
    rolled_back: int
    """Promoted, and gone back from later."""
    failure_rate: float | None
    """Of those exposed; 0 to 1."""
    restore: Spread
    unrestored: int
    """Failures after which no release serves that nobody went back from."""
    kept_back: int
    cancelled: int
    stages: tuple[StageTime, ...] = field(default=())


def measure(
    records: Iterable[Record],
    commits: Mapping[ReleaseId, Commit],
    passages: Sequence[Passage],
    *,
    since: datetime,
    until: datetime,
) -> Dora:
    """``records`` are all of the environment, and ``app.destroyed`` of its app, of :data:`KINDS`, oldest
    first: those before ``since`` tell what a rollback or a commit goes back to. ``passages`` are those that
    ended within the period.
    """
    changes = history(records)
    # Two promotions at the same moment stand in the order of the records.
    promotions = sorted((c for c in changes if c.promoted_at is not None), key=_promoted_at)
    restored = _restored(promotions)
    began = max(since, min((c.started_at for c in changes), default=until))
    own = [c for c in changes if c.what in DEPLOYS]
    deployed = [c for c in own if c.promoted_at is not None and since <= c.promoted_at < until]
    ended = [c for c in own if c.finished_at is not None and since <= c.finished_at < until]
    back = [c for c in ended if c.taken_back]
    left = [c for c in deployed if c.change in restored]
    times = [_seconds(c.exposed_at, c.withdrawn_at or c.finished_at) for c in back]
    times += [_seconds(c.promoted_at, restored[c.change]) for c in left]
    exposed = len(deployed) + len(back)
    days = (until - began).total_seconds() / DAY
    return Dora(
        since=began,
        until=until,
        deployments=len(deployed),
        per_day=len(deployed) / days if days >= 1 else None,
        lead_time=spread(_lead_times(promotions, deployed, commits)),
        exposed=exposed,
        taken_back=len(back),
        rolled_back=len(left),
        failure_rate=(len(back) + len(left)) / exposed if exposed else None,
        restore=spread([t for t in times if t is not None]),
        unrestored=sum(t is None for t in times),
        kept_back=sum(c.kept_back for c in ended),
        cancelled=sum(c.rolled_back and c.cancelled for c in ended),
        stages=stage_times(passages),
    )


def history(records: Iterable[Record]) -> list[Deployment]:
    """The environment's changes since its app was last destroyed, in the order in which they began."""
    changes: dict[str, Deployment] = {}
    for r in records:
        if r.kind == "app.destroyed":
            changes.clear()
            continue
        if r.change is None:
            continue
        if r.kind == "change.started":
            changes[r.change] = Deployment(r.change, r.data["what"], ReleaseId(r.data["release"]), r.at)
        change = changes.get(r.change)
        if change is None:
            continue
        match r.kind:
            case "traffic.shifted":
                if any(
                    w > 0 and _release_of(name) == change.release for name, w in r.data["weights"].items()
                ):
                    change.exposed_at = change.exposed_at or r.at
                    change.withdrawn_at = None
                elif change.exposed_at is not None:
                    change.withdrawn_at = change.withdrawn_at or r.at
            case "release.promoted":
                change.promoted_at = r.at
            case "change.failed":
                change.cancelled = r.data["code"] == CANCELLED
            case "change.finished":
                change.finished_at = r.at
                change.rolled_back = r.data["verdict"] == ROLLED_BACK
    return list(changes.values())


def _release_of(instance: str) -> str:
    """``<app>.<environment>.<release>.<process>.<n>``"""
    parts = instance.split(".")
    return parts[2] if len(parts) == 5 else ""


def _promoted_at(change: Deployment) -> datetime:
    assert change.promoted_at is not None
    return change.promoted_at


def _restored(promotions: Sequence[Deployment]) -> dict[str, datetime | None]:
    """Of each promotion that the next one rolled back: when one came that was not; None: none did."""
    bad = [after.what == ROLLBACK for after in promotions[1:]] + [False]
    found: dict[str, datetime | None] = {}
    for i, change in enumerate(promotions):
        if bad[i]:
            well = next(j for j in range(i + 1, len(promotions)) if not bad[j])
            found[change.change] = promotions[well].promoted_at
    return found


def _lead_times(
    promotions: Sequence[Deployment], deployed: Sequence[Deployment], commits: Mapping[ReleaseId, Commit]
) -> list[float]:
    counted = {c.change for c in deployed}
    seen: set[str] = set()
    found = []
    for change in promotions:
        commit = commits.get(change.release)
        if commit is None or commit.dirty or commit.id in seen:
            continue
        seen.add(commit.id)
        seconds = _seconds(commit.at, change.promoted_at)
        # A commit from the future tells of a wrong clock, and nothing of the way here.
        if change.change in counted and seconds is not None and seconds >= 0:
            found.append(seconds)
    return found


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start is not None and end is not None else None


def stage_times(passages: Sequence[Passage]) -> tuple[StageTime, ...]:
    """By stage, in the order of the pipeline; what was cancelled says nothing of how long a stage takes."""
    groups: dict[tuple[str, str, str | None], list[Passage]] = {}
    for p in sorted(passages, key=lambda p: (p.position, p.name)):
        if p.state in ("passed", "failed"):
            groups.setdefault((p.kind, p.name, p.environment), []).append(p)
    return tuple(
        StageTime(
            kind,
            name,
            environment,
            sum(p.state == "passed" for p in group),
            sum(p.state == "failed" for p in group),
            spread([p.seconds for p in group]),
        )
        for (kind, name, environment), group in groups.items()
    )


def spread(values: Sequence[float]) -> Spread:
    """Median and 90th percentile, as far as there are enough values for them."""
    ordered = sorted(values)
    count = len(ordered)
    median = statistics.median(ordered) if ordered else None
    p90 = ordered[math.ceil(count * 9 / 10) - 1] if count >= P90_FROM else None
    return Spread(count, median, p90)
