"""Previews over a runtime and an edge in memory, with time that passes when it is waited for."""

import hashlib
import io
import tarfile
import threading
from datetime import UTC, datetime, timedelta

import pytest

from homeport.database.fake import FakeServices
from homeport.edge.fake import FakeEdge
from homeport.edge.model import Bind
from homeport.guard.vault import Vault
from homeport.journal.store import Store, open_engine, text_time
from homeport.kernel.ids import ChangeId, EnvironmentName, ProcessName, ReleaseId
from homeport.rollout import readiness, state
from homeport.rollout.data.stores import Stores
from homeport.rollout.model import (
    Change,
    ChangeKind,
    Commit,
    Config,
    Goal,
    Instance,
    Release,
    ReleaseState,
    Want,
)
from homeport.rollout.parts import Parts
from homeport.rollout.previews.service import Previews
from homeport.rollout.previews.sleep import Sleep
from homeport.rollout.removal import Removal
from homeport.rollout.rollouts import Rollouts
from homeport.rollout.state import State
from homeport.runtime.fake import FakeLogReader, FakeRuntime
from homeport.system import net

APP = "shop"
SPEC = """
[app]
name = "shop"
[processes.web]
command = "serve"
health = { path = "/health", healthy_after = 1 }
[processes.worker]
command = "work"
[routes]
"shop.example.com" = "web"
"""
PREVIEWS = """
[previews]
domain = "preview.example.com"
ttl = "7d"
sleep_after = "30m"
most = 3
"""


class Clock:
    def __init__(self):
        self.at = datetime(2026, 11, 21, 12, tzinfo=UTC)
        self._lock = threading.Lock()

    def now(self):
        return self.at

    def monotonic(self):
        return (self.at - datetime(2026, 1, 1, tzinfo=UTC)).total_seconds()

    def sleep(self, seconds):
        self.pass_(seconds=seconds)

    def pass_(self, **length):
        with self._lock:
            self.at += timedelta(**length)


class Home:
    def __init__(self, directory):
        self.clock = Clock()
        self.engine = open_engine(directory / "state.db")
        self.store = Store(self.engine, self.clock)
        self.state = State(self.store)
        self.runtime = FakeRuntime(self.clock)
        self.edge = FakeEdge()
        self.vault = Vault(self.store, directory / "secrets.key")
        self.parts = Parts(
            data_dir=directory,
            state=self.state,
            vault=self.vault,
            runtime=self.runtime,
            logs=FakeLogReader(self.runtime),
            edge=self.edge,
            stores=Stores(
                directory, self.store, FakeServices(), self.vault, self.clock, is_port_free=lambda port: True
            ),
            clock=self.clock,
            http=Bind("127.0.0.1", 8080),
            https=None,
            build_environment={},
            is_port_free=lambda port: True,
            port_start=20000,
        )
        self.started = []
        self.rollouts = Rollouts(self.parts, self.started.append)
        self.removal = Removal(self.parts, self.rollouts)
        self.previews = Previews(self.parts, self.rollouts, self.removal)
        self.sleep = Sleep(self.parts, self.rollouts)
        self.key = (APP, EnvironmentName("preview-hats"))

    # What others do

    def upload(self, spec=SPEC + PREVIEWS):
        """An archive with only this homeport.toml; returns its digest."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            info = tarfile.TarInfo("homeport.toml")
            info.size = len(spec)
            tar.addfile(info, io.BytesIO(spec.encode()))
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        path = self.parts.archive(digest)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(buffer.getvalue())
        return digest

    def create(self, branch="hats", spec=SPEC + PREVIEWS, **more):
        given = {"commit": Commit("1f2e3d4c5b", "Hats"), "actor": "ann"} | more
        if "archive_digest" not in given:
            given["archive_digest"] = self.upload(spec)
        return self.previews.create(APP, **({"branch": branch} | given))

    def end(self, change, *, well=True):
        """A change is done: its release serves with one instance of each process, which runs."""
        with self.store.transaction("ann") as tx:
            if well:
                environment = change.environment
                state.update_release(tx, APP, change.goal.release, state=ReleaseState.READY.value)
                state.update_environment(
                    tx, APP, environment, serving=change.goal.release, routing=change.goal.release
                )
                state.wake(tx, APP, environment)
                state.insert_deployment(tx, change)
                port = 20000 + len(self.state.instances())
                for process in ("web", "worker"):
                    state.insert_instance(tx, self.instance(change, process, port))
            state.update_change(
                tx,
                change.id,
                state="done",
                finished_at=text_time(tx.now),
                result={"verdict": "promoted" if well else "rolled back"},
            )
        if well:
            for i in self.state.instances(APP, change.environment):
                self.parts.start(i, change.config)
            self.parts.publish()

    def instance(self, change, process, port):
        return Instance(
            app=change.app,
            environment=change.environment,
            release=change.goal.release,
            process=ProcessName(process),
            n=1,
            port=port if process == "web" else None,
            config=change.config.digest,
            change=change.id,
            weight=100 if process == "web" else 0,
            ready=True,
            created_at=self.clock.now(),
        )

    def serving(self, branch="hats", **more):
        """A preview that serves."""
        preview, change = self.create(branch, **more)
        self.end(change)
        return preview

    def deployed(self, environment, *, spec=SPEC, variables=None, secrets=None):
        """An environment that serves, with what is set for it."""
        with self.store.transaction("ann") as tx:
            state.ensure_environment(tx, APP, environment)
            release = state.next_release(tx, APP)
            id = ChangeId(f"c-{release[1:]:0>10}")
            goal = Goal(release, (Want("web", True, 1),), "blue-green", 1, None)
            config = Config.of(variables or {}, {})
            change = Change(
                id, ChangeKind.DEPLOY, APP, environment, goal, config, None, False, None, False, None,
                "ann", tx.now, None,
            )  # fmt: skip
            state.insert_release(
                tx,
                Release(
                    app=APP, id=ReleaseId(release), commit=Commit("1f2e3d4c5b", "First"), digest="d",
                    state=ReleaseState.READY, spec=spec, size=1, build_seconds=1.0, created_at=tx.now,
                    change=id,
                ),
            )  # fmt: skip
            state.insert_change(tx, change)
            state.update_environment(tx, APP, environment, variables=variables or {})
            for name, value in (secrets or {}).items():
                self.vault.set(tx, APP, environment, name, value)
        self.end(change)

    def kinds(self):
        return [r.kind for r in self.store.records()]

    def wait(self):
        """Until nothing goes on in the background."""
        done = threading.Event()
        for _ in range(2000):
            if not self.sleep._busy and not self.previews._ending:
                return
            done.wait(0.002)
        raise AssertionError("it does not end")

    def tick(self):
        self.previews.expire()
        self.sleep.tick()
        self.wait()

    def asleep(self):
        return self.state.environment(*self.key).asleep

    def running(self):
        """Of preview hats."""
        prefix = "shop.preview-hats."
        names = (s.name for s in self.runtime.observe())
        return sorted(name.removeprefix(prefix) for name in names if name.startswith(prefix))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(readiness, "ask", lambda *_: net.ProbeResult(200, 0.01))
    home = Home(tmp_path)
    yield home
    home.sleep.close()
    home.previews.close()
    home.engine.dispose()
