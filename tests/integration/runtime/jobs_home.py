"""A data directory with a state and a log daemon, for jobs that run for real."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from ports import directory

from homeport.journal import schema
from homeport.journal.store import Store, open_engine, text_time
from homeport.kernel.ids import AppName, EnvironmentName, InstanceName, ReleaseId
from homeport.runtime import commands
from homeport.runtime.jobs.model import Run, RunState, Target
from homeport.runtime.jobs.service import Jobs
from homeport.runtime.layout import Layout
from homeport.runtime.model import InstanceSpec
from homeport.runtime.orphans import prepare
from homeport.spec.model import Cron
from homeport.system.clock import RealClock
from homeport.system.process import marked

SHOP, PRODUCTION = AppName("shop"), EnvironmentName("production")
T = TypeVar("T")


def wait_for(look: Callable[[], T], *, seconds: float = 60.0, what: str = "it") -> T:
    """The first true answer."""
    end = time.monotonic() + seconds
    while not (answer := look()):
        assert time.monotonic() < end, f"{what} did not come about in {seconds} s"
        time.sleep(0.02)
    return answer


class ShiftedClock:
    """The real clock with the wall clock's hands moved by ``shift`` seconds."""

    def __init__(self) -> None:
        """It begins five minutes past ten, or twenty, … so that nothing is due by chance."""
        self._real = RealClock()
        self.shift = (300.0 - self._real.now().timestamp()) % 600.0

    def now(self) -> datetime:
        return self._real.now() + timedelta(seconds=self.shift)

    def monotonic(self) -> float:
        return self._real.monotonic()

    def sleep(self, seconds: float) -> None:
        self._real.sleep(seconds)


class JobsHome:
    def __init__(self) -> None:
        self.data = directory("hpj")
        self.layout = Layout(self.data)
        prepare(self.data)
        self.clock = ShiftedClock()
        self.engine = open_engine(self.data / "state.db")
        self.store = Store(self.engine, self.clock)
        self.add_app()
        self.crons: tuple[Cron, ...] = ()
        self.release = ReleaseId("r1")
        self.serves = True
        self.more: dict[str, Any] = {}
        self.logd = subprocess.Popen(
            commands.logd(sys.executable, self.layout),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.jobs = self.control_plane()

    def add_app(self) -> None:
        with self.store.transaction("test") as tx:
            values = {"name": SHOP, "created_at": text_time(tx.now)}
            columns = schema.apps.c.keys()
            tx.execute(schema.apps.insert().values(**{k: v for k, v in values.items() if k in columns}))

    def control_plane(self) -> Jobs:
        """A new one, which remembers nothing."""
        self.jobs = Jobs(self.data, self.store, self.clock, self.targets)
        return self.jobs

    def targets(self) -> tuple[Target, ...]:
        if not self.serves:
            return ()
        return (Target(SHOP, PRODUCTION, self.release, self.crons, self.instance),)

    def instance(self, cron: Cron, name: str) -> InstanceSpec:
        return InstanceSpec(
            InstanceName(name),
            cron.command,
            str(self.data),
            (("GREETING", "good day"),),
            user=cron.user,
            memory=cron.memory,
            cpu=cron.cpu,
            stop_grace=cron.stop_grace,
            **self.more,
        )

    def job(self, command: str, **more: Any) -> Cron:
        """The one job of the app; it is due in a year if nothing else is said."""
        cron = Cron("report", **{"schedule": "@yearly", "stop_grace": 3.0, **more, "command": command})
        self.crons = (cron,)
        return cron

    def script(self, text: str) -> str:
        path = self.data / f"script{len(list(self.data.glob('script*.py')))}.py"
        path.write_text(text)
        return f"{sys.executable} -u {path}"

    def run_now(self) -> InstanceName:
        return self.jobs.run_now(SHOP, PRODUCTION, "report", "ann")

    def runs(self) -> dict[str, Run]:
        return {r.id: r for r in self.jobs.history(SHOP, PRODUCTION, None, 1000)}

    def tick_until(self, look: Callable[[], T], *, seconds: float = 60.0, what: str = "it") -> T:
        def tick_and_look() -> T:
            self.jobs.tick()
            return look()

        return wait_for(tick_and_look, seconds=seconds, what=what)

    def ended(self, run: str) -> Run:
        """Tick until it has."""
        found = self.tick_until(
            lambda: found if (found := self.runs()[run]) and not found.state.is_active else None,  # type: ignore[arg-type,return-value]
            what=f"the end of {run}",
        )
        # Its outcome stands before it ends.
        runner = f"{run}.runner"
        wait_for(
            lambda: runner not in [m.instance for m in marked(str(self.data))], what="the end of its runner"
        )
        return found

    def state_of(self, run: str) -> RunState:
        return self.runs()[run].state

    def printed(self, run: str) -> list[str]:
        return [line.partition(" ")[2] for line in self.jobs.output(run, 1000)]

    def wait_line(self, run: str, text: str) -> None:
        wait_for(lambda: text in self.printed(run), what=f"the line {text!r} of {run}")

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [r.data for r in self.store.records(limit=100_000) if r.kind == kind]

    def left(self) -> list[int]:
        return [m.pid for m in marked(str(self.data))]

    def end(self) -> None:
        self.logd.kill()
        self.logd.wait()
        while pids := self.left():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        self.engine.dispose()
        shutil.rmtree(self.data)
