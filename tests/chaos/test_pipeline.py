"""The control plane killed at each stage boundary and inside each stage of a run: it ends as it would have."""

import json
import os
import signal
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from live import Homeport

PIPELINE = """
[[pipeline.stage]]
kind = "check"
commands = { tests = "sleep 0.5", lint = "sleep 0.2; echo linted" }
[[pipeline.stage]]
kind = "build"
[[pipeline.stage]]
kind = "deploy"
environment = "staging"
[[pipeline.stage]]
kind = "smoke"
command = "sleep 0.4"
requests = [{ path = "/" }]
[[pipeline.stage]]
kind = "approve"
environment = "production"
[[pipeline.stage]]
kind = "deploy"
environment = "production"
[[pipeline.stage]]
kind = "verify"
watch_for = "500ms"
[environments.staging]
domains = ["staging.shop.localhost"]
[environments.production]
gate = "approval"
"""
WELL = (
    "check",
    "build",
    "deploy staging",
    "smoke staging",
    "approve production",
    "deploy production",
    "verify production",
)
BROKEN = 'def health(h): h.answer(*((500, "no") if os.environ["HOMEPORT_ENVIRONMENT"] == "production" else (200, "well")))'


class Rig:
    def __init__(self, homeport: Homeport) -> None:
        self.homeport = homeport
        self.app = homeport.app("shop")
        self.version = self.killed = 0

    def begin(self, *, broken: bool = False) -> int:
        """Queue a run; its number."""
        self.version += 1
        self.app.write(
            str(self.version),
            build='command = "sleep 0.4"',
            after=BROKEN if broken else "",
            start_timeout="10s" if broken else "30s",
            replicas=1,
            keep_warm="2s",
            more=PIPELINE,
        )
        before = self.query("SELECT max(number) FROM pipeline_runs")[0][0] or 0
        self.command = self.homeport.start("pipeline", "run", "--wait", "-q", cwd=self.app.directory)
        self.homeport.wait(lambda: (self.query("SELECT max(number) FROM pipeline_runs")[0][0] or 0) > before)
        return before + 1

    def query(self, sql: str, *values: object) -> list[tuple]:
        with sqlite3.connect(f"file:{self.homeport.data}/state.db?mode=ro", uri=True) as connection:
            return connection.execute(sql, values).fetchall()

    def stages(self, number: int) -> dict[str, str]:
        return dict(
            self.query(
                "SELECT s.name, s.state FROM stage_runs s JOIN pipeline_runs r ON r.id = s.run WHERE r.number = ?",
                number,
            )
        )

    def kill(self) -> None:
        def killed() -> bool:
            # The one before may have been killed a moment ago, and be seen still; so may what it had started.
            with suppress(ProcessLookupError, StopIteration):
                pid = self.homeport.pid_of("serve")
                if pid != self.killed:
                    os.kill(pid, signal.SIGKILL)
                    self.killed = pid
                    return True
            return False

        self.homeport.wait(killed, what="the control plane to be back")

    def run(self, number: int) -> dict:
        return self.homeport.json("pipeline", "show", str(number), cwd=self.app.directory)

    def finish(self, number: int) -> dict:
        """Approve when it waits, and wait for the end."""

        def ended() -> bool:
            state = self.query("SELECT state FROM pipeline_runs WHERE number = ?", number)[0][0]
            if state == "waiting":
                self.homeport.run(
                    "approve", str(number), "-m", "looked at it", cwd=self.app.directory, status=None
                )
            return state in ("passed", "failed", "cancelled", "superseded")

        self.homeport.wait(ended, seconds=60, what=f"run #{number} to end")
        self.command.communicate(timeout=60)
        return self.run(number)

    def reached(self, number: int, stage: str, state: str) -> bool:
        """Whether a stage has come to a state, or was faster; gates before it are approved."""
        found = self.stages(number)
        if found.get("approve production") == "waiting" and (stage, state) != (
            "approve production",
            "running",
        ):
            self.homeport.run("approve", str(number), "-m", "fine", cwd=self.app.directory, status=None)
        if state == "running":
            return stage in found
        return found.get(stage) == "passed"

    def check_nothing_is_left(self) -> None:
        assert [n for n in self.homeport.pids().values() if ".pipeline." in n] == []
        assert list((self.homeport.data / "pipelines").glob("*/*/*.work")) == []
        assert self.query("SELECT id FROM changes WHERE state = 'running'") == []


@pytest.fixture(scope="module")
def rig():
    homeport = Homeport()
    try:
        homeport.up()
        yield Rig(homeport)
    finally:
        homeport.close()


@pytest.mark.parametrize("state", ["running", "passed"])
def test_a_good_run_passes_though_the_control_plane_is_killed_in_every_stage(rig, state):
    """Inside each stage, or at each boundary between two."""
    number = rig.begin()
    for stage in WELL:
        rig.homeport.wait(lambda stage=stage: rig.reached(number, stage, state), seconds=60, what=stage)
        rig.kill()
    run = rig.finish(number)
    assert (run["state"], run["reason"]) == ("passed", ""), json.dumps(run, indent=1)
    assert {s["name"]: s["state"] for s in run["stages"]} == dict.fromkeys(WELL, "passed")
    assert rig.homeport.get()[1] == str(rig.version)
    release = run["stages"][5]["found"]["details"]["release"]
    made = rig.query(
        "SELECT kind, environment FROM changes WHERE json_extract(goal, '$.release') = ? AND kind != 'heal'",
        release,
    )
    assert sorted(made) == [("build", "staging"), ("deploy", "production"), ("deploy", "staging")]
    rig.check_nothing_is_left()


@pytest.mark.parametrize("after", ["approve production", "deploy production"])
def test_a_bad_run_is_rolled_back_wherever_the_control_plane_is_killed(rig, after):
    if rig.homeport.environment("shop") is None or rig.homeport.environment("shop")["serving"] is None:
        assert rig.finish(rig.begin())["state"] == "passed"
    before = rig.homeport.environment("shop")["serving"]
    served = rig.homeport.get()[1]
    number = rig.begin(broken=True)
    rig.homeport.wait(lambda: rig.stages(number).get("approve production") == "waiting", seconds=60)
    if after == "deploy production":
        rig.homeport.run("approve", str(number), "-m", "fine", cwd=rig.app.directory)
        rig.homeport.wait(lambda: rig.stages(number).get(after) == "running")
    rig.kill()
    run = rig.finish(number)
    assert run["state"] == "failed"
    assert run["reason"].startswith("deploy production: ")
    assert rig.homeport.environment("shop")["serving"] == before
    assert rig.homeport.get()[1] == served
    rig.check_nothing_is_left()
