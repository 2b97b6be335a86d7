"""A process of its own that holds programs to a byte rate: what goes faster is stopped for a moment.

Run by its path in a bare interpreter, as ``pacer.py ROOT INSTANCE RATE``: ROOT is the process that started the
programs, INSTANCE what they are marked with, RATE bytes a second. It ends when its stdin does: whoever started it
is done, or was killed. Nothing that it stopped is stopped when it has ended; where it is killed itself, whoever
started it sees to that (:mod:`homeport.system.pace`).

Reading and writing have the rate each, as in a control group's ``io.max``. Read counts what came from a disk
(``read_bytes``): what the page cache has costs nobody anything. Written counts what programs wrote (``wchar``),
whether it reached a disk yet or went out over the network: the kernel counts no ``write_bytes`` for some file
systems, and none for sockets.
"""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterable

SLICE = 0.025
"""Seconds between two looks."""
SHORT_SLICE = 0.005
"""The same where a stop was too short for all that went too early."""
LONGEST_STOP = 1.0
"""Seconds. Servers and stores on the other side of a connection wait several times as long."""
BURST = 0.5
"""Seconds' worth of the rate that may come at once."""
TELL_EVERY = 1.0


class Gone(Exception):
    """Whoever started this is done, or dead."""


def children(pid: int) -> list[int]:
    """Living children of a process, by whichever of its threads."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found: list[int] = []
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children") as f:
                found += map(int, f.read().split())
        except FileNotFoundError:
            if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
                return _children_by_scan(pid)
        except OSError:
            continue
    return found


def _children_by_scan(pid: int) -> list[int]:
    """Where the kernel does not list them."""
    return [p for name in os.listdir("/proc") if name.isdigit() and _stat(p := int(name))[1:2] == [str(pid)]]


def _stat(pid: int) -> list[str]:
    """Fields from the state on; [] where it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()
    except OSError:
        return []


def family(pid: int) -> list[int]:
    """A process and all that it started, and they."""
    found = [pid]
    for one in found:
        found += children(one)
    return found


def moved(pid: int) -> tuple[int, int]:
    """Bytes (read from a disk, written) by a process and those of its children that have ended."""
    read = written = 0
    try:
        with open(f"/proc/{pid}/io") as f:
            for line in f:
                name, _, value = line.partition(": ")
                if name == "read_bytes":
                    read = int(value)
                elif name == "wchar":
                    written = int(value)
    except OSError:
        pass
    return read, written


def is_marked(pid: int, instance: str) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as f:
            return f"HOMEPORT_INSTANCE={instance}".encode() in f.read().split(b"\0")
    except OSError:
        return False


def go_on(pids: Iterable[int]) -> None:
    """SIGCONT does nothing to what runs."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGCONT)
        except OSError:
            continue


def release(root: int, instance: str) -> None:
    """Nothing that ``root`` started under this mark is stopped."""
    for pid in children(root):
        if is_marked(pid, instance):
            go_on(family(pid))


class Meter:
    """How many bytes the programs of a root moved since the last look."""

    def __init__(self, root: int, instance: str) -> None:
        self._root = root
        self._instance = instance
        self._most: dict[int, tuple[int, int]] = {}
        """By program. A sum that sinks tells of a child that ends just now: its bytes are its parent's soon."""

    def look(self) -> tuple[list[int], int, int]:
        """(processes, bytes read, bytes written)."""
        pids: list[int] = []
        read = written = 0
        most: dict[int, tuple[int, int]] = {}
        for program in children(self._root):
            if program not in self._most and not is_marked(program, self._instance):
                continue
            members = family(program)
            pids += members
            each = [moved(pid) for pid in members]
            before = self._most.get(program, (0, 0))
            now = (max(before[0], sum(r for r, _ in each)), max(before[1], sum(w for _, w in each)))
            read += now[0] - before[0]
            written += now[1] - before[1]
            most[program] = now
        self._most = most
        return pids, read, written


class Credit:
    """Bytes that may still go; below 0 they went too early."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self.bytes = rate * BURST

    def after(self, seconds: float, spent: int) -> float:
        """Seconds to wait for until the rate holds again."""
        self.bytes = min(self._rate * BURST, self.bytes + self._rate * seconds) - spent
        return max(0.0, -self.bytes / self._rate)


class Pacer:
    def __init__(self, root: int, instance: str, rate: int) -> None:
        self._meter = Meter(root, instance)
        self._credits = (Credit(rate), Credit(rate))
        self._poller = select.poll()
        self._poller.register(0, select.POLLIN)
        self._stopped: dict[int, str] = {}
        self._told = -TELL_EVERY
        self.read = self.written = 0
        self.paused = 0.0

    def run(self) -> None:
        last = time.monotonic()
        try:
            while True:
                self._wait(SHORT_SLICE if any(c.bytes < 0 for c in self._credits) else SLICE)
                pids, read, written = self._meter.look()
                now = time.monotonic()
                waits = [c.after(now - last, n) for c, n in zip(self._credits, (read, written), strict=True)]
                last = now
                self.read += read
                self.written += written
                self._tell(now)
                if max(waits) > 0 and pids:
                    self._hold(pids, min(max(waits), LONGEST_STOP))
        except Gone:
            pass
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            self._go_on()
            self._tell(float("inf"))

    def _hold(self, pids: list[int], seconds: float) -> None:
        for pid in pids:
            fields = _stat(pid)
            # Who is stopped already was not stopped by us.
            if fields and fields[0] not in "TtZX":
                self._stopped[pid] = fields[19]
                try:
                    os.kill(pid, signal.SIGSTOP)
                except OSError:
                    del self._stopped[pid]
        began = time.monotonic()
        try:
            self._wait(seconds)
        finally:
            self._go_on()
            self.paused += time.monotonic() - began

    def _go_on(self) -> None:
        """Not to another process that has got the number since."""
        for pid, started in self._stopped.items():
            if _stat(pid)[19:20] == [started]:
                go_on((pid,))
        self._stopped.clear()

    def _wait(self, seconds: float) -> None:
        if self._poller.poll(seconds * 1000):
            raise Gone

    def _tell(self, now: float) -> None:
        if now - self._told < TELL_EVERY:
            return
        self._told = now
        document = {"read": self.read, "written": self.written, "paused": round(self.paused, 3)}
        try:
            os.write(1, f"{json.dumps(document)}\n".encode())
        except OSError:
            return


def _end(number: int, _: object) -> None:
    raise Gone


def main(argv: list[str]) -> None:
    root, instance, rate = argv
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    Pacer(int(root), instance, int(rate)).run()


if __name__ == "__main__":
    main(sys.argv[1:])
