"""From ``git push`` to 100 % in production: what Homeport adds to the user's own commands.

    python bench/pipeline.py [--rounds N] [--profile]

examples/shop goes through check, build, staging, smoke and verify, with nothing in it that waits: production is
blue-green and ``verify`` looks once. Of a push's time its own are the commands of the check (run by hand in the
same round, side by side as the stage runs them), the build command, and the app's boot, by hand, once for
staging and once for production. The rest is ours, git, smoke requests and the command line included.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from datetime import datetime
from typing import Any

from ship import Shop, figure

BOUND = 5.0


class Pushes:
    """Pushes of new versions to a shop with a remote."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        shop.app.git("branch", "-q", "-M", "main")
        shop.homeport.run("remote", cwd=shop.app.directory)

    def push(self) -> tuple[float, dict[str, Any], dict[str, Any]]:
        """Commit something and push it: (seconds, its run, its release)."""
        shop = self._shop
        shop.commit()
        began = time.monotonic()
        done = subprocess.run(
            ["git", "push", "homeport", "main"], cwd=shop.app.directory, env=shop.homeport.env,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        seconds = time.monotonic() - began
        if done.returncode:
            raise RuntimeError(f"the push failed:\n{done.stderr}")
        run = shop.homeport.json("pipeline", "show", cwd=shop.app.directory)
        release = shop.homeport.json("releases", "--app", "shop")[0]
        if run["commit"] != release["commit"] or shop.serving() != release["id"]:
            raise RuntimeError(f"run #{run['number']} passed, and {shop.serving()} serves")
        return seconds, run, release

    def checks(self) -> float:
        """Seconds that the commands of the check take by hand, side by side in a fresh copy."""
        source = self._shop.app.directory
        stages = tomllib.loads((source / "homeport.toml").read_text())["pipeline"]["stage"]
        commands = next(s["commands"] for s in stages if s["kind"] == "check")
        with tempfile.TemporaryDirectory() as directory:
            shutil.copytree(source, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".git"))
            began = time.monotonic()
            children = [
                subprocess.Popen(
                    ["/bin/sh", "-c", line], cwd=directory, env=self._shop.homeport.env,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )
                for line in commands.values()
            ]  # fmt: skip
            for child in children:
                if child.wait():
                    raise RuntimeError("a check failed by hand")
            return time.monotonic() - began


def run(rounds: int = 5, say: Any = lambda text: None, *, profile: bool = False) -> list[dict[str, Any]]:
    whole, own, ours = [], [], []
    with Shop() as shop:
        pushes = Pushes(shop)
        pushes.push()
        for _ in range(rounds):
            seconds, found, release = pushes.push()
            checks = statistics.median(pushes.checks() for _ in range(3))
            boot = statistics.median(shop.boot() for _ in range(3))
            whole.append(seconds)
            own.append(checks + release["build_seconds"] + 2 * boot)
            ours.append(seconds - own[-1])
            say(
                f"push {seconds:.2f} s = checks {checks:.2f} + build {release['build_seconds']:.2f} "
                f"+ 2 boots of {boot:.2f} + ours {ours[-1]:.2f}"
            )
            if profile:
                for line in timeline(found, shop.homeport.json("events", "--app", "shop", "-n", "120")):
                    say(f"    {line}")
    median = statistics.median(ours)
    return [
        figure("git push to 100 % in production, all of it", round(statistics.median(whole), 2), "s"),
        figure("git push, the user's own: checks, build, two boots", round(statistics.median(own), 2), "s"),
        figure("git push minus the user's own", round(median, 2), "s", f"≤ {BOUND:g}", median <= BOUND,
               slowest=f"{max(ours):.2f} s"),
    ]  # fmt: skip


def timeline(run: dict[str, Any], events: list[dict[str, Any]]) -> list[str]:
    """Where a run's time went: each event with the seconds since the one before."""
    began = _time(run["created_at"])
    told, last = [], began
    for event in sorted(events, key=lambda e: e["id"] if "id" in e else e["at"]):
        at = _time(event["at"])
        if at < began:
            continue
        what = event["data"].get("stage") or event["data"].get("instance") or ""
        told.append(f"{at - began:7.3f}  +{at - last:6.3f}  {event['kind']} {what}")
        last = at
    return told


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="print each run's events with their times")
    options = parser.parse_args()
    figures = run(options.rounds, lambda t: print(t, flush=True), profile=options.profile)
    print(json.dumps(figures, indent=2, ensure_ascii=False))
    return 1 if any(f["holds"] is False for f in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
