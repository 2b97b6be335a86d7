"""Deploys of examples/shop that each rename a column of its orders by expand and contract, under load.

Each version of the shop writes and reads a column of its own: the one before is renamed by the shop's three files
of migrations, with other names in them. In between the release before and the new one serve side by side, and each
has to find what the other wrote. 0 requests may fail, and no order may be lost, doubled or have other items.

    python bench/expand_contract.py --deploys 10 --json
"""

import argparse
import http.client
import json
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from load import LoadProcess, Mix, compare_orders

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

from live import App, Homeport  # noqa: E402
from ship import HOST, figure  # noqa: E402

SEED = 20_000
"""Orders that are there before, so that filling has something to do."""
CONTRACT_TIMEOUT = 60.0
PARTS = ("expand", "fill", "contract")
SUITED = (
    (r'^steps = \["10%", "50%"\]$', 'steps = ["50%"]'),
    (r'^watch_for = "3s"$', 'watch_for = "1s"'),
    (r'^start_timeout = "20s"$', 'start_timeout = "60s"'),
)


class Checker:
    """Sends orders and reads them again, from whichever release answers; ``pairs`` counts who wrote and who read."""

    def __init__(self, address: str, *, every: float = 0.02) -> None:
        self._address = address
        self._every = every
        self._random = random.Random(0)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._number = 0
        self.written: dict[str, tuple[int, str]] = {}
        """Items and release, by key."""
        self.pairs: Counter[tuple[str, str]] = Counter()
        self.wrong: list[str] = []

    def __enter__(self) -> "Checker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        recent: list[str] = []
        while not self._stopping.wait(self._every):
            self._number += 1
            key, items = f"check-{self._number}", self._random.randint(1, 99)
            order = json.dumps({"id": key, "items": ["tea"] * items})
            status, release, _ = self._ask(connection, "POST", "/orders", order)
            if status != 201:
                self.wrong.append(f"order {key}: status {status} from {release}")
                continue
            self.written[key] = (items, release)
            recent = [*recent[-49:], key]
            for wanted in (key, self._random.choice(recent)):
                self.read(connection, wanted)
        connection.close()

    def read(self, connection: http.client.HTTPConnection, key: str) -> None:
        items, writer = self.written[key]
        status, reader, found = self._ask(connection, "GET", f"/orders?id={key}")
        self.pairs[writer, reader] += 1
        if status != 200 or found.get("items") != items:
            self.wrong.append(
                f"order {key} of {items} items, written by {writer}: {reader} says {status} {found}"
            )

    def read_all(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        for key in self.written:
            self.read(connection, key)
        connection.close()

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None
    ) -> tuple[int, str, dict[str, Any]]:
        try:
            connection.request(method, path, body, {"Host": HOST})
            answer = connection.getresponse()
            release = answer.headers.get("x-release", "")
            found = json.loads(answer.read())
            return answer.status, release, found if isinstance(found, dict) else {}
        except (OSError, ValueError, http.client.HTTPException) as e:
            connection.close()
            return 0, "", {"error": repr(e)}


class Series:
    """Versions of the shop in a repository, each with a name of its own for the column ``items``."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.number = 0
        self.column = "items"
        self._migrations = app.directory / "migrations"
        self._texts = {
            part: next(
                (ROOT / "examples" / "shop" / "migrations").glob(f"*_rename_quantity_{part}.sql")
            ).read_text()
            for part in PARTS
        }

    def begin(self, venv: Path) -> None:
        """The shop as it is, its packages installed before, with orders."""
        left_out = shutil.ignore_patterns(".venv", "data", "__pycache__")
        shutil.copytree(ROOT / "examples" / "shop", self.app.directory, dirs_exist_ok=True, ignore=left_out)
        spec = self.app.directory / "homeport.toml"
        text = spec.read_text()
        for pattern, instead in (
            *SUITED,
            (r"^command = .*pip install.*$", f'command = "ln -s {venv} .venv"'),
        ):
            text, count = re.subn(pattern, instead, text, flags=re.MULTILINE)
            if count != 1:
                raise RuntimeError(f"{spec} has {count} lines like {pattern}: this bench has to be adapted")
        spec.write_text(text)
        (self._migrations / "20261130000000_seed.sql").write_text(
            "-- migrate:up\n"
            f"INSERT INTO orders (key, items) SELECT 'seed-' || n, n % 9 FROM generate_series(1, {SEED}) AS n;\n"
            "\n-- migrate:down\nDELETE FROM orders WHERE key LIKE 'seed-%';\n"
        )
        self.app.commit("as it is")

    def next(self) -> list[str]:
        """Commit the next version; returns the versions of its migrations."""
        self.number += 1
        old, self.column = self.column, f"items_{self.number}"
        versions = []
        for second, part in enumerate(PARTS):
            versions.append(f"20261201{self.number:04}{second:02}")
            words = {
                "orders_items_given": f"orders_given_{self.number}",
                "orders_in_step": f"orders_in_step_{self.number}",
                "quantity": old,
                "items": self.column,
            }
            text = re.sub(
                r"\b(" + "|".join(words) + r")\b",
                lambda m, w=words: w[m[1]],
                self._texts[part],  # type: ignore[misc]
            )
            (self._migrations / f"{versions[-1]}_rename_{old}_{part}.sql").write_text(text)
        release = self.app.directory / "shop" / "release.py"
        text = re.sub(r"^ITEMS = .*$", f'ITEMS = "{self.column}"', release.read_text(), flags=re.MULTILINE)
        release.write_text(text)
        self.app.commit(f"items are {self.column}")
        return versions


def run(deploys: int = 10, say: Any = lambda text: None) -> dict[str, Any]:
    homeport = Homeport()
    try:
        homeport.up()
        series = Series(homeport.app("shop"))
        venv = homeport.work / "venv"
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        requirements = ROOT / "examples" / "shop" / "requirements.txt"
        subprocess.run([str(venv / "bin" / "pip"), "install", "-q", "-r", str(requirements)], check=True)
        series.begin(venv)
        homeport.deploy(series.app, "-q")
        address = f"127.0.0.1:{homeport.port}"
        rows = []
        with LoadProcess(address, HOST, Mix()) as load, Checker(address) as checker:
            time.sleep(1)
            for _ in range(deploys):
                rows.append(deploy(homeport, series, load, checker))
                say(_line(rows[-1]))
            time.sleep(1)
            found = load.stop()
        checker.read_all()
        stored = json.loads(homeport.get("/orders/ids", timeout=60)[1])
        orders = compare_orders([*found["acknowledged"], *checker.written], found["unacknowledged"], stored)
        for failure in found["failures"]:
            say(f"failed: {failure}")
        for wrong in checker.wrong[:20]:
            say(f"wrong: {wrong}")
        return {"rows": rows, "figures": figures(rows, found, orders, checker)}
    finally:
        homeport.close()


def deploy(homeport: Homeport, series: Series, load: LoadProcess, checker: Checker) -> dict[str, Any]:
    """One version, to the end of its contract."""
    before = homeport.environment("shop")["serving"]
    versions = series.next()
    counts, pairs, wrong = dict(load.latest), checker.pairs.copy(), len(checker.wrong)
    began = time.monotonic()
    homeport.deploy(series.app, "-q")
    seconds = time.monotonic() - began
    release = homeport.environment("shop")["serving"]
    while True:
        statuses = homeport.json("migrate", "status", "--app", "shop", "--env", "production")["statuses"]
        mine = {s["version"]: s for s in statuses if s["version"] in versions}
        if mine[versions[-1]]["state"] == "applied":
            break
        if time.monotonic() - began > seconds + CONTRACT_TIMEOUT:
            raise RuntimeError(f"the contract of {release} is {mine[versions[-1]]['state']}")
        time.sleep(0.1)
    whole = time.monotonic() - began
    time.sleep(0.5)
    met = checker.pairs - pairs
    return {
        "release": release,
        "deploy_seconds": round(seconds, 2),
        "contract_after_seconds": round(whole - seconds, 2),
        **{f"{part}_ms": round(mine[v]["duration"] * 1000) for part, v in zip(PARTS, versions, strict=True)},
        "requests": load.latest["sent"] - counts["sent"],
        "failed": load.latest["failed"] - counts["failed"],
        "old_read_new": met[release, before],
        "new_read_old": met[before, release],
        "wrong": len(checker.wrong) - wrong,
    }


def figures(
    rows: list[dict[str, Any]], found: dict[str, Any], orders: dict[str, list[str]], checker: Checker
) -> list[dict[str, Any]]:
    left = len(orders["lost"]) + len(orders["doubled"])
    met = min(min(row["old_read_new"], row["new_read_old"]) for row in rows)
    return [
        figure(f"requests sent over {len(rows)} deploys with expand and contract", found["sent"], "requests"),
        figure("requests failed", found["failed"], "requests", "0", found["failed"] == 0),
        figure("POSTs acknowledged", found["orders_acknowledged"] + len(checker.written), "requests"),
        figure("POSTs lost or doubled", left, "requests", "0", left == 0),
        figure("orders read again by another release or later", sum(checker.pairs.values()), "reads"),
        figure("of them wrong", len(checker.wrong), "reads", "0", not checker.wrong),
        figure(
            "orders that each release read of the other's, fewest of a deploy", met, "reads", "> 0", met > 0
        ),
        figure("GET p95 meanwhile", found["by_kind"]["get"]["ms"]["p95"], "ms"),
    ]


def _line(row: dict[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in row.items())


def table(rows: list[dict[str, Any]]) -> str:
    lines = [[key.replace("_", " ") for key in rows[0]], *([str(v) for v in row.values()] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--deploys", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = run(options.deploys, lambda text: print(text, file=sys.stderr, flush=True))
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print(table(result["rows"]))
        for f in result["figures"]:
            holds = "" if f["holds"] is None else "  holds" if f["holds"] else "  DOES NOT HOLD"
            print(
                f"{f['name']}: {f['value']} {f['unit']}" + (f" ({f['bound']})" if f["bound"] else "") + holds
            )
    return 0 if all(f["holds"] is not False for f in result["figures"]) else 1


if __name__ == "__main__":
    sys.exit(main())
