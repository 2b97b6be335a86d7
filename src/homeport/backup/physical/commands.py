"""pgBackRest's configuration, programs and settings of servers, as data. Pure."""

from collections.abc import Sequence
from pathlib import Path

from homeport.backup.physical.model import SLOT, BackupLayout, LocalStore, Repository, S3Store, Settings
from homeport.backup.physical.wal import SEGMENT
from homeport.database.model import SUPERUSER, Cluster, Layout
from homeport.kernel.secret import Secret

HEAD = "# Written by Homeport; changes are lost.\n"
FOREVER = 9999999
"""Retention is decided elsewhere, by one rule for all kinds of backups; this is the longest that is taken."""
ANSWER = 10
"""Seconds that a store may be silent for; what it comes to is four times as much, and a server that is to stop
waits as long for its log."""
LOOKING = 5
"""The same, of what only looks, and of the log."""
_LOOK = (f"--io-timeout={LOOKING}",)
NO_SEGMENT = 1
"""pgBackRest's status where the archive has no such segment: the log ends there."""
GIVE_UP = 126
"""PostgreSQL ends a recovery for a status above 125, and takes any other for the end of the log."""
SLOT_KEEPS = 4096
"""MB of log that a receiver which stands still may hold back; then it loses its place and the disk stays free."""
YIELDING = ("nice", "-n", "10", "ionice", "-t", "-c", "2", "-n", "7")
IDLE = ("nice", "-n", "19", "ionice", "-t", "-c", "3")


def writable(text: str) -> bool:
    """Whether a value comes out of a configuration as it went in."""
    return bool(text) and text == text.strip() and text.isprintable()


def pgbackrest_conf(settings: Settings, layout: BackupLayout, pg: Layout, port: int) -> Secret:
    """Secrets are in it: it is written to memory only. Raises ValueError for one that cannot be written."""
    lines = ["[global]"]
    for number, repository in enumerate(settings.repositories, 1):
        for key, value in _repository(repository):
            if not writable(value):
                raise ValueError(f"{key} of repository {repository.name}")
            lines.append(f"repo{number}-{key}={value}")
    lines += [
        "compress-type=zst",
        f"process-max={settings.processes}",
        "start-fast=y",
        "expire-auto=n",
        # One repository that does not answer keeps the log from none of the others.
        "archive-async=y",
        "archive-timeout=60",
        f"io-timeout={ANSWER}",
        f"lock-path={layout.work / 'lock'}",
        f"spool-path={layout.work / 'spool'}",
        f"log-path={layout.work / 'log'}",
        "log-level-file=off",
        "log-level-console=warn",
        # The others wait for the log meanwhile; what did not arrive is sent again.
        "[global:archive-push]",
        f"io-timeout={LOOKING}",
        # Copies of the same cluster would share its queue.
        "[global:archive-get]",
        "archive-async=n",
        f"[{layout.cluster}]",
        f"pg1-path={pg.files}",
        f"pg1-socket-path={pg.sockets}",
        f"pg1-port={port}",
        f"pg1-user={SUPERUSER}",
    ]
    return Secret(HEAD + "".join(f"{line}\n" for line in lines))


def _repository(repository: Repository) -> list[tuple[str, str]]:
    common = [
        ("cipher-type", "aes-256-cbc"),
        ("cipher-pass", repository.passphrase.reveal()),
        ("bundle", "y"),
        ("retention-full", str(FOREVER)),
    ]
    match repository.store:
        case LocalStore(path):
            return [("path", str(path)), *common]
        case S3Store() as s3:
            ca = [("storage-ca-file", str(s3.ca_file))] if s3.ca_file is not None else []
            return [
                ("type", "s3"),
                ("path", s3.prefix),
                ("s3-bucket", s3.bucket),
                ("s3-endpoint", s3.endpoint),
                ("storage-port", str(s3.port)),
                ("s3-region", s3.region),
                ("s3-key", s3.key.reveal()),
                ("s3-key-secret", s3.key_secret.reveal()),
                ("s3-uri-style", "path" if s3.path_style else "host"),
                *ca,
                *common,
            ]


def pgbackrest(
    layout: BackupLayout, command: str, *options: str, repository: int | None = None
) -> tuple[str, ...]:
    where = (f"--repo={repository}",) if repository is not None else ()
    return ("pgbackrest", f"--config={layout.conf}", f"--stanza={layout.cluster}", *where, *options, command)


def repository_of(argv: Sequence[str]) -> int | None:
    """The one that a command is about; None for all of them."""
    named = [a.removeprefix("--repo=") for a in argv if a.startswith("--repo=")]
    return int(named[0]) if named else None


def backup(layout: BackupLayout, repository: int, *, full: bool) -> tuple[str, ...]:
    kind = "full" if full else "incr"
    options = (f"--type={kind}", "--log-level-console=detail", "--log-level-stderr=off")
    return (*YIELDING, *pgbackrest(layout, "backup", *options, repository=repository))


def info(layout: BackupLayout, repository: int) -> tuple[str, ...]:
    return pgbackrest(layout, "info", *_LOOK, "--output=json", repository=repository)


def list_archive(layout: BackupLayout, repository: int, under: str = "") -> tuple[str, ...]:
    """``under``: a folder below the stanza's archive, such as "15-1/0000000100000000"."""
    path = f"archive/{layout.cluster}" + (f"/{under}" if under else "")
    return (
        *pgbackrest(
            layout, "repo-ls", *_LOOK, "--recurse", "--output=json", "--sort=none", repository=repository
        ),
        path,
    )


def get_file(layout: BackupLayout, repository: int, path: str) -> tuple[str, ...]:
    return (*pgbackrest(layout, "repo-get", *_LOOK, repository=repository), path)


def expire(layout: BackupLayout, repository: int, label: str) -> tuple[str, ...]:
    return pgbackrest(layout, "expire", f"--set={label}", repository=repository)


def expire_archive(layout: BackupLayout, repository: int, backups: int) -> tuple[str, ...]:
    """Of the log, all since the start of the newest ``backups`` stays, and what older ones need themselves."""
    options = (
        f"--repo{repository}-retention-archive-type=incr",
        f"--repo{repository}-retention-archive={backups}",
    )
    return pgbackrest(layout, "expire", *options, repository=repository)


def restore(
    layout: BackupLayout,
    repository: int,
    label: str,
    into: Path,
    *,
    kind: str,
    target: str = "",
    timeline: int,
    idle: bool,
) -> tuple[str, ...]:
    """``kind``: "default" to the end of the log, "immediate", "time", "name".

    Archiving is off in the copy: it would put its own log among the cluster's.
    """
    # Its own command would let the log end where a store fails.
    get = pgbackrest(layout, "archive-get", f'"--pg1-path={into}"', repository=repository)
    fetch = (
        " ".join(get) + f' %f "%p" || {{ test $? -eq {NO_SEGMENT} && exit {NO_SEGMENT}; exit {GIVE_UP}; }}'
    )
    options = [
        f"--pg1-path={into}",
        f"--set={label}",
        f"--type={kind}",
        # Its own option for this is refused with "immediate".
        f"--recovery-option=recovery_target_timeline={timeline}",
        f"--recovery-option=restore_command={fetch}",
        "--archive-mode=off",
        "--log-level-console=detail",
        "--log-level-stderr=off",
    ]
    if target:
        options.append(f"--target={target}")
    if kind != "default":
        options.append("--target-action=promote")
    return (*(IDLE if idle else YIELDING), *pgbackrest(layout, "restore", *options, repository=repository))


def archive_command(layout: BackupLayout) -> str:
    return " ".join(pgbackrest(layout, "archive-push")) + ' "%p"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def server_settings(settings: Settings, layout: BackupLayout) -> dict[str, str]:
    """What a server needs to be backed up."""
    return {
        "archive_command": archive_command(layout),
        "archive_timeout": f"{settings.archive_timeout}s",
        "max_slot_wal_keep_size": f"{SLOT_KEEPS}MB",
        "synchronous_standby_names": f'"{SLOT}"' if settings.synchronous else "",
    }


def server_conf(settings: Settings, layout: BackupLayout) -> str:
    """What the cluster's own configuration includes while it is backed up."""
    values = server_settings(settings, layout)
    return HEAD + "".join(f"{key} = {_quoted(value)}\n" for key, value in values.items())


def receiver(
    programs: Path, layout: BackupLayout, pg: Layout, cluster: Cluster, *, synchronous: bool
) -> tuple[str, ...]:
    argv = (
        str(programs / "pg_receivewal"),
        f"--directory={layout.received}",
        f"--slot={SLOT}",
        "--status-interval=1",
        "--no-password",
        f"--dbname=host={pg.sockets} port={cluster.port} user={SUPERUSER} application_name={SLOT}",
    )
    return (*argv, "--synchronous") if synchronous else argv


def receiver_service(cluster: Cluster) -> str:
    return f"receivewal.{cluster.name}"


def copy_conf(directory: Path, *, shared_buffers: int) -> str:
    """For a server on a copy, which nobody but us reaches, by a socket in ``directory``.

    It takes no connections before its recovery has ended, so it needs none of the cluster's own limits.
    """
    values = {
        "data_directory": str(directory / "data"),
        "hba_file": str(directory / "pg_hba.conf"),
        "ident_file": str(directory / "pg_ident.conf"),
        "unix_socket_permissions": "0700",
        "shared_buffers": f"{shared_buffers // 1024}kB",
        # In its directory: a server that is killed leaves such memory behind.
        "dynamic_shared_memory_type": "mmap",
        "max_connections": "20",
        "maintenance_work_mem": "128MB",
        "max_wal_size": "4GB",
        "checkpoint_timeout": "1h",
        "autovacuum": "off",
        "log_destination": "stderr",
        "log_timezone": "UTC",
        "timezone": "UTC",
        "lc_messages": "C",
    }
    return HEAD + "".join(f"{key} = {_quoted(value)}\n" for key, value in values.items())


def copy_server(programs: Path, directory: Path, *, throwaway: bool) -> tuple[str, ...]:
    """What must hold whatever the copy's own files say. ``throwaway``: it need not outlive a power cut."""
    values = {
        "listen_addresses": "",
        "unix_socket_directories": f'"{directory}"',
        "port": "5432",
        "archive_mode": "off",
        "hot_standby": "off",
        "synchronous_standby_names": "",
        "primary_conninfo": "",
        "shared_preload_libraries": "",
        "logging_collector": "off",
        **({"fsync": "off", "full_page_writes": "off"} if throwaway else {}),
    }
    settings = [word for key, value in values.items() for word in ("-c", f"{key}={value}")]
    argv = (
        str(programs / "postgres"), "-D", str(directory / "data"),
        f"--config-file={directory / 'postgresql.conf'}", *settings,
    )  # fmt: skip
    return (*IDLE, *argv) if throwaway else argv


def copy_hba() -> str:
    return f"{HEAD}local all {SUPERUSER} peer map=homeport\n"


def checksums(programs: Path, files: Path) -> tuple[str, ...]:
    return (*IDLE, str(programs / "pg_checksums"), "--check", f"--pgdata={files}")


def amcheck(programs: Path, directory: Path, jobs: int) -> tuple[str, ...]:
    return (
        *IDLE, str(programs / "pg_amcheck"), "--all", "--heapallindexed", "--install-missing",
        f"--host={directory}", "--port=5432", f"--username={SUPERUSER}", "--no-password", f"--jobs={jobs}",
    )  # fmt: skip


def copy_bytes(backup_bytes: int, segments: int) -> int:
    """What a copy takes at most: its files, the log that is replayed onto it as dirty pages and as files."""
    return backup_bytes + backup_bytes // 10 + min(segments, 256) * SEGMENT * 2 + 256 * 1024 * 1024
