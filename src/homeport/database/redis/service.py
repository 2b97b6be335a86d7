"""Redis servers: made, changed while they run, and taken away.

A server runs as :func:`service_user`. Its configuration lies where it cannot write; its socket and its
keys lie in a directory that nobody else can enter.
"""

from __future__ import annotations

import contextlib
import os
import secrets as random
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from zlib import crc32

from homeport.database.errors import NO_PORT
from homeport.database.machine import must_reach
from homeport.database.port import Secrets, Services
from homeport.database.redis import commands
from homeport.database.redis.errors import REDIS_FAILED, REDIS_MISSING, UNKNOWN_CACHE
from homeport.database.redis.model import OLDEST, Access, CacheStatus, Ready, Server, Settings
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, EnvironmentName
from homeport.kernel.secret import Secret
from homeport.spec.database_names import variable_of_cache
from homeport.spec.model_database import Cache
from homeport.system import files, process
from homeport.system.net import is_port_free

PORTS = range(18_000, 19_000)
"""Below those of instances."""
PATIENCE = 60.0
"""Seconds until a server has to answer, which reads what it kept first."""
_INSTALL = "apt-get install redis-server (Redis 7 or newer)"
_USER = "redis"


class Caches:
    """All calls are idempotent and may be made again after a crash at any point.

    ``keys`` gives the keys of Homeport's key file, the newest first; it is called after a secret was set.
    """

    def __init__(
        self,
        root: Path,
        services: Services,
        secrets: Secrets,
        keys: Callable[[], Sequence[bytes]],
        clock: Clock,
    ) -> None:
        self._root = root
        self._services = services
        self._secrets = secrets
        self._keys = keys
        self._clock = clock
        self._lock = threading.Lock()
        """Two that are made at once would choose the same port."""

    def ensure(self, app: AppName, environment: EnvironmentName, cache: Cache) -> Ready:
        """Have the cache run as it is declared, and its URL in the app's secrets.

        What runs already is changed without a restart; every password that was valid stays so. Raises
        ``database.redis_missing``, ``database.redis_failed``, ``database.no_port``.
        """
        with self._lock:
            return self._settle(Server(app, environment, cache.name), cache)

    def rotate(self, app: AppName, environment: EnvironmentName, cache: Cache) -> Ready:
        """A new password, set as the app's secret; those before stay valid until :meth:`retire`."""
        with self._lock:
            return self._settle(Server(app, environment, cache.name), cache, fresh=True)

    def retire(self, app: AppName, environment: EnvironmentName, cache: Cache) -> Ready:
        """No password but the newest is valid any more; who is logged in stays so."""
        with self._lock:
            return self._settle(Server(app, environment, cache.name), cache, alone=True)

    def remove(self, app: AppName, environment: EnvironmentName, name: str) -> None:
        """End the cache; its keys and its secret are gone."""
        server = Server(app, environment, name)
        self._services.stop(server.service)
        self._secrets.remove(app, environment, variable_of_cache(Cache(name)))
        files.remove_tree(self._root / server.directory, within=self._root)

    def list(self) -> tuple[CacheStatus, ...]:
        """Every cache of this data directory, by app, environment and name."""
        names = sorted(entry.name for entry in self._root.iterdir()) if self._root.is_dir() else []
        found = (commands.server_of(name) for name in names)
        return tuple(
            self._status(Server(AppName(parts[0]), EnvironmentName(parts[1]), parts[2]))
            for parts in found
            if parts
        )

    def status(self, app: AppName, environment: EnvironmentName, name: str) -> CacheStatus:
        """Raises ``database.unknown_cache``."""
        server = Server(app, environment, name)
        if not (self._root / server.directory).is_dir():
            raise UNKNOWN_CACHE.error(f"cannot find cache {name} of {app} in {environment}")
        return self._status(server)

    def _settle(self, server: Server, cache: Cache, *, fresh: bool = False, alone: bool = False) -> Ready:
        program, user = _program(), _checked_user()
        directory = self._root / server.directory
        settings = Settings(self._port(server), cache.memory, cache.persistent)
        variable = variable_of_cache(cache)
        before = self._secrets.get(server.app, server.environment, variable)
        old = commands.password_of(before, server)
        password = random.token_urlsafe(32) if fresh or old is None else old
        known = commands.app_hashes(_text(directory / commands.ACL), server)
        valid = (commands.hashed(p) for p in (password, old) if p is not None)
        hashes = (commands.hashed(password),) if alone else tuple(dict.fromkeys((*valid, *known)))
        url = commands.url(server, settings, password)
        if old is None:
            # First, since the key file may come to be with it.
            self._secrets.set(server.app, server.environment, variable, url)
        self._serve(program, user, server, settings, hashes)
        if old is not None and url != before:
            # Last, so that no instance is ever given a password that is not valid yet.
            self._secrets.set(server.app, server.environment, variable, url)
        return Ready(cache.name, variable, Secret(url))

    def _serve(
        self, program: str, user: str | None, server: Server, settings: Settings, hashes: tuple[str, ...]
    ) -> None:
        directory = self._root / server.directory
        admins = tuple(commands.admin_password(key, server) for key in self._keys())
        access = Access(commands.hashed(admins[0]), hashes)
        _make(self._root, directory, user)
        must_reach(directory, user, "Redis")
        mode = 0o640 if user else 0o600
        documents = {
            commands.ACL: commands.acl(server, access),
            commands.CONF: commands.conf(str(directory), settings),
        }
        for name, text in documents.items():
            if _text(directory / name) != text:
                files.write_atomic(directory / name, text, mode=mode)
        self._services.start(
            server.service,
            commands.argv(program, str(directory)),
            directory=str(directory / commands.DATA),
            user=user,
            stop_signal="TERM",
            grace=30.0,
        )
        admin = self._answering(server, admins)
        lines = self._tell(server, admin, commands.live(server, settings, access))
        wrong = commands.refused(lines)
        if wrong or not lines:
            raise REDIS_FAILED.error(
                f"cannot set up cache {server.cache} of {server.app} in {server.environment}: "
                f"{wrong or 'Redis gave no answer'}"
            )

    def _answering(self, server: Server, admins: tuple[str, ...]) -> str:
        """The password that the server takes from us, once it answers.

        One that knows none of them was started with a key that is gone: it starts anew, from its files.
        """
        deadline = self._clock.monotonic() + PATIENCE
        started_anew = False
        while True:
            answers: tuple[str, ...] = ()
            for admin in admins:
                answers = self._tell(server, admin, "PING\n")
                if answers == ("PONG",):
                    return admin
                if not answers or not answers[-1].startswith(("NOAUTH", "WRONGPASS", "NOPERM")):
                    break
            else:
                if not started_anew:
                    started_anew = True
                    self._services.restart(server.service)
            if self._clock.monotonic() > deadline:
                raise REDIS_FAILED.error(
                    f"cannot start cache {server.cache} of {server.app} in {server.environment}: Redis did not answer "
                    f"within {PATIENCE:g} s" + (f" ({answers[-1]})" if answers else ""),
                    hint="the details are the end of its log",
                    details=self._services.log_tail(server.service),
                )
            self._clock.sleep(0.05)

    def _tell(self, server: Server, admin: str, lines: str) -> tuple[str, ...]:
        """What the server answers, line by line; () when it cannot be reached."""
        data = self._root / server.directory / commands.DATA
        try:
            result = process.run(
                commands.cli(),
                timeout=10,
                cwd=data,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "REDISCLI_AUTH": admin},
                stdin=lines.encode(),
                check=False,
            )
        except HomeportError as error:
            if error.type is process.TIMED_OUT:
                return ()
            raise
        return tuple(line for line in result.stdout.splitlines() if line) if result.ok else ()

    def _port(self, server: Server) -> int:
        """The one that the server has, or a free one."""
        own = commands.port_of(_text(self._root / server.directory / commands.CONF))
        if own is not None:
            return own
        others = self._root.glob(f"*/{commands.CONF}")
        taken = {commands.port_of(_text(other)) for other in others}
        start = crc32(str(self._root).encode()) % len(PORTS)
        for n in range(len(PORTS)):
            port = PORTS[(start + n) % len(PORTS)]
            if port not in taken and is_port_free(port):
                return port
        raise NO_PORT.error(
            f"cannot find a free port for a cache: all of {PORTS.start} to {PORTS[-1]} are taken",
            hint="stop what listens there; ss -tlnp shows it",
        )

    def _status(self, server: Server) -> CacheStatus:
        port = commands.port_of(_text(self._root / server.directory / commands.CONF))
        status = self._services.status(server.service)
        running = status is not None and status.running
        found = CacheStatus(
            server.app, server.environment, server.cache, port, running, None, None, None, None
        )
        if not running:
            return found
        for key in self._keys():
            lines = self._tell(server, commands.admin_password(key, server), "INFO\n")
            fields = commands.info("\n".join(lines))
            if "used_memory" in fields:
                return replace(
                    found,
                    used=int(fields["used_memory"]),
                    limit=int(fields["maxmemory"]),
                    keys=commands.key_count(fields),
                    persistent=fields.get("aof_enabled") == "1",
                )
        return found


def service_user() -> str | None:
    """Whom servers run as: Debian's user for Redis, where we are root, else ourselves."""
    return _USER if os.geteuid() == 0 else None


def _checked_user() -> str | None:
    """Raises ``database.redis_missing``."""
    user = service_user()
    if user is not None:
        import pwd

        try:
            pwd.getpwnam(user)
        except KeyError:
            raise REDIS_MISSING.error(
                f'cannot run a cache: there is no system user "{user}"', hint=_INSTALL
            ) from None
    return user


def _program() -> str:
    """Where Redis is. Raises ``database.redis_missing``."""
    server = process.program("redis-server")
    if server is None or process.program("redis-cli") is None:
        raise REDIS_MISSING.error("cannot run a cache: Redis is not installed", hint=_INSTALL)
    said = process.run((str(server), "--version"), timeout=10).stdout
    version = commands.major_version(said)
    if version is None or version < OLDEST:
        raise REDIS_MISSING.error(
            f"cannot run a cache: Redis is older than {OLDEST}", hint=_INSTALL, details=[said.strip()]
        )
    return str(server)


def _make(root: Path, directory: Path, user: str | None) -> None:
    """The directories of a server. The outer one is ours; new files in it are of the server's group."""
    root.mkdir(mode=0o755, parents=True, exist_ok=True)
    data = directory / commands.DATA
    directory.mkdir(mode=0o700, exist_ok=True)
    data.mkdir(mode=0o700, exist_ok=True)
    if user is None:
        return
    import pwd

    entry = pwd.getpwnam(user)
    os.chown(data, entry.pw_uid, entry.pw_gid)
    os.chown(directory, 0, entry.pw_gid)
    os.chmod(directory, 0o2750)


def _text(path: Path) -> str:
    """ "" where there is no such file."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")
    return ""
