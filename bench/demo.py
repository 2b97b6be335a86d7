"""What ``script/demo`` shows: staging, promote, deploys under load, a broken release that never takes traffic, a
rollback; then two pushes through the pipeline, the first of which its canary takes back. Orders are in PostgreSQL:
the last push renames a column of theirs by expand and contract.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from load import LoadProcess, Mix, compare_orders

ROOT = Path(__file__).resolve().parent.parent
HOMEPORT = ROOT / ".venv" / "bin" / "homeport"
HOST = "shop.localhost"
GETS = ("get", "pipeline")
"""Kinds of load that ask for what the bad canary fails at."""
OWN_ERROR = "no connection is left"
"""What it says then."""
RENAMING = "*_rename_quantity_*.sql"
"""The migrations that the last push brings. The last of them is the contract."""
CONTRACT_TIMEOUT = 60.0


@dataclass
class Deploy:
    what: str
    release: str
    verdict: str
    serving: str
    seconds: float
    build_seconds: float
    expected: bool


@dataclass
class Push:
    """A ``git push`` and the run of the pipeline that it was."""

    what: str
    commit: str
    release: str
    state: str
    """Of the run: passed or failed."""
    reason: str
    serving: str
    seconds: float
    stages: dict[str, float]
    """Seconds of each stage that began."""
    requests: int
    """Sent while it ran, to production."""
    canary_requests: int
    """Of them answered by the release on trial, up to the verdict, as the edge counted."""
    canary_errors: int
    failed: int
    """Of the requests, as their clients saw them."""
    failed_by_canary: int
    """Of those, answered with status 500, which is the app's: the edge has others."""
    expected: bool


@dataclass
class Migration:
    """Of production's database, as Homeport recorded it."""

    version: str
    description: str
    release: str
    contract: bool
    state: str


TOLD = re.compile(r"run #|✗|✓ (?!built|ready|traffic)|\bwaits|error:|hint:")
"""What of a push is shown: its stages and the steps of its canary. ``homeport pipeline logs`` has all of it."""


class Demo:
    def __init__(self, data_dir: Path, *, quiet: bool) -> None:
        self.data_dir = data_dir
        self.quiet = quiet
        self.work = Path(tempfile.mkdtemp(prefix="homeport-demo-"))
        self.shop = self.work / "shop"
        self.deploys: list[Deploy] = []
        self.pushes: list[Push] = []
        self.migrations: list[Migration] = []
        self.contract_seconds = 0.0
        self.address = ""
        self.started = False
        self.load: LoadProcess | None = None
        self.environment = os.environ | {
            "HOMEPORT_HOME": str(data_dir),
            "GIT_AUTHOR_NAME": "demo",
            "GIT_AUTHOR_EMAIL": "demo@localhost",
            "GIT_COMMITTER_NAME": "demo",
            "GIT_COMMITTER_EMAIL": "demo@localhost",
        }

    def say(self, text: str = "") -> None:
        print(text, file=sys.stderr if self.quiet else sys.stdout, flush=True)

    def homeport(self, *arguments: str) -> dict[str, Any] | list[Any]:
        """A command with --json; its answer, whatever its status says of what it tells."""
        done = subprocess.run(
            [HOMEPORT, *arguments, "--json"],
            env=self.environment, cwd=self.work, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if not done.stdout:
            raise SystemExit(f"homeport {' '.join(arguments)} failed:\n{done.stderr}")
        return json.loads(done.stdout)

    def up(self) -> None:
        address = "127.0.0.1:8080"
        settings = self.data_dir / "homeport.json"
        if settings.exists():
            address = json.loads(settings.read_text())["http"]
        elif not _is_free(8080):
            address = f"127.0.0.1:{_free_port()}"
        found = self.homeport("up", "--http", address)
        self.address = found["http"]
        self.started = True
        self.say(f"$ homeport up --data-dir {self.data_dir} --http {address}\n  {found['message']}\n")

    def commit(self, message: str, **values: object) -> None:
        release = self.shop / "shop" / "release.py"
        lines = release.read_text().splitlines()
        for name, value in values.items():
            lines = [f"{name} = {value!r}" if line.startswith(f"{name} = ") else line for line in lines]
        release.write_text("\n".join(lines) + "\n")
        for command in (["add", "-A"], ["commit", "-q", "-m", message]):
            subprocess.run(["git", *command], cwd=self.shop, env=self.environment, check=True)

    def run(self, what: str, *arguments: str, promoted: bool, environment: str = "production") -> None:
        """A command as a user gives it, its output live; its verdict goes to the table."""
        status, seconds = self.watch("homeport", *arguments)
        changes = self.standing(environment)
        change = changes["change"]
        releases = {r["id"]: r for r in self.homeport("releases", "--app", "shop")}
        self.deploys.append(
            Deploy(
                what=what,
                release=change["release"],
                verdict=change["result"]["verdict"],
                serving=changes["serving"] or "",
                seconds=round(seconds, 2),
                build_seconds=(releases[change["release"]]["build_seconds"] or 0.0)
                if arguments[0] == "deploy"
                else 0.0,
                expected=(status == 0) == promoted,
            )
        )
        self._say_load()

    def watch(self, *command: str, told: re.Pattern[str] | None = None) -> tuple[int, float]:
        """Run a command in the shop's repository, its output live: (status, seconds)."""
        self.say(f"$ {' '.join(command)}")
        argv = [HOMEPORT, *command[1:]] if command[0] == "homeport" else command
        child = subprocess.Popen(
            argv, cwd=self.shop, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert child.stdout is not None
        began = time.monotonic()
        with child.stdout:
            for line in child.stdout:
                text = line.removeprefix("remote: ").rstrip()
                if told is None or (told.search(text) and "│" not in text):
                    self.say(f"  {text}")
        return child.wait(), time.monotonic() - began

    def standing(self, environment: str = "production") -> dict[str, Any]:
        environments = self.homeport("status")["apps"][0]["environments"]
        return next(e for e in environments if e["name"] == environment)

    def push(self, what: str, *, passes: bool) -> None:
        """The newest commit by ``git push``: its run is told as it goes, then what its canary cost."""
        assert self.load is not None
        before = dict(self.load.latest)
        served = self.standing()["serving"]
        status, seconds = self.watch("git", "push", "homeport", "main", told=TOLD)
        time.sleep(1.0)
        after = self.load.latest
        run = self.homeport("pipeline", "show", "--app", "shop")
        trial = self.homeport("rollout", "show", "--app", "shop")
        serving = self.standing()["serving"]
        wanted = ("passed", trial["release"]) if passes else ("failed", served)
        found = Push(
            what=what,
            commit=run["commit"][:10],
            release=trial["release"],
            state=run["state"],
            reason=run["reason"],
            serving=serving,
            seconds=round(seconds, 2),
            stages={s["name"]: _seconds(s) for s in run["stages"] if s["finished_at"]},
            requests=after["sent"] - before["sent"],
            canary_requests=trial["figures"]["canary_requests"],
            canary_errors=trial["figures"]["canary_errors"],
            failed=after["failed"] - before["failed"],
            failed_by_canary=_own_errors(after) - _own_errors(before),
            expected=((status == 0) == passes and (run["state"], serving) == wanted),
        )
        self.pushes.append(found)
        self.say(f"  exit status {status} after {seconds:.1f} s; {serving} serves production")
        told = f"  load: {found.requests} requests meanwhile, {found.failed} failed"
        if found.failed:
            share = 100 * found.failed_by_canary / found.requests
            told += f"; {found.failed_by_canary} were the canary's own 500s, {share:.2f} % of all"
        self.say(f"{told}\n")

    def _say_load(self) -> None:
        if self.load is not None:
            latest = self.load.latest
            self.say(f"  load: {latest['sent']} requests sent, {latest['failed']} failed\n")
        else:
            self.say()

    def show(self) -> dict[str, Any]:
        left_out = shutil.ignore_patterns(".venv", "data", "__pycache__")
        shutil.copytree(ROOT / "examples" / "shop", self.shop, ignore=left_out)
        subprocess.run(["git", "init", "-q", "-b", "main", str(self.shop)], check=True)
        self.up()
        later = self.without_renaming()
        self.commit("Open the shop", ITEMS="quantity" if later else "items")
        self.run("first, to staging", "deploy", "--env", "staging", promoted=True, environment="staging")
        self.run("promoted, no build", "promote", "staging", "production", promoted=True)
        self.say("# from here on: steady load, GETs, POSTs, slow requests, a WebSocket and an event stream\n")
        self.load = LoadProcess(self.address, HOST, Mix())
        time.sleep(1.5)
        self.commit("A new look", VERSION="2", LOOK="sunset")
        self.run("new look", "deploy", promoted=True)
        self.commit("Clever, but broken", VERSION="3", BROKEN=True)
        self.run("broken release", "deploy", promoted=False)
        self.run("back to the first", "rollback", promoted=True)
        self.say(
            "# the same by git push, through the whole pipeline: checks, build, staging, smoke, canary, verify\n"
        )
        self.watch("homeport", "remote")
        self.say()
        self.commit("A mistake that shows under load", VERSION="4", BROKEN=False, LEAKY=True)
        self.push("leaks under load", passes=False)
        for path, text in later.items():
            path.write_text(text)
        self.commit("No leak any more, and a clearer name", VERSION="5", LEAKY=False, ITEMS="items")
        self.push("mended", passes=True)
        self.await_contract()
        time.sleep(1.0)
        return self.account(self.load.stop())

    def without_renaming(self) -> dict[Path, str]:
        """Takes the last three migrations out, to come later: their texts. Nothing where an earlier demo of this
        data directory has carried them out: its orders are there still."""
        if any(app["name"] == "shop" for app in self.homeport("status")["apps"]):
            return {}
        texts = {path: path.read_text() for path in sorted((self.shop / "migrations").glob(RENAMING))}
        for path in texts:
            path.unlink()
        return texts

    def await_contract(self) -> None:
        """The contract runs when no instance is left that needs the old shape."""
        assert self.load is not None
        began = time.monotonic()
        failed = self.load.latest["failed"]
        while True:
            found = self.homeport("migrate", "status", "--app", "shop", "--env", "production")
            self.migrations = [
                Migration(
                    version=m["version"],
                    description=m["description"],
                    release=m["release"],
                    contract=m["contract"],
                    state=m["state"],
                )
                for m in found["statuses"]
            ]
            self.contract_seconds = round(time.monotonic() - began, 2)
            done = all(m.state == "applied" for m in self.migrations)
            if done or self.contract_seconds > CONTRACT_TIMEOUT:
                break
            time.sleep(0.25)
        last = self.migrations[-1]
        self.say(f"# {last.description}: {last.state} {self.contract_seconds:.1f} s after the push, when nobody "
                 "needed the old column any more")  # fmt: skip
        self.say(f"  load: {self.load.latest['failed'] - failed} failed meanwhile\n")

    def account(self, figures: dict[str, Any]) -> dict[str, Any]:
        """All that was seen. The one release on trial that was to fail answers 500; nothing else may."""
        orders = compare_orders(figures["acknowledged"], figures["unacknowledged"], self.stored_orders())
        own = sum(p.failed_by_canary for p in self.pushes if p.state == "failed")
        own = min(own, sum(figures["by_kind"].get(kind, {}).get("failed", 0) for kind in GETS))
        others = [f for f in figures["failures"] if OWN_ERROR not in f["what"]]
        result = {
            "url": f"http://{HOST}:{self.address.rpartition(':')[2]}/",
            "data_dir": str(self.data_dir),
            "requests_sent": figures["sent"],
            "requests_failed": figures["failed"],
            "failed_by_bad_canary": own,
            "failed_otherwise": max(figures["failed"] - own, len(others)),
            "failures": figures["failures"],
            "orders_lost": len(orders["lost"]),
            "orders_doubled": len(orders["doubled"]),
            "by_kind": figures["by_kind"],
            "releases": figures["releases"],
            "deploys": [asdict(d) for d in self.deploys],
            "pushes": [asdict(p) for p in self.pushes],
            "migrations": [asdict(m) for m in self.migrations],
            "contract_seconds": self.contract_seconds,
        }
        result["ok"] = (
            not result["failed_otherwise"]
            and not orders["lost"]
            and not orders["doubled"]
            and all(d.expected for d in (*self.deploys, *self.pushes))
            and all(m.state == "applied" for m in self.migrations)
        )
        return result

    def stored_orders(self) -> list[str]:
        request = urllib.request.Request(f"http://{self.address}/orders/ids", headers={"Host": HOST})
        with urllib.request.urlopen(request, timeout=10) as answer:
            found = json.load(answer)
        return found["ids"] if isinstance(found, dict) else found

    def table(self, result: dict[str, Any]) -> None:
        rows = [("WHAT", "RELEASE", "VERDICT", "SERVES", "SECONDS", "OF IT BUILD")]
        for d in self.deploys:
            rows.append(
                (d.what, d.release, d.verdict, d.serving, f"{d.seconds:.2f}", f"{d.build_seconds:.2f}")
            )
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            self.say("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())
        self.say()
        for p in self.pushes:
            stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in p.stages.items())
            self.say(f"push: {p.what}: {p.state} after {p.seconds:.1f} s, {p.serving} serves ({stages})")
        self.say()
        for release in dict.fromkeys(m.release for m in self.migrations):
            names = [m.description for m in self.migrations if m.release == release]
            self.say(f"migrations of {release}: {', '.join(names)}")
        self.say()
        own, sent = result["failed_by_bad_canary"], result["requests_sent"]
        self.say(f"requests sent   {sent}")
        self.say(f"requests failed {result['requests_failed']}")
        self.say(
            f"  of them GETs that the bad canary answered with its own 500: {own}, {100 * own / sent:.2f} % of all"
        )
        self.say(f"  otherwise: {result['failed_otherwise']}")
        if result["failed_otherwise"]:
            for failure in (f for f in result["failures"] if OWN_ERROR not in f["what"]):
                self.say(f"  {failure['time']} {failure['kind']}: {failure['what']}")
        self.say(f"orders lost     {result['orders_lost']}, doubled {result['orders_doubled']}")
        self.say(f"open            {result['url']}")

    def close(self) -> None:
        if self.load is not None:
            self.load.__exit__()
        if self.started:
            subprocess.run(
                [HOMEPORT, "down"], env=self.environment, cwd="/", capture_output=True, check=False
            )
        shutil.rmtree(self.work, ignore_errors=True)


def _own_errors(figures: dict[str, Any]) -> int:
    return figures["statuses"].get("500", 0)


def _seconds(stage: dict[str, Any]) -> float:
    began, ended = (datetime.fromisoformat(stage[key]) for key in ("started_at", "finished_at"))
    return round((ended - began).total_seconds(), 2)


def _is_free(port: int) -> bool:
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the table")
    parser.add_argument("--json", action="store_true", help="print the table as one JSON object")
    parser.add_argument("--data-dir", type=Path, default=ROOT / ".homeport")
    options = parser.parse_args()
    demo = Demo(options.data_dir.absolute(), quiet=options.json)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        result = demo.show()
        demo.table(result)
        if options.json:
            print(json.dumps(result, indent=2))
        if not options.once:
            demo.say("\nup until Ctrl-C; homeport status shows it: "
                     f"HOMEPORT_HOME={demo.data_dir} {HOMEPORT.relative_to(ROOT)} status")  # fmt: skip
            stop.wait()
        return 0 if result["ok"] else 1
    finally:
        demo.close()


if __name__ == "__main__":
    sys.exit(main())
