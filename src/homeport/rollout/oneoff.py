"""One-off commands: a fresh process beside the instances, with their files, variables, secrets and limits.

The control plane prepares and records them; they run in the caller's own terminal, on the same machine,
so that Ctrl-C, window sizes and a terminal that goes away are the kernel's business.
"""

import re
import secrets
import sys
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from homeport.kernel.errors import Kind, declare
from homeport.kernel.ids import AppName, ChangeId, EnvironmentName, InstanceName, ReleaseId
from homeport.rollout import events
from homeport.rollout.admission import require_process
from homeport.rollout.errors import NOTHING_SERVES
from homeport.rollout.model import Instance
from homeport.rollout.parts import Parts
from homeport.runtime import cgroup
from homeport.runtime.layout import Layout
from homeport.runtime.model import InstanceSpec
from homeport.runtime.oneoff import document, runner
from homeport.system import process

UNKNOWN_RUN = declare("rollout.unknown_run", Kind.NOT_FOUND, "No one-off command of that id was begun.")
MARK = re.compile(r"[a-z0-9-]+\.[a-z0-9-]+\.run\.x-[0-9a-f]+\.[0-9]+")
"""App, environment, run and the caller's process: what every process of a command carries."""
GONE = 137
"""The status of a command that was killed because its caller is gone."""
SWEEP_EVERY = 30.0
"""Seconds between two looks for commands that this control plane does not know of."""
STARTS_WITHIN = 60.0
"""Seconds from its preparation in which a command counts as running though no process of it is seen."""


@dataclass(frozen=True, slots=True)
class Prepared:
    run: str
    release: str
    runner: tuple[str, ...]
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Running:
    name: str
    started: float
    """By the monotonic clock."""
    app: AppName
    release: ReleaseId
    spec: InstanceSpec


class OneOffs:
    def __init__(self, parts: Parts, *, python: str = sys.executable) -> None:
        self._parts = parts
        self._python = python
        self._running: dict[str, Running] = {}
        self._lock = threading.Lock()
        self._swept_at = float("-inf")

    def prepare(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        process: str | None,
        command: tuple[str, ...],
        caller: int,
        actor: str,
    ) -> Prepared:
        """What the runner needs. Raises ``rollout.nothing_serves`` and ``rollout.unknown_process``."""
        parts = self._parts
        now = parts.state.environment(app, environment)
        if now.serving is None:
            raise NOTHING_SERVES.error(
                f"cannot run a command: nothing serves in {environment} of {app}", hint="homeport deploy"
            )
        spec = parts.spec(app, environment, now.serving)
        name = require_process(spec, process) if process is not None else spec.main_process
        config = parts.state.serving_config(now)
        run = f"x-{secrets.token_hex(5)}"
        mark = f"{app}.{environment}.run.{run}.{caller}"
        sample = Instance(
            app,
            environment,
            now.serving,
            name,
            0,
            None,
            config.digest,
            ChangeId(""),
            0,
            False,
            parts.clock.now(),
        )
        parts.prepare_run_directory(app, environment, now.serving)
        wanted = parts.instance_spec(sample, config)
        prepared = document(wanted, InstanceName(mark), Layout(parts.data_dir), command)
        with parts.state.store.transaction(actor) as tx:
            tx.append(
                events.CommandRun(
                    app=app,
                    environment=environment,
                    run=run,
                    release=now.serving,
                    command=list(command),
                )
            )
        with self._lock:
            self._running[run] = Running(mark, parts.clock.monotonic(), app, now.serving, wanted)
        return Prepared(run, now.serving, runner(self._python), prepared)

    def releases_in_use(self) -> frozenset[tuple[AppName, ReleaseId]]:
        """Those that commands still run in, as far as this control plane knows."""
        if not self._running:
            return frozenset()
        alive = {m.instance for m in process.marked(str(self._parts.data_dir))}
        young = self._parts.clock.monotonic() - STARTS_WITHIN
        with self._lock:
            self._running = {k: r for k, r in self._running.items() if r.name in alive or r.started > young}
            return frozenset((r.app, r.release) for r in self._running.values())

    def _marks(self) -> frozenset[str]:
        found = process.marked(str(self._parts.data_dir))
        return frozenset(m.instance for m in found if MARK.fullmatch(m.instance))

    def sweep(self) -> None:
        """End commands whose caller is gone: killed with -9, it could tell nobody.

        Looks through all processes, so it does that seldom while none is known to run.
        """
        now = self._parts.clock.monotonic()
        if not self._running and now - self._swept_at < SWEEP_EVERY:
            return
        self._swept_at = now
        for mark in self._marks():
            app, environment, _, run, caller = mark.split(".")
            if caller != "0" and not process.is_alive(int(caller)):
                self.ended(AppName(app), EnvironmentName(environment), run, GONE, actor="homeport")

    def ended(self, app: AppName, environment: EnvironmentName, run: str, status: int, *, actor: str) -> None:
        """Record how it ended, once. Raises ``rollout.unknown_run`` for one that was never begun here."""
        begun = self._begun(app, environment, run)
        with self._lock:
            started = self._running.pop(run, None)
        name = started.name if started is not None else ""
        for mark in self._marks():
            if mark.startswith(f"{app}.{environment}.run.{run}."):
                name = mark
                process.kill_marked(str(self._parts.data_dir), mark)
        if started is not None and (started.spec.memory is not None or started.spec.cpu is not None):
            groups = cgroup.places(name, started.spec.memory, started.spec.cpu)
            cgroup.remove([directory for directory, _ in groups])
        if begun is None:
            return
        with self._parts.state.store.transaction(actor) as tx:
            seconds = (tx.now - begun).total_seconds()
            tx.append(
                events.CommandEnded(
                    app=app, environment=environment, run=run, status=status, seconds=round(seconds, 3)
                )
            )

    def _begun(self, app: AppName, environment: EnvironmentName, run: str) -> datetime | None:
        """When the journal says that a command began; None when it says that it has ended, too."""
        told = self._parts.state.store.told_of_run(app, environment, run)
        if not told:
            raise UNKNOWN_RUN.error(f"cannot find the command {run} of {app} in {environment}")
        return None if any(r.kind == events.CommandEnded.kind for r in told) else told[0].at
