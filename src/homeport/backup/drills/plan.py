"""The steps of a drill, and which is due. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from homeport.backup.drills.model import NAMES, PHASES, REPORT, SCENARIOS, TIDY, Report
from homeport.backup.model import Step
from homeport.spec.schedule import Schedule

LATE = timedelta(hours=1)
"""So long after its time a drill that did not begin is missed: deploys and restores go first."""


def steps(
    scenario: str, cluster: str, questions: Sequence[Mapping[str, Any]], passphrase: str
) -> tuple[Step, ...]:
    """``passphrase``: "", "right" or "wrong", as a person who was asked had it."""
    request = {"scenario": scenario, "cluster": cluster, "passphrase": passphrase}
    found: list[Step] = []
    for phase in PHASES:
        more = {"questions": [dict(q) for q in questions]} if phase == PHASES[-1] else {}
        needs = (found[-1].name,) if found else ()
        found.append(Step(phase, "drill", {**request, **more, "phase": phase}, needs=needs))
    found.append(Step(TIDY, "drill-tidy", {"cluster": cluster}, always=True))
    found.append(Step(REPORT, "here:drill-report", always=True))
    return tuple(found)


def next_scenario(last: Mapping[str, datetime], possible: Sequence[str] = NAMES) -> str:
    """That which was rehearsed longest ago; those that never were come first, in their order."""
    never = [name for name in possible if name not in last]
    return never[0] if never else min(possible, key=lambda name: last[name])


@dataclass(frozen=True, slots=True)
class Timed:
    """A schedule of drills, the machine's own or an environment's."""

    key: int
    of: str
    """Whose, for people."""
    line: str
    timezone: str
    since: datetime
    """When it was set, or a drill began by it."""
    cluster: str
    """Whose recovery is rehearsed; "": there is none."""
    scenarios: tuple[str, ...] = NAMES

    def due(self, now: datetime) -> datetime | None:
        """The newest time at which a drill was due and none has begun since."""
        found = Schedule(self.line, self.timezone).due(self.since, now, most=1)
        return found[-1] if found else None

    @property
    def next_at(self) -> datetime:
        return Schedule(self.line, self.timezone).next(self.since)

    def late(self, now: datetime) -> datetime | None:
        """As :meth:`due`, where it is so long ago that it counts as missed."""
        return self.due(now - LATE)


def possible(timed: Timed, repositories: int) -> tuple[str, ...]:
    """Scenarios that the clock may choose: another repository is only asked for where there are several."""
    return tuple(
        s.name
        for s in SCENARIOS
        if s.name in timed.scenarios
        and (timed.cluster or not s.needs_cluster)
        and (repositories > 1 or s.name != "repository-unreachable" or len(timed.scenarios) == 1)
    )


def not_passed(reports: Iterable[Report], by: str) -> tuple[Report, ...]:
    """Of each scenario and cluster the newest that ``by`` began, where neither it nor any since has passed.

    ``reports``: the newest first.
    """
    done: set[tuple[str, str]] = set()
    found: list[Report] = []
    for report in reports:
        what = (report.scenario, report.cluster)
        if what in done or not (report.passed or report.actor == by):
            continue
        done.add(what)
        if not report.passed:
            found.append(report)
    return tuple(found)
