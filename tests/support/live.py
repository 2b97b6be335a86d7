"""A live Homeport for tests: its own data directory and ports, small apps in git, everything ended after."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ports import directory, free_port

from homeport.api.client import Client

ROOT = Path(__file__).resolve().parents[2]
HOMEPORT = Path(sys.executable).parent / "homeport"

APP = """
import http.server, json, os, signal, socketserver, sys, threading, time
VERSION = "{version}"
{extra}
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *a): pass
    def answer(self, status, body, **headers):
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for k, v in headers.items(): self.send_header(k.replace("_", "-"), v)
        # In one piece: an answer that has begun cannot be asked of another instance.
        self._headers_buffer += [b"\\r\\n", data]
        self.flush_headers()
    def do_GET(self):
        if self.path == "/health": return health(self)
        if self.path.startswith("/slow"): time.sleep(float(self.path.partition("=")[2] or 1))
        if self.path == "/die": os._exit(3)
        if self.path == "/env": return self.answer(200, json.dumps(dict(os.environ)))
        self.answer(200, VERSION, X_Release=os.environ.get("HOMEPORT_RELEASE", ""))
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer(200, str(len(body)))
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128
    def handle_error(self, *a): pass
def health(handler): handler.answer(200, "well")
{after}
server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("listening as", VERSION, flush=True)
server.serve_forever()
"""

SPEC = """
[app]
name = "{name}"
{build}
[processes.web]
command = "exec python3 app.py"
health = {{ path = "/health", interval = "500ms" }}
start_timeout = "{start_timeout}"
stop_grace = "3s"
replicas = {replicas}
{process}
[routes]
"{host}" = "web"

[backup]
schedule = "0 0 1 1 *"
full = "0 0 1 1 *"

[rollout]
drain = "3s"
keep_warm = "{keep_warm}"
{rollout}
"""


def _attend_to_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


PATIENCE = 120.0
"""Seconds."""


class App:
    """An app in a git repository of its own."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.name = name
        self.host = f"{name}.localhost"
        directory.mkdir()
        self.git("init", "-q")

    def git(self, *arguments: str) -> str:
        env = os.environ | {
            f"GIT_{who}_{what}": "tests@localhost"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        done = subprocess.run(
            ["git", *arguments], cwd=self.directory, env=env, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def write(
        self,
        version: str = "1",
        *,
        extra: str = "",
        after: str = "",
        build: str = "",
        process: str = "",
        rollout: str = "",
        replicas: int = 2,
        keep_warm: str = "10m",
        start_timeout: str = "15s",
        host: str | None = None,
        more: str = "",
    ) -> str:
        """Write and commit a version of the app; returns the commit."""
        (self.directory / "app.py").write_text(APP.format(version=version, extra=extra, after=after))
        spec = SPEC.format(
            name=self.name,
            host=host or self.host,
            build=f"[build]\n{build}\n" if build else "",
            process=process,
            rollout=rollout,
            replicas=replicas,
            keep_warm=keep_warm,
            start_timeout=start_timeout,
        )
        (self.directory / "homeport.toml").write_text(spec + more)
        return self.commit(f"version {version}")

    def commit(self, message: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


class Homeport:
    """One running Homeport."""

    def __init__(self) -> None:
        self.work = directory(below="d")
        self.work.chmod(0o711)  # database servers run as users of their own
        self.data = self.work / "d"
        self.port = free_port()
        keep = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
        self.env = {k: v for k, v in os.environ.items() if k in keep or k.startswith(("PIP_", "SSL_"))}
        self.env |= {"HOMEPORT_HOME": str(self.data), "HOMEPORT_HTTP": f"127.0.0.1:{self.port}"}

    def run(
        self, *arguments: str, cwd: Path | None = None, status: int | None = 0, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """A command; ``status`` is what it must exit with, None for any. No traceback, ever."""
        done = subprocess.run(
            [str(HOMEPORT), *arguments],
            cwd=cwd or self.work,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=300,
            input=stdin,
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        if status is not None:
            assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *arguments: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        """A command in the background."""
        return subprocess.Popen(
            [str(HOMEPORT), *arguments],
            cwd=cwd or self.work,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A runner in the background ignores Ctrl-C, and so would its children.
            preexec_fn=_attend_to_ctrl_c,
        )

    def json(self, *arguments: str, cwd: Path | None = None, status: int | None = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", cwd=cwd, status=status).stdout)

    def ask(self, path: str) -> Any:
        """What the API answers; as the command line it waits for a control plane that restarts.

        For waiting on: a command costs a quarter of a second of a core.
        """
        return Client(self.data).get(path)

    def up(self) -> None:
        self.run("up")

    def app(self, name: str = "shop") -> App:
        return App(self.work / name, name)

    def deploy(self, app: App, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run("deploy", *arguments, cwd=app.directory, status=status)

    def environment(self, app: App | str, name: str = "production") -> Any:
        wanted = app if isinstance(app, str) else app.name
        for a in self.ask("/v1/status")["apps"]:
            for e in a["environments"]:
                if a["name"] == wanted and e["name"] == name:
                    return e
        return None

    def get(
        self,
        path: str = "/",
        *,
        host: str = "shop.localhost",
        headers: dict[str, str] | None = None,
        timeout: float = 60,
    ) -> tuple[int, str, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", path, headers={"Host": host} | (headers or {}))
            answer = connection.getresponse()
            return (
                answer.status,
                answer.read().decode("utf-8", "replace"),
                {k.lower(): v for k, v in answer.getheaders()},
            )
        finally:
            connection.close()

    def wait(self, condition: Any, *, seconds: float = PATIENCE, what: str = "") -> Any:
        """Wait until ``condition()`` is true; returns what it gave. No test shows how soon that is: a busy machine
        has ``PATIENCE`` at least."""
        end = time.monotonic() + max(seconds, PATIENCE)
        while True:
            found = condition()
            if found:
                return found
            assert time.monotonic() < end, f"not within {seconds} s: {what or condition}"
            time.sleep(0.05)

    def pids(self) -> dict[int, str]:
        """Every living process that belongs to this Homeport, with its HOMEPORT_INSTANCE."""
        found = {}
        owner = f"HOMEPORT_OWNER={self.data}".encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                environ = (entry / "environ").read_bytes().split(b"\0")
                if (
                    owner in environ
                    and (entry / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
                ):
                    name = next((v[18:].decode() for v in environ if v.startswith(b"HOMEPORT_INSTANCE=")), "")
                    found[int(entry.name)] = name
            except OSError:
                continue
        return found

    def pid_of(self, instance: str) -> int:
        """Not that of what it has started and has marked with its own name, such as git."""
        named = {pid for pid, name in self.pids().items() if name == instance}

        def parent(pid: int) -> int | None:
            try:
                return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                return None

        parents = {pid: parent(pid) for pid in named}
        return next(pid for pid in sorted(named) if parents[pid] is not None and parents[pid] not in named)

    def supervisord(self) -> int:
        return int((self.data / "supervisor" / "supervisord.pid").read_text())

    def close(self) -> None:
        try:
            self.run("down", status=None)
        finally:
            # What a failed one left: the supervisor first, which starts again what ends.
            with suppress(OSError, ValueError):
                supervisor = self.supervisord()
                if str(self.data).encode() in Path(f"/proc/{supervisor}/cmdline").read_bytes():
                    os.kill(supervisor, 9)
            while pids := self.pids():
                for pid in pids:
                    with suppress(ProcessLookupError):
                        os.kill(pid, 9)
                time.sleep(0.02)
            shutil.rmtree(self.work, ignore_errors=True)
