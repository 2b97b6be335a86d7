"""Trials: a new release is judged, first beside the one before (a canary), then with all of the requests.

What it is and what is decided, pure; and its table.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from homeport.edge.access import Access
from homeport.edge.model import Counts
from homeport.journal import schema
from homeport.journal.store import Transaction, parse_time, text_time
from homeport.kernel.ids import AppName, ChangeId, EnvironmentName, InstanceName, ReleaseId
from homeport.rollout import verdict
from homeport.rollout.canary import Settings, Side, Window, histogram
from homeport.rollout.state import State
from homeport.rollout.verdict import Evidence, Forming, Outcome
from homeport.spec.model import Rollout

CANARY = "canary"
WATCH = "watch"
RUNNING = "running"
ENDED = "ended"
"""Nothing was decided: another release took over, or the change failed for another reason."""
LOOKS_WORSE = 0.5
"""So near to a roll-back (see ``verdict.Figures``) a canary does not go on for want of traffic."""
LONGEST = 2.0
"""Seconds that a window counts for at most: when the clock jumped or nobody looked, nobody waited so long."""
STICKY_CLUMP = 3.0
"""So many errors may come at a time from one visitor who stays on his side and tries again."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where the last look ended."""

    at: datetime
    worker: int
    """The edge's process that counted; another one has begun from 0."""
    counted: tuple[tuple[str, int, int], ...]
    """(instance, requests, errors)"""
    log: Any
    """Of the access log's tail."""
    pids: tuple[tuple[str, int], ...] = ()
    """The processes of both sides: another one of the new release means that it died."""

    def to_json(self) -> dict[str, Any]:
        return {
            "at": text_time(self.at),
            "worker": self.worker,
            "counted": [list(c) for c in self.counted],
            "log": self.log,
            "pids": [list(p) for p in self.pids],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Position":
        return cls(
            parse_time(data["at"]),
            data["worker"],
            tuple((str(n), int(r), int(e)) for n, r, e in data["counted"]),
            data["log"],
            tuple((str(n), int(p)) for n, p in data["pids"]),
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands, for people."""

    outcome: str
    """"forming", or what it ended as: "promoted", "rolled back", "inconclusive"."""
    reasons: tuple[str, ...]
    """Why; of one that is forming, what a promotion still lacks."""
    figures: dict[str, Any]
    """Of ``verdict.Figures``."""
    asked: int | None = None
    """The step at which it asked a person, because there was too little traffic to judge by."""

    def to_json(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome,
            "reasons": list(self.reasons),
            "figures": self.figures,
            "asked": self.asked,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Standing":
        return cls(data["outcome"], tuple(data["reasons"]), data["figures"], data["asked"])


@dataclass(frozen=True, slots=True)
class Trial:
    change: ChangeId
    app: AppName
    environment: EnvironmentName
    release: ReleaseId
    before: ReleaseId | None
    phase: str
    """:data:`CANARY` or :data:`WATCH`."""
    step: int
    """Steps passed."""
    since: datetime
    """Since when it has its share of the requests."""
    until: datetime | None
    """The end of a watch."""
    paused_by: str | None
    promoted_by: str | None
    evidence: Evidence
    position: Position
    standing: Standing
    state: str
    """:data:`RUNNING`, an outcome, or :data:`ENDED`."""

    @property
    def is_condemned(self) -> bool:
        return bool(self.evidence.condemned)


class Decision(Enum):
    STAY = "stay"
    GO_ON = "go on"
    ASK = "ask"
    TAKE_BACK = "take back"


def settings(rollout: Rollout) -> Settings:
    sticky = rollout.sticky or rollout.pin
    return Settings(
        max_error_rate=rollout.max_error_rate,
        max_latency_increase=rollout.max_latency_increase,
        clump=STICKY_CLUMP if sticky else 1.0,
    )


def decide_now(trial: Trial) -> Decision | None:
    """What became of a canary whatever its step: a person kept it, or it is worse."""
    if trial.promoted_by is not None:
        return Decision.GO_ON
    return Decision.TAKE_BACK if trial.is_condemned else None


def decide(trial: Trial, rollout: Rollout, now: datetime) -> Decision:
    """What becomes of a canary at its step."""
    if (decided := decide_now(trial)) is not None:
        return decided
    if trial.standing.asked == trial.step and trial.paused_by is None:
        return Decision.GO_ON
    if trial.paused_by is not None or now < trial.since + timedelta(seconds=rollout.bake):
        return Decision.STAY
    stands = verdict.forming(trial.evidence, settings(rollout))
    assert isinstance(stands, Forming)
    if not stands.missing:
        return Decision.GO_ON
    if max(stands.figures.errors_worse, stands.figures.latency_worse) >= LOOKS_WORSE:
        return Decision.STAY
    return {"wait": Decision.STAY, "ask": Decision.ASK, "continue": Decision.GO_ON}[rollout.on_inconclusive]


def standing(evidence: Evidence, rollout: Rollout, *, over: bool = False) -> Standing:
    """How it stands; ``over``: no further look will be taken."""
    judged = settings(rollout)
    if over:
        end = verdict.conclude(evidence, judged)
        return Standing(end.outcome.value, end.reasons, end.figures.to_json())
    now = verdict.forming(evidence, judged)
    if isinstance(now, Forming):
        return Standing("forming", now.missing, now.figures.to_json())
    return Standing(now.outcome.value, now.reasons, now.figures.to_json())


def side_of(instance: str, trial: Trial) -> str | None:
    """ "new", "before", or None for what belongs to neither."""
    app, environment, release, *_ = instance.split(".")
    if (app, environment) != (trial.app, trial.environment):
        return None
    return "new" if release == trial.release else "before" if release == trial.before else None


def all_began_anew(trial: Trial, pids: Mapping[InstanceName, int | None]) -> bool:
    """Whether every process of the release before is another one too: the machine, or Homeport, was
    restarted, and no release is to blame."""
    before = [(name, pid) for name, pid in trial.position.pids if side_of(name, trial) == "before"]
    return bool(before) and all(pids.get(InstanceName(name)) != pid for name, pid in before)


def window(
    trial: Trial,
    counts: Counts,
    entries: Iterable[Access],
    now: datetime,
    waiting: Mapping[str, int] | None = None,
) -> tuple[Window, tuple[tuple[str, int, int], ...]]:
    """What happened since the last look, and what is counted by now.

    ``waiting``: requests that wait for an answer, by side, where that was asked for.
    """
    before = (
        {n: (r, e) for n, r, e in trial.position.counted} if counts.worker == trial.position.worker else {}
    )
    totals = {"new": [0, 0], "before": [0, 0]}
    counted = []
    for server in counts.servers:
        side = side_of(server.name, trial)
        if side is None:
            continue
        counted.append((str(server.name), server.requests, server.errors))
        was = before.get(str(server.name), (0, 0))
        if was[0] > server.requests or was[1] > server.errors:
            was = (0, 0)  # removed and added again
        totals[side][0] += server.requests - was[0]
        totals[side][1] += server.errors - was[1]
    latencies: dict[str, list[float]] = {"new": [], "before": []}
    for entry in entries:
        side = side_of(entry.server, trial) if entry.server.count(".") == 4 else None
        if side is not None and entry.response_ms is not None and entry.status < 500:
            latencies[side].append(entry.response_ms / 1000)

    def made(side: str) -> Side:
        requests, errors = totals[side]
        return Side(
            requests,
            min(errors, requests),
            histogram(latencies[side]) if latencies[side] else (),
            (waiting or {}).get(side, 0),
        )

    seconds = min(LONGEST, max(0.001, (now - trial.position.at).total_seconds()))
    return Window(made("new"), made("before") if trial.phase == CANARY else None, seconds), tuple(counted)


def is_quiet(trial: Trial, window: Window) -> bool:
    """Whether nothing happened, and nothing is waited for, that a look would have to record."""
    sides = [s for s in (window.canary, window.stable) if s is not None]
    happened = any(s.requests or s.latencies or s.unanswered for s in sides)
    return not (happened or trial.is_condemned or trial.evidence.silence is not None)


def baseline(entries: Iterable[Access], app: str, environment: str, release: ReleaseId | None) -> Evidence:
    """Evidence that begins with what a release did before: there is nothing beside the new one."""
    errors = requests = 0
    latencies = []
    prefix = f"{app}.{environment}.{release}."
    for entry in entries:
        if entry.server.startswith(prefix):
            requests += 1
            errors += entry.status >= 500
            if entry.status < 500 and entry.response_ms is not None:
                latencies.append(entry.response_ms / 1000)
    side = Side(requests, errors, histogram(latencies))
    return replace(Evidence(), stable=Evidence().stable.plus([side]))


# The table


def find(state: State, change: ChangeId) -> Trial | None:
    t = schema.trials
    with state.store.read() as c:
        row = c.execute(sa.select(t).where(t.c.change == change)).first()
    return _trial(row) if row else None


def running(state: State) -> tuple[Trial, ...]:
    t = schema.trials
    with state.store.read() as c:
        return tuple(_trial(row) for row in c.execute(sa.select(t).where(t.c.state == RUNNING)))


def newest(state: State, app: AppName, environment: EnvironmentName) -> Trial | None:
    """The one under way, else the last one."""
    t = schema.trials
    query = (
        sa.select(t)
        .where(t.c.app == app, t.c.environment == environment)
        .order_by((t.c.state != RUNNING), t.c.since.desc())
        .limit(1)
    )
    with state.store.read() as c:
        row = c.execute(query).first()
    return _trial(row) if row else None


def insert(tx: Transaction, trial: Trial) -> None:
    tx.execute(
        schema.trials.insert().values(
            change=trial.change,
            app=trial.app,
            environment=trial.environment,
            release=trial.release,
            before=trial.before,
            phase=trial.phase,
            step=trial.step,
            since=text_time(trial.since),
            until=text_time(trial.until) if trial.until else None,
            evidence=trial.evidence.to_json(),
            position=trial.position.to_json(),
            standing=trial.standing.to_json(),
            state=trial.state,
        )
    )


def update(tx: Transaction, change: ChangeId, **values: Any) -> None:
    """``evidence``, ``position`` and ``standing`` as JSON, times as text."""
    t = schema.trials
    tx.execute(t.update().where(t.c.change == change).values(**values))


def end_others(tx: Transaction, app: AppName, environment: EnvironmentName, change: ChangeId) -> None:
    """What was judged before another change took the traffic is judged no longer."""
    t = schema.trials
    tx.execute(
        t.update()
        .where(t.c.app == app, t.c.environment == environment, t.c.state == RUNNING, t.c.change != change)
        .values(state=ENDED)
    )


def outcome_state(standing: Standing) -> str:
    return standing.outcome if standing.outcome in {o.value for o in Outcome} else ENDED


def _trial(row: Row[Any]) -> Trial:
    return Trial(
        ChangeId(row.change),
        AppName(row.app),
        EnvironmentName(row.environment),
        ReleaseId(row.release),
        ReleaseId(row.before) if row.before else None,
        row.phase,
        row.step,
        parse_time(row.since),
        parse_time(row.until) if row.until else None,
        row.paused_by,
        row.promoted_by,
        Evidence.from_json(row.evidence),
        Position.from_json(row.position),
        Standing.from_json(row.standing),
        row.state,
    )
