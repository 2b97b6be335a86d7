"""A data directory with a bit of everything, backed up by restic; no part of Homeport runs."""

import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from state_db import fresh

from homeport.backup.files.model import Limits, LocalPlace, Repository
from homeport.backup.files.plan import Sources, sources
from homeport.backup.files.service import FileBackups
from homeport.journal.model import Event
from homeport.journal.store import Store
from homeport.kernel.secret import Secret
from homeport.system import process
from homeport.system.clock import RealClock

PASSPHRASE = Secret("correct horse battery staple")
OWN = Secret("own-password-of-homeport")
LIMITS = Limits(short=60, stalled=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted(Event):
    kind: ClassVar[str] = "test.noted"
    n: int


def directory() -> Path:
    """In memory where there is room: restic flushes each file that it writes."""
    shm = Path("/dev/shm")
    roomy = shm.is_dir() and shutil.disk_usage(shm).free > 2 << 30
    return Path(tempfile.mkdtemp(prefix="hp-bf-", dir=shm if roomy else "/tmp"))


class FilesHome:
    def __init__(self, repositories: int = 1) -> None:
        self.top = directory()
        self.data = self.top / "data"
        self.clock = RealClock()
        self.data.mkdir()
        self._fill()
        self.repositories = tuple(
            Repository(f"r{n}", LocalPlace(self.top / f"r{n}"), OWN) for n in range(1, repositories + 1)
        )
        self.backups = FileBackups(self.data, self.repositories, self.clock, LIMITS, yielding=False)

    def _fill(self) -> None:
        engine = fresh(self.data / "state.db")
        store = Store(engine, self.clock)
        for n in range(3):
            with store.transaction("ann") as tx:
                tx.append(Noted(n=n))
        engine.dispose()
        (self.data / "homeport.json").write_text('{"web": "127.0.0.1:8080"}')
        (self.data / "secrets.key").write_text("the-key-of-all-secrets")
        (self.data / "secrets.key").chmod(0o600)
        release = self.data / "releases" / "shop" / "r1"
        release.mkdir(parents=True)
        (release / "app.py").write_text("print('shop')\n")
        (release / "latest").symlink_to("app.py")
        uploads = self.data / "storage" / "shop" / "production" / "uploads"
        uploads.mkdir(parents=True)
        (uploads / "a [1] $x*.txt").write_text("first")
        (uploads / "b.txt").write_bytes(b"second" * 1000)
        with closing(sqlite3.connect(uploads / "orders.db")) as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, what TEXT)")
            db.executemany("INSERT INTO orders (what) VALUES (?)", [(f"order {n}",) for n in range(50)])
            db.commit()
        (uploads / "orders.db").chmod(0o640)
        logs = self.data / "logs"
        logs.mkdir()
        (logs / "web.log").write_text("not backed up")

    @property
    def uploads(self) -> Path:
        return self.data / "storage" / "shop" / "production" / "uploads"

    @property
    def own(self) -> Sources:
        return sources([("shop", "production")])[0]

    @property
    def storage(self) -> Sources:
        return sources([("shop", "production")])[1]

    def of_lane(self, lane: str) -> FileBackups:
        return FileBackups(self.data, self.repositories, self.clock, LIMITS, yielding=False, lane=lane)

    def by_passphrase(self, number: int = 1) -> Repository:
        return Repository("given", LocalPlace(self.top / f"r{number}"), PASSPHRASE)

    def left(self) -> list[str]:
        """What backups, proofs and restores have left: processes and directories."""
        layout = self.backups.layout
        running = [m.instance for m in process.marked(str(self.data))]
        scratch = list(layout.scratch.iterdir()) if layout.scratch.exists() else []
        return running + [p.name for p in scratch] + ([layout.stage.name] if layout.stage.exists() else [])

    def end(self) -> None:
        process.kill_family(str(self.data), "filebackup")
        shutil.rmtree(self.top, ignore_errors=True)


def orders(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        (rows,) = db.execute("SELECT count(*) FROM orders").fetchone()
    return int(rows)
