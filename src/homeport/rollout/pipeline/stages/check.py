"""The ``check`` stage: commands side by side, in one fresh copy of the commit's files."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from homeport.rollout.pipeline.stages import place, shell
from homeport.rollout.pipeline.stages.work import Found, Work
from homeport.spec.model import Check
from homeport.system import process


def run(work: Work) -> Found:
    """Run the stage's commands, as many at a time as there are cores and at least two.

    They share one directory: a command that writes into it is seen by the others. One that fails ends none
    of the others, so that people learn of all that is wrong at once. Nothing of them is left at the end.
    """
    if not work.stage.checks:
        return Found(True)
    try:
        with place.unpacked(work) as directory:
            return _run(work, directory)
    except place.Unusable as e:
        return e.found


def _run(work: Work, directory: Path) -> Found:
    watch = place.Watch(work)
    lock = threading.Lock()

    def tell(name: str, text: bytes) -> None:
        with lock:
            work.log.write(f"{name} │ ".encode() + text + b"\n")

    def one(check: Check) -> shell.Ended:
        reason = watch()
        if reason is not None:
            return shell.Ended(None, "it was not started", 0.0, ())
        tell(check.name, f"$ {check.command}".encode())
        ended = shell.run(
            work,
            check.command,
            mark=f"{work.name}.{check.name}",
            directory=directory,
            timeout=check.timeout,
            watch=watch,
            tell=lambda text: tell(check.name, text),
        )
        tell(check.name, (f"✗ {ended.problem}" if ended.problem else f"✓ {ended.seconds:.1f} s").encode())
        return ended

    checks = work.stage.checks
    with ThreadPoolExecutor(min(len(checks), max(2, process.cores())), thread_name_prefix="check") as pool:
        ended = list(pool.map(one, checks))
    return found(checks, ended, watch.stopped)


def found(checks: Sequence[Check], ended: Sequence[shell.Ended], stopped: str | None) -> Found:
    """What the commands' ends come to."""
    details: dict[str, Any] = {
        "checks": [
            {
                "name": c.name,
                "ok": e.ok,
                "seconds": e.seconds,
                "status": e.status,
                "problem": e.problem,
                "lines": list(e.lines),
            }
            for c, e in zip(checks, ended, strict=True)
        ]
    }
    failed = [(c, e) for c, e in zip(checks, ended, strict=True) if not e.ok]
    if not failed:
        return Found(True, details=details)
    if stopped is not None:
        return Found(False, shell.why(stopped), details=details, stopped=stopped)
    told = ", ".join(f"{c.name} ({e.problem})" for c, e in failed)
    reason = f"{told} failed" if len(checks) == 1 else f"{len(failed)} of {len(checks)} checks failed: {told}"
    share = max(1, shell.TOLD // len(failed))
    lines = tuple(f"{c.name} │ {line}" for c, e in failed for line in e.lines[-share:])
    return Found(False, reason, lines[: shell.TOLD], details)
