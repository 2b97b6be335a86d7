"""Programs held to a byte rate while they run, by a process beside them (:mod:`homeport.system.pacer`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from homeport.system import pacer
from homeport.system.process import INSTANCE, OWNER

BEGINNING = 10.0
ENDING = 10.0
AGAIN = 0.2


@dataclass(slots=True)
class Seen:
    """What programs did under a rate, so far."""

    read: int = 0
    """Bytes, from disks."""
    written: int = 0
    """Bytes, to files and stores."""
    paused: float = 0.0
    """Seconds that they were stopped for."""


@contextmanager
def paced(rate: int | None, *, owner: str, instance: str) -> Iterator[Seen]:
    """What this process starts meanwhile with the mark ``instance`` reads from disks, and writes, at most ``rate``
    bytes a second each; None: as fast as it goes.

    It may be stopped for up to a second at a time. When this ends, or this process is killed, nothing is stopped;
    where the process that paces is killed, another one goes on.
    """
    seen = Seen()
    if rate is None:
        yield seen
        return
    done = threading.Event()
    keeper = _Keeper(rate, owner, instance, seen, done)
    keeper.start()
    try:
        keeper.looks.wait(BEGINNING)
        yield seen
    finally:
        done.set()
        keeper.end()


class _Keeper(threading.Thread):
    """Has a pacer while it is wanted, and sees to what one that was killed has left stopped."""

    def __init__(self, rate: int, owner: str, instance: str, seen: Seen, done: threading.Event) -> None:
        super().__init__(name="pacer", daemon=True)
        self._argv = (
            sys.executable, "-I", "-S", pacer.__file__, str(os.getpid()), instance, str(rate),
        )  # fmt: skip
        self._env = {OWNER: owner, INSTANCE: f"pacer.{instance}"}
        self._instance = instance
        self._seen = seen
        self._done = done
        self.looks = threading.Event()
        """There is a pacer, and it has looked once."""
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        while not self._done.is_set():
            before = Seen(self._seen.read, self._seen.written, self._seen.paused)
            with self._lock:
                if self._done.is_set():
                    return
                child = self._child = subprocess.Popen(
                    self._argv,
                    cwd="/",
                    env=self._env,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    start_new_session=True,
                )
            assert child.stdout is not None and child.stdin is not None
            with child.stdout:
                for line in child.stdout:
                    self._take(line, before)
            child.wait()
            with suppress(OSError):
                child.stdin.close()
            pacer.release(os.getpid(), self._instance)
            self._done.wait(AGAIN)

    def _take(self, line: bytes, before: Seen) -> None:
        with suppress(ValueError, KeyError):
            told = json.loads(line)
            self._seen.read = before.read + told["read"]
            self._seen.written = before.written + told["written"]
            self._seen.paused = round(before.paused + told["paused"], 3)
            self.looks.set()

    def end(self) -> None:
        with self._lock:
            child = self._child
        if child is not None and child.stdin is not None:
            with suppress(OSError):
                child.stdin.close()
        self.join(ENDING)
        if self.is_alive() and child is not None:
            child.kill()
            self.join(ENDING)
