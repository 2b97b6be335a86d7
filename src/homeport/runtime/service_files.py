"""What is on disk of services, and which of their processes live."""

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.runtime.layout import Layout
from homeport.runtime.processes import POLL
from homeport.system.files import read_json
from homeport.system.process import is_alive, marked


def names(layout: Layout) -> tuple[str, ...]:
    """Services that have a program file, by name."""
    try:
        return tuple(sorted(p.name.removesuffix(".conf") for p in layout.services.glob("*.conf")))
    except OSError:
        return ()


def document_path(layout: Layout, name: str) -> Path:
    return layout.services / f"{name}.json"


def program_path(layout: Layout, name: str) -> Path:
    return layout.services / f"{name}.conf"


def launched_path(layout: Layout, name: str) -> Path:
    return layout.services / f"{name}.launched"


def document(layout: Layout, name: str) -> dict[str, Any]:
    """{} when there is none that can be read."""
    try:
        found = read_json(document_path(layout, name))
    except HomeportError:
        return {}
    return found if isinstance(found, dict) else {}


def in_order_of_stop(layout: Layout, wanted: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Those services in groups: the first group stops first."""
    ranks: dict[int, list[str]] = {}
    for name in wanted:
        ranks.setdefault(int(document(layout, name).get("rank", 0)), []).append(name)
    return tuple(tuple(ranks[rank]) for rank in sorted(ranks, reverse=True))


def leader(layout: Layout, name: str) -> int | None:
    """The service's first process, when it is the one that the launcher told of and lives."""
    try:
        pid, started, boot = launched_path(layout, name).read_text().split()
        if Path("/proc/sys/kernel/random/boot_id").read_text().strip() != boot:
            return None
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return int(pid) if stat[19] == started and stat[0] not in ("Z", "X") else None


def living(layout: Layout, name: str) -> tuple[int, ...]:
    """Its processes, as far as they can be told: the leader, and those that carry its mark still."""
    pids = {m.pid for m in marked(str(layout.data)) if m.instance == name and m.pid != os.getpid()}
    first = leader(layout, name)
    return tuple(sorted(pids | ({first} if first is not None else set())))


def end(layout: Layout, name: str, clock: Clock) -> None:
    """End what runs of a service that no supervisor runs: its signal, and SIGKILL after its grace."""
    told = document(layout, name)
    number = getattr(signal, f"SIG{told.get('stop_signal', 'TERM')}", signal.SIGTERM)
    first = leader(layout, name)
    pids = (first,) if first is not None else living(layout, name)
    _signal(pids, number)
    deadline = clock.monotonic() + float(told.get("grace", 10.0))
    while pids and clock.monotonic() < deadline:
        clock.sleep(POLL)
        pids = tuple(pid for pid in pids if is_alive(pid))
    deadline = clock.monotonic() + 5.0
    while (pids := living(layout, name)) and clock.monotonic() < deadline:
        _signal(pids, signal.SIGKILL)
        clock.sleep(POLL)


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass
