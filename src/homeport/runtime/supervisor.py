"""The runtime port over supervisor: each instance is a program of its own, named as the instance.

What is on disk is what supervisord starts after a reboot, without Homeport: so a start writes first and
asks supervisor then, and a stop removes the program file first. Every call looks at what is there and
goes on from it, so each may be cut short anywhere and made again.
"""

import os
import pwd
import sys
import threading
from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from typing import Any
from zlib import crc32

from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import InstanceName
from homeport.runtime import cgroup, commands, documents, rpc, service_files
from homeport.runtime.errors import (
    CANNOT_SWITCH_USER,
    LIMIT_UNSUPPORTED,
    START_FAILED,
    STOP_FAILED,
    UNKNOWN_USER,
)
from homeport.runtime.layout import Layout
from homeport.runtime.listeners import listener_inodes
from homeport.runtime.logs import tail
from homeport.runtime.model import InstanceSpec, InstanceState, InstanceStatus
from homeport.runtime.orphans import names_in, prepare
from homeport.runtime.processes import (
    POLL,
    Ending,
    Processes,
    end_pids,
    forget,
    holds_socket,
    launched,
    living,
    tree_holds_socket,
)
from homeport.system.files import read_json, write_atomic
from homeport.system.process import INSTANCE, OWNER, is_alive

STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL = 0, 10, 20, 30, 40, 100, 200
_STATES = {
    STOPPED: InstanceState.STOPPED,
    STARTING: InstanceState.STARTING,
    RUNNING: InstanceState.RUNNING,
    BACKOFF: InstanceState.BACKOFF,
    STOPPING: InstanceState.STOPPING,
    EXITED: InstanceState.BACKOFF,
    FATAL: InstanceState.STOPPED,
}
"""EXITED lasts until supervisor's next tick: it restarts unconditionally."""
_TO_STOP = (STARTING, RUNNING, BACKOFF)
_ENDED = (STOPPED, EXITED, FATAL, 1000)
SERVE, LOGD = "serve", "logd"
"""The names that main gives the programs of the control plane and the log daemon."""
DEFAULT_GRACE = 10.0
KILL_WAIT = 10.0
"""Seconds past the grace after which a process that survives SIGKILL is reported."""
FIRST_READ = 1_000_000


class Exits:
    """How programs last ended, from supervisord's log, read on from where it was last read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0
        self._offset = 0
        self._exits: dict[str, str] = {}
        self._lock = threading.Lock()

    def read(self) -> dict[str, str]:
        with self._lock:
            try:
                with open(self._path, "rb") as f:
                    status = os.fstat(f.fileno())
                    if status.st_ino != self._inode or status.st_size < self._offset:
                        self._offset = max(0, status.st_size - FIRST_READ) if not self._inode else 0
                        self._inode = status.st_ino
                    f.seek(self._offset)
                    data = f.read()
            except FileNotFoundError:
                return {}
            whole = data[: data.rfind(b"\n") + 1]
            self._offset += len(whole)
            self._exits.update(commands.parse_exits(whole.decode("utf-8", "replace")))
            return dict(self._exits)


class SupervisorRuntime:
    """``data_dir`` is absolute and spelled as in ``HOMEPORT_OWNER`` of all that Homeport starts."""

    def __init__(self, data_dir: Path, clock: Clock, *, python: str = sys.executable) -> None:
        self._layout = Layout(data_dir)
        commands.check_data_directory(self._layout)
        self._clock = clock
        self._python = python
        self._exits = Exits(self._layout.supervisor_log)
        self._documents = threading.Lock()
        """Held while one is written or removed: resealing reads them and writes them back."""

    def _call(self, method: str, *params: Any) -> Any:
        return rpc.call(self._layout.socket, f"supervisor.{method}", *params)

    def _call_all(self, *calls: rpc.Call) -> list[Any]:
        return rpc.call_all(self._layout.socket, [(f"supervisor.{m}", params) for m, params in calls])

    def _states(self, names: Sequence[InstanceName]) -> dict[InstanceName, dict[str, Any]]:
        """What supervisor has of the named ones; those it does not know are left out."""
        states = {}
        answers = self._call_all(*(("getProcessInfo", (name,)) for name in names))
        for name, answer in zip(names, answers, strict=True):
            if not isinstance(answer, rpc.Fault):
                states[name] = answer
            elif answer.faultCode != rpc.BAD_NAME:
                raise rpc.unreachable(self._layout.socket, answer.faultString)
        return states

    # Before a start

    def check(self, spec: InstanceSpec) -> None:
        if spec.user is not None:
            self._check_user(spec.user)
        if spec.memory is not None or spec.cpu is not None:
            self._check_limits(spec)

    def _check_user(self, user: str) -> None:
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            raise UNKNOWN_USER.error(
                f'cannot run as user "{user}": this machine has no such user', hint=f"useradd --system {user}"
            ) from None
        if entry.pw_uid != os.getuid() and os.getuid() != 0:
            raise CANNOT_SWITCH_USER.error(
                f'cannot run as user "{user}": only root can switch users, and Homeport runs as '
                f'"{_user_name(os.getuid())}"',
                hint="run Homeport as root, or leave out user",
            )

    def _check_limits(self, spec: InstanceSpec) -> None:
        """Make the very groups that the launcher will make, and remove them."""
        what = " and ".join(w for w, v in (("memory", spec.memory), ("cpu", spec.cpu)) if v is not None)
        hint = f"run Homeport as root on a machine with writable cgroups, or leave out {what}"
        if os.getuid() != 0:
            raise LIMIT_UNSUPPORTED.error(
                f"cannot bind the {what} limit of {spec.name}: only root may make control groups", hint=hint
            )
        name = f"{self._cgroup(spec.name)}.check.{os.getpid()}.{threading.get_ident()}"
        try:
            groups = cgroup.create(name, spec.memory, spec.cpu)
        except OSError as e:
            raise LIMIT_UNSUPPORTED.error(
                f"cannot bind the {what} limit of {spec.name}: {e.strerror or e}", hint=hint
            ) from e
        cgroup.remove(groups)

    def _cgroup(self, name: InstanceName) -> str:
        """Unique on the machine: several data directories may have an instance of that name."""
        return f"{crc32(str(self._layout.data).encode()):08x}.{name}"

    # Start

    def start(self, spec: InstanceSpec) -> None:
        name = spec.name
        info = self._states((name,)).get(name)
        on_disk = self._layout.program(name).exists()
        if info is not None and info["state"] == STOPPING:
            self.stop((name,))
            info, on_disk = None, False
        if info is not None and on_disk and (info["state"] in (*_TO_STOP, EXITED) or not info["start"]):
            return
        if info is None and not on_disk and name in living(self._layout, only=(name,)):
            return
        self._write(spec)
        if info is not None and info["state"] in (STOPPED, FATAL):
            self._call_all(("removeProcessGroup", (name,)))
        self._add(name)

    def _write(self, spec: InstanceSpec) -> None:
        prepare(self._layout.data)
        marks = ((OWNER, str(self._layout.data)), (INSTANCE, str(spec.name)))
        document = commands.instance_document(spec, self._layout, marks, self._cgroup(spec.name))
        with self._documents:
            write_atomic(self._layout.instance(spec.name), documents.text(document), mode=0o600)
        fifo = self._layout.fifo(spec.name)
        if not fifo.exists():
            os.mkfifo(fifo, 0o600)
        self._layout.orphaned_program(spec.name).unlink(missing_ok=True)
        argv = commands.launch(self._python, self._layout, spec.name)
        write_atomic(self._layout.program(spec.name), commands.render_program(spec, argv), mode=0o600)

    def _add(self, name: InstanceName) -> None:
        reloaded, added = self._call_all(("reloadConfig", ()), ("addProcessGroup", (name,)))
        if isinstance(reloaded, rpc.Fault):
            raise START_FAILED.error(
                f"cannot start {name}: supervisor cannot read its configuration ({reloaded.faultString})",
                hint=f"look at the files in {self._layout.programs}",
            )
        if isinstance(added, rpc.Fault) and added.faultCode != rpc.ALREADY_ADDED:
            raise START_FAILED.error(f"cannot start {name}: {added.faultString}")

    def restart(self, name: InstanceName) -> None:
        info = self._states((name,)).get(name)
        if info is None:
            if not self._layout.program(name).exists():
                raise START_FAILED.error(
                    f"cannot restart {name}: it is not there", hint='"homeport ps" shows what is'
                )
            self._add(name)
        elif info["state"] in (STOPPED, FATAL) and info["start"]:
            self._call_all(("startProcess", (name, False)))

    # Stop

    def stop(self, names: tuple[InstanceName, ...]) -> None:
        for name in names:
            self._layout.program(name).unlink(missing_ok=True)
            self._layout.orphaned_program(name).unlink(missing_ok=True)
        begin = self._clock.monotonic()
        endings = {name: Ending(begin + self._grace(name)) for name in names}
        while endings:
            supervised = self._ask_to_stop(endings)
            left = [name for name in endings if name not in supervised]
            alive = living(self._layout, only=left) if left else {}
            now = self._clock.monotonic()
            for name in left:
                if name in alive:
                    endings[name].advance(alive[name].pids, now)
                else:
                    self._forget(name)
                    del endings[name]
            for name, ending in endings.items():
                if now > ending.deadline + KILL_WAIT:
                    raise STOP_FAILED.error(f"cannot stop {name}: it still runs after SIGKILL")
            if endings:
                self._clock.sleep(POLL)

    def _ask_to_stop(self, endings: dict[InstanceName, Ending]) -> set[InstanceName]:
        """Bring supervisor one step further for all of them; returns those it still has."""
        states = self._states(tuple(endings))
        calls: list[rpc.Call] = []
        for name, info in states.items():
            if info["pid"]:
                endings[name].told.add(info["pid"])
                endings[name].tell_young(info["pid"], info["state"] == STARTING, self._clock.monotonic())
            if info["state"] in _TO_STOP:
                calls.append(("stopProcess", (name, False)))
            elif info["state"] in _ENDED:
                calls.append(("removeProcessGroup", (name,)))
        removed = {
            call[1][0]
            for call, answer in zip(calls, self._call_all(*calls), strict=True)
            if call[0] == "removeProcessGroup" and not isinstance(answer, rpc.Fault)
        }
        return states.keys() - removed

    def _grace(self, name: InstanceName) -> float:
        try:
            return float(ceil(read_json(self._layout.instance(name))["stop_grace"]))
        except (HomeportError, KeyError, TypeError, ValueError):
            return DEFAULT_GRACE

    def _forget(self, name: InstanceName) -> None:
        record = launched(self._layout, name)
        deadline = self._clock.monotonic() + 1
        while record and not cgroup.remove(list(record.cgroups)) and self._clock.monotonic() < deadline:
            self._clock.sleep(POLL)
        with self._documents:
            forget(self._layout, name)

    def shut_down(self) -> None:
        """End all programs, then supervisord; all come back with the next.

        First the control plane, so that it does not mend what is being stopped; apps and Homeport's own at
        once, then services by their rank, the log daemon last.

        Supervisor by itself ends one program after the other, at about one a second. Nothing of an
        instance runs on return. Not to be called by a program that supervisor runs.
        """
        supervisor, infos = self._call_all(("getPID", ()), ("getAllProcessInfo", ()))
        names = [InstanceName(info["name"]) for info in infos]
        self._stop_programs(
            [name for name in names if name == SERVE], self._clock.monotonic() + KILL_WAIT + DEFAULT_GRACE
        )
        deadline = self._clock.monotonic() + KILL_WAIT + max((self._grace(n) for n in names), default=0)
        kept = {*service_files.names(self._layout), LOGD}
        self._stop_programs([name for name in names if name not in kept], deadline)
        for group in service_files.in_order_of_stop(self._layout, kept - {LOGD}):
            grace = max(float(service_files.document(self._layout, n).get("grace", 0)) for n in group)
            deadline = self._clock.monotonic() + KILL_WAIT + grace
            self._stop_programs([name for name in names if name in group], deadline)
        self._stop_programs([name for name in names if name == LOGD], deadline)
        self._call("shutdown")
        deadline = self._clock.monotonic() + KILL_WAIT
        while is_alive(supervisor) and self._clock.monotonic() < deadline:
            self._clock.sleep(POLL)
        for processes in living(self._layout).values():
            end_pids(processes.pids, self._clock, grace=1.0)

    def _stop_programs(self, names: Sequence[InstanceName], deadline: float) -> None:
        """Stop programs without forgetting them."""
        while self._clock.monotonic() < deadline:
            states = self._states(names)
            if all(info["state"] in (STOPPED, FATAL) for info in states.values()):
                return
            running = [name for name, info in states.items() if info["state"] in _TO_STOP]
            self._call_all(*(("stopProcess", (name, False)) for name in running))
            self._clock.sleep(POLL)

    # Look

    def observe(self) -> tuple[InstanceStatus, ...]:
        supervisor, infos = self._call_all(("getPID", ()), ("getAllProcessInfo", ()))
        exits = self._exits.read()
        found: dict[str, InstanceStatus] = {}
        for info in infos:
            if commands.is_instance(info["name"]):
                found[info["name"]] = self._status(info, exits.get(info["name"], ""))
        for name, processes in living(self._layout, skip=found, supervisor=supervisor).items():
            if not processes.supervised:
                found[name] = _orphan(name, processes)
        written = names_in(self._layout.programs)
        for name in written | names_in(self._layout.orphaned):
            stopped = InstanceStatus(InstanceName(name), InstanceState.STOPPED, known=name not in written)
            found.setdefault(name, stopped)
        return tuple(found[name] for name in sorted(found))

    def _status(self, info: dict[str, Any], ended: str) -> InstanceStatus:
        state = _STATES.get(info["state"], InstanceState.STOPPED)
        if info["state"] == STOPPED and not info["start"]:
            state = InstanceState.STARTING  # just added: spawned at the next tick
        name = InstanceName(info["name"])
        if ended.startswith("signal 9 "):
            record = launched(self._layout, name)
            if record is not None and cgroup.ran_out_of_memory(list(record.cgroups)):
                ended += ", over its memory limit"
        elif not ended and info["state"] in (BACKOFF, FATAL):
            ended = info["spawnerr"]
        runs = info["state"] in (STARTING, RUNNING)
        since = info["now"] - (info["start"] if runs else info["stop"] or info["start"] or info["now"])
        if info["state"] == STOPPING:
            since = 0
        return InstanceStatus(name, state, info["pid"] or None, float(max(0, since)), ended)

    def owns_listener(self, name: InstanceName, port: int) -> bool:
        inodes = listener_inodes(port)
        if not inodes:
            return False
        info = self._states((name,)).get(name)
        if info is not None and info["pid"] and tree_holds_socket(info["pid"], inodes):
            return True
        processes = living(self._layout, only=(name,)).get(name)
        return processes is not None and any(holds_socket(pid, inodes) for pid in processes.pids)

    def log_tail(self, name: InstanceName, lines: int = 50) -> tuple[str, ...]:
        return tail(self._layout, name, lines)

    def forget_logs(self, name: InstanceName) -> None:
        for path in self._layout.log_files(name):
            path.unlink(missing_ok=True)

    # Secrets

    def reseal(self, box_reseal: Callable[[str], str]) -> int:
        count = 0
        for path in documents.paths(self._layout):
            with self._documents:
                count += documents.reseal(path, box_reseal)
        with self._documents:
            documents.remove_cut_off(self._layout)
        return count


def _orphan(name: str, processes: Processes) -> InstanceStatus:
    return InstanceStatus(InstanceName(name), InstanceState.ORPHANED, processes.pids[0])


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
