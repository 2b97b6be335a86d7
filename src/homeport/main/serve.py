"""The control plane: ``python -m homeport.system.start homeport.main.serve``, run by supervisord."""

import contextlib
import gc
import logging
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn

from homeport import __version__
from homeport.api import hooks, server
from homeport.api.client import SOCKET
from homeport.api.services import Services
from homeport.cli import screen
from homeport.database.worker import Worker
from homeport.edge.access import Tail
from homeport.guard.identity import LocalIdentities
from homeport.guard.vault import Vault
from homeport.journal.durable import DurableChanges
from homeport.journal.store import Store, open_engine
from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.kernel.ids import ChangeId
from homeport.main import doctor, lifecycle, settings
from homeport.rollout.advance import Advance
from homeport.rollout.backups import recovered
from homeport.rollout.backups.drills import Drills
from homeport.rollout.backups.restores import Restores
from homeport.rollout.backups.services import BackupServices
from homeport.rollout.data.due import Contracts
from homeport.rollout.data.migrations import Migrations
from homeport.rollout.data.rounds import DatabaseServices
from homeport.rollout.data.schemas import Schemas
from homeport.rollout.data.stores import Stores
from homeport.rollout.jobs import job_targets
from homeport.rollout.judge import Judge
from homeport.rollout.keeper import Keeper
from homeport.rollout.oneoff import OneOffs
from homeport.rollout.parts import HOOKS_SOCKET, Parts
from homeport.rollout.pipeline.service import Pipelines
from homeport.rollout.previews.service import Previews
from homeport.rollout.previews.sleep import Sleep
from homeport.rollout.removal import Removal
from homeport.rollout.rollouts import Rollouts
from homeport.rollout.settings import Settings
from homeport.rollout.sources.service import Sources
from homeport.rollout.state import State
from homeport.rollout.steering import Steering
from homeport.runtime import orphans, ports
from homeport.runtime.jobs.service import Jobs
from homeport.runtime.logs import FileLogReader
from homeport.runtime.services import SupervisorServices
from homeport.runtime.supervisor import SupervisorRuntime
from homeport.system import files, net, process
from homeport.system.clock import RealClock
from homeport.system.seal import KEY_FILE

log = logging.getLogger("homeport.serve")

NO_SETTINGS = declare("main.no_settings", Kind.FAILED, "The data directory was not prepared by homeport up.")


def main() -> None:
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for quiet in ("httpx", "dbos", "alembic"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
    data_dir = Path(os.environ["HOMEPORT_HOME"])
    gc.disable()  # until all is made that stays
    try:
        serve(data_dir)
    except HomeportError as e:
        screen.error(e)
        # Not at once: supervisord starts this again, and the log should stay readable.
        RealClock().sleep(2)
        sys.stderr.flush()
        os._exit(e.kind.exit_status)


def serve(data_dir: Path) -> None:
    clock = RealClock()
    supervisor = _supervisor(data_dir)
    orphans.end_orphaned_services(data_dir, (lifecycle.SERVE,), clock, supervisor=supervisor)
    with files.lock(data_dir / "serve.lock", what="start the control plane"):
        _serve(data_dir, clock, supervisor)


def _supervisor(data_dir: Path) -> int:
    """Who started this; 0 where that is gone already, though this has only just begun."""
    parent = os.getppid()
    return parent if lifecycle.is_supervisor(parent, data_dir) else lifecycle.supervisor_pid(data_dir) or 0


def _serve(data_dir: Path, clock: RealClock, supervisor: int) -> None:
    stored = settings.load(data_dir)
    if stored is None:
        raise NO_SETTINGS.error(f"cannot serve {data_dir}: it was not prepared", hint="homeport up")
    lifecycle.check_state(data_dir)
    database = data_dir / "state.db"
    state = State(Store(open_engine(database), clock))
    vault = Vault(state.store, data_dir / KEY_FILE)
    runtime = SupervisorRuntime(data_dir, clock)
    edge = lifecycle.make_edge(data_dir, clock)
    parts = Parts(
        data_dir=data_dir,
        state=state,
        vault=vault,
        runtime=runtime,
        logs=FileLogReader(data_dir, clock),
        edge=edge,
        stores=Stores(
            data_dir,
            state.store,
            SupervisorServices(data_dir, clock),
            vault,
            clock,
            is_port_free=net.is_port_free,
        ),
        clock=clock,
        http=stored.http,
        https=stored.https,
        build_environment=_build_environment(),
        is_port_free=net.is_port_free,
        port_start=ports.start_of(data_dir),
    )
    try:
        vault.finish_rotation(runtime.reseal)
    except HomeportError as e:
        log.error("%s", e.sentence)
    state.store.mask = lambda text: parts.masker().mask_text(text)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_MaskingFormatter(handler.formatter, state.store.mask))
    judge = Judge(parts, Tail(edge.layout.access_log))
    worker = Worker(data_dir)
    migrations = Migrations(parts, worker)
    advance = Advance(parts, judge, migrations)
    backups = BackupServices.of(parts, advance.closing)

    def carry_on(id: ChangeId) -> bool:
        if id.startswith("b-"):
            return backups.backups.advance(id)
        return pipelines.advance(id) if id.startswith("p-") else advance(id)

    changes = DurableChanges(database, carry_on)
    backups.starting(changes.start)
    rollouts = Rollouts(parts, changes.start, Schemas(parts, migrations).check_archive)
    pipelines = Pipelines(parts, rollouts, changes.start, LocalIdentities(), advance.closing, migrations)
    settings_ = Settings(parts)
    restores = Restores(parts, backups.backups, settings_, rollouts)
    drills = Drills(parts, backups.backups)
    backups.rehearsed(drills.timetable.problems)
    jobs = Jobs(data_dir, state.store, clock, lambda: job_targets(parts), sealing=vault.handing_out)
    oneoffs = OneOffs(parts)
    removal = Removal(parts, rollouts)
    previews = Previews(parts, rollouts, removal)
    sleep = Sleep(parts, rollouts)
    receive = (sys.executable, "-P", "-m", "homeport.main.entry", "--data-dir", str(data_dir), "git-receive")
    sources = Sources(parts, pipelines, previews, hook=receive, edge_user=edge.layout.user)

    databases = DatabaseServices.of(parts, rollouts, migrations, worker)
    contracts = Contracts(parts, rollouts)

    def look_after_databases() -> None:
        contracts.tick()
        databases.rounds.tick()
        backups.tick()
        drills.timetable.tick()

    def look_after_previews() -> None:
        previews.expire()
        sleep.tick()

    keeper = Keeper(
        parts,
        rollouts,
        settings_,
        lambda: jobs.releases_in_use() | oneoffs.releases_in_use(),
        oneoffs.sweep,
        look_after_previews,
        look_after_databases,
    )
    services = Services(
        parts=parts,
        rollouts=rollouts,
        steering=Steering(parts, rollouts),
        settings=settings_,
        oneoffs=oneoffs,
        jobs=jobs,
        pipelines=pipelines,
        previews=previews,
        sleep=sleep,
        removal=removal,
        sources=sources,
        migrations=migrations,
        databases=databases,
        backups=backups,
        restores=restores,
        drills=drills,
        version=__version__,
        started_at=clock.now(),
        doctor=lambda: doctor.findings(parts, databases, backups),
        pid=os.getpid(),
    )
    listener = _listen(data_dir / SOCKET)
    with contextlib.suppress(HomeportError):
        # Before anything resumes: what was recorded last is in force.
        parts.publish()
    if (data_dir / settings.RECOVERING).exists():
        recovered.start_stores(parts)
        recovered.renew_repositories(parts, sources)
    unfinished = (*pipelines.unfinished(), *map(ChangeId, backups.backups.runs.unfinished()))
    changes.launch((*(c.id for c in state.running()), *unfinished))
    keeper.start()
    judge.start(rollouts)
    sleep.start()
    jobs.start()
    webhooks = _serve_webhooks(data_dir, edge.layout.group, sources)
    sources.start()
    threading.Thread(
        target=_watch_supervisor, args=(data_dir, supervisor, advance.closing), daemon=True
    ).start()
    uvicorn_server = uvicorn.Server(
        uvicorn.Config(
            server.make(services),
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
            ws="none",
        )
    )
    gc.collect()
    gc.freeze()
    gc.enable()
    log.info("serving %s as pid %d", data_dir, os.getpid())
    uvicorn_server.run(sockets=[listener])
    advance.closing.set()
    webhooks.should_exit = True
    sources.close()
    jobs.close()
    judge.close()
    keeper.close()
    sleep.close()
    previews.close()
    log.info("stopped")
    sys.stderr.flush()
    # Changes in hand stay as they are: the next control plane resumes them.
    os._exit(0)


class _MaskingFormatter(logging.Formatter):
    """Takes secrets out of whatever is logged, tracebacks included."""

    def __init__(self, inner: logging.Formatter | None, mask: Callable[[str], str]) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()
        self._mask = mask
        self._busy = threading.local()

    def format(self, record: logging.LogRecord) -> str:
        text = self._inner.format(record)
        if getattr(self._busy, "masking", False):
            return text  # what masking itself has to say
        self._busy.masking = True
        try:
            return self._mask(text)
        finally:
            self._busy.masking = False


def _serve_webhooks(data_dir: Path, group: str, sources: Sources) -> uvicorn.Server:
    """Serve the way in for webhooks in a thread of its own, to the edge's workers (``group``) alone."""
    listener = _listen(data_dir / HOOKS_SOCKET, group)
    config = uvicorn.Config(
        hooks.make(sources.receive),
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        limit_concurrency=50,
        timeout_graceful_shutdown=1,
    )
    webhooks = uvicorn.Server(config)
    threading.Thread(
        target=webhooks.run, kwargs={"sockets": [listener]}, name="webhooks", daemon=True
    ).start()
    return webhooks


def _listen(path: Path, group: str = "") -> socket.socket:
    """A unix socket, for its owner, and a group where one is named, only from the first moment."""
    listener = socket.socket(socket.AF_UNIX)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    before = os.umask(0o177)
    try:
        listener.bind(str(fresh))
    finally:
        os.umask(before)
    if group:
        shutil.chown(fresh, group=group)
        fresh.chmod(0o660)
    listener.listen(256)
    os.replace(fresh, path)
    return listener


def _build_environment() -> dict[str, str]:
    """The caller's of ``homeport up``, without what is Homeport's and supervisor's own."""
    own = ("HOMEPORT_", "SUPERVISOR_", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "_")
    found = {k: v for k, v in os.environ.items() if not k.startswith(own)}
    path = found.get("PATH") or "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    # A build that says "pip install" must not install into Homeport's own environment.
    ours = str(Path(sys.executable).parent)
    if sys.prefix != sys.base_prefix:
        path = ":".join(p for p in path.split(":") if p != ours)
    found["PATH"] = path
    found.setdefault("LANG", "C.UTF-8")
    found.setdefault("HOME", "/root" if os.geteuid() == 0 else "/tmp")
    return found


def _watch_supervisor(data_dir: Path, supervisor: int, closing: threading.Event) -> None:
    """When supervisord is killed, nothing would start again what dies: bring up a new one."""
    clock = RealClock()
    while os.getppid() == supervisor:
        if closing.wait(0.5):
            return
    log.error("supervisord (%d) is gone; starting a new one", supervisor)
    if os.environ.get("HOMEPORT_UNDER") != "systemd":
        environment = {k: v for k, v in os.environ.items() if k not in (process.OWNER, process.INSTANCE)}
        process.spawn_detached(
            (sys.executable, "-m", "homeport.main.entry", "up"),
            env=environment,
            cwd=Path("/"),
            output=data_dir / "logs" / "supervisord.out",
        )
    clock.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
