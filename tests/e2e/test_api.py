"""The HTTP API: what its OpenAPI document promises, problem documents, idempotency keys, streams, rights."""

import hashlib
import http.client
import io
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest

PRODUCTION = "/v1/apps/shop/environments/production"


class Unix(http.client.HTTPConnection):
    def __init__(self, path, timeout=30):
        super().__init__("homeport", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


@pytest.fixture(scope="module")
def shop(homeport):
    app = homeport.app("shop")
    for version in ("1", "2"):
        app.write(version, replicas=1, build=f'command = "echo built {version}"')
        homeport.deploy(app)
    return app


@pytest.fixture
def call(homeport):
    """``call(method, path, body, headers)``: (status, headers, document)."""

    def call(method, path, body=None, headers=None):
        connection = Unix(homeport.data / "homeport.sock")
        try:
            data = json.dumps(body).encode() if isinstance(body, dict | list) else body
            given = {"Content-Type": "application/json"} if isinstance(body, dict | list) else {}
            connection.request(method, path, data, given | (headers or {}))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        kind = answer.headers["Content-Type"] or ""
        found = json.loads(content) if kind.endswith("json") else content
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, found

    return call


@pytest.fixture
def idle(homeport, call, shop):
    """Waits until no change of the shop runs."""

    def wait():
        homeport.wait(lambda: all(c["done"] for c in call("GET", "/v1/changes?app=shop")[2]))

    wait()
    return wait


@pytest.fixture
def tcp(homeport):
    """A TCP port on loopback that leads to the API's socket."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for each in (source, target):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def serve(client):
        with client, socket.socket(socket.AF_UNIX) as inner:
            inner.connect(str(homeport.data / "homeport.sock"))
            back = threading.Thread(target=pump, args=(inner, client))
            back.start()
            pump(client, inner)
            back.join()

    def accept():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


# The document


def test_schemathesis_finds_no_server_error_and_nothing_undocumented(homeport, shop, tcp, idle):
    # Streams that never end are looked at by hand below.
    hooks = homeport.work / "st_hooks.py"
    hooks.write_text(
        "import schemathesis\n"
        '@schemathesis.serializer("application/x-tar")\n'
        "def tar(ctx, value):\n"
        "    return value if isinstance(value, bytes) else str(value).encode()\n"
    )
    command = [
        str(Path(sys.executable).parent / "schemathesis"),
        *("run", f"http://127.0.0.1:{tcp}/v1/openapi.json", "--exclude-path-regex", "stream$"),
        *(
            "--phases",
            "examples,coverage,fuzzing",
            "--mode",
            "all",
            "--max-examples",
            "25",
            "--max-time",
            "45",
        ),
        *("--checks", "all", "--exclude-checks"),
        # What the state says no to (an unset variable to unset, a name not confirmed) is 422, documented.
        "positive_data_acceptance,use_after_free,ensure_resource_availability",
        *("--request-timeout", "60", "--seed", "11", "--continue-on-failure", "--no-color"),
        *("--generation-database", "none", "--warnings", "off"),
    ]
    env = homeport.env | {"SCHEMATHESIS_HOOKS": "st_hooks", "PYTHONPATH": str(homeport.work)}
    done = subprocess.run(command, cwd=homeport.work, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    tested = re.search(r"Tested: (\d+)", done.stdout)
    assert tested and int(tested[1]) >= 19, done.stdout
    for mode in ("maintenance", "read-only"):  # it may just have turned one on
        homeport.run(mode, "off", cwd=shop.directory, status=None)
    assert homeport.get()[0] == 200
    assert "Traceback" not in "".join(
        line
        for line in (homeport.data / "logs" / "serve.log").read_text().splitlines(True)
        if "homeport.api" in line
    )
    idle()


def test_every_operation_of_the_document_tells_its_errors_as_problems(call, shop):
    status, headers, document = call("GET", "/v1/openapi.json")
    assert status == 200 and headers["content-type"] == "application/json"
    assert len(document["paths"]) >= 18
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], path
            errors = {s: r for s, r in operation["responses"].items() if s >= "400"}
            assert {"422", "500", "503"} <= errors.keys(), (method, path)
            for answer in errors.values():
                assert "application/problem+json" in answer["content"], (method, path)
    for path, operations in document["paths"].items():
        if path.endswith("/stream"):
            assert "text/event-stream" in operations["get"]["responses"]["200"]["content"]


# Problems


@pytest.mark.parametrize(
    "method, path, body, headers, status, code",
    [
        ("GET", "/v1/nowhere", None, {}, 404, "api.not_found"),
        ("GET", "/", None, {}, 404, "api.not_found"),
        ("PUT", "/v1/status", None, {}, 405, "api.not_found"),
        ("GET", "/v1/apps/nope", None, {}, 404, "rollout.unknown_app"),
        ("GET", "/v1/apps/shop/environments/nope", None, {}, 404, "rollout.unknown_environment"),
        ("GET", "/v1/apps/..%2f..%2fetc", None, {}, 404, "api.not_found"),
        ("GET", "/v1/apps/$(id)", None, {}, 422, "api.invalid_request"),
        ("GET", "/v1/changes/c-0123456789", None, {}, 404, "rollout.unknown_change"),
        ("GET", "/v1/changes/c-0123456789/stream", None, {}, 404, "rollout.unknown_change"),
        ("GET", "/v1/changes/nope", None, {}, 422, "api.invalid_request"),
        ("GET", "/v1/events?after=-1", None, {}, 422, "api.invalid_request"),
        ("GET", "/v1/events?limit=100000", None, {}, 422, "api.invalid_request"),
        ("GET", "/v1/events/stream", None, {"Last-Event-ID": "x"}, 422, "api.invalid_request"),
        ("GET", f"{PRODUCTION}/logs?since=yesterday", None, {}, 422, "api.invalid_request"),
        ("GET", "/v1/apps/nope/environments/production/logs/stream", None, {}, 404, "rollout.unknown_app"),
        (
            "POST",
            f"{PRODUCTION}/commands",
            {"command": ["x"], "process": "nope"},
            {},
            404,
            "rollout.unknown_process",
        ),
        (
            "POST",
            f"{PRODUCTION}/commands/x-0123456789/end",
            {"status": 0},
            {},
            404,
            "rollout.unknown_run",
        ),
        ("POST", f"{PRODUCTION}/restarts", b"{", {}, 422, "api.invalid_request"),
        ("POST", f"{PRODUCTION}/restarts", b"\xff\xfe", {}, 422, "api.invalid_request"),
        ("POST", f"{PRODUCTION}/restarts", {"more": 1}, {}, 422, "api.invalid_request"),
        ("POST", f"{PRODUCTION}/restarts", {}, {"Idempotency-Key": "../../x"}, 422, "api.invalid_request"),
        ("POST", f"{PRODUCTION}/restarts", {}, {"X-Homeport-Actor": "a b"}, 422, "api.invalid_request"),
        ("POST", f"{PRODUCTION}/scalings", {"processes": {}}, {}, 422, "api.invalid_request"),
        ("POST", f"{PRODUCTION}/scalings", {"processes": {"web": 101}}, {}, 422, "rollout.bad_count"),
        ("POST", f"{PRODUCTION}/scalings", {"processes": {"web": -1}}, {}, 422, "api.invalid_request"),
        ("POST", f"{PRODUCTION}/scalings", {"processes": {"../x": 1}}, {}, 422, "api.invalid_request"),
        ("POST", f"{PRODUCTION}/rollbacks", {"release": "r1/../r2"}, {}, 422, "api.invalid_request"),
        (
            "POST",
            f"{PRODUCTION}/deploys",
            {"archive": "0" * 64, "commit": "0" * 40},
            {},
            404,
            "rollout.no_archive",
        ),
        (
            "POST",
            f"{PRODUCTION}/deploys",
            {"archive": "../../../../etc/passwd", "commit": "0" * 40},
            {},
            422,
            "api.invalid_request",
        ),
        ("POST", "/v1/archives", b"", {}, 422, "rollout.archive_invalid"),
        ("DELETE", "/v1/apps/shop", None, {}, 422, "api.invalid_request"),
        ("DELETE", "/v1/apps/shop?confirm=nope", None, {}, 422, "rollout.not_confirmed"),
    ],
)
def test_an_error_is_a_whole_problem_document(call, shop, method, path, body, headers, status, code):
    found, answer, problem = call(method, path, body, headers)
    assert found == status, problem
    assert answer["content-type"] == "application/problem+json"
    members = {"type", "title", "status", "detail", "code", "hint", "details", "retry"}
    assert problem.keys() == members
    assert problem["status"] == status
    assert problem["code"] == code and problem["type"] == f"urn:homeport:error:{code}"
    assert problem["detail"].startswith("cannot ") and problem["title"]
    assert "Traceback" not in json.dumps(problem)


def test_a_wrong_method_is_told_which_ones_there_are(call, shop):
    assert call("PUT", "/v1/apps/shop")[1]["allow"] == "DELETE, GET"
    assert call("POST", f"{PRODUCTION}/variables")[1]["allow"] == "GET, PATCH"


# Archives that must not be taken


def tar(*members, spec=None):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as made:
        if spec is not None:
            info = tarfile.TarInfo("homeport.toml")
            info.size = len(spec)
            made.addfile(info, io.BytesIO(spec))
        for info, data in members:
            info.size = len(data) if info.isreg() and info.size == 0 else info.size
            made.addfile(info, io.BytesIO(data))
    return file.getvalue()


def member(name, **more):
    info = tarfile.TarInfo(name)
    for key, value in more.items():
        setattr(info, key, value)
    return info


def bomb():
    """A tar of a few kilobytes that says it holds a terabyte."""
    raw = bytearray(tar((member("homeport.toml"), b"x")))
    raw[124:136] = (1 << 40).to_bytes(12, "big")
    raw[124] = 0x80
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    return bytes(raw)


def through_a_link():
    link = member("here", type=tarfile.SYMTYPE, linkname="sub")
    return tar((link, b""), (member("here/file"), b"x"), spec=SPEC)


SPEC = (
    b'[app]\nname = "evil"\n[processes.web]\ncommand = "exec sleep 60"\n[routes]\n"evil.localhost" = "web"\n'
)


@pytest.mark.parametrize(
    "content, status, says",
    [
        (tar((member("../escaped"), b"x"), spec=SPEC), 422, "leads out of the app"),
        (tar((member("a/../../escaped"), b"x"), spec=SPEC), 422, "leads out of the app"),
        (tar((member("/tmp/escaped"), b"x"), spec=SPEC), 422, "leads out of the app"),
        (
            tar((member("out", type=tarfile.SYMTYPE, linkname="../../.."), b""), spec=SPEC),
            422,
            "links out of the app",
        ),
        (
            tar((member("out", type=tarfile.SYMTYPE, linkname="/etc"), b""), spec=SPEC),
            422,
            "links out of the app",
        ),
        (tar((member("hard", type=tarfile.LNKTYPE, linkname="/etc/passwd"), b""), spec=SPEC), 422, "neither"),
        (tar((member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3), b""), spec=SPEC), 422, "neither"),
        (tar((member("disk", type=tarfile.BLKTYPE, devmajor=8), b""), spec=SPEC), 422, "neither"),
        (tar((member("pipe", type=tarfile.FIFOTYPE), b""), spec=SPEC), 422, "neither"),
        (bomb(), 507, "holds more than"),
        (b"no tar at all " * 100, 422, "cannot read the archive"),
        (tar(spec=SPEC)[:700], 422, "cannot"),
        (tar(), 422, "homeport.toml"),
        (tar(spec=b"\xff\xfe"), 422, "UTF-8"),
        (tar(spec=b""), 422, "cannot read homeport.toml"),
        (tar(spec=SPEC.replace(b'"evil"', b'"../../evil"')), 422, "must be a name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_archive_that_would_do_harm_is_refused(homeport, call, shop, content, status, says):
    found, _, uploaded = call("POST", "/v1/archives", content, {"Content-Type": "application/x-tar"})
    assert found == 201 and uploaded["digest"] == hashlib.sha256(content).hexdigest()
    wanted = {"archive": uploaded["digest"], "commit": "0" * 40}
    found, _, problem = call("POST", "/v1/apps/evil/environments/production/deploys", wanted)
    told = problem["detail"] + " ".join(problem["details"])
    assert found == status and says in told, problem
    assert call("GET", "/v1/apps/evil")[0] == 404
    assert not (homeport.data / "releases" / "evil").exists()
    assert not list(homeport.work.rglob("escaped")) and not Path("/tmp/escaped").exists()
    assert homeport.get()[0] == 200


def test_an_archive_that_writes_through_a_link_fails_when_it_is_unpacked(homeport, call, shop):
    content = through_a_link()
    call("POST", "/v1/archives", content, {"Content-Type": "application/x-tar"})
    wanted = {"archive": hashlib.sha256(content).hexdigest(), "commit": "0" * 40}
    found, _, change = call("POST", "/v1/apps/evil/environments/production/deploys", wanted)
    if found == 202:
        done = homeport.wait(lambda: (c := call("GET", f"/v1/changes/{change['id']}")[2])["done"] and c)
        assert done["result"]["verdict"] == "rolled back"
        assert "goes through a symbolic link" in done["failure"]["sentence"]
        call("DELETE", "/v1/apps/evil?confirm=evil")
    else:
        assert found == 422 and "symbolic link" in change["detail"]
    assert not (homeport.data / "releases" / "evil" / "r1").exists()


# Idempotency keys


def test_the_same_key_gives_the_same_change_and_no_second_one(homeport, call, shop, idle):
    before = len(call("GET", "/v1/changes?app=shop&limit=500")[2])
    key = {"Idempotency-Key": "restart-once-1"}
    first = call("POST", f"{PRODUCTION}/restarts", {}, key)
    second = call("POST", f"{PRODUCTION}/restarts", {}, key)
    assert first[0] == second[0] == 202 and first[2]["id"] == second[2]["id"]
    idle()
    third = call("POST", f"{PRODUCTION}/restarts", {}, key)
    assert third[2]["id"] == first[2]["id"] and third[2]["done"]
    assert len(call("GET", "/v1/changes?app=shop&limit=500")[2]) == before + 1


def test_many_at_once_with_one_key_make_one_change(homeport, call, shop, idle):
    before = len(call("GET", "/v1/changes?app=shop&limit=500")[2])
    answers = []
    key = {"Idempotency-Key": "restart-once-2"}
    threads = [
        threading.Thread(target=lambda: answers.append(call("POST", f"{PRODUCTION}/restarts", {}, key)))
        for _ in range(6)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [a[0] for a in answers] == [202] * 6
    assert len({a[2]["id"] for a in answers}) == 1
    idle()
    assert len(call("GET", "/v1/changes?app=shop&limit=500")[2]) == before + 1


def test_a_key_is_refused_for_another_call(homeport, call, shop, idle):
    key = {"Idempotency-Key": "scale-key-1"}
    assert call("POST", f"{PRODUCTION}/scalings", {"processes": {"web": 2}}, key)[0] == 202
    idle()
    for path, body in (
        (f"{PRODUCTION}/scalings", {"processes": {"web": 1}}),
        (f"{PRODUCTION}/restarts", {}),
        (f"{PRODUCTION}/rollbacks", {"release": "r1"}),
        ("/v1/apps/other/environments/production/scalings", {"processes": {"web": 2}}),
        ("/v1/apps/shop/environments/staging/scalings", {"processes": {"web": 2}}),
    ):
        status, _, problem = call("POST", path, body, key)
        assert (status, problem["code"]) == (422, "rollout.key_reused"), path
    assert call("POST", f"{PRODUCTION}/scalings", {"processes": {"web": 2}}, key)[0] == 202
    assert homeport.environment(shop)["processes"][0]["wanted"] == 2


def test_a_deploy_sent_twice_deploys_once(homeport, call, shop, idle):
    shop.write("3", replicas=1)
    files = subprocess.run(
        ["git", "archive", "--format=tar", "HEAD"], cwd=shop.directory, capture_output=True, check=True
    ).stdout
    other = tar(spec=b"[app]\n")
    digests = [
        call("POST", "/v1/archives", content, {"Content-Type": "application/x-tar"})[2]["digest"]
        for content in (files, other)
    ]
    releases = len(call("GET", "/v1/apps/shop/releases")[2])
    key = {"Idempotency-Key": "deploy-3"}
    wanted = {"archive": digests[0], "commit": "0" * 40}
    ids = {call("POST", f"{PRODUCTION}/deploys", wanted, key)[2]["id"] for _ in range(3)}
    assert len(ids) == 1
    idle()
    assert len(call("GET", "/v1/apps/shop/releases")[2]) == releases + 1
    assert homeport.get()[1] == "3"
    status, _, problem = call("POST", f"{PRODUCTION}/deploys", wanted | {"archive": digests[1]}, key)
    assert (status, problem["code"]) == (422, "rollout.key_reused")


# Streams


def read_stream(homeport, path, *, last=None, until, seconds=20):
    """(id, kind, data) of each message until ``until(messages)`` is true or the stream ends."""
    connection = Unix(homeport.data / "homeport.sock", timeout=seconds)
    messages = []
    try:
        connection.request("GET", path, headers={"Last-Event-ID": last} if last else {})
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        found = {}
        while line := answer.readline():
            text = line.decode().rstrip("\n")
            if not text and "data" in found:
                messages.append((found.get("id"), found["event"], json.loads(found["data"])))
                found = {}
                if until(messages):
                    break
            elif text and not text.startswith(":"):
                name, _, value = text.partition(": ")
                found[name] = value
    finally:
        connection.close()
    return messages


def test_the_journals_stream_goes_on_where_it_broke_off(homeport, call, shop, idle):
    whole = read_stream(homeport, "/v1/events/stream?after=0", until=lambda m: len(m) >= 12)
    first = read_stream(homeport, "/v1/events/stream?after=0", until=lambda m: len(m) >= 5)
    # A reader that comes back sends the same address, and what it saw last.
    rest = read_stream(homeport, "/v1/events/stream?after=0", last=first[-1][0], until=lambda m: len(m) >= 7)
    assert [m[2]["seq"] for m in first + rest] == [m[2]["seq"] for m in whole] == list(range(1, 13))
    mine = read_stream(homeport, "/v1/events/stream?after=0&app=shop", until=lambda m: len(m) >= 5)
    assert {m[2]["app"] for m in mine} == {"shop"}


def still(message):
    """Without the figures of a trial."""
    id, kind, data = message
    return id, kind, {k: v for k, v in data.items() if k != "trial"}


def test_a_changes_stream_goes_on_where_it_broke_off(homeport, call, shop, idle):
    shop.write("4", replicas=1, build='command = "for i in $(seq 200); do echo line-$i-é; done"')
    homeport.deploy(shop, "-q")
    change = call("GET", "/v1/changes?app=shop&limit=1")[2][0]["id"]
    path = f"/v1/changes/{change}/stream"
    whole = read_stream(homeport, path, until=lambda m: False)
    assert whole[-1][1] == "done" and whole[-1][2]["result"]["verdict"] == "promoted"
    output = "".join(m[2]["text"] for m in whole if m[1] == "output")
    assert [x for x in output.splitlines() if x.startswith("line-")] == [f"line-{i}-é" for i in range(1, 201)]
    for cut in range(1, len(whole)):
        again = read_stream(homeport, path, last=whole[cut - 1][0], until=lambda m: False)
        # The figures of its trial are those of now.
        apart = ("output", "trial")
        assert [still(m) for m in again if m[1] not in apart] == [
            still(m) for m in whole[cut:] if m[1] not in apart
        ]
        told = "".join(m[2]["text"] for m in whole[:cut] + again if m[1] == "output")
        assert told == output


def test_the_logs_stream_tells_new_lines(homeport, call, shop, idle):
    lines = []
    reader = threading.Thread(
        target=lambda: lines.extend(
            read_stream(homeport, f"{PRODUCTION}/logs/stream?process=web", until=lambda m: len(m) >= 1)
        )
    )
    reader.start()
    time.sleep(0.5)
    call("POST", f"{PRODUCTION}/restarts", {})
    reader.join(25)
    assert lines and lines[0][1] == "line" and lines[0][2]["instance"].startswith("shop.production.")
    idle()


# Rights


def test_what_holds_secrets_is_the_owners_alone(homeport, shop):
    homeport.run("env", "set", "PASSWORD=hunter2", cwd=shop.directory)
    homeport.run("restart", "-h")
    for path in (
        homeport.data / "homeport.sock",
        homeport.data / "state.db",
        homeport.data / "supervisor" / "supervisord.conf",
        *(homeport.data / "supervisor").rglob("*.json"),
        *(homeport.data / "supervisor").rglob("*.sock"),
        *(homeport.data / "edge").glob("*.sock"),
        *(homeport.data / "archives").iterdir(),
    ):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or not _reachable(path, homeport.data), path
    for name in ("homeport.sock", "state.db"):
        assert stat.S_IMODE((homeport.data / name).stat().st_mode) == 0o600
    instances = list((homeport.data / "supervisor").rglob("shop.production.*.json"))
    assert instances and all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in instances)


def _reachable(path, top):
    """Whether another user may pass every directory from ``top`` down to ``path``."""
    return all(stat.S_IMODE(p.stat().st_mode) & 0o001 for p in path.parents if p == top or top in p.parents)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_cannot_connect_or_read(homeport, shop):
    attempt = (
        "import os, socket, sys\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "data = sys.argv[1]\n"
        "for name in sys.argv[2:]:\n"
        "    try:\n"
        "        if name.endswith('.sock'):\n"
        "            socket.socket(socket.AF_UNIX).connect(os.path.join(data, name))\n"
        "        else:\n"
        "            open(os.path.join(data, name)).read(1)\n"
        "        print('got in:', name)\n"
        "    except PermissionError:\n"
        "        print('denied:', name)\n"
    )
    names = [
        str(p.relative_to(homeport.data))
        for p in homeport.data.rglob("*")
        if p.is_socket() or (p.is_file() and p.suffix in (".json", ".db", ".conf", ".tar"))
        if p.name not in ("homeport.json",) and "releases" not in p.parts
    ]
    assert "homeport.sock" in names and "state.db" in names
    homeport.work.chmod(0o755)
    python = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
    done = subprocess.run(
        [python, "-W", "ignore", "-c", attempt, str(homeport.data), *names], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "got in" not in done.stdout and "denied: homeport.sock" in done.stdout, done.stdout
