"""Long-running programs started by the test itself, with no supervisor; and secrets in a dictionary."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Status:
    name: str
    running: bool
    pid: int | None
    ended: str


class DirectServices:
    """:class:`homeport.database.port.Services`; to be closed, which ends what still runs."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._specs: dict[str, tuple[tuple[str, ...], str, str | None, str]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.starts: dict[str, int] = {}

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
        self._specs[name] = (tuple(argv), directory, user, stop_signal)
        child = self._running.get(name)
        if child is None or child.poll() is not None:
            self._spawn(name)

    def _spawn(self, name: str) -> None:
        argv, directory, user, _ = self._specs[name]
        with open(self._logs / f"{name}.log", "ab") as log:
            self._running[name] = subprocess.Popen(
                argv,
                cwd=directory,
                user=user,
                group=user,
                extra_groups=[] if user else None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.defpath + ":/usr/sbin"},
            )
        self.starts[name] = self.starts.get(name, 0) + 1

    def stop(self, name: str) -> None:
        child = self._running.pop(name, None)
        spec = self._specs.pop(name, None)
        if child is not None and spec is not None:
            child.send_signal(getattr(signal, f"SIG{spec[3]}"))
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(30)
                raise

    def kill(self, name: str) -> None:
        self._running[name].kill()
        self._running[name].wait(30)

    def restart(self, name: str) -> None:
        spec = self._specs[name]
        self.stop(name)
        self._specs[name] = spec
        self._spawn(name)

    def replace(self, name: str) -> None:
        raise AssertionError(f"{name}: no service that is started without a supervisor takes over")

    def status(self, name: str) -> Status | None:
        if name not in self._specs:
            return None
        child = self._running.get(name)
        running = child is not None and child.poll() is None
        return Status(name, running, child.pid if child and running else None, "")

    def log_tail(self, name: str, lines: int = 30) -> tuple[str, ...]:
        log = self._logs / f"{name}.log"
        return tuple(log.read_text("utf-8", "replace").splitlines()[-lines:]) if log.exists() else ()

    def close(self) -> None:
        for name in tuple(self._running):
            self.stop(name)


class DirectSecrets:
    """:class:`homeport.database.port.Secrets`."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str, str], str] = {}

    def get(self, app: str, environment: str, name: str) -> str | None:
        return self.values.get((app, environment, name))

    def set(self, app: str, environment: str, name: str, value: str) -> None:
        self.values[app, environment, name] = value

    def remove(self, app: str, environment: str, name: str) -> None:
        self.values.pop((app, environment, name), None)
