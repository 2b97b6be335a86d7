"""What a Redis server is configured with, what it is told while it runs, and what it answers. Pure.

A password is never part of any of these, only its hash.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256

from homeport.database.redis.model import ADMIN, Access, Server, Settings

CONF = "redis.conf"
ACL = "users.acl"
DATA = "data"
SOCKET = "redis.sock"
"""In :data:`DATA`, where the server runs: so its path may be longer than a socket's can be."""

APP_RULES = (
    *("~*", "&*", "+@all", "-@admin", "-@dangerous"),
    # Dangerous to a server that several share; this one is the app's own, and client libraries use them.
    *("+client|list", "+flushall", "+flushdb", "+info", "+keys", "+role", "+sort", "+sort_ro", "+swapdb"),
)
ADMIN_RULES = (
    *("-@all", "+acl|setuser", "+config|get", "+config|set"),
    *("+info", "+ping"),
)

_VERSION = re.compile(r"\bv=([0-9]{1,4})\.[0-9]")
_PORT = re.compile(r"^port ([0-9]{1,5})$", re.MULTILINE)
_URL = re.compile(r"redis://([a-z0-9.-]+):([A-Za-z0-9_-]+)@127\.0\.0\.1:[0-9]{1,5}/0")
_HASH = re.compile(r"#([0-9a-f]{64})\b")


def hashed(password: str) -> str:
    return sha256(password.encode()).hexdigest()


def admin_password(key: bytes, server: Server) -> str:
    """Homeport's own password at a server, made from a key of its key file: so it is kept nowhere."""
    return hmac.new(key, f"redis {server.directory}".encode(), sha256).hexdigest()


def url(server: Server, settings: Settings, password: str) -> str:
    return f"redis://{server.user}:{password}@127.0.0.1:{settings.port}/0"


def password_of(text: str | None, server: Server) -> str | None:
    """The password in a URL that :func:`url` made for the server; None where it is none of those."""
    match = _URL.fullmatch(text or "")
    return match[2] if match and match[1] == server.user else None


def argv(program: str, directory: str) -> tuple[str, ...]:
    return (program, f"{directory}/{CONF}")


def cli() -> tuple[str, ...]:
    """Run in :data:`DATA`; commands come on its stdin, the password in ``REDISCLI_AUTH``."""
    return ("redis-cli", "-2", "-s", SOCKET, "--user", ADMIN, "--no-auth-warning")


def conf(directory: str, settings: Settings) -> str:
    """The server's configuration file. ``directory`` is where the file lies."""
    lines = (
        "bind 127.0.0.1",
        f"port {settings.port}",
        "protected-mode yes",
        f"unixsocket {SOCKET}",
        "unixsocketperm 700",
        f"dir {_quoted(f'{directory}/{DATA}')}",
        f"aclfile {_quoted(f'{directory}/{ACL}')}",
        f"maxmemory {settings.memory}",
        "maxmemory-policy allkeys-lru",
        f"appendonly {_yes(settings.persistent)}",
        "appendfsync everysec",
        'save ""',
        # Else one that is just writing its first append-only file would not end when it is asked to.
        "shutdown-on-sigterm force",
        "enable-protected-configs no",
        "enable-debug-command no",
        "enable-module-command no",
        "daemonize no",
        "supervised no",
        'logfile ""',
        # A title would overwrite the environment, by which Homeport finds what it has started.
        "set-proc-title no",
    )
    return "\n".join(lines) + "\n"


def acl(server: Server, access: Access) -> str:
    """The file of users. Who does not log in is "default", which is off."""
    users = (
        ("default", ("reset", "off")),
        (ADMIN, _admin(access)),
        (server.user, _app(access)),
    )
    return "".join(f"user {name} {' '.join(rules)}\n" for name, rules in users)


def live(server: Server, settings: Settings, access: Access) -> str:
    """The same for a server that runs, one command to a line; each answers "OK". Nobody is disconnected."""
    lines = (
        f"ACL SETUSER {server.user} {' '.join(_app(access))}",
        f"ACL SETUSER {ADMIN} {' '.join(_admin(access))}",
        f"CONFIG SET maxmemory {settings.memory} appendonly {_yes(settings.persistent)}",
    )
    return "".join(f"{line}\n" for line in lines)


def _admin(access: Access) -> tuple[str, ...]:
    return ("reset", "on", f"#{access.admin}", *ADMIN_RULES)


def _app(access: Access) -> tuple[str, ...]:
    return ("reset", "on", *(f"#{h}" for h in access.app), *APP_RULES)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _quoted(text: str) -> str:
    """As Redis reads it in its configuration file."""
    escaped = "".join(
        f"\\{c}" if c in '"\\' else c if c.isprintable() else "".join(f"\\x{b:02x}" for b in c.encode())
        for c in text
    )
    return f'"{escaped}"'


def port_of(text: str) -> int | None:
    """The port in a file that :func:`conf` made."""
    match = _PORT.search(text)
    return int(match[1]) if match else None


def app_hashes(text: str, server: Server) -> tuple[str, ...]:
    """The app's passwords in a file that :func:`acl` made."""
    line = next((line for line in text.splitlines() if line.startswith(f"user {server.user} ")), "")
    return tuple(_HASH.findall(line))


def server_of(directory: str) -> tuple[str, str, str] | None:
    """App, environment and cache of a directory's name."""
    parts = directory.split(".")
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 and all(parts) else None


def major_version(text: str) -> int | None:
    """Of what ``redis-server --version`` prints."""
    match = _VERSION.search(text)
    return int(match[1]) if match else None


def info(text: str) -> Mapping[str, str]:
    """What INFO answers, by field."""
    pairs = (line.strip().partition(":") for line in text.splitlines() if ":" in line)
    return {name: value for name, _, value in pairs}


def key_count(fields: Mapping[str, str]) -> int:
    """The keys in all of a server's databases, by INFO."""
    found = (re.match(r"keys=([0-9]+)", v) for name, v in fields.items() if re.fullmatch(r"db[0-9]+", name))
    return sum(int(match[1]) for match in found if match)


def refused(lines: Sequence[str]) -> str:
    """The first line that is not "OK"; "" when all are."""
    return next((line for line in lines if line != "OK"), "")
