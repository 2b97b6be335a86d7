"""Jobs whose control plane is killed over and over: ``python -m bench.cron [--jobs 20 --seconds 50 --kills 50]``.

Each run writes a line as it starts and one as it ends. Printed is what came of each due time.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from homeport.journal import schema
from homeport.journal.store import Store, open_engine, parse_time, text_time
from homeport.runtime import commands
from homeport.runtime.layout import Layout
from homeport.runtime.orphans import prepare
from homeport.spec.schedule import Schedule
from homeport.system.clock import RealClock
from homeport.system.process import marked

ROOT = Path(__file__).parent.parent
COMMAND = 'echo "start $HOMEPORT_RUN" >> "$OUT"; sleep {work}; echo "end $HOMEPORT_RUN" >> "$OUT"'
SCHEDULE = "@every 1s"


@dataclass
class Account:
    """What came of all due times."""

    due: int = 0
    missing: int = 0
    """Due times without a run."""
    twice: int = 0
    """Due times with more than one."""
    states: Counter[str] = field(default_factory=Counter)
    once: int = 0
    never: int = 0
    """Runs told as ended well that did not start and end."""
    doubled: int = 0
    kills: int = 0
    runners_killed: int = 0
    seconds: float = 0.0
    worst_lag: float = 0.0
    journal_broken_at: int | None = None

    @property
    def is_kept(self) -> bool:
        return not (self.missing or self.twice or self.never or self.doubled) and not self.journal_broken_at

    def text(self) -> str:
        states = ", ".join(f"{n} {state}" for state, n in sorted(self.states.items()))
        return (
            f"{self.due} due times in {self.seconds:.0f} s, control plane killed {self.kills} times, "
            f"runners {self.runners_killed} times\n"
            f"runs: {states}\n"
            f"started and ended once: {self.once}; told as ended but did not: {self.never}; "
            f"started twice: {self.doubled}\n"
            f"due times without a run: {self.missing}, with two: {self.twice}\n"
            f"worst time from due to started: {self.worst_lag:.1f} s"
        )


class Plane:
    """The control plane and the log daemon of one data directory."""

    def __init__(self, data: Path) -> None:
        self.data = data
        prepare(data)
        engine = open_engine(data / "state.db")
        with Store(engine, RealClock()).transaction("bench") as tx:
            tx.execute(schema.apps.insert().values(name="shop", created_at=text_time(tx.now)))
        engine.dispose()
        self.out = data / "out"
        self.out.touch()
        self.logd = self._spawn(commands.logd(sys.executable, Layout(data)), "logd.err")
        self.host: subprocess.Popen[bytes] | None = None

    def _spawn(self, argv: tuple[str, ...], errors: str) -> subprocess.Popen[bytes]:
        with open(self.data / errors, "ab") as f:
            return subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=f, stderr=f, start_new_session=True, cwd=ROOT
            )

    def serve(self, crons: list[dict[str, Any]]) -> None:
        fresh = self.data / "crons.json.new"
        fresh.write_text(json.dumps(crons))
        os.replace(fresh, self.data / "crons.json")

    def start(self) -> None:
        host = ROOT / "tests" / "chaos" / "cron_host.py"
        self.host = self._spawn((sys.executable, str(host), str(self.data)), "host.err")

    def kill(self) -> None:
        assert self.host is not None
        self.host.kill()
        self.host.wait()

    def rows(self) -> list[Any]:
        engine = sa.create_engine(f"sqlite:///{self.data}/state.db", connect_args={"timeout": 15})
        try:
            with engine.connect() as connection:
                return list(connection.execute(sa.select(schema.cron_runs)))
        finally:
            engine.dispose()

    def runners(self) -> list[int]:
        """Of commands that are at work."""
        try:
            told = [line.partition(" ") for line in self.out.read_text().splitlines()]
        except FileNotFoundError:
            return []
        at_work = {run for word, _, run in told if word == "start"} - {
            run for word, _, run in told if word == "end"
        }
        mine = {f"{run}.runner" for run in at_work}
        return [m.pid for m in marked(str(self.data)) if m.instance in mine]

    def end(self) -> None:
        for child in (self.host, self.logd):
            if child is not None:
                child.kill()
                child.wait()
        while pids := [m.pid for m in marked(str(self.data))]:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)


def run(
    jobs: int, seconds: float, kills: int, *, seed: int, runner_kills: int = 0, work: float = 0.05
) -> Account:
    chance = random.Random(seed)
    data = Path(tempfile.mkdtemp(prefix="hpcron", dir="/tmp"))
    plane = Plane(data)
    account = Account()
    try:
        command = COMMAND.format(work=work)
        crons = [
            {"name": f"job{n}", "schedule": SCHEDULE, "command": command, "overlap": "queue", "missed": "all"}
            for n in range(jobs)
        ]
        plane.serve(crons)
        moments = sorted(chance.uniform(0.5, seconds) for _ in range(kills))
        others = sorted(chance.uniform(1.0, seconds) for _ in range(runner_kills))
        plane.start()
        _until(lambda: len({row.name for row in plane.rows()}) == jobs)
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            at = time.monotonic() - began
            if others and at >= others[0] and (victims := plane.runners()):
                others.pop(0)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chance.choice(victims), signal.SIGKILL)
                    account.runners_killed += 1
            if moments and at >= moments[0]:
                moments.pop(0)
                plane.kill()
                account.kills += 1
                plane.start()
            time.sleep(0.01)
        _until_made(plane, jobs, datetime.now(UTC))
        _let_finish(plane, crons, jobs)
        account.seconds = time.monotonic() - began
        _settle(plane, account, jobs)
    finally:
        plane.end()
        shutil.rmtree(data)
    return account


def _until_made(plane: Plane, jobs: int, ended: datetime) -> None:
    """What is due by ``ended`` is recorded: the last control plane may have come up late."""
    last = ended - timedelta(seconds=1)
    _until(lambda: len({r.name for r in plane.rows() if parse_time(r.due_at) >= last}) == jobs)


def _until(look: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end
        time.sleep(0.1)


def _let_finish(plane: Plane, crons: list[dict[str, Any]], jobs: int) -> None:
    """No more times are due; what is due still runs."""
    plane.serve([{**cron, "schedule": "@yearly"} for cron in crons])
    end = time.monotonic() + 120
    calm = 0
    while calm < 3:
        assert time.monotonic() < end, (plane.data / "host.err").read_text()[-3000:]
        active = [row for row in plane.rows() if row.state in ("waiting", "running")]
        calm = 0 if active else calm + 1
        time.sleep(0.5)


def _settle(plane: Plane, account: Account, jobs: int) -> None:
    rows = plane.rows()
    lines = Counter(plane.out.read_text().splitlines())
    schedule = Schedule(SCHEDULE)
    for n in range(jobs):
        times = Counter(parse_time(row.due_at) for row in rows if row.name == f"job{n}" and row.attempt == 1)
        first, last = min(times), max(times)
        expected = (first, *schedule.due(first, last, most=1_000_000))
        account.due += len(expected)
        account.missing += sum(at not in times for at in expected)
        account.twice += sum(count > 1 for count in times.values())
    for row in rows:
        starts, ends = lines[f"start {row.id}"], lines[f"end {row.id}"]
        account.states[row.state] += 1
        account.doubled += starts > 1 or ends > 1
        account.once += (starts, ends) == (1, 1)
        account.never += row.state == "succeeded" and (starts, ends) != (1, 1)
        if row.started_at is not None:
            lag = (parse_time(row.started_at) - parse_time(row.due_at)).total_seconds()
            account.worst_lag = max(account.worst_lag, lag)
    engine = open_engine(plane.data / "state.db")
    account.journal_broken_at = Store(engine, RealClock()).first_broken()
    engine.dispose()


def figures(jobs: int, seconds: float, kills: int, seed: int = 1) -> list[dict[str, Any]]:
    """Issue 3's figure 3, as ``script/bench`` prints it."""
    account = run(jobs, seconds, kills, seed=seed)

    def figure(
        name: str, value: float, unit: str = "", bound: str = "", holds: bool | None = None
    ) -> dict[str, Any]:
        return {
            "name": f"cron: {name}",
            "value": value,
            "unit": unit,
            "bound": bound,
            "holds": holds,
            "peers": {},
        }

    wrong = account.missing + account.twice + account.never + account.doubled
    return [
        figure(f"runs due, control plane killed {account.kills} times", account.due, "runs"),
        figure("started and ended once", account.once, "runs"),
        figure("lost or doubled", wrong, "runs", "0", account.is_kept),
        figure("worst time from due to started", round(account.worst_lag, 1), "s"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=50.0)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--runner-kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    account = run(args.jobs, args.seconds, args.kills, seed=args.seed, runner_kills=args.runner_kills)
    print(account.text())
    sys.exit(0 if account.is_kept else 1)


if __name__ == "__main__":
    main()
