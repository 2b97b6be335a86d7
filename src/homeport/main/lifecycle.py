"""Start and stop a whole Homeport: supervisord with the log daemon, HAProxy and the control plane."""

import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeport import __version__
from homeport.api.client import SOCKET, UNREACHABLE, Client
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.main import settings
from homeport.main.settings import Settings
from homeport.system import files, process
from homeport.system.clock import RealClock

if TYPE_CHECKING:
    from homeport.edge.haproxy import HaproxyEdge

ALREADY = declare(
    "main.already_running", Kind.CONFLICT, "A Homeport with other addresses runs in the data directory."
)
NOT_RUNNING = declare("main.not_running", Kind.NOT_FOUND, "No Homeport runs in the data directory.")
DID_NOT_START = declare("main.did_not_start", Kind.FAILED, "Homeport was started but does not answer.")

STATE_GONE = declare(
    "main.state_gone", Kind.FAILED, "state.db is missing or empty in a data directory that was used before."
)

START_TIMEOUT = 60.0
SLOW_START = 180.0
"""Seconds for a control plane that has not ended since it was started: a machine may be that busy, or that small."""
NO_ANSWER = "nothing answers"
LONG_CALL = 400.0
"""Seconds for a call that reaches every repository."""
EDGE, SERVE, LOGD = "haproxy", "serve", "logd"


def up(data_dir: Path, http: str | None, https: str | None) -> dict[str, Any]:
    """Start Homeport in ``data_dir`` and wait until it answers; nothing when it runs."""
    clock = RealClock()
    settings.claim(data_dir)
    settings.check_recovered(data_dir)
    with files.lock(data_dir / settings.LOCK, what="start Homeport"):
        wanted = _settings(data_dir, http, https)
        damage = _damage(data_dir)
        running = supervisor_pid(data_dir)
        if running is not None:
            if damage is not None:
                raise damage
            stored = settings.load(data_dir)
            if (http or https) and stored != wanted:
                raise ALREADY.error(
                    f"cannot start: Homeport runs in {data_dir} on other addresses",
                    hint="homeport down first",
                )
            _await_answer(data_dir, clock)
            if Client(data_dir).get("/v1/status")["version"] != __version__:
                _restart_control_plane(data_dir, clock)
                return _report(data_dir, wanted, f"runs on, its control plane now of version {__version__},")
            return _report(data_dir, wanted, "runs already")
        prepare(data_dir, wanted, nodaemon=True, damaged=damage is not None)
        argv = _supervisord(data_dir)
        process.spawn_detached(
            argv, env=dict(os.environ), cwd=Path("/"), output=data_dir / "logs" / "supervisord.out"
        )
        if damage is not None:
            raise damage
        _wake_supervisord(data_dir, clock)
        _await_answer(data_dir, clock)
    return _report(data_dir, wanted, "is up")


def _wake_supervisord(data_dir: Path, clock: Clock) -> None:
    """supervisord starts its programs when it is first asked something, or else after a second."""
    from homeport.runtime import rpc
    from homeport.runtime.layout import Layout

    deadline = clock.monotonic() + 1.0
    while clock.monotonic() < deadline:
        with contextlib.suppress(HomeportError):
            rpc.call(Layout(data_dir).socket, "supervisor.getState", timeout=1.0)
            return
        clock.sleep(0.02)


def _restart_control_plane(data_dir: Path, clock: Clock) -> None:
    """Have supervisord start the control plane anew, from what is installed now. Apps and edge serve on."""
    before = [m.pid for m in process.marked(str(data_dir)) if m.instance == SERVE]
    for pid in before:
        os.kill(pid, signal.SIGTERM)
    deadline = clock.monotonic() + START_TIMEOUT
    while any(process.is_alive(pid) for pid in before) and clock.monotonic() < deadline:
        clock.sleep(0.05)
    _await_answer(data_dir, clock)


def run_in_foreground(data_dir: Path) -> None:
    """What the systemd unit does: prepare, then become supervisord."""
    settings.claim(data_dir)
    settings.check_recovered(data_dir)
    with files.lock(data_dir / settings.LOCK, what="start Homeport"):
        wanted = _settings(data_dir, None, None)
        damage = _damage(data_dir)
        if supervisor_pid(data_dir) is not None:
            raise ALREADY.error(
                f"cannot start: Homeport runs in {data_dir} already", hint="homeport down first"
            )
        prepare(data_dir, wanted, nodaemon=True, damaged=damage is not None)
        if damage is not None:
            print(f"{damage.sentence}; {damage.hint}", file=sys.stderr, flush=True)
    process.replace(_supervisord(data_dir), cwd=Path("/"), env=dict(os.environ), user=None)


def _settings(data_dir: Path, http: str | None, https: str | None) -> Settings:
    """The addresses: as given, else from the environment, else as before, else the defaults."""
    stored = settings.load(data_dir)
    http = http or os.environ.get("HOMEPORT_HTTP")
    https = https or os.environ.get("HOMEPORT_HTTPS")
    default = "0.0.0.0:80" if os.geteuid() == 0 else "127.0.0.1:8080"
    wanted = Settings(
        settings.parse_bind(http) if http else (stored.http if stored else settings.parse_bind(default)),
        settings.parse_bind(https) if https else (stored.https if stored else None),
    )
    if wanted.http == wanted.https:
        raise settings.BAD_ADDRESS.error(
            f"cannot listen on {settings.format_bind(wanted.http)} for both HTTP and HTTPS",
            hint="give --https a port of its own",
        )
    return wanted


def _damage(data_dir: Path) -> HomeportError | None:
    """Why the control plane cannot work with ``state.db``; the edge and the apps start without it.

    Raises ``journal.newer_version``: then nothing is started.
    """
    try:
        check_state(data_dir)
    except HomeportError as e:
        if e.kind is Kind.CONFLICT:
            raise
        e.hint = f"the edge and the apps run from what is on disk; {e.hint}"
        return e
    return None


def check_state(data_dir: Path) -> None:
    """That ``state.db`` is whole, or that there was none yet. Changes nothing.

    A control plane that began anew beside running apps would take them for strangers and stop them all.
    Raises ``main.state_gone``, ``journal.unreadable`` or ``journal.newer_version``.
    """
    from homeport.journal import store
    from homeport.runtime.layout import Layout

    database = data_dir / "state.db"
    if database.exists() and database.stat().st_size:
        store.check(database)
    elif Layout(data_dir).conf.exists():
        what = "it is empty" if database.exists() else "it is gone"
        raise STATE_GONE.error(
            f"cannot open {database}: {what}, but this Homeport was used before",
            hint="put it back from a backup; to begin anew, choose another --data-dir",
        )


def prepare(data_dir: Path, wanted: Settings, *, nodaemon: bool, damaged: bool) -> None:
    """Check this machine, write what supervisord and HAProxy start from, deal with what was left over.

    Nothing of this Homeport's supervisor runs. Instances and HAProxy of a killed one may: they serve on.
    """
    from homeport.edge import control, preflight
    from homeport.edge.commands import Layout as EdgeLayout
    from homeport.runtime import commands, orphans
    from homeport.runtime.layout import Layout

    layout = Layout(data_dir)
    clock = RealClock()
    commands.check_data_directory(layout)
    edge = EdgeLayout(data_dir / "edge")
    preflight.check_haproxy()
    for bind in (wanted.http, wanted.https):
        if bind is not None:
            preflight.check_bind(bind, lambda pid: control.is_ours(pid, edge))
    orphans.prepare(data_dir)
    orphans.set_aside(data_dir)
    orphans.end_orphaned_services(data_dir, (SERVE, LOGD), clock)
    if not damaged:
        _migrate_state(data_dir)
    _ensure_edge_files(data_dir, wanted, clock, damaged=damaged)
    settings.save(data_dir, wanted)
    text = commands.render_supervisord(
        layout, _programs(data_dir), nodaemon=nodaemon, user="root" if os.geteuid() == 0 else ""
    )
    files.write_atomic(layout.conf, text, mode=0o600)


def _migrate_state(data_dir: Path) -> None:
    """Bring ``state.db`` to this version's schema here, so that the control plane need not carry Alembic.

    Raises ``journal.unreadable`` or ``journal.newer_version``: nothing is started then.
    """
    from homeport.journal.store import open_engine

    open_engine(data_dir / "state.db").dispose()


def make_edge(data_dir: Path, clock: Clock) -> "HaproxyEdge":
    """The edge of a data directory. As root its workers run as Debian's user for them."""
    import pwd

    from homeport.edge.haproxy import HaproxyEdge

    user = ""
    if os.geteuid() == 0:
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam("haproxy").pw_name
    return HaproxyEdge(data_dir / "edge", clock, user=user, group=user)


def _ensure_edge_files(data_dir: Path, wanted: Settings, clock: Clock, *, damaged: bool) -> None:
    """Files that HAProxy can start from: those of the last time, else made anew from the state."""
    from homeport.edge import preflight
    from homeport.edge.commands import Layout as EdgeLayout
    from homeport.edge.model import EdgeState

    layout = EdgeLayout(data_dir / "edge")
    binds = [b for b in (wanted.http, wanted.https) if b is not None]
    with contextlib.suppress(HomeportError, OSError, UnicodeDecodeError):
        preflight.check_files(layout)
        if list(preflight.binds_of(layout.config.read_text())) == binds:
            return
    if damaged:
        # Nothing can be made anew from a state that cannot be read.
        preflight.check_files(layout)
        return
    edge = make_edge(data_dir, clock)
    if not (data_dir / "state.db").exists():
        edge.write(EdgeState(wanted.http, wanted.https))
        return
    from homeport.main.wanted import edge_state

    edge.write(edge_state(data_dir, wanted, clock))


def _programs(data_dir: Path) -> list[Any]:
    from homeport.runtime import commands
    from homeport.runtime.layout import Layout

    def marks(name: str) -> tuple[tuple[str, str], ...]:
        return ((process.OWNER, str(data_dir)), (process.INSTANCE, name))

    home = ("HOMEPORT_HOME", str(data_dir))
    # glibc gives each thread a heap of its own by default: 20 MB more for the same work.
    arenas = ("MALLOC_ARENA_MAX", "1")
    return [
        commands.Program(LOGD, commands.logd(sys.executable, Layout(data_dir)), marks(LOGD), priority=10),
        commands.Program(
            EDGE,
            (sys.executable, "-m", "homeport.edge.start", str(data_dir / "edge")),
            marks(EDGE),
            priority=20,
        ),
        commands.Program(
            SERVE,
            (sys.executable, "-m", "homeport.system.start", "homeport.main.serve"),
            (*marks(SERVE), home, arenas),
            priority=30,
        ),
    ]


def _supervisord(data_dir: Path) -> tuple[str, ...]:
    from homeport.runtime import commands
    from homeport.runtime.layout import Layout

    return commands.supervisord(sys.executable, Layout(data_dir))


def supervisor_pid(data_dir: Path) -> int | None:
    """The living supervisord of this data directory."""
    try:
        pid = int((data_dir / "supervisor" / "supervisord.pid").read_text())
    except (OSError, ValueError):
        return None
    return pid if is_supervisor(pid, data_dir) and process.is_alive(pid) else None


def is_supervisor(pid: int, data_dir: Path) -> bool:
    """Whether it is a supervisord of this data directory, by its command line."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return str(data_dir / "supervisor" / "supervisord.conf").encode() in command


def _await_answer(data_dir: Path, clock: Clock) -> None:
    """Wait until the control plane and the edge answer. Raises ``main.did_not_start`` with the log's end."""
    began = looked = clock.monotonic()
    client = Client(data_dir, patience=0, timeout=10.0)
    problem = NO_ANSWER
    started: set[int] = set()
    alive: set[int] = set()
    while True:
        if (now := clock.monotonic()) - looked >= 1.0:
            looked = now
            alive = _control_planes(data_dir)
            started |= alive
        is_slow = problem == NO_ANSWER and len(started) == 1 and alive == started
        limit = SLOW_START if is_slow else START_TIMEOUT
        if now - began > limit:
            break
        try:
            if (data_dir / SOCKET).exists():
                found = client.get("/v1/status")
                if found["edge"] == "up" and found["supervisor"] == "up":
                    return
                problem = f"the edge is {found['edge']}, the supervisor {found['supervisor']}"
        except HomeportError as e:
            problem = NO_ANSWER if e.type is UNREACHABLE else e.sentence
        clock.sleep(0.05)
    logs = data_dir / "logs"
    lines = [
        f"{name}: {line}"
        for name in ("supervisord.out", "serve.log", "haproxy.log")
        for line in files.tail_lines(logs / name, 8)
    ]
    raise DID_NOT_START.error(
        f"cannot start Homeport in {data_dir}: {problem} after {clock.monotonic() - began:.0f} s",
        hint="homeport down, then homeport up; homeport doctor looks for the cause",
        details=lines,
    )


def _control_planes(data_dir: Path) -> set[int]:
    """Those that live; one that ended is followed by another."""
    supervisor = supervisor_pid(data_dir)
    marked = process.marked(str(data_dir))
    return {m.pid for m in marked if m.instance == SERVE and m.parent == supervisor}


def _report(data_dir: Path, wanted: Settings, how: str) -> dict[str, Any]:
    http = settings.format_bind(wanted.http)
    https = settings.format_bind(wanted.https) if wanted.https else None
    listens = f"http://{http}" + (f" and https://{https}" if https else "")
    return {
        "message": f"Homeport {how} in {data_dir}, listening on {listens}",
        "data_dir": str(data_dir),
        "http": http,
        "https": https,
    }


def down(data_dir: Path) -> dict[str, Any]:
    """Stop everything of this Homeport. Raises ``main.not_running`` when nothing runs."""
    from homeport.backup.physical.model import MEMORY, in_memory
    from homeport.runtime import orphans, service_files
    from homeport.runtime.layout import Layout
    from homeport.runtime.supervisor import SupervisorRuntime

    clock = RealClock()
    if settings.load(data_dir) is None:
        raise NOT_RUNNING.error(f"cannot stop Homeport: none lives in {data_dir}", hint="see --data-dir")
    with files.lock(data_dir / settings.LOCK, what="stop Homeport"):
        pid = supervisor_pid(data_dir)
        left = process.marked(str(data_dir))
        if pid is None and not left:
            raise NOT_RUNNING.error(f"cannot stop Homeport: it does not run in {data_dir}")
        # First the control plane, so that it does not mend what is being stopped.
        if pid is not None:
            SupervisorRuntime(data_dir, clock).shut_down()
        layout = Layout(data_dir)
        services = service_files.names(layout)
        left_over = {m.instance for m in process.marked(str(data_dir)) if m.pid != os.getpid()}
        for name in left_over - {*services}:
            orphans.end_orphaned_services(data_dir, (name,), clock)
        for group in service_files.in_order_of_stop(layout, services):
            for service in group:
                service_files.end(layout, service, clock)
        # What opens repositories is in memory while somebody archives into them.
        for secrets in MEMORY.glob(f"{in_memory(data_dir).name}-*"):
            files.remove_tree(secrets, within=MEMORY)
    return {"message": f"Homeport in {data_dir} is down", "data_dir": str(data_dir)}


def doctor(data_dir: Path) -> list[dict[str, Any]]:
    """What can be said without the control plane."""
    from homeport.main.doctor import local_findings

    return local_findings(data_dir)


def write_systemd_unit(data_dir: Path, http: str | None, https: str | None) -> str:
    """Write the unit of this data directory; returns what to do next."""
    from homeport.main.systemd import write_unit

    settings.claim(data_dir)
    wanted = _settings(data_dir, http, https)
    settings.save(data_dir, wanted)
    return write_unit(data_dir, sys.executable)


def check_recover(data_dir: Path, place: Mapping[str, str]) -> None:
    """See :func:`homeport.main.recovering.check_first`."""
    from homeport.main.recovering import check_first

    check_first(data_dir, place)


def recover(data_dir: Path, place: Mapping[str, str], **asked: Any) -> dict[str, Any]:
    """See :func:`homeport.main.recovering.recover`."""
    from homeport.main.recovering import recover as recover_

    return recover_(data_dir, place, **asked)
