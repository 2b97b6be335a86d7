"""Programs and configuration of a cluster and its pooler, as data. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from homeport.database.model import SUPERUSER, Cluster, Layout, Provisioned
from homeport.database.sizing import Sizes

HEAD = "# Written by Homeport; changes are lost.\n"
POOLER_CLIENTS = 1000
"""How many clients a pooler takes at once."""
PREPARED_SINCE = (1, 21)
"""The PgBouncer that keeps prepared statements under transaction pooling."""
MAP = "homeport"


def initdb(programs: Path, target: Path) -> tuple[str, ...]:
    """Checksums; SCRAM; nobody comes in but by our own pg_hba.conf.

    UTF-8 with order "C" and character classes of C.UTF-8: order by bytes never changes with the C library
    or ICU, so no index is broken by an upgrade of the machine or a restore on another. A column that
    people read sorted says so itself: COLLATE "de-x-icu".
    """
    return (
        str(programs / "initdb"),
        f"--pgdata={target}",
        f"--username={SUPERUSER}",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--lc-collate=C",
        "--data-checksums",
        "--auth-local=reject",
        "--auth-host=reject",
        "--no-instructions",
    )


def as_user(argv: Sequence[str], user: str | None) -> tuple[str, ...]:
    """``argv`` run as ``user`` with its groups; unchanged for None."""
    if user is None:
        return tuple(argv)
    return ("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--", *argv)


def server(programs: Path, layout: Layout) -> tuple[str, ...]:
    return (str(programs / "postgres"), "-D", str(layout.files), f"--config-file={layout.conf}")


def pooler(program: Path, layout: Layout) -> tuple[str, ...]:
    """``-R``: takes over from the one that runs, when one does, its clients included."""
    return (str(program), "-R", str(layout.pooler))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def postgresql_conf(layout: Layout, cluster: Cluster, sizes: Sizes) -> str:
    """Our own settings; what a person sets with ALTER SYSTEM stands above them, and so does what backups need.

    Archiving is on and does nothing, so that backups begin with a reload: with an empty archive_command
    the server would keep every segment until the disk is full.
    """
    settings = {
        "data_directory": str(layout.files),
        "hba_file": str(layout.hba),
        "ident_file": str(layout.ident),
        "cluster_name": f"homeport-{cluster.name}",
        "listen_addresses": "127.0.0.1",
        "port": str(cluster.port),
        "unix_socket_directories": f'"{layout.sockets}"',
        "unix_socket_permissions": "0777",
        "password_encryption": "scram-sha-256",
        **sizes.settings(),
        "huge_pages": "try",
        "random_page_cost": "1.1",
        "effective_io_concurrency": "200",
        "wal_level": "replica",
        "wal_compression": "on",
        "max_wal_senders": "5",
        "archive_mode": "on",
        "archive_command": "/bin/true",
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": "0.9",
        "autovacuum_vacuum_scale_factor": "0.05",
        "autovacuum_analyze_scale_factor": "0.02",
        "autovacuum_vacuum_cost_limit": "1000",
        "shared_preload_libraries": "pg_stat_statements",
        # Verifiers of passwords are in utility statements.
        "pg_stat_statements.track_utility": "off",
        "track_io_timing": "on",
        "log_destination": "stderr",
        "logging_collector": "off",
        "log_line_prefix": "[%p] %q%u@%d %a: ",
        "log_checkpoints": "on",
        "log_lock_waits": "on",
        "log_statement": "none",
        "log_timezone": "UTC",
        "timezone": "UTC",
        "lc_messages": "C",
        "datestyle": "iso, mdy",
        "default_text_search_config": "pg_catalog.english",
    }
    lines = "".join(f"{key} = {_quoted(value)}\n" for key, value in settings.items())
    return f"{HEAD}{lines}include_if_exists {_quoted(str(layout.backup_conf))}\n"


def hba() -> str:
    """The superuser by the socket only; all others with their password, from this machine only."""
    lines = (
        f"local all {SUPERUSER} peer map={MAP}",
        f"local replication {SUPERUSER} peer map={MAP}",
        f"host all {SUPERUSER} all reject",
        "local all all scram-sha-256",
        "host all all 127.0.0.1/32 scram-sha-256",
    )
    return HEAD + "".join(f"{line}\n" for line in lines)


def ident(system_users: Iterable[str]) -> str:
    """Who on the machine may be the superuser: we ourselves, and whom the server runs as."""
    return HEAD + "".join(f'{MAP} "{user}" {SUPERUSER}\n' for user in sorted(set(system_users)))


@dataclass(frozen=True, slots=True)
class Pool:
    """A database behind the pooler. ``verifiers`` of those who may log in, by role."""

    row: Provisioned
    size: int
    verifiers: Mapping[str, str]


def pgbouncer_ini(
    layout: Layout, cluster: Cluster, pools: Sequence[Pool], *, admin: str, version: tuple[int, ...]
) -> str:
    entries = "".join(
        f"{p.row.database} = host='{layout.sockets}' port={cluster.port} dbname={p.row.database} "
        f"pool_mode={p.row.pool} pool_size={p.size} max_db_connections={p.size}\n"
        for p in sorted(pools, key=lambda p: p.row.database)
    )
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(cluster.pooler_port),
        "unix_socket_dir": str(layout.sockets),
        "unix_socket_mode": "0777",
        "auth_type": "hba",
        "auth_hba_file": str(layout.pooler_hba),
        "auth_file": str(layout.userlist),
        "admin_users": admin,
        "pool_mode": "transaction",
        "max_client_conn": str(POOLER_CLIENTS),
        "default_pool_size": "5",
        # A server that restarts is tried again soon, and idle connections are let go.
        "server_login_retry": "1",
        "server_idle_timeout": "300",
        "query_wait_timeout": "120",
        # JDBC sends it with each connection.
        "ignore_startup_parameters": "extra_float_digits",
        "log_connections": "0",
        "log_disconnections": "0",
        "stats_period": "600",
    }
    if version >= PREPARED_SINCE:
        settings["max_prepared_statements"] = "200"
    lines = "".join(f"{key} = {value}\n" for key, value in settings.items())
    return f";{HEAD}[databases]\n{entries}\n[pgbouncer]\n{lines}"


def pooler_hba(pools: Sequence[Pool], *, admin: str) -> str:
    """Each login into its own database only, and our administrator by the socket."""
    lines = [f'local pgbouncer "{admin}" peer']
    for p in sorted(pools, key=lambda p: p.row.database):
        for role in sorted(p.verifiers):
            lines.append(f"host {p.row.database} {role} 127.0.0.1/32 scram-sha-256")
    return "".join(f"{line}\n" for line in lines)


def userlist(pools: Sequence[Pool], *, admin: str) -> str:
    """Verifiers only. The administrator has none: it comes in as a user of the machine."""
    entries = {admin: ""}
    for pool in pools:
        entries.update(pool.verifiers)
    return "".join(f'"{name}" "{verifier}"\n' for name, verifier in sorted(entries.items()))


def pooler_version(text: str) -> tuple[int, ...]:
    """From what ``pgbouncer --version`` prints; () when it is not to be read."""
    words = text.split()
    try:
        return tuple(int(part) for part in words[words.index("PgBouncer") + 1].split(".")[:2])
    except (ValueError, IndexError):
        return ()
