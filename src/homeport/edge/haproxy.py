"""The edge, on HAProxy."""

import contextlib
import os
import signal
import threading
from pathlib import Path

from homeport.edge import commands, control, hold, modes, pages, preflight
from homeport.edge.commands import Layout
from homeport.edge.errors import BAD_MODE, CONFIG_INVALID, DRIFT, UNREACHABLE
from homeport.edge.model import Counted, Counts, EdgeState, ServerStatus
from homeport.edge.observed import Running
from homeport.edge.plan import Nothing, Plan, Reload, Runtime, differences, obey_modes, plan
from homeport.edge.port import Applied
from homeport.edge.render import digest, render
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import ServiceName
from homeport.system.files import write_atomic

RELOAD_SECONDS = 20.0
"""How long a new worker may take to answer; reading many certificates is slow."""
FAILED_LOOKS = 300
"""One after the other, 3 s at least: a machine that stands still for so long has not looked."""
_POLL_SECONDS = 0.01


class HaproxyEdge:
    """Implements :class:`homeport.edge.port.Edge` over the files and sockets of one directory.

    It never starts HAProxy: a supervisor does, by :mod:`homeport.edge.start`. ``user`` and ``group``
    are what HAProxy's workers run as; "" leaves them the user that starts them.
    """

    def __init__(self, directory: Path, clock: Clock, *, user: str = "", group: str = "") -> None:
        self.layout = Layout(directory, user, group)
        self._clock = clock
        self._lock = threading.Lock()
        self._others_told = False
        """Draining workers obey the modes in force. Not known at first: a process before may have been
        killed between telling the current worker and telling them."""
        self._counting = threading.Lock()
        self._worker = 0
        self._told: dict[tuple[ServiceName, str], tuple[int, Counted]] = {}
        """Of each server of that worker: the attempts, and what :meth:`counts` said of it last."""

    def write(self, state: EdgeState) -> None:
        """Put ``state`` on disk only, such as before HAProxy's first start.

        Raises ``edge.config_invalid`` and ``edge.bad_mode`` (what was there stays), ``edge.port_taken``,
        ``edge.bind_denied``.
        """
        with self._lock:
            self._write(state)

    def apply(self, state: EdgeState) -> Applied:
        with self._lock:
            start = self._clock.monotonic()
            self._write(state)
            method = self._put_in_force(state)
            return Applied(method, self._clock.monotonic() - start)

    def observe(self) -> tuple[ServerStatus, ...]:
        """A server that was removed but still has requests in hand is there too, with weight 0."""
        return tuple(s.to_status() for s in control.running(self.layout).servers)

    def sessions(self, service: ServiceName, server: str) -> int:
        return control.sessions(self.layout, service, server)

    def waiting(self, service: ServiceName, server: str) -> int:
        return control.waiting(self.layout, service, server)

    def wanted(self) -> frozenset[ServiceName]:
        return control.take_wanted(self.layout)

    def counts(self) -> Counts:
        with self._counting:
            worker, found = control.counts(self.layout)
            told: dict[tuple[ServiceName, str], tuple[int, Counted]] = {}
            for one in found:
                key = (one.service, one.name)
                attempts, before = self._told.get(key, (0, None))
                same = worker == self._worker and one.attempts >= attempts
                told[key] = (one.attempts, one.to_counted(before if same else None))
            self._worker, self._told = worker, told
            return Counts(worker, tuple(counted for _, counted in told.values()))

    # On disk

    def _write(self, state: EdgeState) -> None:
        """Nothing that serves is touched before HAProxy has taken the new configuration in a trial.

        Servers come to disk before the routes that lead to them.
        """
        found = commands.problems(state)
        if found:
            raise CONFIG_INVALID.error("cannot put the routes and servers in force", details=found)
        bad = modes.all_problems(state)
        if bad:
            raise BAD_MODE.error("cannot put the modes in force", details=bad)
        layout = self.layout
        layout.directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        layout.certs.mkdir(exist_ok=True, mode=0o700)
        if state.https is not None and not layout.default_certificate.exists():
            # Imported only here: cryptography would cost the control plane 7 MB.
            from homeport.edge.certificate import self_signed

            write_atomic(layout.default_certificate, self_signed(self._clock.now()), mode=0o600)
        for page in pages.STATIC:
            _write_if_changed(layout.page(page.status), pages.raw_response(page))
        _write_if_changed(layout.own_page_program, pages.OWN_PAGE_PROGRAM)
        _write_if_changed(layout.hold_program, hold.program(layout))
        maps = commands.map_files(state, layout)
        for path, text in maps.items():
            if not commands.is_sealed(_read(path)):
                write_atomic(path, text)
        text = render(state, layout)
        before = _read(layout.config)
        if text != before and not _differs_in_servers_only(state, layout, before):
            self._check_binds(state, before)
            self._try(text)
        for path in (layout.health, layout.pins, layout.pages, layout.wanted, *layout.mode_maps):
            _write_if_changed(path, maps[path])
        _write_if_changed(layout.config, text)
        for path in (layout.routes, layout.hosts):
            _write_if_changed(path, maps[path])

    def _check_binds(self, state: EdgeState, before: str) -> None:
        known = preflight.binds_of(before) if commands.is_sealed(before) else ()
        for bind in (state.http, state.https):
            if bind is not None and bind not in known:
                preflight.check_bind(bind, lambda pid: control.is_ours(pid, self.layout))

    def _try(self, text: str) -> None:
        candidate = self.layout.directory / "candidate.cfg"
        write_atomic(candidate, text)
        try:
            preflight.check_config(candidate, self.layout)
        finally:
            candidate.unlink(missing_ok=True)

    # In force

    def _put_in_force(self, state: EdgeState) -> str:
        """Returns the method; raises ``edge.unreachable``, ``edge.drift``."""
        running = control.running(self.layout)
        switch = obey_modes(running.mode_maps, state, self.layout)
        step = plan(running, state, self.layout)
        if switch or isinstance(step, Reload):
            self._others_told = False
        method = self._carry_out(step, switch, running, state)
        if not self._others_told:
            # A master is silent while it reloads; the next call, a second from now, tries again.
            with contextlib.suppress(HomeportError):
                control.tell_all(self.layout, lambda maps: obey_modes(maps, state, self.layout))
                self._others_told = True
        return method

    def _carry_out(self, step: Plan, switch: tuple[str, ...], running: Running, state: EdgeState) -> str:
        said: tuple[str, ...] = ()
        match step:
            case Nothing(leftovers):
                control.tell(self.layout, leftovers)
                return "none"
            case Runtime(lines):
                said = control.tell(self.layout, lines)
                running = control.running(self.layout)
                if not differences(running, state, self.layout):
                    return "runtime"
            case Reload():
                # Modes do not wait for the new worker; the one before may have connections for long.
                control.tell(self.layout, switch)
                self._reload(running, state)
                running = control.running(self.layout)
                if not differences(running, state, self.layout):
                    return "reload"
        self._reload(running, state)
        left = differences(control.running(self.layout), state, self.layout)
        if left:
            raise DRIFT.error(
                "cannot put the routes and servers in force: HAProxy does not run what it was told",
                hint="homeport doctor compares them again",
                details=(*left, *said),
            )
        return "reload"

    def _reload(self, before: Running, state: EdgeState) -> None:
        """Have the master start a new worker and wait until it is the one that answers."""
        pid = control.master(self.layout)
        gone = UNREACHABLE.error(
            "cannot reload HAProxy: its master process is not to be found",
            hint="it is started again by its supervisor, with the configuration that is on disk",
        )
        if pid is None:
            raise gone
        failed = control.failed_reloads(self.layout, pid)
        wanted = digest(state, self.layout)
        try:
            os.kill(pid, signal.SIGUSR2)
        except ProcessLookupError:
            raise gone from None
        deadline = self._clock.monotonic() + RELOAD_SECONDS
        looks = 0
        while self._clock.monotonic() < deadline:
            with contextlib.suppress(HomeportError):
                now = control.info(self.layout)
                if now.pid != before.pid and now.digest == wanted and not now.stopping:
                    return
            # HAProxy counts a reload as failed until its new worker is up: only a lasting one has failed.
            looks = looks + 1 if control.failed_reloads(self.layout, pid) > failed else 0
            if looks > FAILED_LOOKS:
                break
            self._clock.sleep(_POLL_SECONDS)
        raise DRIFT.error(
            "cannot reload HAProxy: no new worker came up; the one before serves on",
            hint="its own words are in the supervisor's log of the edge",
        )


def _differs_in_servers_only(state: EdgeState, layout: Layout, before: str) -> bool:
    """Whether HAProxy took all of this configuration before but its servers, which are checked by us.

    A trial takes 30 ms: too long for the path on which a bad release answers on.
    """
    return commands.is_sealed(before) and f"    description homeport {digest(state, layout)}\n" in before


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def _write_if_changed(path: Path, text: str) -> None:
    if _read(path) != text:
        write_atomic(path, text)
