"""The shop with its orders in a database that Homeport provisioned: behind PgBouncer, as the app's own role."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from database_home import DatabaseHome, connect
from migrating import migrator
from ports import free_port

from homeport.database.migrations.directory import read
from homeport.database.migrations.model import Direction, Goal, Subset

ROOT = Path(__file__).resolve().parents[3]
FILES = read(ROOT / "examples" / "shop" / "migrations")
LOAD = ROOT / "bench" / "load.py"


class Shop:
    """A running instance; ``log`` is its output."""

    def __init__(self, release: Path, url: str, work: Path, module: str = "shop.web") -> None:
        self.port = free_port()
        self.log = work / f"{module}.{self.port}.log"
        environment = {
            "PATH": os.environ["PATH"],
            "PORT": str(self.port),
            "DATABASE_URL": url,
            "SHOP_DATA": str(work / "data"),
            "HOMEPORT_RELEASE": "r1",
        }
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [".venv/bin/python", "-m", module], cwd=release, env=environment, stdout=output, stderr=output
            )

    def ask(self, path: str, method: str = "GET", order: dict[str, Any] | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, None if order is None else json.dumps(order))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def order(self, key: str, items: int = 1, **more: str) -> tuple[int, Any]:
        return self.ask("/orders", "POST", {"id": key, "items": ["tea"] * items} | more)

    def health(self) -> tuple[int, Any]:
        try:
            return self.ask("/health")
        except OSError:
            return 0, {}

    def wait(self, status: str, code: int = 200) -> "Shop":
        wait_until(lambda: self.health()[0] == code and self.health()[1].get("status") == status, self.log)
        return self

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)


def wait_until(condition: Any, log: Path | None = None) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, log and log.read_text()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def home() -> Iterator[DatabaseHome]:
    home = DatabaseHome()
    try:
        home.ensure()
        yield home
    finally:
        home.end()


@pytest.fixture
def url(home: DatabaseHome) -> Iterator[str]:
    """Of a database with all migrations and no orders."""
    migrate(home, Goal())
    yield home.ensure()
    migrate(home, Goal(Direction.DOWN, to="0"))


def migrate(home: DatabaseHome, goal: Goal) -> None:
    with home.databases.owner_url("shop", "production", "main") as owner:
        migrator(owner.reveal()).run(FILES, goal)


@pytest.fixture
def shop(release: Path, url: str, tmp_path: Path) -> Iterator[Shop]:
    running = Shop(release, url, tmp_path)
    try:
        yield running.wait("ok")
    finally:
        running.end()


def test_an_order_that_is_sent_again_is_stored_once_and_answered_alike(shop: Shop) -> None:
    first = shop.order("a", 2, customer="ann@example.com")
    assert first == (201, {"id": "a", "items": 2, "currency": "EUR"})
    assert shop.order("a", 2, customer="ann@example.com") == first
    assert shop.ask("/orders?id=a") == (200, {"id": "a", "items": 2})
    assert shop.ask("/orders/count")[1] == {"orders": 2, "distinct": 1}
    assert shop.ask("/orders/ids")[1] == ["a", "a"]
    assert shop.order("a", 3)[0] == 409
    assert shop.ask("/orders/count")[1] == {"orders": 2, "distinct": 1}


def test_many_at_once_share_few_connections_and_leave_each_order_once(shop: Shop, home: DatabaseHome) -> None:
    def send(n: int) -> None:
        found.extend(shop.order(f"{n}-{m}", m, customer=f"{m}@example.com")[0] for m in range(20))

    found: list[int] = []
    threads = [threading.Thread(target=send, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [201] * 160
    assert shop.ask("/orders/count")[1] == {"orders": 160, "distinct": 160}
    with home.databases.connect_as_admin("shop", "production", "main") as admin:
        customers = admin.execute("SELECT count(*) FROM customers").fetchone()
    assert customers == (20,)


def test_without_its_migrations_it_is_not_ready_and_says_why(
    home: DatabaseHome, release: Path, tmp_path: Path
) -> None:
    shop = Shop(release, home.ensure(), tmp_path)
    try:
        wait_until(lambda: "not as this release needs it" in str(shop.health()[1]), shop.log)
        assert shop.health()[0] == 503
        assert shop.ask("/products")[0] == 200
        migrate(home, Goal(subset=Subset.EXPAND))
        shop.wait("ok")
        assert shop.order("a")[0] == 201
        migrate(home, Goal(subset=Subset.CONTRACT))
        assert shop.order("b")[0] == 201
        assert shop.wait("ok").health() == (200, {"status": "ok"})
    finally:
        shop.end()
        migrate(home, Goal(Direction.DOWN, to="0"))


def test_a_database_that_is_away_is_told_and_orders_wait_for_it(shop: Shop, home: DatabaseHome) -> None:
    """PgBouncer is killed: connections break in the middle, and for a moment there is nobody to connect to."""
    assert shop.order("before")[0] == 201
    home.services.stop("pgbouncer.main")
    shop.wait("degraded")
    assert shop.ask("/products")[0] == 200
    found: list[tuple[int, Any]] = []
    waiting = threading.Thread(target=lambda: found.append(shop.order("meanwhile")))
    waiting.start()
    home.again().ensure("shop", "production", (), 2)
    home.ensure()
    waiting.join()
    assert found[0][0] == 201
    shop.wait("ok")
    assert shop.ask("/orders/ids")[1] == ["before", "meanwhile"]
    assert "Traceback" not in shop.log.read_text()


def test_a_server_that_is_killed_under_load_costs_no_order(shop: Shop, home: DatabaseHome) -> None:
    argv = [sys.executable, str(LOAD), "--url", f"http://127.0.0.1:{shop.port}", "--host", "shop.localhost"]
    argv += ["--slow-seconds", "0.2,0.5", "--report", "0.1"]
    load = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        wait_until(lambda: len(shop.ask("/orders/ids")[1]) > 10, shop.log)
        os.kill(home.pid("postgresql.main"), signal.SIGKILL)
        wait_until(lambda: shop.ask("/health")[0] == 200, shop.log)
        time.sleep(5)
        out, _ = load.communicate(timeout=30)
    finally:
        load.kill()
        load.wait()
    result = json.loads(out.splitlines()[-1])
    assert result["failed"] == 0, result["failures"]
    stored = shop.ask("/orders/ids")[1]
    assert sorted(stored) == sorted(result["acknowledged"]) and len(stored) > 20
    assert "Traceback" not in shop.log.read_text()


def test_an_order_fails_in_words_when_the_database_stays_away(
    home: DatabaseHome, release: Path, url: str, tmp_path: Path
) -> None:
    closed = url.replace(f":{url.rpartition(':')[2].partition('/')[0]}/", f":{free_port()}/")
    shop = Shop(release, closed, tmp_path)
    try:
        wait_until(lambda: shop.health()[0] == 503, shop.log)
        assert shop.order("a") == (503, {"error": "orders cannot be taken just now"})
        status, told = shop.health()
        assert (status, told["status"]) == (503, "degraded") and "the database" in told["orders"]
    finally:
        shop.end()
    assert url.split(":")[2].partition("@")[0] not in shop.log.read_text()


def test_the_worker_packs_what_came_and_goes_on_after_a_restart(
    home: DatabaseHome, release: Path, url: str, tmp_path: Path
) -> None:
    def waits() -> int:
        row = app.execute("SELECT count(*) FROM orders WHERE packed_at IS NULL").fetchone()
        return int(row[0]) if row else -1

    app = connect(url)
    workers = [Shop(release, url, tmp_path, "shop.worker") for _ in range(2)]
    try:
        app.execute("INSERT INTO orders (key, items) SELECT 'o' || n, 1 FROM generate_series(1, 1200) n")
        wait_until(lambda: waits() == 0, workers[0].log)
        app.close()
        home.databases.restart(home.databases.state.cluster("main"))
        app = connect(url)
        app.execute("INSERT INTO orders (key, items) VALUES ('late', 2)")
        wait_until(lambda: waits() == 0, workers[0].log)
        assert [worker.end() for worker in workers] == [0, 0]
        # Each prints before it ends.
        told = "".join(worker.log.read_text() for worker in workers)
        counts = [int(line.split()[0]) for line in told.splitlines() if line.endswith("orders packed")]
        assert sum(counts) == 1201
    finally:
        app.close()
        for worker in workers:
            worker.end()
    report = Shop(release, url, tmp_path, "shop.report")
    assert report.process.wait(15) == 0
    assert report.log.read_text() == "1201 orders, 1202 items, 1201 packed\n"
    found = json.loads((tmp_path / "data" / "report.json").read_text())
    assert found == {"orders": 1201, "items": 1202, "packed": 1201, "release": "r1"}


def test_its_file_asks_for_a_database_with_these_migrations() -> None:
    spec = tomllib.loads((ROOT / "examples" / "shop" / "homeport.toml").read_text())
    assert spec["database"]["main"]["migrations"] == "migrations"
    assert spec["database"]["main"]["maintenance"]["waiting"]["target"] == "orders_waiting"
