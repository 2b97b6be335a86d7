"""What runs on backups may leave behind on a machine: looked for after each round of ``chaos_backups``."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from live import Homeport

from homeport.backup.physical.model import in_memory

LOOKING = ("backup.look", "backup.main.look", "filebackup.look")
"""Processes of the look that is taken each minute."""


class Things:
    """Of one Homeport with a cluster ``main`` and a repository in a directory."""

    def __init__(self, homeport: Homeport, repository: Path, url: str) -> None:
        self._homeport = homeport
        self._repository = repository
        self._url = url
        self._memory: set[str] = set()
        self._servers: set[int] = set()

    def all(self) -> set[str]:
        """All that a run may leave behind, in words; what is kept on purpose begins with "kept"."""
        data = self._homeport.data
        found = {
            f"process {name}"
            for name in self._homeport.pids().values()
            if (name.startswith(("backup.", "filebackup.")) or name == "drill") and name not in LOOKING
        }
        found |= {f"process in {d}" for d in _working_directories(data)}
        cluster = data / "postgresql" / "main"
        for path in cluster.iterdir():
            if path.name.startswith("before-"):
                found.add(f"kept {path.name}")
            elif path.is_dir():
                found.add(str(path))
        scratch, files = data / "scratch", data / "backups" / "files"
        for directory in (
            scratch,
            scratch / "main",
            files,
            files / "restored",
        ):
            if directory.is_dir():
                found |= {str(p) for p in directory.iterdir() if p.name not in ("restored", "replaced")}
        for memory in (in_memory(data), in_memory(data / "scratch" / "_drill")):
            found |= {str(p) for p in memory.parent.glob(f"{memory.name}*")}
        found |= {f"shared memory {id}" for id in self._shared_memory()}
        found |= {f"/dev/shm/{name}" for name in self._memory if Path("/dev/shm", name).exists()}
        found |= {f"lock {p}" for p in _held(data / "backups" / "main")}
        with self._admin() as admin:
            slots = admin.execute("select slot_name from pg_replication_slots").fetchall()
            names = admin.execute("select datname, shobj_description(oid, 'pg_database') from pg_database")
            for name, note in names.fetchall():
                found.add(
                    f"kept database {name}" if "before a restore" in (note or "") else f"database {name}"
                )
            roles = admin.execute("select rolname from pg_roles").fetchall()
        found |= {f"slot {name}" for (name,) in slots} | {f"role {name}" for (name,) in roles}
        with self._connect() as connection:
            schemas = connection.execute("select nspname, obj_description(oid) from pg_namespace").fetchall()
        found |= {
            f"kept schema {name}" if name.startswith("restored_") and note else f"schema {name}"
            for name, note in schemas
            if not name.startswith("pg_")
        }
        return found

    def locks(self) -> list[str]:
        """Of restics; one that was killed leaves its own until the next backup has ended."""
        return [f"left over: {p}" for p in (self._repository / "files" / "locks").iterdir()]

    def watch(self) -> None:
        """Notes the shared memory of servers on copies, while they run."""
        data = self._homeport.data
        copies = [
            *(data / "scratch").glob("*/*/data"),
            *(data / "postgresql" / "main").glob("restored-*/data"),
        ]
        for copy in copies:
            with suppress(OSError, ValueError, IndexError):
                pid = int((copy / "postmaster.pid").read_text().splitlines()[0])
                self._servers.add(pid)
                for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                    _, found, name = line.partition("/dev/shm/")
                    if found:
                        self._memory.add(name.split()[0])

    def _shared_memory(self) -> list[str]:
        """Segments that servers on copies made and nobody uses."""
        lines = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
        return [f"{f[1]} of {f[4]}" for f in lines if int(f[4]) in self._servers and f[6] == "0"]

    def _connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        return psycopg.connect(self._url, autocommit=True, prepare_threshold=None, connect_timeout=5)

    def _admin(self) -> "psycopg.Connection[tuple[Any, ...]]":
        directory = self._homeport.data / "postgresql" / "main"
        port = (directory / "data" / "postmaster.pid").read_text().splitlines()[3]
        return psycopg.connect(
            host=str(directory / "s"), port=port, user="homeport", dbname="postgres", autocommit=True
        )


def _working_directories(data: Path) -> set[str]:
    """Of processes that work in a copy, or in what is gone."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                cwd = os.readlink(entry / "cwd")
                if cwd.startswith(f"{data}/") and (
                    "/scratch" in cwd or "/restored-" in cwd or "(deleted)" in cwd
                ):
                    found.add(cwd)
    return found


def _held(directory: Path) -> list[str]:
    """Files of locks that somebody holds."""
    held = []
    for path in directory.rglob("*lock*"):
        # pgBackRest's come and go.
        with suppress(FileNotFoundError, IsADirectoryError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                held.append(str(path))
    return held
