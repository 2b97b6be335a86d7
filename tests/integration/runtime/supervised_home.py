"""A data directory with a real supervisord and log daemon, and an end to all that was started in it."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ports import directory, free_port

from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import InstanceName
from homeport.runtime import cgroup, commands
from homeport.runtime.commands import Program
from homeport.runtime.layout import Layout
from homeport.runtime.logs import FileLogReader
from homeport.runtime.model import InstanceSpec, InstanceState, InstanceStatus
from homeport.runtime.orphans import prepare
from homeport.runtime.processes import launched, living
from homeport.runtime.supervisor import SupervisorRuntime
from homeport.system.clock import RealClock
from homeport.system.process import INSTANCE, OWNER, marked

PYTHON = sys.executable


def name(n: int, process: str = "web") -> InstanceName:
    return InstanceName(f"shop.production.r1.{process}.{n}")


T = TypeVar("T")


def wait_for(look: Callable[[], T], *, seconds: float = 60.0, what: str = "it") -> T:
    """The first true answer."""
    end = time.monotonic() + seconds
    while not (answer := look()):
        assert time.monotonic() < end, f"{what} did not come about in {seconds} s"
        time.sleep(0.02)
    return answer


class Home:
    def __init__(self, prefix: str = "hp") -> None:
        self.root = directory(below="" if prefix == "hp" else prefix)
        self.data = self.root if prefix == "hp" else self.root / prefix
        self.layout = Layout(self.data)
        prepare(self.data)
        self.runtime = SupervisorRuntime(self.data, RealClock())
        self.logs = FileLogReader(self.data, RealClock())
        self.child: subprocess.Popen[bytes] | None = None

    def spec(self, n: int, command: str, *environment: tuple[str, str], **more: object) -> InstanceSpec:
        return InstanceSpec(name(n), command, str(self.data), environment, **more)

    def start(self, spec: InstanceSpec) -> InstanceName:
        self.runtime.start(spec)
        return spec.name

    def script(self, text: str) -> str:
        """A command that runs a Python program."""
        path = self.root / f"app{len(list(self.root.glob('app*.py')))}.py"
        path.write_text(text)
        return f"'{PYTHON}' -u '{path}'"

    def server(self, n: int = 1, **more: object) -> InstanceSpec:
        port = free_port()
        command = f"{PYTHON} -m http.server $PORT --bind 127.0.0.1"
        return self.spec(n, command, ("PORT", str(port)), port=port, **more)

    def supervise(self) -> None:
        marks = ((OWNER, str(self.data)), (INSTANCE, "logd"))
        program = Program("logd", commands.logd(PYTHON, self.layout), marks, priority=1)
        user = "root" if os.getuid() == 0 else ""
        self.layout.conf.write_text(
            commands.render_supervisord(self.layout, [program], nodaemon=True, user=user)
        )
        self.child = subprocess.Popen(
            commands.supervisord(PYTHON, self.layout),
            env={"PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for(self.answers, what="supervisord")
        wait_for(lambda: self.marked("logd"), what="the log daemon")

    def answers(self) -> bool:
        try:
            self.runtime.observe()
        except HomeportError as e:
            assert e.code == "runtime.unreachable"
            return False
        return True

    def kill_supervisord(self) -> None:
        assert self.child is not None
        self.child.kill()
        self.child.wait()

    def marked(self, instance: str) -> list[int]:
        return [m.pid for m in marked(str(self.data)) if m.instance == instance]

    def status(self, instance: InstanceName) -> InstanceStatus | None:
        return next((s for s in self.runtime.observe() if s.name == instance), None)

    def wait_state(self, instance: InstanceName, state: InstanceState) -> InstanceStatus:
        def look() -> InstanceStatus | None:
            status = self.status(instance)
            return status if status is not None and status.state is state else None

        status = wait_for(look, what=f"{instance} {state}")
        assert status is not None
        return status

    def wait_line(self, instance: InstanceName, text: str) -> tuple[str, ...]:
        def look() -> tuple[str, ...]:
            lines = self.runtime.log_tail(instance, 100_000)
            return lines if text in lines else ()

        return wait_for(look, what=f"the line {text!r} of {instance}")

    def launching(self) -> bool:
        """Whether a launcher has not become its instance as yet."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if f"{self.data}/supervisor/instances/".encode() in path.read_bytes():
                    return True
        return False

    def end(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait()
        wait_for(lambda: not self.launching(), what="the end of launchers")
        names = [p.name.removesuffix(".launched") for p in self.layout.instances.glob("*.launched")]

        def left() -> list[int]:
            pids = [m.pid for m in marked(str(self.data))]
            return pids + [pid for processes in living(self.layout).values() for pid in processes.pids]

        while pids := left():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        for instance in names:
            record = launched(self.layout, instance)
            groups = list(record.cgroups) if record else []
            wait_for(lambda groups=groups: cgroup.remove(groups), what="the end of the cgroups")
        shutil.rmtree(self.root)
