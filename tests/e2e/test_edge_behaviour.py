"""What a visitor meets at the edge of a live Homeport: routes, pages, headers, and what goes on across a deploy."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import threading
import time

import pytest
import websockets

SOCKETS = """
import base64, hashlib
def do_upgrade(h):
    key = h.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    h.wfile.write(("HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
        "Sec-WebSocket-Accept: " + accept + "\\r\\n\\r\\n").encode())
    h.close_connection = True
    while True:
        first, second = h.rfile.read(2)
        if first & 15 == 8: return
        mask, data = h.rfile.read(4), h.rfile.read(second & 127)
        said = VERSION.encode() + b":" + bytes(c ^ mask[i % 4] for i, c in enumerate(data))
        h.wfile.write(bytes((129, len(said))) + said)
def do_events(h):
    h.send_response(200); h.send_header("Content-Type", "text/event-stream"); h.end_headers()
    for n in range(6000):
        h.wfile.write(f"id: {n}\\ndata: {VERSION}\\n\\n".encode()); h.wfile.flush(); time.sleep(0.1)
"""
MORE = """
plain = Handler.do_GET
def do_GET(h):
    if h.headers.get("Upgrade"): return do_upgrade(h)
    if h.path.startswith("/events"): return do_events(h)
    if h.path.startswith("/headers"): return h.answer(200, json.dumps(h.headers.items()))
    if h.path.startswith("/pid"): return h.answer(200, str(os.getpid()))
    plain(h)
Handler.do_GET = do_GET
"""


def write(app, version, **more):
    return app.write(version, extra=SOCKETS, after=MORE, **more)


@pytest.fixture(scope="module")
def shop(homeport):
    app = homeport.app("shop")
    write(app, "1")
    homeport.deploy(app)
    return app


# Routes


def test_five_apps_share_one_domain_and_the_longest_prefix_wins(homeport):
    places = {"site": "", "hs": "/hs", "rest": "/rest", "auto": "/auto", "ret": "/ret"}
    for name, path in places.items():
        app = homeport.app(name)
        app.write(name, replicas=1, host=f"five.localhost{path}")
        homeport.deploy(app, "-q")
    for path, wanted in {
        "/": "site",
        "/hs": "hs",
        "/hs/": "hs",
        "/hs/deep/er?x=/rest": "hs",
        "/rest": "rest",
        "/rest/x": "rest",
        "/ret/": "ret",
        "/auto/1": "auto",
        "/restaurant": "site",
        "/hsx": "site",
        "/re": "site",
        "/x/hs": "site",
        "/HS": "site",
    }.items():
        assert homeport.get(path, host="five.localhost")[:2] == (200, wanted), path
    for host in ("FIVE.localhost", f"five.localhost:{homeport.port}", "five.localhost."):
        assert homeport.get("/hs", host=host)[1] == "hs", host
    # A longer prefix put beside a shorter one takes its part only.
    inner = homeport.app("inner")
    inner.write("inner", replicas=1, host="five.localhost/hs/inner")
    homeport.deploy(inner, "-q")
    assert homeport.get("/hs/inner/x", host="five.localhost")[1] == "inner"
    assert homeport.get("/hs/inne", host="five.localhost")[1] == "hs"
    for name in ("inner", "hs"):
        homeport.run("destroy", name, "--yes", name)
    assert homeport.get("/hs/inner/x", host="five.localhost")[1] == "site"
    for name in ("site", "rest", "auto", "ret"):
        homeport.run("destroy", name, "--yes", name)
    assert homeport.get("/", host="five.localhost")[0] == 404


def test_nobody_there_is_404_and_nobody_well_is_503_as_the_visitor_likes_it(homeport, shop):
    app = homeport.app("sick")
    app.write("1", replicas=1, after="ill = []\ndef health(h): h.answer(500 if ill else 200, '')\n"
              "class Handler2(Handler):\n    def do_PUT(h): ill.append(1); h.answer(200, '')\nHandler = Handler2\n")  # fmt: skip
    homeport.deploy(app)
    connection = http.client.HTTPConnection("127.0.0.1", homeport.port, timeout=10)
    with contextlib.closing(connection):
        connection.request("PUT", "/", headers={"Host": app.host})
        assert connection.getresponse().status == 200
    homeport.wait(lambda: homeport.get(host=app.host)[0] == 503, seconds=20)
    for host, status, title in (
        ("nobody.localhost", 404, "Not Found"),
        ("sick.localhost", 503, "Service Unavailable"),
    ):
        for accept in ("text/html,application/xhtml+xml,*/*;q=0.8", "*/*", "text/html, application/json"):
            found, body, headers = homeport.get("/x", host=host, headers={"Accept": accept})
            assert found == status and title in body and body.startswith("<!doctype html>")
            assert headers["content-type"].startswith("text/html")
            assert "Reference <code>" in body and headers.get("x-request-id", "") in body
        for accept in ("application/json", "application/problem+json"):
            found, body, headers = homeport.get("/x", host=host, headers={"Accept": accept})
            problem = json.loads(body)
            assert found == problem["status"] == status and problem["title"] == title
            assert headers["content-type"].startswith("application/problem+json")
            assert len(problem["request_id"]) >= 16
            assert status == 404 or problem["request_id"] == headers["x-request-id"]
        assert headers["cache-control"] == "no-store"
    status = homeport.run("status", status=1)
    assert "sick production: down" in status.stdout
    homeport.run("destroy", "sick", "--yes", "sick")


# Headers


def test_what_a_client_says_of_itself_is_not_believed(homeport, shop):
    forged = {
        "X-Forwarded-For": "1.2.3.4",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "bank.example.com",
        "X_Forwarded_For": "1.2.3.4",
        "X-Real-IP": "1.2.3.4",
        "Forwarded": "for=1.2.3.4",
        "X-Request-ID": "mine",
    }
    status, body, _ = homeport.get("/headers", headers=forged)
    seen = [(k.lower(), v) for k, v in json.loads(body)]
    assert status == 200 and not [v for k, v in seen if v in forged.values()]
    assert [v for k, v in seen if k == "x-forwarded-for"] == ["127.0.0.1"]
    assert [v for k, v in seen if k == "x-forwarded-proto"] == ["http"]
    assert [v for k, v in seen if k == "x-forwarded-host"] == ["shop.localhost"]
    ids = [v for k, v in seen if k == "x-request-id"]
    assert len(ids) == 1 and len(ids[0]) >= 16


def test_the_access_log_names_release_and_instance(homeport, shop):
    marker = f"/marked-{time.time_ns()}"
    homeport.get(marker)
    release = homeport.environment(shop)["serving"]

    def logged():
        for path in [*homeport.data.rglob("*.log"), *homeport.data.rglob("*.log.1")]:
            for line in path.read_text("utf-8", "replace").splitlines():
                if marker in line and line.startswith("{"):
                    return json.loads(line)
        return None

    found = homeport.wait(logged, seconds=10)
    assert found["server"].startswith(f"shop.production.{release}.web.")
    assert found["status"] == 200 and found["method"] == "GET" and found["host"] == "shop.localhost"
    assert found["request_id"] and found["client"].startswith("127.0.0.1")


# Across a deploy


def raw(homeport, text, timeout=60):
    s = socket.create_connection(("127.0.0.1", homeport.port), timeout=timeout)
    s.sendall(text.encode())
    return s


def test_what_is_in_flight_goes_on_across_a_deploy(homeport, shop):
    """A WebSocket, an event stream, a 100 MB upload and a slow answer, all begun on the old release."""
    write(shop, "old", more="", keep_warm="10m")
    (shop.directory / "homeport.toml").write_text(
        (shop.directory / "homeport.toml").read_text().replace('drain = "3s"', 'drain = "30s"')
    )
    shop.commit("drains for 30 s")
    homeport.deploy(shop)
    head = "{} HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close\r\n"
    slow = raw(homeport, head.format("GET /slow=8") + "\r\n")
    events = raw(homeport, head.format("GET /events") + "\r\n")
    stream = events.makefile("rb")
    upload = raw(homeport, head.format("POST /upload") + "Content-Length: 100000000\r\n\r\n")
    answers = {}
    deployed = threading.Event()

    def send():
        chunk = bytes(1_000_000)
        for n in range(100):
            upload.sendall(chunk)
            if n == 30:
                deployed.wait(60)
        answers["upload"] = upload.makefile("rb").read()

    def answer():
        answers["slow"] = slow.makefile("rb").read()

    threads = [threading.Thread(target=send), threading.Thread(target=answer)]
    for t in threads:
        t.start()

    async def talk():
        url = f"ws://shop.localhost:{homeport.port}/ws"
        async with websockets.connect(
            url, proxy=None, host="127.0.0.1", port=homeport.port, ping_interval=None
        ) as ws:
            await ws.send("one")
            assert await ws.recv() == "old:one"
            write(shop, "new")
            await asyncio.to_thread(homeport.deploy, shop)
            assert homeport.get()[1] == "new"
            deployed.set()
            for n in range(10):
                await ws.send(str(n))
                assert await asyncio.wait_for(ws.recv(), 60) == f"old:{n}"
                await asyncio.sleep(0.1)

    try:
        asyncio.run(talk())
    finally:
        deployed.set()
        for t in threads:
            t.join(60)
    assert answers["slow"].startswith(b"HTTP/1.1 200") and answers["slow"].endswith(b"old")
    assert answers["upload"].startswith(b"HTTP/1.1 200") and answers["upload"].endswith(b"100000000")
    # The stream is still the old release's, without a gap.
    ids, since = [], time.monotonic()
    while time.monotonic() - since < 1 or len(ids) < 20:
        line = stream.readline()
        assert line, "the stream broke off"
        if line.startswith(b"id: "):
            ids.append(int(line[4:]))
        elif line.startswith(b"data: "):
            assert line == b"data: old\n"
    assert ids == list(range(len(ids)))
    for each in (stream, events, slow, upload):
        each.close()


def test_killing_one_of_two_instances_fails_no_get(homeport, shop):
    def healthy(name):
        """The pid of an instance that gets traffic and is well."""
        found = homeport.environment(shop)["instances"]
        return next((i["pid"] for i in found if i["name"] == name and i["healthy"]), None)

    # What is killed here on purpose is not to take the release back.
    write(shop, "killed", replicas=2, rollout='watch_for = "0s"')
    homeport.deploy(shop)
    wrong, count, stop = [], [0], threading.Event()

    def load():
        while not stop.is_set():
            try:
                status, body, _ = homeport.get()
                if (status, body) != (200, "killed"):
                    wrong.append((status, body[:60]))
            except OSError as e:
                wrong.append((0, repr(e)))
            count[0] += 1

    threads = [threading.Thread(target=load) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        for n in (1, 2, 1):
            name = f"shop.production.{homeport.environment(shop)['serving']}.web.{n}"
            pid = homeport.wait(lambda name=name: healthy(name))
            time.sleep(0.5)
            os.kill(pid, signal.SIGKILL)
            homeport.wait(lambda name=name, old=pid: healthy(name) not in (None, old), seconds=30)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert wrong == [] and count[0] > 200
    assert any(e["kind"] == "instance.crashed" for e in homeport.json("events", cwd=shop.directory))
