"""What this machine has: memory, programs, users."""

import os
import pwd
import re
from pathlib import Path

from homeport.database.errors import CLOSED_DIRECTORY, NO_SERVER, NO_USER
from homeport.system import process

SERVERS = Path("/usr/lib/postgresql")
"""Where Debian keeps the server's programs, by major version."""
OLDEST = 15
USER = "postgres"


def memory() -> int:
    """Bytes: the machine's, or less where a control group limits us."""
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            found = min(found, int(Path(path).read_text()))
        except (OSError, ValueError):
            continue
    return found


def programs(version: int | None = None) -> tuple[int, Path]:
    """(major version, directory of its programs): the newest, or the named one. Raises ``database.no_server``."""
    found = {
        int(entry.name): entry / "bin"
        for entry in (SERVERS.iterdir() if SERVERS.is_dir() else ())
        if re.fullmatch(r"[0-9]+", entry.name) and (entry / "bin" / "postgres").is_file()
    }
    wanted = max(found, default=0) if version is None else version
    if wanted not in found or wanted < OLDEST:
        what = f"PostgreSQL {version}" if version is not None else f"PostgreSQL {OLDEST} or newer"
        package = f"postgresql-{version}" if version is not None else "postgresql"
        raise NO_SERVER.error(
            f"cannot find {what} on this machine", hint=f"apt-get install --no-install-recommends {package}"
        )
    return wanted, found[wanted]


def pooler() -> Path:
    """Raises ``database.no_server``."""
    found = process.program("pgbouncer")
    if found is None:
        raise NO_SERVER.error("cannot find PgBouncer on this machine", hint="apt-get install pgbouncer")
    return found


def user() -> str | None:
    """Whom servers run as: Debian's postgres where we are root, else ourselves (None).

    Raises ``database.no_user``.
    """
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(USER)
    except KeyError:
        raise NO_USER.error(
            f'cannot run PostgreSQL: it refuses root, and there is no user "{USER}"',
            hint="apt-get install --no-install-recommends postgresql",
        ) from None
    return USER


def ourselves() -> str:
    """The name of the user that we run as."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise NO_USER.error(
            f"cannot run PostgreSQL: user {os.geteuid()}, which Homeport runs as, has no name",
            hint="give it one in /etc/passwd",
        ) from None


def must_reach(directory: Path, user: str | None, what: str) -> None:
    """Raise ``database.closed_directory`` where the user that a server runs as may not enter its directory."""
    if user is None:
        return
    look = (
        "setpriv",
        f"--reuid={user}",
        f"--regid={pwd.getpwnam(user).pw_gid}",
        "--clear-groups",
        "test",
        "-x",
        str(directory),
    )
    if process.run(look, timeout=10, check=False).ok:
        return
    parents = [p for p in reversed(directory.parents) if not p.stat().st_mode & 0o001]
    closed = parents[0] if parents else directory
    raise CLOSED_DIRECTORY.error(
        f'cannot run {what} in {directory}: user "{user}" may not pass {closed}',
        hint=f"chmod o+x {closed}, or keep Homeport's data directory elsewhere",
    )
