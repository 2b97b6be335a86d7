"""restic's and PostgreSQL's programs, as data. Pure. No secret is in an argument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from homeport.backup.files.model import Limits, Repository, S3Place
from homeport.database.urls import LIBPQ

HOST = "homeport"
"""Of all snapshots: a machine that recovers goes on where the lost one ended."""
MANIFEST = "manifest.json"
SERIES = "series="
OF = "manifest-of="
RECORDS = "records.json"
RECORDS_TAG = "records"
IDLE = ("nice", "-n", "19", "ionice", "-t", "-c", "3")
YIELDING = ("nice", "-n", "10", "ionice", "-t", "-c", "2", "-n", "7")


def environment(repository: Repository, cache: Path | None, key: str = "") -> dict[str, str]:
    """For restic: what opens the repository, and nothing of this process's own. ``key``: the id of the one to try first."""
    env = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "RESTIC_PASSWORD": repository.password.reveal(),
        "RESTIC_PROGRESS_FPS": "4",
    }
    if key:
        env["RESTIC_KEY_HINT"] = key
    if cache is not None:
        env["RESTIC_CACHE_DIR"] = str(cache)
    if isinstance(repository.place, S3Place):
        env["AWS_ACCESS_KEY_ID"] = repository.place.key.reveal()
        env["AWS_SECRET_ACCESS_KEY"] = repository.place.secret_key.reveal()
        if repository.place.region:
            env["AWS_DEFAULT_REGION"] = repository.place.region
    return env


def restic(repository: Repository, *words: str, limits: Limits, cached: bool = False) -> tuple[str, ...]:
    argv = ["restic", f"--repo={repository.address}"]
    if not cached:
        argv.append("--no-cache")
    if isinstance(repository.place, S3Place) and repository.place.ca_file is not None:
        argv.append(f"--cacert={repository.place.ca_file}")
    if limits.rate is not None:
        argv += [f"--limit-upload={limits.rate}", f"--limit-download={limits.rate}"]
    return (*argv, *words)


def backup(series: str, paths: Sequence[str], exclude: Path | None) -> tuple[str, ...]:
    """``paths`` are relative to the directory that it runs in, and lie so in the snapshot."""
    excluded = (f"--exclude-file={exclude}",) if exclude is not None else ()
    return ("backup", "--json", f"--host={HOST}", f"--tag={SERIES}{series}", *excluded, "--", *paths)


def keep_manifest(series: str, snapshot: str) -> tuple[str, ...]:
    """The manifest comes by stdin."""
    tags = f"{SERIES}{series},{OF}{snapshot}"
    return ("backup", "--json", f"--host={HOST}", f"--tag={tags}", "--stdin", f"--stdin-filename={MANIFEST}")


def manifest(snapshot: str) -> tuple[str, ...]:
    return ("dump", snapshot, f"/{MANIFEST}")


def keep_records() -> tuple[str, ...]:
    """Proofs and manifests of all backups come by stdin."""
    return (
        "backup", "--json", f"--host={HOST}", f"--tag={RECORDS_TAG}", "--stdin", f"--stdin-filename={RECORDS}",
    )  # fmt: skip


def records(snapshot: str) -> tuple[str, ...]:
    return ("dump", snapshot, f"/{RECORDS}")


def snapshots() -> tuple[str, ...]:
    return ("snapshots", "--json", f"--host={HOST}")


def restore(snapshot: str, target: Path, only: Iterable[str] = ()) -> tuple[str, ...]:
    """``only``: paths as they lie in the snapshot; none is all."""
    included = (f"--include=/{escaped(path)}" for path in only)
    return ("restore", snapshot, f"--target={target}", *included)


def check(share: str) -> tuple[str, ...]:
    """``share``: "" looks at the structure only, "10%" or "1/7" reads that much, "all" all of it."""
    if share == "all":
        return ("check", "--read-data")
    return ("check", f"--read-data-subset={share}") if share else ("check",)


def forget(ids: Sequence[str]) -> tuple[str, ...]:
    return ("forget", *ids)


def prune() -> tuple[str, ...]:
    return ("prune", "--max-unused=5%")


def keys() -> tuple[str, ...]:
    return ("key", "list", "--json")


def add_key() -> tuple[str, ...]:
    """The new one comes by stdin."""
    return ("key", "add", "--new-password-file=/dev/stdin")


def locks() -> tuple[str, ...]:
    return ("list", "locks", "--no-lock")


def lock(id: str) -> tuple[str, ...]:
    return ("cat", "lock", id, "--no-lock")


def unlock() -> tuple[str, ...]:
    """Removes what restic itself holds for stale: older than half an hour, or of a dead process of this host."""
    return ("unlock",)


def unlock_by_hand(repository: Repository) -> str:
    """A hint, where a lock is not provably ours."""
    return (
        "homeport backup run tries again: what a program of this machine left is removed within half an hour; what "
        f"another machine left that is gone: restic --repo={repository.address} unlock, which asks for the passphrase"
    )


def escaped(path: str) -> str:
    """A path that restic's patterns take as it is."""
    return "".join(f"\\{c}" if c in "\\*?[]" else c for c in path)


def excludes(root: Path, paths: Iterable[str]) -> str:
    """A file of patterns that leaves out these files and nothing else.

    restic trims lines, drops those that begin with "#", and expands "$": a path has none of that at its ends,
    and a dollar is doubled.
    """
    return "".join(f"{escaped(str(root / path)).replace('$', '$$')}\n" for path in paths)


def pg_environment(parameters: Mapping[str, object]) -> dict[str, str]:
    """For libpq's programs: nothing of a URL stands in an argument."""
    env = {LIBPQ[key]: str(value) for key, value in parameters.items() if key in LIBPQ}
    return env | {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "PGCONNECT_TIMEOUT": "10",
        "PGAPPNAME": "homeport backup",
    }


def pg_dump(programs: Path, target: Path, snapshot: str, jobs: int) -> tuple[str, ...]:
    """Uncompressed: restic compresses, and finds again what it has."""
    return (
        *YIELDING,
        str(programs / "pg_dump"),
        "--format=directory",
        "--compress=0",
        f"--jobs={jobs}",
        f"--snapshot={snapshot}",
        "--lock-wait-timeout=60000",
        "--no-password",
        f"--file={target}",
    )


def pg_dump_schema(programs: Path, target: Path, schema: str, jobs: int) -> tuple[str, ...]:
    return (
        *YIELDING,
        str(programs / "pg_dump"),
        "--format=directory",
        "--compress=0",
        f"--jobs={jobs}",
        f"--schema={schema}",
        "--no-password",
        f"--file={target}",
    )


def contents(programs: Path, source: Path) -> tuple[str, ...]:
    """What a dump holds, an entry a line; the lines choose what is restored."""
    return (str(programs / "pg_restore"), "--list", str(source))


def as_sql(programs: Path, source: Path, chosen: Path) -> tuple[str, ...]:
    return (str(programs / "pg_restore"), f"--use-list={chosen}", "--file=-", str(source))


def pg_restore(programs: Path, source: Path, chosen: Path, database: str, jobs: int) -> tuple[str, ...]:
    """Into a database that is empty; whom things belonged to, and who may what, is not restored."""
    return (
        *YIELDING,
        str(programs / "pg_restore"),
        "--format=directory",
        f"--use-list={chosen}",
        f"--jobs={jobs}",
        "--exit-on-error",
        "--no-owner",
        "--no-acl",
        "--no-password",
        f"--dbname={database}",
        str(source),
    )


def pg_rights(programs: Path, source: Path, chosen: Path, database: str) -> tuple[str, ...]:
    """Who may do what, as far as the role that restores may say so: it goes on after an error."""
    return (
        str(programs / "pg_restore"), "--format=directory", f"--use-list={chosen}", "--no-owner", "--no-password",
        f"--dbname={database}", str(source),
    )  # fmt: skip
