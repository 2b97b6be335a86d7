"""The files of one active run, and what they say of it."""

import json
import os
import signal
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from homeport.runtime import cgroup
from homeport.runtime.jobs import commands
from homeport.runtime.jobs.model import Outcome, RunState, Seen
from homeport.runtime.processes import signal_each
from homeport.system.files import remove_tree, write_atomic
from homeport.system.process import is_alive

_ENDED_BY = {s.value: s for s in (RunState.TIMED_OUT, RunState.REPLACED, RunState.STOPPED, RunState.LOST)}


@dataclass(frozen=True, slots=True)
class RunFiles:
    """``directory`` is made by :meth:`prepare` and removed when the run's end is in the state."""

    directory: Path

    def prepare(self, document: dict[str, object]) -> None:
        """What the runner needs, whole and on disk: from then on one may have been started."""
        self._make()
        write_atomic(self.directory / "run.json", json.dumps(document, indent=1), mode=0o600)

    def _make(self) -> None:
        for directory in (self.directory.parent, self.directory):
            directory.mkdir(mode=0o700, exist_ok=True)

    @property
    def is_prepared(self) -> bool:
        return (self.directory / "run.json").exists()

    def look(self) -> Seen | Outcome:
        if not self.is_prepared:
            return Seen.UNPREPARED
        if (outcome := self._outcome()) is not None:
            return outcome
        if not (self.directory / "claim").exists():
            return Seen.UNCLAIMED
        if self.runner() is not None:
            return Seen.RUNNING
        # It may have ended between the two looks.
        return self._outcome() or Seen.GONE

    def runner(self) -> int | None:
        """The pid of the runner that has this run, while it lives: that very process, of this boot."""
        try:
            pid, started, boot = (self.directory / "claim").read_text().split()
            now = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            stat = Path(f"/proc/{int(pid)}/stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            return None
        return int(pid) if (stat[19], now) == (started, boot) and is_alive(int(pid)) else None

    def ask_to_end(self, state: RunState) -> None:
        """Have the runner end the run, now or as soon as it takes it. The first one to ask gives the reason."""
        self._make()
        stop = self.directory / "stop"
        if not stop.exists():
            write_atomic(stop, state.value, mode=0o600)
        if (runner := self.runner()) is not None:
            signal_each((runner,), signal.SIGTERM)

    def _outcome(self) -> Outcome | None:
        try:
            result = json.loads((self.directory / "result").read_text())
            finished = datetime.fromtimestamp(float(result["finished"]), UTC)
            reason, status = str(result["reason"]), result["status"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        ended = "" if status is None else commands.exit_text(status)
        if reason:
            return Outcome(_ENDED_BY.get(reason, RunState.STOPPED), ended or "not started", finished)
        if ended.startswith("signal 9 ") and cgroup.ran_out_of_memory(self._cgroups()):
            ended += ", over its memory limit"
        return Outcome(RunState.SUCCEEDED if status == 0 else RunState.FAILED, ended, finished)

    def _cgroups(self) -> list[str]:
        try:
            return (self.directory / "launched").read_text().splitlines()[1:]
        except OSError:
            return []

    def remove(self) -> None:
        """Remove them and the control groups of a run that has no process."""
        cgroup.remove(self._cgroups())
        # First what the runner starts from, so that a removal cut short is no run half prepared.
        (self.directory / "run.json").unlink(missing_ok=True)
        remove_tree(self.directory, within=self.directory.parent)


def run_names(runs: Path) -> tuple[str, ...]:
    """The runs that have files."""
    try:
        return tuple(sorted(os.listdir(runs)))
    except FileNotFoundError:
        return ()
