"""Deploys and rollbacks of examples/shop under mixed load: failures, times, memory, start-up.

Figure 2 counts what failed over many deploys and rollbacks. Figure 3 takes from a deploy's time what is
the app's own: its build command, and its boot as measured by hand in the same run. Figure 4 is what the
control plane costs when nothing happens.
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from load import LoadProcess, Mix, compare_orders

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

from live import App, Homeport  # noqa: E402
from ports import free_port  # noqa: E402

HOST = "shop.localhost"


def figure(
    name: str, value: Any, unit: str, bound: str = "", holds: bool | None = None, **peers: Any
) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "bound": bound, "holds": holds, "peers": peers}


class Shop:
    """examples/shop on a Homeport of its own, with nothing in its homeport.toml that waits by itself."""

    def __init__(self) -> None:
        self.homeport = Homeport()
        self.app: App
        self.version = 0

    def __enter__(self) -> "Shop":
        try:
            self.homeport.up()
            self.app = self.homeport.app("shop")
            shutil.copytree(
                ROOT / "examples" / "shop", self.app.directory, dirs_exist_ok=True,
                ignore=shutil.ignore_patterns(".venv", "data"),
            )  # fmt: skip
            without_waiting(self.app.directory / "homeport.toml")
        except BaseException:
            self.homeport.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.homeport.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.homeport.port}"

    def commit(self) -> None:
        self.version += 1
        path = self.app.directory / "shop" / "release.py"
        lines = [
            f'VERSION = "{self.version}"' if line.startswith("VERSION = ") else line
            for line in path.read_text().splitlines()
        ]
        path.write_text("\n".join(lines) + "\n")
        self.app.commit(f"version {self.version}")

    def deploy(self) -> tuple[float, dict[str, Any]]:
        """Commit something and deploy it: (seconds the command took, the release)."""
        self.commit()
        began = time.monotonic()
        self.homeport.run("deploy", "-q", cwd=self.app.directory)
        seconds = time.monotonic() - began
        return seconds, self.homeport.json("releases", "--app", "shop")[0]

    def serving(self) -> str:
        return self.homeport.environment("shop")["serving"]

    def boot(self) -> float:
        """Seconds that the app itself takes from start to its first well answer."""
        release = self.homeport.data / "releases" / "shop" / self.serving()
        port = free_port()
        environment = {
            "PATH": os.environ["PATH"],
            "PORT": str(port),
            "SHOP_DATA": str(self.homeport.work / "boot"),
        }
        began = time.monotonic()
        child = subprocess.Popen(
            [".venv/bin/python", "-m", "shop.web"], cwd=release, env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while time.monotonic() - began < 20:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                        return time.monotonic() - began
                except OSError:
                    time.sleep(0.003)
            raise RuntimeError("the shop did not boot")
        finally:
            child.terminate()
            child.wait()

    def orders(self) -> list[str]:
        request = urllib.request.Request(f"http://{self.address}/orders/ids", headers={"Host": HOST})
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = json.load(answer)
        return found["ids"] if isinstance(found, dict) else found


def without_waiting(path: Path) -> None:
    """Blue-green instead of a canary, and a verify stage that looks once."""
    text = path.read_text()
    for pattern, instead, lines in (
        (r'^strategy = "canary"$', 'strategy = "blue-green"', 1),
        # Of the rollout, which is then watched in the background, and of the verify stage.
        (r'^watch_for = ".*"\n', "", 2),
    ):
        text, count = re.subn(pattern, instead, text, flags=re.MULTILINE)
        if count != lines:
            raise RuntimeError(f"{path} has {count} lines like {pattern}: this bench has to be adapted")
    path.write_text(text)


def under_load(deploys: int = 100, rollbacks: int = 20, say: Any = lambda text: None) -> list[dict[str, Any]]:
    """Figure 2, and the times of figure 3 as they are under load."""
    with Shop() as shop:
        shop.deploy()
        shop.deploy()
        load = LoadProcess(shop.address, HOST, Mix())
        rollback_every = max(1, deploys // max(1, rollbacks))
        done = left = 0
        with load:
            time.sleep(1)
            for n in range(1, deploys + 1):
                seconds, release = shop.deploy()
                say(f"deploy {n}: {seconds:.2f} s, of it build {release['build_seconds']:.2f}; "
                    f"{load.latest['sent']} sent, {load.latest['failed']} failed")  # fmt: skip
                if n % rollback_every == 0 and done < rollbacks:
                    shop.homeport.run("rollback", "-q", cwd=shop.app.directory)
                    done += 1
            time.sleep(1)
            found = load.stop()
        orders = compare_orders(found["acknowledged"], found["unacknowledged"], shop.orders())
        left = len(orders["lost"]) + len(orders["doubled"])
        for failure in found["failures"]:
            say(f"failed: {failure}")
        return [
            figure(f"requests sent over {deploys} deploys and {done} rollbacks", found["sent"], "requests"),
            figure("requests failed", found["failed"], "requests", "0", found["failed"] == 0),
            figure("POSTs acknowledged", found["orders_acknowledged"], "requests"),
            figure("POSTs lost or doubled", left, "requests", "0", left == 0),
            figure("GET p95 meanwhile", found["by_kind"]["get"]["ms"]["p95"], "ms"),
        ]


def times(rounds: int = 5, say: Any = lambda text: None) -> list[dict[str, Any]]:
    """Figure 3: medians over ``rounds``."""
    with Shop() as shop:
        shop.deploy()
        own, last_answers, whole = [], [], []
        for _ in range(rounds):
            seconds, release = shop.deploy()
            boot = statistics.median(shop.boot() for _ in range(3))
            own.append(seconds - release["build_seconds"] - boot)
            whole.append(seconds)
            say(
                f"deploy {seconds:.2f} s = build {release['build_seconds']:.2f} + boot {boot:.2f} + ours {own[-1]:.2f}"
            )
            bad = release["id"]
            with LoadProcess(shop.address, HOST, Mix(slows=0, posts=0, websockets=0, streams=0)) as load:
                time.sleep(0.8)
                began = time.time()
                shop.homeport.run("rollback", "-q", cwd=shop.app.directory)
                time.sleep(0.8)
                found = load.stop()
            last_answers.append(found["release_times"][bad][1] - began)
            say(f"rollback: last answer of {bad} {last_answers[-1]:.3f} s after the command began")
        ours, rollback = statistics.median(own), statistics.median(last_answers)
        return [
            figure("deploy, all of it", round(statistics.median(whole), 2), "s"),
            figure("deploy minus the app's own build and boot", round(ours, 2), "s", "≤ 1.0", ours <= 1.0),
            figure("warm rollback, command to last answer of the bad release", round(rollback, 3), "s", "≤ 0.5", rollback <= 0.5),
        ]  # fmt: skip


def promote(rounds: int = 5, say: Any = lambda text: None) -> list[dict[str, Any]]:
    """Issue 3's figure 4: the release that staging serves to production."""
    with Shop() as shop:
        taken = []
        for _ in range(rounds):
            shop.commit()
            shop.homeport.run("deploy", "-q", "--env", "staging", cwd=shop.app.directory)
            began = time.monotonic()
            done = shop.homeport.run("promote", "staging", "production", cwd=shop.app.directory)
            taken.append(time.monotonic() - began)
            if "building" in done.stdout:
                raise RuntimeError("promote built something")
            say(f"promote {taken[-1]:.2f} s")
        return [
            figure("promote, command to verdict, no build", round(statistics.median(taken), 2), "s", "≤ 3",
                   statistics.median(taken) <= 3),
        ]  # fmt: skip


def idle(say: Any = lambda text: None) -> list[dict[str, Any]]:
    """Figure 4."""
    with Shop() as shop:
        shop.deploy()
        time.sleep(10)
        memory = shop.homeport.json("status")["memory"] / 1e6
        rss = {}
        for pid, name in shop.homeport.pids().items():
            if not name.startswith("shop."):
                rss[name or "supervisord"] = rss.get(name or "supervisord", 0) + _rss(pid)
        rss["supervisord"] = _rss(shop.homeport.supervisord())
        version = _median_time(shop.homeport, "--version")
        status = _median_time(shop.homeport, "status")
        return [
            figure("control plane idle memory", round(memory, 1), "MB", "≤ 120", memory <= 120,
                   **{f"{k} (MB)": round(v / 1e6, 1) for k, v in sorted(rss.items())}),
            figure("homeport --version", round(version * 1000), "ms", "≤ 150", version <= 0.150),
            figure("homeport status", round(status * 1000), "ms", "≤ 400", status <= 0.400),
        ]  # fmt: skip


def _rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _median_time(homeport: Homeport, *arguments: str) -> float:
    found = []
    for _ in range(15):
        began = time.monotonic()
        homeport.run(*arguments)
        found.append(time.monotonic() - began)
    return statistics.median(found)
