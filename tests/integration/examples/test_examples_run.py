"""The examples as real processes: they serve, and at SIGTERM finish what they have in hand."""

import gzip
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
LOAD = ROOT / "bench" / "load.py"


class App:
    """A running example; ``log`` is its output."""

    def __init__(self, argv: list[str], directory: Path, log: Path, **environment: str) -> None:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port: int = s.getsockname()[1]
        self.log = log
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                argv,
                cwd=directory,
                env={"PATH": os.environ["PATH"], "PORT": str(self.port), "PYTHONDONTWRITEBYTECODE": "1"}
                | environment,
                stdout=output,
                stderr=output,
            )

    def wait_until_up(self) -> "App":
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.02)

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
        connection = self.connection()
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


def start_shop(tmp_path: Path, directory: Path = EXAMPLES / "shop") -> App:
    environment = {"SHOP_DATA": str(tmp_path / "data"), "HOMEPORT_RELEASE": "r1"}
    return App([sys.executable, "-m", "shop.web"], directory, tmp_path / "shop.log", **environment)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[App]:
    app = start_shop(tmp_path)
    yield app.wait_until_up()
    app.end()


def test_the_shop_under_the_whole_mix_then_every_order_is_there(shop: App) -> None:
    argv = [sys.executable, str(LOAD), "--url", f"http://127.0.0.1:{shop.port}", "--host", "shop.localhost"]
    argv += ["--slow-seconds", "0.2,0.5", "--report", "0.1"]
    load = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        time.sleep(2)
        out, _ = load.communicate(timeout=20)
    finally:
        load.kill()
        load.wait()
    result = json.loads(out.splitlines()[-1])
    assert load.returncode == 0, result["failures"]
    assert result["failed"] == 0
    assert set(result["by_kind"]) == {"get", "post", "slow", "pipeline", "websocket", "events"}
    assert result["releases"].keys() == {"r1"}
    stored = json.loads(shop.ask("/orders/ids")[1])
    assert sorted(stored) == sorted(result["acknowledged"]) and len(stored) > 20
    assert json.loads(shop.ask("/orders/count")[1]) == {"orders": len(stored), "distinct": len(stored)}


def test_load_as_a_process_of_a_script(shop: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(LOAD.parent))
    from load import LoadProcess, Mix, compare_orders

    mix = Mix(gets=2, get_rate=100.0, slow_seconds=(0.1, 0.2), get_paths=("/products", "/version"))
    with LoadProcess(f"127.0.0.1:{shop.port}", "shop.localhost", mix) as load:
        deadline = time.monotonic() + 10
        while load.latest["sent"] < 50:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        result = load.stop()
    assert result["failed"] == 0, result["failures"]
    stored = json.loads(shop.ask("/orders/ids")[1])
    assert compare_orders(result["acknowledged"], result["unacknowledged"], stored) == {
        "lost": [],
        "doubled": [],
        "late": [],
    }


def test_the_shop_finishes_what_it_has_at_sigterm(shop: App) -> None:
    found: dict[str, Any] = {}

    def ask(name: str, path: str) -> None:
        found[name] = shop.ask(path)

    idle = shop.connection()
    idle.request("GET", "/health")
    idle.getresponse().read()
    threads = [
        threading.Thread(target=ask, args=("slow", "/slow?seconds=1.5")),
        threading.Thread(target=ask, args=("stream", "/slow?seconds=1.5&stream=1")),
        threading.Thread(target=ask, args=("events", "/events")),
    ]
    for thread in threads:
        thread.start()
    with connect(f"ws://127.0.0.1:{shop.port}/ws", proxy=None) as socket_:
        socket_.send("hello")
        assert socket_.recv() == "hello"
        time.sleep(0.5)
        assert shop.stop() in (0, -signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            socket_.recv(timeout=5)
    for thread in threads:
        thread.join()
    idle.close()
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1012
    assert found["slow"] == (200, b'{"waited": 1.5}')
    assert found["stream"] == (200, b"".join(b"%d\n" % n for n in range(15)))
    status, events = found["events"]
    assert status == 200 and events.startswith(b"id: 1\n") and events.endswith(b"\n\n")
    assert "Traceback" not in shop.log.read_text()


def test_the_shop_takes_a_large_upload(shop: App) -> None:
    assert shop.ask("/upload", "POST", bytes(20_000_000)) == (200, b'{"bytes": 20000000}')


def test_a_client_that_goes_away_leaves_nothing_behind(shop: App) -> None:
    for path in ("/events", "/slow?seconds=60&stream=1"):
        with socket.create_connection(("127.0.0.1", shop.port)) as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert s.recv(10)
    time.sleep(0.6)
    started = time.monotonic()
    shop.stop()
    assert time.monotonic() - started < 10
    assert "Traceback" not in shop.log.read_text()


def test_a_broken_release_answers_500_and_says_why_in_its_log(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "shop" / "shop", tmp_path / "r3" / "shop")
    switches = tmp_path / "r3" / "shop" / "release.py"
    changed = switches.read_text().replace("BROKEN = False", "BROKEN = True").replace('"harbour"', '"sunset"')
    switches.write_text(changed)
    app = start_shop(tmp_path, tmp_path / "r3")
    try:
        app.wait_until_up()
        assert app.ask("/health")[0] == 500
        assert b"#6a1b3d" in app.ask("/")[1]
    finally:
        app.end()
    log = app.log.read_text()
    assert "Traceback" in log and "cannot load the price list" in log


def test_the_worker_packs_each_order_once_and_ends_at_sigterm(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "orders.jsonl").write_text('{"id":"a","items":2}\n{"id":"b","items":3}\n{"id":"c",')
    worker = App(
        [sys.executable, "-m", "shop.worker"],
        EXAMPLES / "shop",
        tmp_path / "worker.log",
        SHOP_DATA=str(data),
    )
    try:
        deadline = time.monotonic() + 10
        while not (data / "packed.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert json.loads((data / "packed.json").read_text()) == {"orders": 2}
        packed = [json.loads(line)["id"] for line in (data / "packed.jsonl").read_text().splitlines()]
        assert packed == ["a", "b"]
        assert worker.stop() == 0
        report = subprocess.run(
            [sys.executable, "-m", "shop.report"],
            cwd=EXAMPLES / "shop",
            env={"SHOP_DATA": str(data)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert report.stdout == "2 orders, 5 items, 2 packed\n"
    finally:
        worker.end()
    assert "worker stopped" in worker.log.read_text()


def test_the_node_example_serves_and_finishes_at_sigterm(tmp_path: Path) -> None:
    node = shutil.which("node")
    assert node is not None, "node is not installed"
    app = App([node, "server.js"], EXAMPLES / "node", tmp_path / "node.log", HOMEPORT_RELEASE="r4")
    try:
        app.wait_until_up()
        assert app.ask("/health") == (200, b'{"status":"ok"}')
        assert b"Release r4" in app.ask("/")[1]
        assert app.ask("/missing")[0] == 404
        idle = app.connection()
        idle.request("GET", "/health")
        idle.getresponse().read()
        found: list[tuple[int, bytes]] = []
        thread = threading.Thread(target=lambda: found.append(app.ask("/slow")))
        thread.start()
        time.sleep(0.3)
        assert app.stop() == 0
        thread.join()
        idle.close()
        assert found == [(200, b"done\n")]
    finally:
        app.end()


def test_the_sites_hashed_name_and_compressed_copies_are_those_of_the_file() -> None:
    assets = EXAMPLES / "site" / "public" / "assets"
    (style,) = assets.glob("app.*.css")
    content = style.read_bytes()
    assert style.name == f"app.{hashlib.sha256(content).hexdigest()[:8]}.css"
    assert gzip.decompress((assets / f"{style.name}.gz").read_bytes()) == content
    assert (assets / f"{style.name}.br").stat().st_size < len(content)
    for page in ("index.html", "about/index.html", "404.html"):
        assert f"/assets/{style.name}" in (EXAMPLES / "site" / "public" / page).read_text()


@pytest.mark.parametrize("name", ["shop", "site", "node"])
def test_each_example_says_how_it_runs(name: str) -> None:
    spec = tomllib.loads((EXAMPLES / name / "homeport.toml").read_text())
    assert spec["app"]["name"] == name
    assert spec["routes"] == {f"{name}.localhost": "web"}
    assert (EXAMPLES / name / "README.md").is_file()


def test_the_shop_passes_the_checks_of_its_own_pipeline(tmp_path: Path) -> None:
    copy = tmp_path / "shop"
    shutil.copytree(EXAMPLES / "shop", copy, ignore=shutil.ignore_patterns(".venv", "data", "__pycache__"))
    stages = tomllib.loads((copy / "homeport.toml").read_text())["pipeline"]["stage"]
    kinds = ["check", "build", "deploy", "smoke", "deploy", "verify"]
    assert [stage["kind"] for stage in stages] == kinds
    for line in stages[0]["commands"].values():
        subprocess.run(["/bin/sh", "-c", line], cwd=copy, env={"PATH": os.environ["PATH"]}, check=True)
    page = copy / "shop" / "page.py"
    page.write_text(page.read_text().replace('"price": 900', '"price": 0'))
    failed = subprocess.run(
        ["/bin/sh", "-c", stages[0]["commands"]["tests"]],
        cwd=copy,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert failed.returncode == 1 and "test_products_have_a_name_and_a_price" in failed.stderr
