"""Programs that are held to a rate: stopped now and then, and never left stopped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from homeport.system import process
from homeport.system.pace import paced

MARK = "pace.copy"
RATE = 5_000_000
WRITER = """
import sys
block = bytes(1 << 20)
with open(sys.argv[1], "wb") as f:
    while True:
        f.seek(0)
        f.write(block)
        f.flush()
        with open(sys.argv[1] + ".count", "a") as count:
            count.write("x")
"""
"""In a child of its own, as what a shell starts is."""
PACING = """
import os, subprocess, sys, time
from homeport.system.pace import paced
writer, mark, owner, where = sys.argv[1:]
with paced(5_000_000, owner=owner, instance=mark):
    env = {"HOMEPORT_OWNER": owner, "HOMEPORT_INSTANCE": mark}
    child = subprocess.Popen((sys.executable, "-c", writer, where), env=env, start_new_session=True)
    print(child.pid, flush=True)
    time.sleep(600)
"""


def until(look: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.005)
    return found


def is_stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def goes_on(where: Path) -> bool:
    """Whether a writer still writes: some hundred times, each time."""
    count = where.with_name(f"{where.name}.count")

    def blocks() -> int:
        return count.stat().st_size if count.exists() else 0

    before = blocks()
    until(lambda: blocks() > before + 200)
    return True


def instances(owner: Path) -> list[str]:
    return [m.instance for m in process.marked(str(owner))]


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for mark in (MARK, f"pacer.{MARK}", "other"):
        process.kill_marked(str(tmp_path), mark)


def start(owner: Path, name: str, mark: str = MARK) -> tuple[subprocess.Popen[bytes], Path]:
    where = owner / name
    env = {process.OWNER: str(owner), process.INSTANCE: mark}
    argv = ("sh", "-c", '"$@"; true', "sh", sys.executable, "-c", WRITER, str(where))
    return subprocess.Popen(argv, env=env, start_new_session=True), where


def writer_of(shell: subprocess.Popen[bytes]) -> int:
    def found() -> int:
        children = Path(f"/proc/{shell.pid}/task/{shell.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    pid: int = until(found)
    return pid


def test_what_writes_too_much_is_stopped_and_others_are_not(owner: Path) -> None:
    mine, where = start(owner, "mine")
    other, _ = start(owner, "other", "other")
    seen_other = False
    try:
        pid, others = writer_of(mine), writer_of(other)
        with paced(RATE, owner=str(owner), instance=MARK) as seen:
            for _ in range(3):
                until(lambda: is_stopped(pid))
                seen_other = seen_other or is_stopped(others)
                until(lambda: not is_stopped(pid))
            until(lambda: seen.paused > 1)
            until(lambda: is_stopped(pid))
        assert not is_stopped(pid) and not seen_other
        assert seen.written > RATE
        assert goes_on(where)
        assert not [i for i in instances(owner) if i.startswith("pacer")]
    finally:
        for shell in (mine, other):
            process.kill_group(shell.pid)
            shell.wait()


def test_without_a_rate_nothing_is_started(owner: Path) -> None:
    with paced(None, owner=str(owner), instance=MARK) as seen:
        assert instances(owner) == []
    assert (seen.read, seen.written, seen.paused) == (0, 0, 0.0)


def test_a_pacer_that_is_killed_leaves_nothing_stopped_and_another_goes_on(owner: Path) -> None:
    shell, where = start(owner, "file")
    try:
        pid = writer_of(shell)

        def pacers() -> list[int]:
            return [m.pid for m in process.marked(str(owner)) if m.instance == f"pacer.{MARK}"]

        with paced(RATE, owner=str(owner), instance=MARK):
            until(lambda: is_stopped(pid))
            [first] = pacers()
            os.kill(first, signal.SIGKILL)
            until(lambda: not is_stopped(pid))
            until(lambda: [p for p in pacers() if p != first])
            until(lambda: is_stopped(pid))
        assert not is_stopped(pid) and goes_on(where)
        assert pacers() == []
    finally:
        process.kill_group(shell.pid)
        shell.wait()


def test_where_the_process_that_paces_is_killed_nothing_stays_stopped(owner: Path) -> None:
    where = owner / "file"
    argv = (sys.executable, "-c", PACING, WRITER, MARK, str(owner), str(where))
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as pacing:
        assert pacing.stdout is not None
        pid = int(pacing.stdout.readline())
        try:
            until(lambda: is_stopped(pid))
            pacing.send_signal(signal.SIGKILL)
            pacing.wait()
            until(lambda: not [i for i in instances(owner) if i.startswith("pacer")])
            assert not is_stopped(pid) and goes_on(where)
        finally:
            process.kill_group(pid)
