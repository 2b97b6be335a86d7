"""A PostgreSQL cluster of a test's own: made by initdb under /tmp, on a unix socket only, ended by its pid."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
PORT = 5432
"""Only a part of the socket's name: nothing listens on the network."""


class Postgres:
    """``dsn(database)`` leads to it as its superuser ``postgres``, without a password."""

    def __init__(self, *, checksums: bool = True, settings: dict[str, str] | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="hp-pg-", dir="/tmp"))
        self.data = self.directory / "data"
        self.log = self.directory / "log"
        self.socket = self.directory
        self._settings = {
            "listen_addresses": "''",
            "unix_socket_directories": f"'{self.socket}'",
            "port": str(PORT),
            "shared_buffers": "'32MB'",
            "max_connections": "50",
            "synchronous_commit": "off",
            "shared_preload_libraries": "'pg_stat_statements'",
        } | (settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            entry = pwd.getpwnam("postgres")
            self._user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            os.chown(self.directory, entry.pw_uid, entry.pw_gid)
        try:
            options = [
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ]
            if checksums:
                options.append("--data-checksums")
            self.program("initdb", f"--pgdata={self.data}", *options)
            self.configure({})
            self.start()
        except BaseException:
            self.end()
            raise

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        return f"host={self.socket} port={PORT} user={user} dbname={database}"

    def program(self, name: str, *arguments: str) -> str:
        """Runs a program of PostgreSQL's as the cluster's user; gives its output."""
        ran = subprocess.run(
            [str(PROGRAMS / name), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.directory,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            **self._user,
        )
        if ran.returncode:
            raise RuntimeError(f"{name} ended with {ran.returncode}: {ran.stderr[-2000:]}")
        return ran.stdout

    def configure(self, settings: dict[str, str]) -> None:
        """For the next start. Values are written as postgresql.conf has them."""
        self._settings |= settings
        text = "".join(f"{key} = {value}\n" for key, value in self._settings.items())
        (self.data / "postgresql.auto.conf").write_text(text)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(PROGRAMS / "postgres"), "-D", str(self.data)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
                start_new_session=True,
                **self._user,
            )
        deadline = time.monotonic() + 60
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def _ready(self) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is a fast shutdown, SIGQUIT an immediate one, SIGKILL a crash."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process = None

    def end(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> "Postgres":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
