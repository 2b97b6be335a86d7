"""Executors of stages with real processes, files and sockets."""

import contextlib
import gzip
import http.server
import io
import json
import os
import signal
import subprocess
import tarfile
import threading
import time
from pathlib import Path

import pytest

from homeport.kernel.ids import AppName, EnvironmentName, ReleaseId, RunId
from homeport.kernel.masking import Masker
from homeport.rollout.build import BuildLog
from homeport.rollout.pipeline.stages import budget, check, place, smoke, verify
from homeport.rollout.pipeline.stages.work import Work
from homeport.spec.model import Budget, Check, SmokeRequest, Stage
from homeport.system import process
from homeport.system.clock import RealClock

SECRET = "geheim-4711-lang"


class Bench:
    """A data directory with a commit's archive, and work on it."""

    def __init__(self, root: Path) -> None:
        self.data = root / "data"
        self.data.mkdir()
        self.archive = root / "commit.tar"
        self.log_path = self.data / "stage.log"
        self.scratch = self.data / "pipelines" / "shop" / "p-0123456789" / "0"
        with tarfile.open(self.archive, "w") as tar:
            for name, text in {"homeport.toml": "", "src/a.txt": "of the commit"}.items():
                member = tarfile.TarInfo(name)
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text.encode()))

    def work(self, stage: Stage, **more) -> Work:
        given = {
            "app": AppName("shop"),
            "environment": EnvironmentName("staging"),
            "run": RunId("p-0123456789"),
            "stage": stage,
            "data_dir": self.data,
            "scratch": self.scratch,
            "archive": self.archive,
            "log": BuildLog(self.log_path, Masker((SECRET,))),
            "masker": Masker((SECRET,)),
            "clock": RealClock(),
            "stop": lambda: None,
            "name": "p-0123456789.0",
            "variables": {"PATH": os.environ["PATH"], "HOME": "/", "GREETING": "hello", "NO_COLOR": "1"},
            "hosts": ("shop.localhost",),
            "release": ReleaseId("r3"),
        }
        return Work(**{**given, **more})

    def check(self, *commands: str, timeout: float = 30.0, **more):
        checks = tuple(Check(f"c{n}", line, timeout) for n, line in enumerate(commands, 1))
        work = self.work(Stage("check", "check", checks=checks), **more)
        found = check.run(work)
        work.log.close()
        self.nothing_is_left()
        return found

    def log(self) -> str:
        return self.log_path.read_text()

    def nothing_is_left(self) -> None:
        assert process.marked(str(self.data)) == ()
        assert not self.scratch.exists()


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


# check


def test_commands_run_in_the_commits_files_and_all_failures_are_told(bench):
    found = bench.check("cat src/a.txt; echo", "echo no >&2; exit 3", "kill -9 $$", "echo $GREETING")
    assert not found.ok
    assert found.reason == "2 of 4 checks failed: c2 (status 3), c3 (signal 9)"
    assert found.lines == ("c2 │ no",)
    assert [c["ok"] for c in found.details["checks"]] == [True, False, False, True]
    log = bench.log().splitlines()
    for line in ("c1 │ of the commit", "c2 │ $ echo no >&2; exit 3", "c2 │ no", "c4 │ hello"):
        assert line in log
    assert json.loads(json.dumps(found.details)) == found.details


def test_commands_that_pass_pass(bench):
    found = bench.check("true", "true")
    assert found.ok and found.reason == "" and found.lines == ()


def test_two_commands_run_at_the_same_time(bench):
    """Each waits for what the other one writes."""
    found = bench.check(
        "touch one; until [ -e two ]; do sleep 0.02; done", "touch two; until [ -e one ]; do sleep 0.02; done"
    )
    assert found.ok


def test_a_command_is_not_asked_anything(bench):
    found = bench.check(
        'read x && exit 1; [ -t 0 ] && exit 2; [ "$CI$TERM${NO_COLOR-unset}" = truedumbunset ]'
    )
    assert found.ok, bench.log()


def test_a_command_that_hangs_is_ended_with_all_that_it_forked(bench):
    fork = "import os,time\nfor _ in range(3):\n os.fork()\n os.setsid() if os.getpid() != os.getpgid(0) else 0\n"
    found = bench.check(
        "setsid sleep 4401 & sleep 4401", f"python3 -c '{fork}time.sleep(4402)'", "true", timeout=4.0
    )
    assert (
        found.reason == "2 of 3 checks failed: c1 (it ran longer than 4.0 s), c2 (it ran longer than 4.0 s)"
    )


def test_what_a_command_leaves_running_is_ended_and_not_waited_for(bench):
    found = bench.check(
        "setsid sh -c 'while :; do echo busy; done' & setsid sleep 4403 & echo done", timeout=60.0
    )
    assert found.ok


def test_a_command_that_closed_its_output_can_still_be_cancelled(bench):
    found = bench.check("exec >&- 2>&-; touch silent; sleep 4404", stop=once_there(bench.scratch / "silent"))
    assert (found.ok, found.reason, found.stopped) == (False, "it was cancelled", "cancelled")


def test_cancelling_ends_all_commands(bench):
    found = bench.check(
        "sleep 4405", "touch here; sleep 4405", "sleep 4405", stop=once_there(bench.scratch / "here")
    )
    assert (found.ok, found.stopped) == (False, "cancelled")
    assert [c["problem"] for c in found.details["checks"]][2] in ("it was not started", "it was cancelled")


def once_there(path: Path):
    return lambda: "cancelled" if path.exists() else None


def test_secrets_stay_out_of_the_log_and_of_what_is_found(bench):
    slowly = f"printf {SECRET[:7]}; sleep 0.2; echo $((4700 + 11)){SECRET[11:]}; exit 1"
    found = bench.check(slowly, f"echo {SECRET}; exit 1")
    assert "4711" not in json.dumps(found.details) + found.reason + "".join(found.lines)
    assert "4711" not in bench.log() and "c2 │ [secret]" in bench.log()


def test_files_beyond_the_budget_end_the_commands(bench):
    found = bench.check("head -c 30000000 /dev/zero > big; sync big; sleep 4406", disk=10_000_000)
    assert found.reason == "c1 (its files take more than allowed: build.disk is 10 MB) failed"


def test_a_full_disk_ends_the_commands_and_refuses_new_ones(bench, monkeypatch):
    monkeypatch.setattr(place, "RESERVE", 1 << 62)
    found = bench.check("true")
    assert not found.ok and found.reason.startswith("there is no room on the disk")


def test_an_archive_that_cannot_be_unpacked_is_told(bench):
    bench.archive.write_bytes(b"no tar" * 1000)
    assert bench.check("true").reason.startswith("cannot read the archive")
    bench.archive.unlink()
    assert bench.check("true").reason == "the commit's files cannot be unpacked: No such file or directory"


def test_what_a_killed_control_plane_left_is_ended_first(bench):
    bench.scratch.mkdir(parents=True)
    (bench.scratch / "old").touch()
    marks = {
        process.OWNER: str(bench.data),
        process.INSTANCE: "p-0123456789.0.c9",
        "PATH": os.environ["PATH"],
    }
    other = marks | {process.INSTANCE: "p-0123456789.01.c1"}
    left = subprocess.Popen(["sleep", "4407"], env=marks, start_new_session=True)
    kept = subprocess.Popen(["sleep", "4408"], env=other, start_new_session=True)
    try:
        work = bench.work(Stage("check", "check", checks=(Check("c1", "[ ! -e old ]"),)))
        assert check.run(work).ok
        work.log.close()
        assert left.wait(5) == -signal.SIGKILL and kept.poll() is None
    finally:
        for child in (left, kept):
            child.kill()
            child.wait()


# budget


@pytest.fixture
def release(bench):
    directory = bench.data / "releases" / "shop" / "r3"
    (directory / "dist" / "sub").mkdir(parents=True)
    (directory / "dist" / "a.js").write_bytes(b"let a;" * 1000)
    (directory / "dist" / "sub" / "b.js").write_bytes(os.urandom(2000))
    return directory


def measure(bench, release, *budgets):
    work = bench.work(Stage("build", "build", budgets=budgets), release_directory=release)
    with contextlib.closing(work.log):
        return budget.run(work)


def test_files_are_measured_as_they_are_and_as_gzip_makes_them(bench, release):
    found = measure(bench, release, Budget("dist/**/*.js", 8000))
    assert found.ok and found.details["budgets"][0]["bytes"] == 8000
    assert not measure(bench, release, Budget("dist/**/*.js", 7999)).ok
    small = measure(bench, release, Budget("dist/a.js", 1000, gzip=True)).details["budgets"][0]["bytes"]
    assert small == len(gzip.compress(b"let a;" * 1000, 6))


def test_links_count_as_what_they_lead_to_within_the_release_only(bench, release):
    outside = bench.data / "outside"
    outside.mkdir()
    (outside / "big.js").write_bytes(bytes(10**6))
    (release / "out").symlink_to(outside)
    (release / "out.js").symlink_to(outside / "big.js")
    (release / "gone.js").symlink_to("nowhere")
    (release / "self.js").symlink_to("self.js")
    (release / "in").symlink_to("dist")
    (release / "dist" / "up").symlink_to("..")
    os.mkfifo(release / "pipe.js")
    found = measure(bench, release, Budget("in/*.js", 6000), Budget("*.js", 1), Budget("out/*", 1))
    in_, top, out = found.details["budgets"]
    assert in_["ok"] and in_["largest"] == [["in/a.js", 6000]]
    assert top["problem"] == "*.js matches no file" and out["problem"] == "out/* matches no file"


# smoke and verify


@contextlib.contextmanager
def edge(answers):
    """A server in the edge's place: ``answers(path) -> (status, headers, body)``; keeps what it was asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            asked.append((self.command, self.path, dict(self.headers)))
            status, headers, body = answers(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address, asked
        finally:
            server.shutdown()
            thread.join()


def smoked(bench, address, *requests, executor=smoke, **stage):
    wanted = Stage("smoke", "smoke", requests=requests, **stage)
    work = bench.work(wanted, edge=tuple(address))
    with contextlib.closing(work.log):
        found = executor.run(work)
    bench.nothing_is_left()
    return found


def test_requests_are_sent_with_the_environments_host_and_judged(bench):
    pages = {"/": (200, {"X-A": "b"}, b'{"n": [1]}'), "/go": (302, {"Location": "http://127.0.0.1:1/"}, b"")}
    with edge(pages.__getitem__) as (address, asked):
        found = smoked(
            bench,
            address,
            SmokeRequest("/", expect_json=(("n.0", 1),), expect_headers=(("x-a", "b"),), contains="n"),
            SmokeRequest("/go", status=(302,), method="POST", body="data", headers=(("X-T", "1"),)),
        )
    assert found.ok, found
    (get, path, headers), (post, _, more) = asked
    assert (get, path, headers["Host"], headers["User-Agent"]) == (
        "GET",
        "/",
        "shop.localhost",
        "homeport-smoke",
    )
    assert (post, more["X-T"], more["Content-Length"], more["Host"]) == ("POST", "1", "4", "shop.localhost")
    assert [r["status"] for r in found.details["requests"]] == [200, 302]


def test_a_wrong_answer_is_told_with_the_beginning_of_its_body(bench):
    with edge(lambda _: (500, {}, f"Oops {SECRET}\n".encode() + b"x" * 1000)) as (address, _):
        found = smoked(bench, address, SmokeRequest("/orders"))
    assert found.reason.startswith("GET /orders: status 500, 200 was expected (in ")
    assert found.lines[0] == found.reason and found.lines[1] == "  Oops [secret]"
    assert sum(map(len, found.lines[1:])) < 310
    assert "4711" not in json.dumps(found.details) + bench.log()


def test_what_fails_once_is_tried_again(bench):
    statuses = iter([503, 200])
    with edge(lambda _: (next(statuses), {}, b"")) as (address, asked):
        found = smoked(bench, address, SmokeRequest("/"), retries=2)
    assert found.ok and found.details["attempts"] == 2 and len(asked) == 2
    assert "tried again in 1 s" in bench.log()


def test_the_command_is_told_where_the_environment_is(bench):
    with edge(lambda path: (200, {}, path.encode())) as (address, asked):
        found = smoked(
            bench,
            address,
            command="cat src/a.txt && echo && env | grep ^HOMEPORT_ | sort && python3 -c '"
            "import os, urllib.request as u; "
            'u.urlopen(u.Request(os.environ["HOMEPORT_ADDRESS"], headers={"Host": os.environ["HOMEPORT_HOST"]}))\'',
        )
    port = address[1]
    assert found.ok, bench.log()
    assert asked[0][2]["Host"] == "shop.localhost"
    log = bench.log()
    for line in (
        "of the commit",
        f"HOMEPORT_URL=http://shop.localhost:{port}",
        f"HOMEPORT_ADDRESS=http://127.0.0.1:{port}",
        "HOMEPORT_RELEASE=r3",
    ):
        assert line in log


def test_a_command_that_hangs_fails_the_stage(bench):
    found = smoked(
        bench, ("127.0.0.1", 1), command="echo waiting; setsid sleep 4409 & sleep 4409", timeout=3.0
    )
    assert found.reason == "the command failed: it ran longer than 3.0 s" and found.lines == ("waiting",)


def test_a_request_that_hangs_can_be_cancelled(bench):
    begun = threading.Event()

    def hang(_):
        begun.set()
        time.sleep(3)
        return 200, {}, b""

    with edge(hang) as (address, _):
        work = bench.work(
            Stage("smoke", "smoke", requests=(SmokeRequest("/", within=60.0),), command="true", retries=5),
            edge=tuple(address),
            stop=lambda: "closing" if begun.is_set() else None,
        )
        with contextlib.closing(work.log):
            found = smoke.run(work)
    assert (found.ok, found.stopped) == (False, "closing")
    assert "command" not in found.details


def test_verify_asks_at_the_beginning_and_at_the_end_and_runs_its_command_once(bench):
    with edge(lambda _: (200, {}, b"")) as (address, asked):
        found = smoked(
            bench,
            address,
            SmokeRequest("/"),
            executor=verify,
            watch_for=1.5,
            command="echo ran >> log; cat log",
        )
    assert found.ok and found.details["rounds"] == 2 and len(asked) == 2
    assert found.details["command"]["ok"] and bench.log().count("\nran\n") == 1


def test_verify_fails_with_the_first_wrong_answer(bench):
    with edge(lambda _: (502, {}, b"")) as (address, asked):
        found = smoked(bench, address, SmokeRequest("/"), executor=verify, watch_for=60.0)
    assert found.reason.startswith("GET /: status 502") and len(asked) == 1
