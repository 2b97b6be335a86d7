"""Programs that run as long as Homeport does, over supervisor: database servers, poolers, caches.

Each has a program file that supervisor's configuration includes, and a document that its launcher reads.
What is on disk is what starts after a reboot: so a start writes first and asks supervisor then, and a stop
removes the program file first. Every call looks at what is there and goes on from it.
"""

import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeport.kernel.clock import Clock
from homeport.kernel.ids import InstanceName
from homeport.runtime import commands, rpc, service_commands, service_files
from homeport.runtime.errors import START_FAILED, STOP_FAILED
from homeport.runtime.layout import Layout
from homeport.runtime.logs import tail
from homeport.runtime.orphans import prepare
from homeport.runtime.processes import POLL
from homeport.runtime.supervisor import FATAL, KILL_WAIT, STARTING, STOPPED, Exits
from homeport.system.files import write_atomic
from homeport.system.process import INSTANCE, OWNER, spawn_detached

_ENDED = (STOPPED, FATAL, 100, 1000)
TAKEOVER_WAIT = 20.0
"""Seconds that a second process has to take over from the first."""


@dataclass(frozen=True, slots=True)
class Status:
    name: str
    running: bool
    pid: int | None
    ended: str


class SupervisorServices:
    """``data_dir`` as for :class:`homeport.runtime.supervisor.SupervisorRuntime`."""

    def __init__(self, data_dir: Path, clock: Clock, *, python: str = sys.executable) -> None:
        self._layout = Layout(data_dir)
        self._clock = clock
        self._python = python
        self._exits = Exits(self._layout.supervisor_log)
        self._lock = threading.Lock()

    def _call_all(self, *calls: rpc.Call) -> list[Any]:
        return rpc.call_all(self._layout.socket, [(f"supervisor.{m}", params) for m, params in calls])

    def _info(self, name: str) -> dict[str, Any] | None:
        (answer,) = self._call_all(("getProcessInfo", (name,)))
        if isinstance(answer, rpc.Fault):
            if answer.faultCode == rpc.BAD_NAME:
                return None
            raise rpc.unreachable(self._layout.socket, answer.faultString)
        found: dict[str, Any] = answer
        return found

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        directory: str,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        stop_signal: str = "TERM",
        grace: float = 30.0,
        rank: int = 0,
        takes_over: bool = False,
    ) -> None:
        """See :class:`homeport.database.port.Services`. Raises ``runtime.start_failed``."""
        if not service_commands.is_service(name) or rank not in service_commands.RANKS:
            raise ValueError(f"no name or rank of a service: {name!r}, {rank}")
        with self._lock:
            marks = ((OWNER, str(self._layout.data)), (INSTANCE, name))
            document = service_commands.document(
                name,
                argv,
                self._layout,
                marks,
                directory=directory,
                user=user,
                environment=environment or {},
                stop_signal=stop_signal,
                grace=grace,
                rank=rank,
                takes_over=takes_over,
            )
            prepare(self._layout.data)
            self._include()
            path = service_files.document_path(self._layout, name)
            _write(path, json.dumps(document, indent=1) + "\n")
            fifo = self._layout.fifo(name)
            if not fifo.exists():
                os.mkfifo(fifo, 0o600)
            program = service_commands.program(
                name,
                service_commands.launch(self._python, path),
                stop_signal=stop_signal,
                grace=grace,
                rank=rank,
            )
            _write(service_files.program_path(self._layout, name), program)
            self._run(name)

    def _include(self) -> None:
        """A supervisor that an older Homeport started reads no services: its configuration is told to."""
        try:
            text = self._layout.conf.read_text()
        except FileNotFoundError:
            return
        if commands.INCLUDE not in text:
            text = text.replace("files=programs/*.conf\n", f"{commands.INCLUDE}\n")
            write_atomic(self._layout.conf, text, mode=0o600)

    def _run(self, name: str) -> None:
        """Have supervisor run what is on disk; nothing when it does."""
        info = self._info(name)
        if info is None:
            reloaded, added = self._call_all(("reloadConfig", ()), ("addProcessGroup", (name,)))
            if isinstance(reloaded, rpc.Fault):
                raise START_FAILED.error(
                    f"cannot start {name}: supervisor cannot read its configuration ({reloaded.faultString})",
                    hint=f"look at the files in {self._layout.services}",
                )
            if isinstance(added, rpc.Fault) and added.faultCode != rpc.ALREADY_ADDED:
                raise START_FAILED.error(f"cannot start {name}: {added.faultString}")
        elif info["state"] in (STOPPED, FATAL) and info["start"]:
            self._call_all(("startProcess", (name, False)))

    def stop(self, name: str) -> None:
        with self._lock:
            service_files.program_path(self._layout, name).unlink(missing_ok=True)
            self._end(name)
            service_files.document_path(self._layout, name).unlink(missing_ok=True)
            service_files.launched_path(self._layout, name).unlink(missing_ok=True)
            self._layout.fifo(name).unlink(missing_ok=True)

    def _end(self, name: str) -> None:
        """End it and take it from supervisor; raises ``runtime.stop_failed``."""
        grace = float(service_files.document(self._layout, name).get("grace", 10.0))
        deadline = self._clock.monotonic() + grace + KILL_WAIT
        while (info := self._info(name)) is not None:
            if info["state"] in _ENDED:
                (removed,) = self._call_all(("removeProcessGroup", (name,)))
                if not isinstance(removed, rpc.Fault):
                    break
            elif info["state"] != 40:  # it is not stopping already
                self._call_all(("stopProcess", (name, False)))
            if self._clock.monotonic() > deadline:
                raise STOP_FAILED.error(f"cannot stop {name}: it still runs after SIGKILL")
            self._clock.sleep(POLL)
        service_files.end(self._layout, name, self._clock)

    def restart(self, name: str) -> None:
        """Raises ``runtime.start_failed`` for a name that never was started."""
        with self._lock:
            self._must_be(name)
            self._end(name)
            self._run(name)

    def _must_be(self, name: str) -> None:
        if not service_files.program_path(self._layout, name).exists():
            raise START_FAILED.error(f"cannot restart {name}: there is no such service")

    def replace(self, name: str) -> None:
        """See the port. The second process is started apart; when the first has ended, supervisor starts a
        third in the same way, which takes over from the second.
        """
        with self._lock:
            self._must_be(name)
            document = service_files.document(self._layout, name)
            if not document.get("takes_over"):
                raise ValueError(f"{name} does not take over")
            first = service_files.leader(self._layout, name)
            if first is None:
                self._run(name)
                return
            argv = service_commands.launch(self._python, service_files.document_path(self._layout, name))
            marks = ((OWNER, str(self._layout.data)), (INSTANCE, name))
            spawn_detached(argv, env=dict(marks), cwd=Path("/"), output=Path("/dev/null"))
            deadline = self._clock.monotonic() + TAKEOVER_WAIT
            while self._clock.monotonic() < deadline:
                now = service_files.living(self._layout, name)
                info = self._info(name)
                if first not in now and len(now) == 1 and info is not None and info["pid"] == now[0]:
                    return
                self._clock.sleep(POLL)
            raise START_FAILED.error(
                f"cannot replace {name}: nothing took over within {TAKEOVER_WAIT:g} s",
                hint="its log says why; what serves goes on serving",
                details=self.log_tail(name, 10),
            )

    def status(self, name: str) -> Status | None:
        info = self._info(name)
        if info is None and not service_files.program_path(self._layout, name).exists():
            return None
        pid = service_files.leader(self._layout, name)
        ended = self._exits.read().get(name, "")
        if info is not None and not ended and info["state"] not in (STARTING, 20):
            ended = info["spawnerr"]
        return Status(name, pid is not None, pid, ended)

    def log_tail(self, name: str, lines: int = 30) -> tuple[str, ...]:
        return tail(self._layout, InstanceName(name), lines)


def _write(path: Path, text: str) -> None:
    try:
        if path.read_text() == text:
            return
    except FileNotFoundError:
        pass
    write_atomic(path, text, mode=0o600)
