"""Kills parts of a live Homeport while it works, and checks after each round that all is as it should be.

    script/chaos --rounds 20 --seed 7 [--only parts] [--json]

Backups, restores and drills have rounds of their own (``chaos_backups``). A round takes an action (deploy, deploy --config-only, a broken deploy, rollback, scale, restart) under steady GETs, kills one
part with ``kill -9`` after a number of recorded steps, and waits. Then must hold: the change ended, what
serves is either what was asked for or what served before, the waiting command told which, nothing runs
and nothing lies on disk that nobody owns, the journal's chain is whole. While only the control plane is
killed, not one request may fail.
"""

import argparse
import json
import os
import random
import signal
import sqlite3
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import chaos_backups
from live import App, Homeport

from homeport.kernel.errors import HomeportError

ACTIONS = ("deploy", "configure", "broken", "rollback", "scale", "restart")
VICTIMS = ("serve", "serve", "serve", "haproxy", "supervisord", "logd", "instance")
SETTLE = 60.0
WORKER = '[processes.worker]\ncommand = "exec sleep 100000"\nexclusive = true\n'
MORE = """
[storage.files]
path = "var/files"
[hooks]
before-traffic = "sleep 0.1; test -n \\"$TOKEN\\""
after-traffic = "sleep 0.1"
"""

UNWATCHED = 'watch_for = "0s"'
"""What is killed here on purpose must not make a release look bad."""
CANARY = 'strategy = "canary"\nsteps = ["30%", "60%"]\nbake = "700ms"\non_inconclusive = "continue"\nwatch_for = "0s"'
FAILING = """
_answer = http.server.BaseHTTPRequestHandler.send_response
def _bad(self, status, *rest): _answer(self, 500 if self.path != "/health" else status, *rest)
http.server.BaseHTTPRequestHandler.send_response = _bad
"""


@dataclass
class Round:
    action: str
    victim: str
    after_steps: int
    seconds: float = 0.0
    verdict: str = ""
    requests: int = 0
    failed: int = 0
    problems: list[str] = field(default_factory=list)


class Getting:
    """GETs from a few threads; failures are kept in words."""

    def __init__(self, homeport: Homeport) -> None:
        self._homeport = homeport
        self._stop = threading.Event()
        self.count = 0
        self.failed: list[str] = []
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.count += 1
            try:
                status, body, _ = self._homeport.get()
                if status != 200:
                    self.failed.append(f"{time.strftime('%H:%M:%S')} status {status}: {body[:60]!r}")
            except OSError as e:
                self.failed.append(f"{time.strftime('%H:%M:%S')} {type(e).__name__}: {e}")
                time.sleep(0.05)
            # Often enough to meet a gap of some milliseconds, seldom enough to leave the cores to what is tested.
            time.sleep(0.01)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(15)


class Chaos:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.homeport = Homeport()
        self.version = 0
        self.app: App

    def start(self) -> None:
        self.homeport.up()
        self.app = self.homeport.app("shop")
        self.homeport.run("secrets", "set", "TOKEN", "--app", "shop", stdin="t0ken-of-the-chaos")
        for _ in range(2):
            self._write()
            self.homeport.deploy(self.app)

    def close(self) -> None:
        self.homeport.close()

    def _write(self, *, broken: bool = False, rollout: str = UNWATCHED, extra: str = "") -> None:
        self.version += 1
        after = 'def health(h): h.answer(500, "no")' if broken else ""
        build = f'command = "sleep 0.{self.random.randint(1, 6)}"'
        self.app.write(
            str(self.version),
            build=build,
            after=after,
            start_timeout="3s" if broken else "30s",
            keep_warm="5s",
            process=WORKER,
            more=MORE,
            rollout=rollout,
            extra=extra,
        )

    def _arguments(self, action: str) -> list[str]:
        if action in ("deploy", "broken"):
            self._write(broken=action == "broken")
            return ["deploy"]
        if action in ("canary", "bad canary"):
            self._write(rollout=CANARY, extra=FAILING if action == "bad canary" else "")
            return ["deploy"]
        if action == "configure":
            self.homeport.run("env", "set", f"ROUND={self.random.random()}", cwd=self.app.directory)
            return ["deploy", "--config-only"]
        if action == "scale":
            return ["scale", f"web={self.random.randint(1, 4)}"]
        return [action]

    def round(self, action: str, victim: str, after_steps: int) -> Round:
        found = Round(action, victim, after_steps)
        before = self.homeport.environment(self.app)["serving"]
        arguments = self._arguments(action)
        known = self._changes()
        getting = Getting(self.homeport)
        began = time.monotonic()
        command = self.homeport.start(*arguments, cwd=self.app.directory)
        try:
            self._await_steps(known, after_steps)
            time.sleep(self.random.random() * 0.03)
            self._kill(victim)
            out, _ = command.communicate(timeout=90)
            found.seconds = round(time.monotonic() - began, 2)
            self._settle(found)
            self._judge(found, action, command.returncode, before, known, out)
        finally:
            if command.poll() is None:
                command.kill()
                command.communicate()
            getting.stop()
        found.requests, found.failed = getting.count, len(getting.failed)
        if victim in ("serve", "logd") and action != "bad canary" and getting.failed:
            found.problems.append(f"{len(getting.failed)} requests failed: {getting.failed[:3]}")
        return found

    # Looking at the state from outside

    def _query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(f"file:{self.homeport.data}/state.db?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def _changes(self) -> set[str]:
        return {row[0] for row in self._query("SELECT id FROM changes")}

    def _await_steps(self, known: set[str], steps: int) -> None:
        """Wait until the new change has so many recorded steps, or is done."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            for (id,) in self._query("SELECT id FROM changes"):
                if id in known:
                    continue
                sql = "SELECT count(*) FROM operation_outputs WHERE workflow_uuid = ?"
                done = self._query("SELECT state FROM changes WHERE id = ?", id)[0][0] == "done"
                if done or self._query(sql, id)[0][0] >= steps:
                    return
            time.sleep(0.002)

    def _kill(self, victim: str) -> None:
        while True:
            # An instance that is kept warm may end by itself just then.
            with suppress(ProcessLookupError):
                os.kill(self._pid(victim), signal.SIGKILL)
                return

    def _pid(self, victim: str) -> int:
        if victim == "supervisord":
            return self.homeport.supervisord()
        if victim == "instance":
            return self.random.choice([p for p, name in self.homeport.pids().items() if ".web." in name])
        return self.homeport.pid_of(victim)

    def _settle(self, found: Round) -> None:
        """Wait until the environment is up, nothing moves and nothing is left over."""
        end = time.monotonic() + SETTLE
        while time.monotonic() < end:
            leftovers = self._leftovers()
            if not leftovers:
                return
            time.sleep(0.25)
        found.problems += [f"after {SETTLE:.0f} s: {text}" for text in leftovers]

    def _leftovers(self) -> list[str]:
        try:
            environment = self.homeport.environment(self.app)
        except HomeportError as e:
            return [e.sentence]
        texts = []
        if environment["health"] != "up":
            texts.append(f"health is {environment['health']}")
        if self._query("SELECT id FROM changes WHERE state = 'running'"):
            texts.append("a change is still running")
        stored = {row[0] for row in self._query("SELECT name FROM instances")}
        running = {name for name in self.homeport.pids().values() if name.startswith("shop.")}
        texts += [f"runs, and nobody owns it: {name}" for name in running - stored]
        texts += [f"is wanted, and does not run: {name}" for name in stored - running]
        orphaned = [i["name"] for i in environment["instances"] if i["state"] == "orphaned"]
        texts += [f"is orphaned: {name}" for name in orphaned]
        releases = {
            row[0]
            for row in self._query(
                "SELECT id FROM releases WHERE app = 'shop' AND state IN ('ready', 'building')"
            )
        }
        on_disk = {
            p.name.partition(".")[0]
            for p in (self.homeport.data / "releases" / "shop").iterdir()
            if p.is_dir()
        }
        # The cleaner comes twice a minute: files are looked at when the run ends.
        self._files = on_disk - releases
        return texts

    def _judge(self, found: Round, action: str, status: int, before: str, known: set[str], out: str) -> None:
        serving = self.homeport.environment(self.app)["serving"]
        made = [row for row in self._query("SELECT id, kind, result FROM changes") if row[0] not in known]
        mine = [row for row in made if row[1] != "heal"]
        if "Traceback" in out:
            found.problems.append(f"a traceback: {out[-400:]}")
        if len(mine) != 1:
            if mine or status == 0:
                found.problems.append(f"{len(mine)} changes were made, the command exited {status}")
            return
        result = json.loads(mine[0][2])
        found.verdict = result["verdict"]
        if (status == 0) != (result["verdict"] == "promoted"):
            found.problems.append(
                f"the command exited {status}, the verdict is {result['verdict']}: {out[-300:]}"
            )
        wanted = result["release"] if result["verdict"] == "promoted" else before
        if serving != wanted:
            found.problems.append(f"{serving} serves, {wanted} should")
        bad = action in ("broken", "bad canary")
        if bad and result["verdict"] == "promoted":
            found.problems.append("a broken release was promoted")
        if found.victim == "serve" and not bad and result["verdict"] != "promoted":
            found.problems.append(
                f"only the control plane was killed, yet it is {result['verdict']}: {out[-300:]}"
            )
        served = self.homeport.get()[1]
        release = {r["id"]: r for r in self.homeport.ask("/v1/apps/shop/releases")}[serving]
        if release["subject"] != f"version {served}":
            found.problems.append(
                f"{served!r} is answered, {serving} ({release['subject']}) is told to serve"
            )

    def play(self, plan: list[tuple[str, str, int]], say: Any = lambda text: None) -> list[Round]:
        """A round for each (action, victim, steps)."""
        done: list[Round] = []
        for number, (action, victim, steps) in enumerate(plan, 1):
            if action == "rollback" and self.homeport.environment(self.app)["rollback_target"] is None:
                action = "deploy"
            result = self.round(action, victim, steps)
            done.append(result)
            mark = "✗" if result.problems else "✓"
            say(
                f"{mark} {number:3} {action:8} kill {victim:11} after {steps} steps: "
                f"{result.verdict or 'not begun'}, {result.seconds:.1f} s, "
                f"{result.requests} requests, {result.failed} failed"
            )
            for problem in result.problems:
                say(f"      {problem}")
        return done

    def finish(self) -> list[str]:
        """What must hold at the end of a run."""
        problems = []
        end = time.monotonic() + SETTLE
        while time.monotonic() < end and (self._leftovers() or self._files):
            time.sleep(1)
        problems += self._leftovers()
        problems += [f"lies on disk, and nobody owns it: {name}" for name in self._files]
        # Nothing is backed up here, which doctor says.
        found = self.homeport.json("doctor", status=None)
        problems += [f"doctor: {f}" for f in found if not f["ok"] and f["name"] != "backups"]
        return problems


def run(
    rounds: int, seed: int, say: Any = lambda text: None, plan: list[tuple[str, str, int]] | None = None
) -> dict[str, Any]:
    """Run so many rounds; with ``plan`` just those (action, victim, steps)."""
    chaos = Chaos(seed)
    try:
        chaos.start()
        todo = plan or [
            (chaos.random.choice(ACTIONS), chaos.random.choice(VICTIMS), chaos.random.randint(0, 7))
            for _ in range(rounds)
        ]
        done = chaos.play(todo, say)
        problems = chaos.finish()
    finally:
        chaos.close()
    return {"seed": seed, "rounds": [vars(r) for r in done], "problems": problems + all_problems(done)}


def all_problems(rounds: list[Round]) -> list[str]:
    return [f"round {n}: {p}" for n, r in enumerate(rounds, 1) for p in r.problems]


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/chaos", description="Kill parts of a live Homeport.")
    parser.add_argument("--rounds", type=int, default=20, help="of each of the two")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only", choices=("parts", "backups"), help="parts while apps are deployed, or backups"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    out = sys.stderr if options.json else sys.stdout

    def say(text: str) -> None:
        print(text, file=out, flush=True)

    results = []
    if options.only != "backups":
        results.append(run(options.rounds, options.seed, say))
    if options.only != "parts":
        results.append(chaos_backups.run(options.rounds, options.seed, say))
    rounds = [r for result in results for r in result["rounds"]]
    problems = [p for result in results for p in result["problems"]]
    if options.json:
        print(json.dumps({"seed": options.seed, "rounds": rounds, "problems": problems}, indent=2))
    else:
        for problem in problems:
            print(f"problem: {problem}")
        print(f"{len(rounds)} rounds, {len(problems)} problems, seed {options.seed}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
