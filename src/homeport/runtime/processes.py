"""Which living processes belong to which instance, whoever is their parent now."""

import contextlib
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from homeport.kernel.clock import Clock
from homeport.runtime import cgroup
from homeport.runtime.commands import is_instance
from homeport.runtime.layout import Layout
from homeport.system.process import is_alive, marked

POLL = 0.02
YOUNG_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class Launched:
    """What the launcher left word of: the process it became, and the cgroups it made."""

    pid: int
    started: str
    boot: str
    cgroups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Processes:
    """Living processes of one instance, the lowest pid first."""

    pids: tuple[int, ...]
    supervised: bool
    """One of them descends from the supervisord that runs now."""


def launched(layout: Layout, name: str) -> Launched | None:
    try:
        lines = layout.launched(name).read_text().splitlines()
        pid, started, boot = lines[0].split()
        return Launched(int(pid), started, boot, tuple(lines[1:]))
    except (OSError, ValueError, IndexError):
        return None


def _stat(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the state on; [] when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _leader(layout: Layout, name: str, boot: str) -> int | None:
    """The instance's first process, when it is that very one and lives."""
    record = launched(layout, name)
    if record is None or record.boot != boot:
        return None
    stat = _stat(record.pid)
    return record.pid if len(stat) > 19 and stat[19] == record.started and stat[0] not in "ZX" else None


def _group(leader: int) -> set[int]:
    members = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = _stat(int(name))
            if stat and stat[2] == str(leader) and stat[0] not in "ZX":
                members.add(int(name))
    return members


def descends(pid: int, ancestor: int) -> bool:
    """Whether ``ancestor`` is the process or one above it."""
    while pid > 1:
        if pid == ancestor:
            return True
        stat = _stat(pid)
        pid = int(stat[1]) if stat else 0
    return False


def living(
    layout: Layout, *, skip: Iterable[str] = (), only: Iterable[str] | None = None, supervisor: int = 0
) -> dict[str, Processes]:
    """Instances with living processes: those that carry our mark, and the groups that the launcher told of.

    An app may overwrite its environment (many set a process title that way), so that the mark alone is
    not enough; its process group is found by the launcher's word. Names in ``skip`` are left out.
    """
    found: dict[str, set[int]] = {}
    left_out = frozenset(skip)
    wanted = None if only is None else frozenset(only)
    me = os.getpid()
    for process in marked(str(layout.data)):
        name = process.instance
        if name in left_out or process.pid == me or (wanted is not None and name not in wanted):
            continue
        if is_instance(name):
            found.setdefault(name, set()).add(process.pid)
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        names = [p.name.removesuffix(".launched") for p in layout.instances.glob("*.launched")]
    except OSError:
        names = []
    for name in names:
        if name in left_out or (name not in wanted if wanted is not None else not is_instance(name)):
            continue
        leader = _leader(layout, name, boot)
        if leader is not None and leader not in found.get(name, ()):
            found.setdefault(name, set()).update({leader} | _group(leader))
    return {
        name: Processes(
            tuple(sorted(pids)), supervisor > 0 and any(descends(pid, supervisor) for pid in pids)
        )
        for name, pids in found.items()
    }


def _children(pid: int) -> list[int]:
    children: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            children += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return children


def holds_socket(pid: int, inodes: frozenset[int]) -> bool:
    """Whether a process has one of the sockets open (False when it may not be looked at)."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{fd}") in wanted:
                    return True
    return False


def tree_holds_socket(pid: int, inodes: frozenset[int]) -> bool:
    """Whether a process or one below it has one of the sockets open."""
    stack = [pid]
    while stack:
        pid = stack.pop()
        if holds_socket(pid, inodes):
            return True
        stack += _children(pid)
    return False


def signal_each(pids: Iterable[int], sig: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, sig)


def group_of(pid: int) -> int:
    """Its process group, 0 when it is gone."""
    try:
        return os.getpgid(pid)
    except OSError:
        return 0


@dataclass(slots=True)
class Ending:
    """How far the end of one instance is. ``told`` groups were sent SIGTERM already."""

    deadline: float
    told: set[int] = field(default_factory=set)
    _young: int = 0
    _tell_again: float = 0.0

    def tell_young(self, leader: int, is_starting: bool, now: float) -> None:
        """SIGTERM twice a second to the group of a process that was just started when its end began.

        A signal that comes between supervisor's fork and exec is taken by supervisor's own handler in
        the child and lost; the process would live until SIGKILL.
        """
        if is_starting:
            self._young, self._tell_again = leader, now + YOUNG_PAUSE
        elif leader == self._young and now >= self._tell_again:
            self._tell_again = now + YOUNG_PAUSE
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(leader, signal.SIGTERM)

    def advance(self, pids: tuple[int, ...], now: float) -> None:
        """SIGTERM once to each process not told yet, SIGKILL to all after the deadline."""
        if now >= self.deadline:
            signal_each(pids, signal.SIGKILL)
            return
        groups = {pid: group_of(pid) for pid in pids}
        news = [pid for pid in pids if groups[pid] not in self.told and pid not in self.told]
        signal_each(news, signal.SIGTERM)
        self.told.update(news)


def end_pids(pids: Iterable[int], clock: Clock, *, grace: float) -> None:
    """SIGTERM, and SIGKILL after ``grace`` seconds; returns when they are gone (or 5 s after SIGKILL)."""
    left = tuple(pids)
    signal_each(left, signal.SIGTERM)
    deadline = clock.monotonic() + grace
    while left and clock.monotonic() < deadline:
        clock.sleep(POLL)
        left = tuple(pid for pid in left if is_alive(pid))
    signal_each(left, signal.SIGKILL)
    while left and clock.monotonic() < deadline + 5:
        clock.sleep(POLL)
        left = tuple(pid for pid in left if is_alive(pid))


def forget(layout: Layout, name: str) -> None:
    """Remove what is on disk, and the cgroups, of an instance that has no process; its logs stay."""
    for path in (layout.program(name), layout.orphaned_program(name), layout.fifo(name)):
        path.unlink(missing_ok=True)
    record = launched(layout, name)
    if record is not None:
        cgroup.remove(list(record.cgroups))
    layout.launched(name).unlink(missing_ok=True)
    layout.instance(name).unlink(missing_ok=True)
