"""Canaries of good and bad releases under steady traffic: what becomes of them, how soon, at what cost.

    python bench/canary.py [--bad N] [--good N] [--kills N] [--apps N]

On one Homeport several apps roll out side by side, each with 50 requests a second of its own (arrivals at
random) through the edge, with the strategy as it is by default: 5 %, 25 %, 100 %, 30 s each at least. A bad
release answers 500 on one request in twenty, or takes three times as long; a good one is like the one
before. Timed is from the first bad answer that a client got to the moment at which the edge gave the
release no more requests, by the journal.

Then a canary with half of the requests is killed with ``kill -9`` under GETs, again and again.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from live import HOMEPORT, App, Homeport
from ship import figure

RATE = 50.0
BOUND = 10.0
LATENCY = 0.010
"""Seconds that the app takes for an answer, in the median; log-normal with a deviation of 0.5."""
ROLLOUT = 'strategy = "canary"\nwatch_for = "20s"'
HALF = 'strategy = "canary"\nsteps = ["50%"]\nbake = "60s"\nwatch_for = "0s"'

SERVER = """
import asyncio, os, random, sys
RELEASE = os.environ["HOMEPORT_RELEASE"].encode()
SLOWER, FAILING = {slower}, {failing}
async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            if not head.startswith(b"GET /health"):
                await asyncio.sleep({latency} * SLOWER * random.lognormvariate(0, 0.5))
            bad = random.random() < FAILING and not head.startswith(b"GET /health")
            status = b"500 Internal Server Error" if bad else b"200 OK"
            writer.write(b"HTTP/1.1 " + status + b"\\r\\nContent-Length: 2\\r\\nX-Release: " + RELEASE + b"\\r\\n\\r\\nok")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(os.environ["PORT"]))
    async with server:
        await server.serve_forever()
asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Answer:
    sent: float
    at: float
    status: int
    """0: none came."""
    release: str


class Load:
    """GETs at random times, on kept connections, in a thread of its own."""

    def __init__(self, port: int, host: str, rate: float, seed: int) -> None:
        self.answers: list[Answer] = []
        self._port, self._rate = port, rate
        self._request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    async def _run(self) -> None:
        due = time.monotonic()
        asked: set[asyncio.Task[None]] = set()
        while not self._stop.is_set():
            task = asyncio.create_task(self._ask())
            asked.add(task)
            task.add_done_callback(asked.discard)
            due += self._random.expovariate(self._rate)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await asyncio.gather(*asked)
        for _, writer in self._idle:
            writer.close()

    async def _ask(self) -> None:
        sent = time.time()
        status, release = 0, ""
        try:
            if self._idle:
                reader, writer = self._idle.pop()
            else:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(self._request)
            async with asyncio.timeout(20):
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
                await reader.readexactly(int(headers.get("content-length", 0)))
            status, release = int(lines[0].split()[1]), headers.get("x-release", "")
            if headers.get("connection") == "close":
                writer.close()
            else:
                self._idle.append((reader, writer))
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass
        self.answers.append(Answer(sent, time.time(), status, release))


@dataclass
class Outcome:
    kind: str
    verdict: str
    found_after: float | None
    """Seconds from the first bad answer to no more requests."""
    faulty: int
    requests: int
    seconds: float
    problems: list[str] = field(default_factory=list)


class Trials:
    """One app, rolled out again and again."""

    def __init__(self, homeport: Homeport, app: App, seed: int) -> None:
        self._homeport, self._app, self._seed = homeport, app, seed

    def _deploy(self, rollout: str, *, slower: float = 1.0, failing: float = 0.0) -> subprocess.Popen[str]:
        self._app.write("x", rollout=rollout, keep_warm="30s")
        text = SERVER.format(slower=slower, failing=failing, latency=LATENCY) + f"# {time.time()}\n"
        (self._app.directory / "app.py").write_text(text)
        self._app.commit("next")
        return subprocess.Popen(
            [str(HOMEPORT), "deploy", "--json"], cwd=self._app.directory, env=self._homeport.env,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def first(self, rollout: str = ROLLOUT) -> None:
        out, _ = (process := self._deploy(rollout)).communicate(timeout=120)
        assert process.returncode == 0, out

    def roll_out(self, kind: str) -> Outcome:
        bad = {"errors": {"failing": 0.05}, "slow": {"slower": 3.0}, "good": {}}[kind]
        self._seed += 1
        with Load(self._homeport.port, self._app.host, RATE, self._seed) as load:
            time.sleep(2)
            began = time.time()
            out, _ = self._deploy(ROLLOUT, **bad).communicate(timeout=900)
            ended = time.time()
            change = json.loads(out[out.index("{") :])
            release = change["release"]
            if change["result"]["verdict"] == "promoted":
                # The watch goes on, and may still take it back.
                self._wait_for_the_watch()
                ended = time.time()
        serves = self._homeport.environment(self._app)["serving"]
        during = [a for a in load.answers if began <= a.sent <= ended]
        if kind == "slow":
            faulty = [a for a in during if a.release == release]
        else:
            faulty = [a for a in during if a.status != 200]
        verdict = "promoted" if serves == release else "rolled back"
        after = None
        if kind != "good" and verdict == "rolled back" and faulty:
            after = self._back_at(change["id"]) - min(a.at for a in faulty)
        return Outcome(kind, verdict, after, len(faulty), len(during), ended - began)

    def _wait_for_the_watch(self) -> None:
        end = time.time() + 60
        while time.time() < end:
            if self._homeport.json("rollout", "show", cwd=self._app.directory)["state"] != "running":
                return
            time.sleep(0.5)

    def _back_at(self, change: str) -> float:
        """When the edge gave it no more requests."""
        told = self._homeport.json("events", "--app", self._app.name, "-n", "200")
        shifts = [e for e in told if e["kind"] == "traffic.shifted"]
        mine = [e for e in shifts if e["change"] == change] or shifts
        return datetime.fromisoformat(mine[-1]["at"].replace("Z", "+00:00")).timestamp()

    def kill(self) -> tuple[int, int]:
        """(requests, failed) around a kill of a canary that has half of them."""
        before = self._homeport.environment(self._app)["serving"]
        with Load(self._homeport.port, self._app.host, 200.0, self._seed) as load:
            deploy = self._deploy(HALF)
            end = time.time() + 30
            while time.time() < end and not any(a.release not in ("", before) for a in load.answers):
                time.sleep(0.02)
            time.sleep(0.5)
            prefix = f"{self._app.name}.production."
            pids = [p for p, n in self._homeport.pids().items() if n.startswith(prefix) and before not in n]
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            deploy.communicate(timeout=120)
            time.sleep(1)
        assert deploy.returncode == 7 and pids, "the canary was not taken back"
        return len(load.answers), sum(a.status != 200 for a in load.answers)


def run(
    bad: int = 20, good: int = 40, kills: int = 10, apps: int = 4, say: Any = lambda text: None
) -> list[dict[str, Any]]:
    homeport = Homeport()
    outcomes: list[Outcome] = []
    killed: list[tuple[int, int]] = []
    try:
        homeport.up()
        trials = [Trials(homeport, homeport.app(f"app-{n}"), 1000 * n) for n in range(apps)]
        for trial in trials:
            trial.first()
        todo = ["errors"] * bad + ["slow"] * bad + ["good"] * good
        random.Random(1).shuffle(todo)
        lock = threading.Lock()

        def work(trial: Trials) -> None:
            while True:
                with lock:
                    if not todo:
                        return
                    kind = todo.pop()
                outcome = trial.roll_out(kind)
                with lock:
                    outcomes.append(outcome)
                    after = f", {outcome.found_after:.1f} s after the first" if outcome.found_after else ""
                    say(
                        f"{kind:7} {outcome.verdict:12} {outcome.seconds:5.0f} s, "
                        f"{outcome.faulty} of {outcome.requests} requests met a fault{after}"
                    )

        with ThreadPoolExecutor(apps) as pool:
            list(pool.map(work, trials))
        for _ in range(kills):
            killed.append(trials[0].kill())
            say(f"killed: {killed[-1][1]} of {killed[-1][0]} requests failed")
    finally:
        homeport.close()
    return _figures(outcomes, killed)


def _figures(outcomes: list[Outcome], killed: list[tuple[int, int]]) -> list[dict[str, Any]]:
    found = []
    for kind, what in (("errors", "5 % errors"), ("slow", "3 times slower")):
        mine = [o for o in outcomes if o.kind == kind]
        if not mine:
            continue
        back = sum(o.verdict == "rolled back" for o in mine)
        times = sorted(o.found_after for o in mine if o.found_after is not None)
        found.append(
            figure(
                f"canary, {what}: rolled back of {len(mine)}", back, "", f"= {len(mine)}", back == len(mine)
            )
        )
        if times:
            median = round(statistics.median(times), 1)
            slowest = f"{times[-1]:.1f} s"
            found.append(
                figure(f"canary, {what}: first bad answer to 0 %, median", median, "s", "≤ 10", median <= BOUND,
                       slowest=slowest)
            )  # fmt: skip
        share = 100 * sum(o.faulty for o in mine) / max(1, sum(o.requests for o in mine))
        found.append(figure(f"canary, {what}: requests that met a fault", round(share, 2), "%"))
    mine = [o for o in outcomes if o.kind == "good"]
    if mine:
        kept = sum(o.verdict == "promoted" for o in mine)
        took = statistics.median(o.seconds for o in mine)
        found.append(
            figure(f"canary, good: promoted of {len(mine)}", kept, "", f"= {len(mine)}", kept == len(mine),
                   median=f"{took:.0f} s")
        )  # fmt: skip
    if killed:
        failed = sum(f for _, f in killed)
        found.append(
            figure(f"canary killed at 50 % of the requests, {len(killed)} times: GETs that failed", failed, "",
                   "= 0", failed == 0, requests=sum(n for n, _ in killed))
        )  # fmt: skip
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bad", type=int, default=20)
    parser.add_argument("--good", type=int, default=40)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--apps", type=int, default=4, help="side by side")
    options = parser.parse_args()
    figures = run(options.bad, options.good, options.kills, options.apps, lambda t: print(t, flush=True))
    print(json.dumps(figures, indent=2))
    return 1 if any(f["holds"] is False for f in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
