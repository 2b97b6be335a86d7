"""Argv and documents for runs, as data. Pure."""

import signal
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

from homeport.runtime import commands
from homeport.runtime.layout import Layout
from homeport.runtime.model import InstanceSpec
from homeport.spec.model import Cron

RUNNER_MARK = ".runner"
"""What a runner's mark has after the run's name: whoever ends the run by its mark leaves the runner be."""


def runs_directory(layout: Layout) -> Path:
    """One directory for each active run (0700): what it is to do, who has it, how it ended."""
    return layout.data / "cron"


def runner(python: str, directory: Path) -> tuple[str, ...]:
    return (python, "-I", "-S", str(Path(__file__).with_name("runner.py")), str(directory))


def runner_environment(marks: Sequence[tuple[str, str]]) -> dict[str, str]:
    return {**commands.BASE_ENVIRONMENT, **dict(marks)}


def run_document(
    spec: InstanceSpec, layout: Layout, marks: Sequence[tuple[str, str]], cron: Cron, directory: Path
) -> dict[str, object]:
    """What the runner and the launcher read: an instance's document, kept with the run, and its time limit."""
    cgroup = f"{crc32(str(layout.data).encode()):08x}.{spec.name}"
    document = commands.instance_document(spec, layout, marks, cgroup)
    return {**document, "launched": str(directory / "launched"), "timeout": cron.timeout}


def exit_text(status: int) -> str:
    """A wait status in words, as instances' ends are told."""
    if status & 0x7F:
        number = status & 0x7F
        try:
            name = signal.Signals(number).name
        except ValueError:
            return f"signal {number}"
        return f"signal {number} ({name})" + (", core dumped" if status & 0x80 else "")
    return f"status {status >> 8}"
