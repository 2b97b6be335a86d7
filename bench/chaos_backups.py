"""Kills the control plane, or the child at work, at each step of backups, proofs, restores, clones and drills.

    script/chaos --only backups --rounds 50 --seed 7

A round begins a run, waits until one of its steps is under way, and kills with ``kill -9``: the control plane, the
child that does the step, or both. Then must hold: the run ended, passed unless the child alone was killed; the data
are what the run should have made of them, or what they were; it serves and takes writes through PgBouncer; no
server, process, replication slot, directory, database, shared memory or lock is left that was not there before.
"""

import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from chaos_leftovers import Things
from live import App, Homeport

from homeport.api.client import Client
from homeport.kernel.errors import HomeportError

SPEC = """
[app]
name = "shop"
[processes.web]
static = "public"
[routes]
"shop.localhost" = "web"
[storage.files]
path = "var/files"
[rollout]
watch_for = "0s"
keep_warm = "0s"
drain = "1s"
[database.main]
migrations = "migrations"
[backup]
schedule = "0 0 29 2 *"
full = "0 0 29 2 *"
[backup.proof]
notes-are-there = "select count(*) from notes"
[environments.staging]
domains = ["staging.shop.localhost"]
"""
MIGRATION = """-- migrate:up
create table notes (id int primary key, note text not null);
insert into notes select g, 'x' from generate_series(1, 300) g;
-- migrate:down
drop table notes;
"""
PASSPHRASE = "tulip-anvil-seventeen-harbour"
ROWS = [(300, 300)]
"""(rows, of which none was spoilt)"""
KINDS: dict[str, tuple[str, ...]] = {
    "backup": (
        "back up cluster main",
        "back up files of shop.production",
        "back up files of homeport",
        "prove cluster main in local",
        "prove files of homeport in local",
        "prove files of shop.production in local",
        "keep what is known of them",
        "remove what need not be kept",
        "look at what could be lost",
    ),
    "proof": (
        "prove cluster main in local",
        "prove files of homeport in local",
        "prove files of shop.production in local",
        "keep what is known of them",
    ),
    "restore": (
        "hold writers",
        "restore a copy of the cluster",
        "take the database out of it",
        "switch to it",
        "note which migrations it lacks",
        "let writers go on",
        "remove the copy",
    ),
    "tables": ("restore a copy of the cluster", "take the tables out of it", "remove the copy"),
    "merge": ("bring rows over",),
    "files": (
        "hold writers",
        "put the files in their place",
        "restart what uses them",
        "remove what was only beside",
        "let writers go on",
    ),
    "cluster": (
        "hold writers",
        "restore a copy of the cluster",
        "put it in the cluster's place",
        "let logins agree with the secrets",
        "let writers go on",
        "remove the copy",
    ),
    "clone": (
        "restore a copy of the cluster",
        "mask it, and take the database out",
        "load it beside",
        "switch to it",
        "bring the files",
        "remove the copy",
    ),
    **{
        f"drill {scenario}": (
            "prepare a twin",
            "break it",
            "detect",
            "contain",
            "restore",
            "verify",
            "smoke test",
            "clean up",
            "write the report",
        )
        for scenario in ("table-dropped", "cluster-lost", "machine-lost")
    },
}
"""Steps of each kind of run, in their order."""
EVERY = "every step"
"""In the place of a step: the control plane is killed in each of one run."""
VICTIMS = ("serve", "child", "both", "cancel")
SETTLE = 90.0
T = TypeVar("T")


@dataclass
class Round:
    kind: str
    step: str
    victim: str
    outcome: str = ""
    seconds: float = 0.0
    reason: str = ""
    problems: list[str] = field(default_factory=list)

    def line(self) -> str:
        mark = "✗" if self.problems else "✓"
        text = f"{mark} {self.kind:19} {self.step:40} kill {self.victim:6}  {self.outcome:8} {self.seconds:5.1f} s"
        return "\n      ".join([text + (f"  ({self.reason})" if self.reason else ""), *self.problems])


def all_steps() -> list[tuple[str, str]]:
    return [(kind, step) for kind, steps in KINDS.items() for step in steps]


class BackupChaos:
    """One Homeport with an app, its database, its files and a repository."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.homeport = Homeport()
        self.app: App
        self._client: Client
        self._things: Things
        self._before: set[str]
        self._staging = False
        self._seconds: dict[str, float] = {}
        """How long steps took when nobody killed anything in them."""

    def start(self) -> None:
        homeport = self.homeport
        homeport.up()
        self._client = Client(homeport.data, patience=60)
        self.app = homeport.app("shop")
        (self.app.directory / "migrations").mkdir()
        (self.app.directory / "public").mkdir()
        (self.app.directory / "public" / "index.html").write_text("shop")
        (self.app.directory / "migrations" / "20261120120000_notes.sql").write_text(MIGRATION)
        (self.app.directory / "homeport.toml").write_text(SPEC)
        self.app.commit("first")
        homeport.deploy(self.app)
        self.storage = homeport.data / "storage" / "shop" / "production" / "files"
        self._write_files()
        self.repository = homeport.work / "repository"
        self.repository.mkdir(mode=0o755)
        homeport.run("backup", "repository", "add", "local", "repository", stdin=PASSPHRASE)
        # Where the clock was first, its run is waited for.
        homeport.run("backup", "run", "--full", "--no-proof", status=None)
        homeport.wait(self._rested, seconds=150, what="the first backup")
        self.url = homeport.run("db", "url", cwd=self.app.directory).stdout.strip()
        self._things = Things(homeport, self.repository, self.url)
        self._before = self._all()

    def close(self) -> None:
        self.homeport.close()

    # Rounds

    def play(self, plan: list[tuple[str, str, str]], say: Callable[[str], None] = print) -> list[Round]:
        """A round for each (kind, step, victim); a step may be ``EVERY``."""
        done = []
        for kind, step, victim in plan:
            done.append(self.round(kind, step, victim))
            say(done[-1].line())
        return done

    def round(self, kind: str, step: str, victim: str) -> Round:
        found = Round(kind, step, victim)
        began = time.monotonic()
        begin, passed, otherwise, clean = self._kinds()[kind]
        try:
            run = begin()
            for one in KINDS[kind] if step == EVERY else (step,):
                self._wait_for(run, one)
                killed = self._kill(run, victim)
                found.victim = victim if step == EVERY else killed
            ended = self._ended(run)
            found.outcome = ended["state"]
            self._seconds |= {s["name"]: s["seconds"] for s in ended["steps"] if s["name"] != step}
            unknown = {s["name"].replace("staging", "production") for s in ended["steps"]} - {*KINDS[kind]}
            found.problems += [f"a step of {kind} that nobody kills: {name}" for name in unknown]
            wrong = [s for s in ended["steps"] if s["state"] == "failed"]
            found.reason = str(wrong[0]["error"]["sentence"]) if wrong else ""
            may_be = {"child": ("passed", "failed"), "cancel": ("passed", "cancelled")}
            if found.outcome not in may_be.get(found.victim, ("passed",)):
                found.problems.append(f"it {found.outcome}: {wrong}")
            if found.outcome == "failed" and not found.reason.startswith("cannot "):
                found.problems.append(f"it failed without a reason: {wrong}")
            self._settle(found, passed if found.outcome == "passed" else otherwise)
            clean()
        except Exception as e:
            found.problems.append(f"{type(e).__name__}: {e}"[:1500])
        found.seconds = round(time.monotonic() - began, 1)
        return found

    def _wait_for(self, run: str, step: str) -> None:
        """Until the step is under way, or was faster; then some part of the time that it takes."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            state, steps = self._run(run)
            states = {s["name"]: s["state"] for s in steps}
            assert step in states, f"{step} is none of {list(states)}"
            if state != "running" or states[step] not in ("waiting",):
                break
            time.sleep(0.005)
        end = time.monotonic() + self.random.random() * self._seconds.get(step, 0.7)
        while time.monotonic() < end:
            self._things.watch()
            time.sleep(0.05)

    def _kill(self, run: str, victim: str) -> str:
        """Who was killed; "cancel" kills nobody: a person asks for the run's end."""
        if victim == "cancel":
            with suppress(HomeportError):  # it may be over
                self._client.send("POST", f"/v1/backups/runs/{run}/cancel")
            return victim
        pids = self.homeport.pids()
        children = [pid for pid, name in pids.items() if name == f"backup.{run}"]
        if victim == "child" and not children:
            victim = "serve"  # it does the step itself
        killed = [] if victim == "child" else [pid for pid, name in pids.items() if name == "serve"]
        killed += [] if victim == "serve" else children
        for pid in killed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return victim

    def _ended(self, run: str) -> dict[str, Any]:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            state, steps = self._run(run)
            self._things.watch()
            if state != "running":
                return {"state": state, "steps": steps}
            time.sleep(0.1)
        raise AssertionError(f"{run} does not end: {[(s['name'], s['state'], s['progress']) for s in steps]}")

    def _settle(self, found: Round, wanted: Callable[[], list[str]]) -> None:
        end = time.monotonic() + SETTLE
        while True:
            problems = self._problems(wanted)
            if not problems or time.monotonic() > end:
                break
            time.sleep(0.3)
        found.problems += problems

    def _problems(self, wanted: Callable[[], list[str]]) -> list[str]:
        try:
            return [*self._serves(), *self._left_over(), *wanted()]
        except (AssertionError, OSError, psycopg.Error) as e:
            return [f"{type(e).__name__}: {e}"]

    # The kinds: (begin, what must hold when it passed, and when it did not, what was kept goes)

    def _kinds(
        self,
    ) -> dict[
        str,
        tuple[Callable[[], str], Callable[[], list[str]], Callable[[], list[str]], Callable[[], None]],
    ]:
        same = self._rows_are(ROWS)
        kinds = {
            "backup": (self._begin_backup, same, same, self._nothing),
            "proof": (lambda: self._post("/v1/backups/proofs"), same, same, self._nothing),
            "restore": (self._begin_restore, same, self._rows_are([(100, 100)]), self._clean_rows),
            "tables": (
                self._begin_tables,
                self._rows_are([(300, 280)]),
                self._rows_are([(300, 280)]),
                self._clean_rows,
            ),
            "merge": (self._begin_merge, same, self._rows_are([(300, 280)]), self._clean_rows),
            "files": (self._begin_files, self._files_are("one"), self._files_are("two"), self._clean_files),
            "cluster": (self._begin_cluster, same, self._rows_are([(100, 100)]), self._clean_rows),
            "clone": (self._begin_clone, same, same, self._clean_rows),
        }
        for kind in KINDS:
            if kind.startswith("drill "):
                scenario = kind.removeprefix("drill ")
                kinds[kind] = (
                    lambda scenario=scenario: self._post("/v1/drills", scenario=scenario),
                    same,
                    same,
                    self._nothing,
                )
        return kinds

    def _post(self, path: str, **asked: Any) -> str:
        return str(self._client.send("POST", path, asked)["id"])

    def _begin_backup(self) -> str:
        return self._post("/v1/backups", full=self.random.random() < 0.3, prove=True)

    def _moment(self, spoiling: str) -> dict[str, str]:
        """A moment, after which something happened."""
        time.sleep(0.05)
        at = datetime.now(UTC).isoformat()
        time.sleep(0.05)
        self._write(spoiling)
        return {"at": at}

    def _begin_restore(self) -> str:
        to = self._moment("delete from notes where id > 100")
        return self._post("/v1/apps/shop/environments/production/restores", to=to, confirm="shop")

    def _begin_cluster(self) -> str:
        to = self._moment("delete from notes where id > 100")
        return self._post("/v1/clusters/main/restores", to=to, confirm=["shop"])

    def _begin_tables(self) -> str:
        to = self._moment("update notes set note = 'oops' where id <= 20")
        path = "/v1/apps/shop/environments/production/restores"
        return self._post(path, to=to, tables=["notes"])

    def _begin_merge(self) -> str:
        self._ended(self._begin_tables())
        [kept] = [k for k in self._kept() if k["kind"] == "schema"]
        path = "/v1/apps/shop/environments/production/restores/merge"
        return self._post(path, schema=kept["name"], changed=True, confirm="shop")

    def _begin_files(self) -> str:
        self._write_files("two")
        path = "/v1/apps/shop/environments/production/restores"
        return self._post(path, files=True, confirm="shop")

    def _begin_clone(self) -> str:
        if not self._staging:
            self.homeport.deploy(self.app, "--env", "staging")
            made = self._ended(self._post("/v1/backups", prove=True))
            assert made["state"] == "passed", made
            self._staging = True
            self._before = self._all()
        path = "/v1/apps/shop/environments/staging/clones"
        return self._post(path, source="production", confirm="staging", files=True)

    def _nothing(self) -> None:
        return None

    def _kept(self, environment: str = "production") -> list[dict[str, Any]]:
        path = f"/v1/apps/shop/environments/{environment}/restores/kept"
        found: list[dict[str, Any]] = self.homeport.ask(path)["kept"]
        return found

    def _clean_rows(self) -> None:
        for environment in ("production", "staging") if self._staging else ("production",):
            for kept in self._kept(environment):
                name = kept["name"]
                path = f"/v1/apps/shop/environments/{environment}/restores/kept/{name}"
                self._client.send("DELETE", path, confirm=name)
        again = "insert into notes select g, 'x' from generate_series(1, 300) g"
        self._write(["delete from notes", again])
        left = self._all() - self._before
        assert not left, f"left when what was kept is dropped: {sorted(left)}"

    def _clean_files(self) -> None:
        kept = [k for k in self._kept() if k["kind"] == "files"]
        trees = [self.homeport.data / "backups" / "files" / "replaced" / k["name"] for k in kept]
        told = [(t / "storage" / "shop" / "production" / "files" / "a").read_text() for t in trees]
        assert told in ([], ["two"]), f"kept of files: {told} in {[t.name for t in trees]}"
        self._write_files()
        self._clean_rows()

    # Looking

    def _serves(self) -> list[str]:
        problems = []
        status, body, _ = self.homeport.get()
        if (status, body) != (200, "shop"):
            problems.append(f"it answers {status}: {body[:80]}")
        environment = self.homeport.environment("shop")
        if environment["modes"]:
            problems.append(f"a mode is on: {environment['modes']}")
        if environment["health"] != "up":
            problems.append(f"health is {environment['health']}")
        self._write(["insert into notes values (-1, 'x')", "delete from notes where id = -1"])
        if self._query("SELECT id FROM changes WHERE state = 'running'"):
            problems.append("a change is still running")
        return problems

    def _rows_are(self, wanted: list[tuple[int, int]]) -> Callable[[], list[str]]:
        def look() -> list[str]:
            with self._connect() as connection:
                query = "select count(*), count(*) filter (where note = 'x') from notes"
                found = connection.execute(query).fetchall()
            return [] if found == wanted else [f"rows are {found}, and should be {wanted}"]

        return look

    def _files_are(self, text: str) -> Callable[[], list[str]]:
        def look() -> list[str]:
            with suppress(OSError):
                found = (self.storage / "a").read_text()
                return [] if found == text else [f"the file reads {found!r}, and should {text!r}"]
            return ["the file is not there"]

        return look

    def _all(self) -> set[str]:
        return self._when_rested(self._things.all)

    def _when_rested(self, look: Callable[[], T]) -> T:
        """What it finds while nothing is under way: Homeport's own state is backed up after what was done here."""
        deadline = time.monotonic() + 60
        while True:
            before = self._query("SELECT count(*) FROM backup_runs")
            rested, found = self._rested(), look()
            if rested and self._rested() and self._query("SELECT count(*) FROM backup_runs") == before:
                return found
            assert time.monotonic() < deadline, "runs follow each other for ever"
            time.sleep(0.2)

    def _left_over(self) -> list[str]:
        left = [t for t in self._all() - self._before if not t.startswith("kept ")]
        return [f"left over: {t}" for t in sorted(left)]

    # Reaching

    def _connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """As the app does."""
        return psycopg.connect(self.url, autocommit=True, prepare_threshold=None, connect_timeout=5)

    def _write(self, statements: str | list[str]) -> None:
        with self._connect() as connection:
            connection.execute("set statement_timeout = '10s'")
            for statement in [statements] if isinstance(statements, str) else statements:
                connection.execute(statement.encode())

    def _write_files(self, text: str = "one") -> None:
        self.storage.mkdir(parents=True, exist_ok=True)
        (self.storage / "a").write_text(text)

    def _query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(f"file:{self.homeport.data}/state.db?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def _run(self, id: str) -> tuple[str, list[dict[str, Any]]]:
        [(state, steps)] = self._query("SELECT state, steps FROM backup_runs WHERE id = ?", id)
        return state, json.loads(steps)

    def _rested(self) -> bool:
        states = [state for (state,) in self._query("SELECT state FROM backup_runs")]
        return bool(states) and "running" not in states

    def finish(self) -> list[str]:
        """What must hold at the end: a backup passes with its proofs, and nothing is wrong."""
        done = self.homeport.run("backup", "run", status=None)
        told = f"the next backup: {done.stdout[-800:]}{done.stderr[-400:]}"
        return [*([] if done.returncode == 0 else [told]), *self.wrong()]

    def wrong(self) -> list[str]:
        """What doctor finds, and locks that are left, after a backup that passed."""
        self.homeport.run("backup", "status", "--now", status=None)
        found = self.homeport.json("doctor", status=None)
        return [*self._when_rested(self._things.locks), *(f"doctor: {f}" for f in found if not f["ok"])]


def all_problems(rounds: list[Round]) -> list[str]:
    return [f"{r.kind}, {r.step}, {r.victim} killed: {p}" for r in rounds for p in r.problems]


def planned(rounds: int, seed: int) -> list[tuple[str, str, str]]:
    """As many of all steps, in their order; victims take turns, another one for each seed."""
    steps = all_steps()
    chosen = sorted(random.Random(seed).sample(range(len(steps)), min(rounds, len(steps))))
    return [(*steps[n], VICTIMS[(n + seed) % len(VICTIMS)]) for n in chosen]


def run(rounds: int, seed: int, say: Callable[[str], None] = print) -> dict[str, Any]:
    chaos = BackupChaos(seed)
    try:
        chaos.start()
        done = chaos.play(planned(rounds, seed), say)
        problems = chaos.finish()
    finally:
        chaos.close()
    return {"seed": seed, "rounds": [vars(r) for r in done], "problems": all_problems(done) + problems}
