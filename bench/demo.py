"""What ``script/demo`` shows: staging, promote, deploys under load, a broken release that never takes traffic, a
rollback; then two pushes through the pipeline, the first of which its canary takes back. Orders are in PostgreSQL:
the last push renames a column of theirs by expand and contract. At the end their table is dropped and brought back.
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
import time
import urllib.request
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from demo_account import Deploy, Migration, Push, Unexpected, account, seconds_of, table
from demo_recovery import LastAct, Recovery
from load import LoadProcess, Mix

ROOT = Path(__file__).resolve().parent.parent
HOMEPORT = ROOT / ".venv" / "bin" / "homeport"
HOST = "shop.localhost"
RENAMING = "*_rename_quantity_*.sql"
"""The migrations that the last push brings. The last of them is the contract."""
CONTRACT_TIMEOUT = 300.0


SHIPS = re.compile(r"(?:deploy|promote|rollback) +(r\d+)\b")
BUILDS = re.compile(r" *building ")
TOLD = re.compile(r"run #|✗|✓ (?!built|ready|traffic)|\bwaits|error:|hint:")
"""What of a push is shown: its stages and the steps of its canary. ``homeport pipeline logs`` has all of it."""


class Demo:
    def __init__(self, data_dir: Path, *, quiet: bool) -> None:
        self.data_dir = data_dir
        self.quiet = quiet
        self.program = HOMEPORT
        self.host = HOST
        self.work = Path(tempfile.mkdtemp(prefix="homeport-demo-"))
        self.shop = self.work / "shop"
        self.deploys: list[Deploy] = []
        self.pushes: list[Push] = []
        self.migrations: list[Migration] = []
        self.contract_seconds = 0.0
        self.recovery: Recovery | None = None
        self.stood: dict[str, dict[str, Any]] = {}
        """Each environment as it was after the last step."""
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

    def ask(self, *arguments: str) -> Any:
        """The answer of a command with --json, whatever its status says of what it tells; None when it has none."""
        done = self._json(*arguments)
        return json.loads(done.stdout) if done.stdout else None

    def homeport(self, *arguments: str) -> Any:
        """The same of a command that has to answer."""
        done = self._json(*arguments)
        if not done.stdout:
            raise Unexpected(f"homeport {' '.join(arguments)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def _json(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [HOMEPORT, *arguments, "--json"],
            env=self.environment, cwd=self.work, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def up(self) -> None:
        settings = self.data_dir / "homeport.json"
        if settings.exists():
            address = json.loads(settings.read_text())["http"]
        else:
            address = f"127.0.0.1:{_free_port(8080)}"
        self.started = True
        found = self.homeport("up", "--http", address)
        self.address = found["http"]
        self.say(f"$ homeport up --data-dir {self.data_dir} --http {address}\n  {found['message']}\n")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.shop, env=self.environment, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    def commit(self, message: str, **values: object) -> None:
        release = self.shop / "shop" / "release.py"
        lines = release.read_text().splitlines()
        for name, value in values.items():
            lines = [f"{name} = {value!r}" if line.startswith(f"{name} = ") else line for line in lines]
        release.write_text("\n".join(lines) + "\n")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def run(self, what: str, *arguments: str, promoted: bool, environment: str = "production") -> None:
        """A command as a user gives it, its output live; its verdict goes to the table.

        Raises ``Unexpected`` when its status, or what serves after it, is not what was to be shown.
        """
        before = self.stood.get(environment, {})
        status, seconds, told = self.watch("homeport", *arguments)
        now = self.stood[environment] = self.standing(environment)
        release = next((found[1] for text in told if (found := SHIPS.match(text))), "")
        built = self.homeport("releases", "--app", "shop") if any(map(BUILDS.match, told)) else []
        self.deploys.append(
            Deploy(
                what=what,
                release=release,
                verdict="rolled back" if status else "promoted",
                serving=now["serving"] or "",
                seconds=round(seconds, 2),
                build_seconds=sum(r["build_seconds"] or 0.0 for r in built if r["id"] == release),
            )
        )
        wanted = release if promoted else before["serving"]
        if (status == 0) != promoted or now["serving"] != wanted:
            serves = f"{now['serving'] or 'nothing'} serves {environment}"
            if now["serving"] != wanted:
                serves += f" instead of {wanted or 'a release'}"
            why = self.why([] if (status == 0) == promoted else told, environment)
            raise Unexpected(
                f"homeport {' '.join(arguments)} ({what}) ended with status {status}, and {serves}{why}"
            )
        self._say_load()

    def why(self, told: list[str], environment: str) -> str:
        """What the command said, or else what became of the release on trial: it may be taken back after the
        command that shipped it has ended."""
        errors = [text.removeprefix("error: ") for text in told if text.startswith("error: ")]
        if errors:
            return ": " + "; ".join(errors)
        trial = self.ask("rollout", "show", "--app", "shop", "--env", environment) or {}
        if trial.get("state") == "rolled back":
            return f": {trial['release']} was taken back: {'; '.join(trial['reasons'])}"
        return ""

    def watch(self, *command: str, told: re.Pattern[str] | None = None) -> tuple[int, float, list[str]]:
        """Run a command in the shop's repository, its output live: (status, seconds, lines)."""
        self.say(f"$ {' '.join(command)}")
        argv = [HOMEPORT, *command[1:]] if command[0] == "homeport" else command
        child = subprocess.Popen(
            argv, cwd=self.shop, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert child.stdout is not None
        began = time.monotonic()
        lines = []
        with child.stdout:
            for line in child.stdout:
                text = line.removeprefix("remote: ").rstrip()
                if told is None or (told.search(text) and "│" not in text):
                    self.say(f"  {text}")
                lines.append(text)
        return child.wait(), time.monotonic() - began, lines

    def standing(self, environment: str = "production") -> dict[str, Any]:
        """As observed; without a release where there is no such environment."""
        found = [e for app in self.homeport("status")["apps"] for e in app["environments"]
                 if (app["name"], e["name"]) == ("shop", environment)]  # fmt: skip
        return found[0] if found else {"serving": None}

    def push(self, what: str, *, passes: bool) -> None:
        """The newest commit by ``git push``: its run is told as it goes, then what its canary cost."""
        assert self.load is not None
        before = dict(self.load.latest)
        served = self.standing()["serving"]
        head = self.git("rev-parse", "HEAD")
        status, seconds, lines = self.watch("git", "push", "homeport", "main", told=TOLD)
        time.sleep(1.0)
        after = self.load.latest
        run = self.homeport("pipeline", "show", "--app", "shop")
        if run["commit"] != head:
            raise Unexpected(f"git push ({what}) ended with status {status} and began no run"
                             f"{self.why(lines, 'production')}")  # fmt: skip
        trial = self.homeport("rollout", "show", "--app", "shop")
        now = self.stood["production"] = self.standing()
        serving = now["serving"]
        wanted = ("passed", trial["release"]) if passes else ("failed", served)
        found = Push(
            what=what,
            commit=run["commit"][:10],
            release=trial["release"],
            state=run["state"],
            reason=run["reason"],
            serving=serving,
            seconds=round(seconds, 2),
            stages={s["name"]: seconds_of(s) for s in run["stages"] if s["finished_at"]},
            requests=after["sent"] - before["sent"],
            canary_requests=trial["figures"]["canary_requests"],
            canary_errors=trial["figures"]["canary_errors"],
            failed=after["failed"] - before["failed"],
            failed_by_canary=_own_errors(after) - _own_errors(before),
        )
        self.pushes.append(found)
        self.say(f"  exit status {status} after {seconds:.1f} s; {serving} serves production")
        told = f"  load: {found.requests} requests meanwhile, {found.failed} failed"
        if found.failed:
            share = 100 * found.failed_by_canary / found.requests
            told += f"; {found.failed_by_canary} were the canary's own 500s, {share:.2f} % of all"
        self.say(f"{told}\n")
        if (status == 0) != passes or (run["state"], serving) != wanted:
            raise Unexpected(
                f"git push ({what}) ended with status {status}, run #{run['number']} {run['state']}, and "
                f"{serving or 'nothing'} serves production instead of {wanted[1]}: "
                f"{run['reason'] or self.why([], 'production')}"
            )

    def _say_load(self) -> None:
        if self.load is not None:
            latest = self.load.latest
            self.say(f"  load: {latest['sent']} requests sent, {latest['failed']} failed\n")
        else:
            self.say()

    def show(self) -> dict[str, Any]:
        """All that was seen, also where it was not as it should be: ``stopped`` then says what happened."""
        result: dict[str, Any] = {"ok": False, "stopped": "", "data_dir": str(self.data_dir)}
        try:
            self.play()
            assert self.load is not None
            figures = self.load.stop()
            result |= account(figures, self.pushes, self.stored_orders())
            self.say("# the deploys are over, and so is their account; last, an accident\n")
            self.recovery = LastAct(self, figures["acknowledged"]).play()
            result["ok"] = result["ok"] and self.recovery.ok
        except Unexpected as e:
            self.say()
            seen = self.load.latest if self.load is not None else {"sent": 0, "failed": 0}
            result |= {"requests_sent": seen["sent"], "requests_failed": seen["failed"]}
            result |= {"ok": False, "stopped": str(e)}
        return result | {
            "url": f"http://{HOST}:{self.address.rpartition(':')[2]}/",
            "deploys": [asdict(d) for d in self.deploys],
            "pushes": [asdict(p) for p in self.pushes],
            "migrations": [asdict(m) for m in self.migrations],
            "contract_seconds": self.contract_seconds,
            "recovery": asdict(self.recovery) if self.recovery is not None else None,
        }

    def play(self) -> None:
        left_out = shutil.ignore_patterns(".venv", "data", "__pycache__")
        shutil.copytree(ROOT / "examples" / "shop", self.shop, ignore=left_out)
        subprocess.run(["git", "init", "-q", "-b", "main", str(self.shop)], check=True)
        self.up()
        self.go_on_from(self.data_dir / "repositories" / "shop.git")
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
        if later:
            self.await_contract()
        time.sleep(1.0)

    def go_on_from(self, repository: Path) -> None:
        """What an earlier demo of this data directory pushed is what this one's commits come after."""
        if repository.exists() and self.git("ls-remote", str(repository), "refs/heads/main"):
            self.git("fetch", "-q", str(repository), "main")
            self.git("reset", "-q", "--soft", "FETCH_HEAD")

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
        if last.state != "applied":
            raise Unexpected(f"{last.description} is {last.state} {CONTRACT_TIMEOUT:g} s after the push")
        self.say(f"# {last.description}: applied {self.contract_seconds:.1f} s after the push, when nobody "
                 "needed the old column any more")  # fmt: skip
        self.say(f"  load: {self.load.latest['failed'] - failed} failed meanwhile\n")

    def stored_orders(self) -> list[str]:
        request = urllib.request.Request(f"http://{self.address}/orders/ids", headers={"Host": HOST})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                found: list[str] = json.load(answer)
        except OSError as e:
            raise Unexpected(f"the shop does not say what orders it has: {e}") from e
        return found

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


def _data_dir() -> Path:
    """Beside the sources. Root's PostgreSQL runs as another user, who may not pass a home like ``/root``."""
    reached = all(parent.stat().st_mode & 0o001 for parent in (ROOT, *ROOT.parents))
    return ROOT / ".homeport" if reached or os.geteuid() else Path("/var/lib/homeport-demo")


def _free_port(wanted: int) -> int:
    """``wanted``, or else any."""
    for port in (wanted, 0):
        with socket.socket() as s, suppress(OSError):
            s.bind(("127.0.0.1", port))
            return int(s.getsockname()[1])
    raise Unexpected("no port is free")


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the table")
    parser.add_argument("--json", action="store_true", help="print the table as one JSON object")
    parser.add_argument("--data-dir", type=Path, default=_data_dir())
    options = parser.parse_args()
    demo = Demo(options.data_dir.absolute(), quiet=options.json)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        result = demo.show()
        for line in table(result):
            demo.say(line)
        if options.json:
            print(json.dumps(result, indent=2))
        if not options.once and not result["stopped"]:
            demo.say("\nup until Ctrl-C; homeport status shows it: "
                     f"HOMEPORT_HOME={demo.data_dir} {HOMEPORT.relative_to(ROOT)} status")  # fmt: skip
            with suppress(KeyboardInterrupt):
                signal.pause()
        return 0 if result["ok"] else 1
    except KeyboardInterrupt:
        demo.say("\nended before the table")
        return 130
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        demo.close()


if __name__ == "__main__":
    sys.exit(main())
