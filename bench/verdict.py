"""How often a canary's verdict errs, by simulation: false alarms, misses, and what a finding takes.

    python bench/verdict.py [--runs N] [--seed N] [--tables]

50 requests a second come at random (Poisson) and go to the canary by chance; the verdict looks at every
second for 10 minutes. The same seed and runs give the same figures.
A *false alarm* is a canary like the release before that is rolled back. A *miss* is a bad canary that is
not rolled back by the time its number of requests would have let it be promoted.
"""

import argparse
import json
import math
import random
import statistics
import sys
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from typing import Any

from homeport.rollout.canary import BUCKETS, EDGES, Histogram, Settings, Side, Totals, Window, histogram
from homeport.rollout.verdict import Evidence, Forming, forming, look

RATE = 50.0
LOOKS = 600
SHARES = (0.01, 0.05, 0.25, 0.5)
BASES = (0.0, 0.001, 0.01, 0.05)
RISES = (0.01, 0.05, 0.2, 1.0)
FACTORS = (1.5, 3.0)
MEDIAN, SPREAD = 0.05, 1.0
"""Of the release before: log-normal, seconds; SPREAD is the standard deviation of the logarithm."""
SETTINGS = Settings()
ERRORS_ONLY = Settings(max_latency_increase=None)


@lru_cache(maxsize=1000)
def poisson_table(mean: float) -> list[float]:
    top = int(mean + 10 * math.sqrt(mean) + 20)
    return list(accumulate(math.exp(-mean + k * math.log(mean) - math.lgamma(k + 1)) for k in range(top)))


@lru_cache(maxsize=100)
def latency_table(median: float) -> list[float]:
    """The chance of each bucket or a lower one."""
    return [0.5 * math.erfc(-math.log(e / median) / SPREAD / math.sqrt(2)) for e in EDGES]


@dataclass(frozen=True)
class World:
    share: float
    base: float
    rise: float = 0.0
    factor: float | None = None
    """How much slower the canary is; None: latency is not measured."""
    good_for: int = 0
    """Looks before it goes bad."""
    outage: bool = False
    """Each minute, for 10 s, 60 % of all requests fail, on both sides."""
    clump: int = 1
    """Errors come so many at a time, all on one side."""

    def windows(self, r: random.Random) -> Iterator[Window]:
        for n in range(LOOKS):
            bad = n >= self.good_for
            base = 0.6 if self.outage and n % 60 >= 50 else self.base
            canary = self.side(
                r, self.share, min(1.0, base + self.rise * bad), (self.factor or 1) if bad else 1
            )
            yield Window(canary, self.side(r, 1 - self.share, base, 1))

    def side(self, r: random.Random, share: float, error_rate: float, factor: float) -> Side:
        def poisson(mean: float) -> int:
            return bisect(poisson_table(mean), r.random()) if mean else 0

        good = poisson(RATE * share * (1 - error_rate))
        errors = poisson(RATE * share * error_rate / self.clump) * self.clump
        return Side(good + errors, errors, self.latencies(r, good, factor))

    def latencies(self, r: random.Random, n: int, factor: float) -> Histogram:
        if self.factor is None:
            return ()
        table, counts = latency_table(MEDIAN * factor), [0] * BUCKETS
        for _ in range(n):
            counts[bisect(table, r.random())] += 1
        return tuple(counts)


@dataclass(frozen=True)
class Played:
    condemned: bool
    seconds: int
    """Until the end, from when it was bad."""
    requests: int
    """Of the canary, in that time."""


def play(world: World, settings: Settings, r: random.Random, until_enough: bool) -> Played:
    """One rollout. With ``until_enough`` it ends when it could be promoted."""
    evidence, before = Evidence(), 0
    for n, window in enumerate(world.windows(r), 1):
        evidence = look(evidence, (window,), settings)
        if n == world.good_for:
            before = evidence.canary.requests
        bad_for = n - world.good_for
        if evidence.condemned:
            return Played(bad_for > 0, max(0, bad_for), evidence.canary.requests - before)
        if until_enough and n % 5 == 0:
            state = forming(evidence, settings)
            if isinstance(state, Forming) and not state.missing:
                break
    return Played(False, n - world.good_for, evidence.canary.requests - before)


def upper(alarms: int, runs: int) -> float:
    """The rate that as few alarms would come from in one of twenty times (95 %, Wilson)."""
    z, p = 1.645, alarms / runs
    middle, off = p + z * z / 2 / runs, z * math.sqrt(p * (1 - p) / runs + z * z / 4 / runs / runs)
    return (middle + off) / (1 + z * z / runs)


def repeat(
    name: str, world: World, settings: Settings, seed: int, runs: int, until_enough: bool
) -> list[Played]:
    return [play(world, settings, random.Random(f"{seed} {name} {n}"), until_enough) for n in range(runs)]


def asked(
    r: random.Random, rate: float, share: float, median: float, spread: float, hangs_at: float
) -> Iterator[Window]:
    """Requests that take their time: so many a second, those in flight included. From ``hangs_at`` on the
    canary answers nothing."""
    done: list[list[list[float]]] = [[[] for _ in range(LOOKS)] for _ in range(2)]
    waiting = [[0] * (LOOKS + 1) for _ in range(2)]
    now = r.expovariate(rate)
    while now < LOOKS:
        side = 0 if r.random() < share else 1
        takes = r.lognormvariate(math.log(median), spread)
        if side == 0 and now + takes >= hangs_at:
            takes = math.inf
        end = min(LOOKS, now + takes)
        if now + takes < LOOKS:
            done[side][int(end)].append(takes)
        waiting[side][int(now)] += 1
        waiting[side][int(end)] -= 1
        now += r.expovariate(rate)
    in_flight = [list(accumulate(changes)) for changes in waiting]
    for n in range(LOOKS):
        yield Window(
            *(Side(len(d[n]), 0, histogram(d[n]), w[n]) for d, w in zip(done, in_flight, strict=True))
        )


def hangs(seed: int, runs: int) -> list[dict[str, Any]]:
    """A canary that answers nothing from the second minute on: false alarms before and without, seconds."""
    rows = []
    for rate, share, median, spread in ((50, 0.05, 0.05, 1.0), (5, 0.25, 0.05, 1.0), (5, 0.25, 0.5, 1.5), (2, 0.5, 0.5, 1.5)):  # fmt: skip
        name = f"{rate} req/s, share {share:.0%}, median {median * 1000:.0f} ms, spread {spread}"
        alarms, took = 0, []
        for n in range(runs):
            for hangs_at in (math.inf, 60.0):
                evidence = Evidence()
                windows = asked(random.Random(f"{seed} {name} {n}"), rate, share, median, spread, hangs_at)
                ended = 0
                for window in windows:
                    evidence, ended = look(evidence, (window,), SETTINGS), ended + 1
                    if evidence.condemned:
                        break
                if evidence.condemned and ended <= hangs_at:
                    alarms += 1
                elif evidence.condemned:
                    took.append(ended - hangs_at)
        row = {"case": name, "runs": 2 * runs, "alarms": alarms}
        rows.append(row | {"found": len(took), "seconds": statistics.median(took) if took else None})
    return rows


def false_alarms(seed: int, runs: int) -> list[dict[str, Any]]:
    cases = [(f"errors {base:.1%}, share {share:.0%}", World(share, base), ERRORS_ONLY) for base in BASES[1:] for share in SHARES]  # fmt: skip
    cases += [
        (f"latency alike, share {share:.0%}", World(share, 0.001, factor=1.0), SETTINGS) for share in SHARES
    ]
    cases += [
        (f"outages of both, share {share:.0%}", World(share, 0.001, outage=True), ERRORS_ONLY)
        for share in SHARES
    ]
    cases += [
        (f"errors 1.0%, 3 at a time, not told, share {share:.0%}", World(share, 0.01, clump=3), ERRORS_ONLY)
        for share in SHARES
    ]
    told = replace(ERRORS_ONLY, clump=3.0)
    cases += [
        (f"errors 1.0%, 3 at a time, clump = 3, share {share:.0%}", World(share, 0.01, clump=3), told)
        for share in SHARES
    ]
    rows = []
    for name, world, settings in cases:
        times = runs if world.factor is None else max(1, runs // 4)
        played = repeat(name, world, settings, seed, times, False)
        alarms = sum(p.condemned for p in played)
        rows.append(
            {
                "case": name,
                "runs": len(played),
                "alarms": alarms,
                "upper": upper(alarms, len(played)),
            }
        )
    return rows


def usual_test(seed: int, runs: int) -> list[dict[str, Any]]:
    """For comparison: two proportions at 5 % (one-sided, normal approximation), looked at as often."""
    alarms, name = 0, "errors 1.0%, share 25%"
    for n in range(runs):
        canary, stable = Totals(), Totals()
        for window in World(0.25, 0.01).windows(random.Random(f"{seed} {name} {n}")):
            canary, stable = canary.plus([window.canary]), stable.plus([window.stable or Side()])
            errors, requests = canary.errors + stable.errors, canary.requests + stable.requests
            if errors >= 5 and canary.requests and stable.requests:
                p = errors / requests
                deviation = math.sqrt(p * (1 - p) * (1 / canary.requests + 1 / stable.requests))
                if canary.rate - stable.rate > 1.645 * deviation:
                    alarms += 1
                    break
    return [{"case": name, "runs": runs, "alarms": alarms}]


def findings(seed: int, runs: int) -> list[dict[str, Any]]:
    cases = [
        (f"{base:.1%} + {rise:.0%} errors, share {share:.0%}", World(share, base, rise), ERRORS_ONLY)
        for base in (0.001, 0.01)
        for rise in RISES
        for share in SHARES
        if base + rise < 1.01
    ]
    cases += [
        (f"latency x {factor:g}, share {share:.0%}", World(share, 0.001, factor=factor), SETTINGS)
        for factor in FACTORS
        for share in SHARES
    ]
    cases += [
        (
            f"5 min good, then + {rise:.0%} errors, share {share:.0%}",
            World(share, 0.001, rise, good_for=300),
            ERRORS_ONLY,
        )
        for rise in (0.05, 1.0)
        for share in (0.05, 0.25)
    ]
    rows = []
    for name, world, settings in cases:
        played = [] if world.good_for else repeat(name, world, settings, seed, runs, True)
        full = repeat(f"{name} to the end", world, settings, seed, runs, False)
        found = [p for p in full if p.condemned]
        rows.append(
            {
                "case": name,
                "runs": runs,
                "missed": None if world.good_for else sum(not p.condemned for p in played),
                "in 10 min": len(full) - len(found),
                "seconds": statistics.median(p.seconds for p in found) if found else None,
                "requests": statistics.median(p.requests for p in found) if found else None,
            }
        )
    return rows


Tables = dict[str, list[dict[str, Any]]]


def play_all(seed: int, runs: int) -> Tables:
    return {
        "alarms": false_alarms(seed, runs),
        "usual": usual_test(seed, runs),
        "found": findings(seed, runs),
        "hangs": hangs(seed, runs // 4 + 1),
    }


def figures(tables: Tables) -> list[dict[str, Any]]:
    """The tables in a few figures. A rate holds its bound unless that many would be rare (5 %) if it did."""

    def rate(name: str, times: int, runs: int, bound: float | None) -> dict[str, Any]:
        least = 1 - upper(runs - times, runs)
        holds = None if bound is None else least <= bound
        told = "" if bound is None else f"<= {bound:.0%}"
        return {"name": f"verdict: {name}", "value": round(100 * times / runs, 2), "unit": "%", "bound": told, "holds": holds, "peers": {}}  # fmt: skip

    def alarms(name: str, start: str, bound: float | None) -> dict[str, Any]:
        rows = [row for row in tables["alarms"] if row["case"].startswith(start)]
        return rate(name, sum(r["alarms"] for r in rows), sum(r["runs"] for r in rows), bound)

    rows = [
        alarms(
            "false alarms by errors, 600 looks, usual rate 0.1 %", "errors 0.1%, share", SETTINGS.alpha / 2
        ),
        alarms("false alarms by errors, 600 looks, usual rate 1 %", "errors 1.0%, share", SETTINGS.alpha / 2),
        alarms("false alarms by errors, 600 looks, usual rate 5 %", "errors 5.0%, share", SETTINGS.alpha / 2),
        alarms("false alarms by latency, 600 looks", "latency alike", SETTINGS.alpha / 2),
        alarms("false alarms when an outage hits both sides", "outages", SETTINGS.alpha / 2),
        alarms("false alarms, errors 3 at a time, not told", "errors 1.0%, 3 at a time, not", None),
        alarms(
            "false alarms, errors 3 at a time, clump = 3",
            "errors 1.0%, 3 at a time, clump",
            SETTINGS.alpha / 2,
        ),
    ]
    for row in tables["usual"]:
        rows.append(rate(f"false alarms of a usual test, {row['case']}", row["alarms"], row["runs"], None))
    for row in tables["found"]:
        if "share 5%" in row["case"]:
            stated = (
                1 - SETTINGS.power if "+ 5% errors" in row["case"] and "good" not in row["case"] else None
            )
            if row["missed"] is not None:
                rows.append(rate(f"missed, {row['case']}", row["missed"], row["runs"], stated))
            if row["seconds"] is not None:
                rows.append({"name": f"verdict: found, {row['case']}", "value": row["seconds"], "unit": "s", "bound": "", "holds": None, "peers": {}})  # fmt: skip
    for row in tables["hangs"]:
        rows.append({"name": f"verdict: hang found, {row['case']}", "value": row["seconds"], "unit": "s", "bound": "", "holds": None, "peers": {}})  # fmt: skip
    return rows


def run(seed: int = 1, runs: int = 20) -> list[dict[str, Any]]:
    return figures(play_all(seed, runs))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="rollouts of each case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tables", action="store_true", help="print the tables too, on stderr")
    o = parser.parse_args()
    tables = play_all(o.seed, o.runs)
    if o.tables:
        print(json.dumps(tables), file=sys.stderr)
    rows = figures(tables)
    print(json.dumps(rows, indent=2))
    return 1 if any(row["holds"] is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
