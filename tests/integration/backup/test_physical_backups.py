"""Backups of a real cluster by pgBackRest, proven by restoring them, and damage that is found."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from physical_home import PASSPHRASE, PhysicalHome, until

from homeport.backup.physical import proof as proving
from homeport.backup.physical.model import Made, PhysicalBackup
from homeport.backup.physical.proof import Question
from homeport.kernel.errors import HomeportError
from homeport.system import process

MARKER = "a-name-that-nobody-may-read"


class Shared:
    def __init__(self) -> None:
        self.home = PhysicalHome(repositories=2)
        self.home.sql("CREATE DATABASE shop")
        self.home.sql(
            "CREATE TABLE orders AS SELECT g AS id, repeat(md5(g::text), 10) AS what FROM generate_series(1, 20000) g",
            "shop",
        )
        self.home.sql(f"INSERT INTO orders VALUES (0, '{MARKER}')", "shop")
        self.told: list[tuple[str, int, int]] = []
        self.full = self.home.backups.backup(told=lambda r, p: self.told.append((r, p.done, p.total)))
        self.home.sql("INSERT INTO orders SELECT g, 'later' FROM generate_series(20001, 20100) g", "shop")
        self.home.backups.flush()
        self.incremental = self.home.backups.backup()
        self.home.backups.flush()


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    it = Shared()
    try:
        yield it
    finally:
        it.home.end()


@contextmanager
def away(path: Path) -> Iterator[None]:
    """As if it were lost, for the block."""
    hidden = path.with_name(f"{path.name}.hidden")
    hidden = path.parents[1] / f"hidden.{path.name}" if path.is_file() else hidden
    path.rename(hidden)
    try:
        yield
    finally:
        hidden.rename(path)


def test_each_repository_has_a_full_backup_and_one_that_stands_on_it(shared: Shared) -> None:
    assert [m.backup.repository for m in shared.full] == ["r1", "r2"]
    assert [m.backup.kind for m in (*shared.full, *shared.incremental)] == ["full", "full", "incr", "incr"]
    for look in shared.home.backups.list():
        assert len(look.backups) == 2 and not look.problem
        assert look.backups[1].needs == (look.backups[0].label,)
    assert {r for r, _, _ in shared.told} == {"r1", "r2"}
    last = [(done, total) for r, done, total in shared.told if r == "r1"][-1]
    assert last[0] == last[1] > 10_000_000
    assert shared.full[0].manifest and shared.full[0].manifest == shared.full[1].manifest
    assert shared.home.backups.findings() == ()


def test_neither_rows_nor_the_passphrase_lie_anywhere_in_clear(shared: Shared) -> None:
    found = []
    for directory, _, names in os.walk(shared.home.data):
        if "/postgresql/" in f"{directory}/" or "/received" in directory:
            continue
        for name in names:
            raw = (Path(directory) / name).read_bytes()
            found += [f"{directory}/{name}" for word in (MARKER, PASSPHRASE) if word.encode() in raw]
    assert found == []
    with_passphrase = [
        p for p in shared.home.data.rglob("*") if p.is_file() and PASSPHRASE.encode() in p.read_bytes()
    ]
    assert with_passphrase == []
    conf = shared.home.backups.layout.conf
    assert conf.stat().st_mode & 0o777 == 0o600 and conf.parent.stat().st_mode & 0o777 == 0o700
    ran = subprocess.run(["stat", "-f", "-c", "%T", str(conf)], capture_output=True, text=True, timeout=5)
    assert ran.stdout.strip() == "tmpfs"


def test_a_proof_restores_all_of_it_and_leaves_nothing(shared: Shared) -> None:
    questions = (
        Question("orders", "shop", "SELECT count(*) FROM orders", "20101"),
        Question("newest", "shop", "SELECT id FROM orders WHERE id = 20100"),
    )
    found = shared.home.backups.prove("r2", questions=questions)
    assert found.failures == () and found.passed
    assert found.rows >= 20101 and found.tables >= 1 and found.heartbeat_at is not None
    assert {"restore", "start", "compare", "amcheck", "checksums"} <= found.steps.keys()
    assert shared.home.left() == []
    assert shared.home.backups.records.proof("r2", found.label) == found


def test_a_proof_under_a_rate_is_held_back_and_passes_all_the_same(shared: Shared) -> None:
    proof = shared.home.backups.prove("r1", rate=30_000_000)
    assert proof.passed, proof.failures
    assert proof.allowed == 30_000_000 and proof.paused > 0
    assert proof.written >= proof.bytes > 0 and proof.rate > 0
    assert shared.home.left() == []


def test_a_proof_tells_what_differs(shared: Shared) -> None:
    records = shared.home.backups.records
    label = shared.full[0].backup.label
    kept = records.manifest("r1", label)
    assert kept is not None
    tables = tuple(replace(t, rows=t.rows + 1) if t.name == "orders" else t for t in kept.tables)
    records.keep_manifest("r1", label, replace(kept, tables=tables))
    questions = (
        Question("none", "shop", "SELECT 1 WHERE false"),
        Question("two", "shop", "SELECT 1; SELECT 2"),
        Question("writes", "shop", "DELETE FROM orders RETURNING 1"),
        Question("value", "shop", "SELECT 'x'", "y"),
    )
    try:
        found = shared.home.backups.prove("r1", label, questions=questions)
    finally:
        records.keep_manifest("r1", label, kept)
    text = "\n".join(found.failures)
    assert not found.passed and "shop: public.orders has 20001 rows instead of 20002" in text
    assert "question none: no row" in text and "question value: x instead of y" in text
    assert "question two cannot be asked: cannot insert multiple commands" in text
    assert "question writes cannot be asked: cannot execute DELETE in a read-only transaction" in text
    assert shared.home.left() == []


def test_a_record_that_is_damaged_is_named_and_the_backup_is_not_blamed(shared: Shared) -> None:
    records, label = shared.home.backups.records, shared.full[0].backup.label
    [path] = shared.home.backups.layout.records.glob(f"r1.{label}.manifest.json")
    text = path.read_text()
    try:
        # One bit: what is left is as good a manifest as before.
        path.write_text(text.replace('"rows": 20001', '"rows": 20000'))
        found = shared.home.backups.prove("r1", label)
    finally:
        path.write_text(text)
    assert not found.passed and found.failures == ()
    assert found.undecided[0].startswith(f"{path} is damaged")
    [kept] = shared.home.backups.layout.records.glob(f"r1.{label}.proof.json")
    kept.write_text(kept.read_text().replace(f"{path} is damaged", f"{path} is Damaged"))
    assert records.proof("r1", label) is None, "what was changed proves nothing"
    assert shared.home.backups.prove("r1", label).passed


def bundle(home: PhysicalHome, backup: PhysicalBackup) -> Path:
    where = home.repository() / "backup" / "main" / backup.label
    return max((p for p in where.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


@pytest.mark.parametrize("where", [0.5, 0.11])
def test_a_flipped_bit_in_the_repository_is_found_and_named(shared: Shared, where: float) -> None:
    """By what it hits, the checksum of a file tells, or unpacking it fails, of which pgBackRest does not say the name."""
    path = bundle(shared.home, shared.full[0].backup)
    before = path.read_bytes()
    raw = bytearray(before)
    raw[int(len(raw) * where)] ^= 4
    path.write_bytes(raw)
    try:
        found = shared.home.backups.prove("r1", shared.full[0].backup.label)
    finally:
        path.write_bytes(before)
    assert not found.passed and len(found.failures) == 1
    (told,) = found.failures
    assert shared.full[0].backup.label in told and "repository r1" in told
    if "a file in it cannot be read" in told:
        assert re.search(r"a file in it cannot be read: (one of )?base/[0-9]+/", told)
    else:
        assert "what the repository holds is not what was put into it" in told
        assert "/proof/data/base/" in told
    assert shared.home.left() == []


def test_a_missing_backup_directory_is_found_and_named(shared: Shared) -> None:
    label = shared.incremental[0].backup.label
    with away(shared.home.repository() / "backup" / "main" / label):
        found = shared.home.backups.prove("r1", label)
    assert not found.passed
    assert "files are gone" in found.failures[0] and label in found.failures[0]


def test_a_missing_segment_is_found_and_named(shared: Shared) -> None:
    label = shared.full[0].backup.label
    manifest = shared.home.backups.records.manifest("r1", label)
    assert manifest is not None
    backup = shared.home.backups.get("r1", label)
    inside = next(p for p in shared.home.segments() if p.name.startswith(f"{backup.stop}-"))
    with away(inside):
        assert [str(g) for g in shared.home.backups.continuity("r1")] == [str(backup.stop)]
        assert shared.home.backups.continuity("r2") == ()
        found = shared.home.backups.prove("r1", label)
        codes = {f.code: f for f in shared.home.backups.findings()}
    assert str(backup.stop) in found.failures[0] and "lacks" in found.failures[0]
    assert codes.keys() == {"wal_gap"} and str(backup.stop) in codes["wal_gap"].sentence
    assert codes["wal_gap"].wants_full
    # After the manifest's moment: only the continuity of the log shows it.
    after = shared.home.segments()[-2]
    with away(after):
        found = shared.home.backups.prove("r1", shared.incremental[0].backup.label)
    assert len(found.failures) == 1 and after.name[:24] in found.failures[0]


def test_a_wrong_passphrase_is_named_and_shown_nowhere(shared: Shared) -> None:
    wrong = shared.home.with_passphrase("another one entirely", repositories=2)
    try:
        wrong.prepare()
        for call in (lambda: wrong.get("r1"), lambda: wrong.prove("r1"), wrong.ensure):
            with pytest.raises(HomeportError) as e:
                call()
            assert e.value.code == "backup.wrong_passphrase"
            assert "another one" not in f"{e.value.sentence} {e.value.hint} {e.value.details}"
        assert all("passphrase" in look.problem for look in wrong.list())
    finally:
        shared.home.backups.prepare()
    assert shared.home.backups.get("r1").label == shared.incremental[0].backup.label


def test_an_archive_command_that_does_nothing_is_found(shared: Shared) -> None:
    home = shared.home
    home.sql("ALTER SYSTEM SET archive_command = '/bin/true'")
    home.sql("SELECT pg_reload_conf()")
    try:
        until(lambda: home.sql("SHOW archive_command")[0][0] == "/bin/true")
        before = home.sql("SELECT archived_count FROM pg_stat_archiver")[0][0]
        home.backups.beat()
        home.sql("SELECT pg_switch_wal()")
        until(lambda: home.sql("SELECT archived_count FROM pg_stat_archiver")[0][0] > before)
        codes = {f.code for f in home.backups.findings()}
    finally:
        home.sql("ALTER SYSTEM RESET archive_command")
        home.sql("SELECT pg_reload_conf()")
    assert {"archive_command", "archive_lies"} <= codes
    until(lambda: "pgbackrest" in home.sql("SHOW archive_command")[0][0])
    # The log goes on, and the hole in it stays known until a full backup.
    home.backups.flush()
    assert {f.code for f in home.backups.findings()} == {"wal_gap"}
    base = {m.backup.repository: m.backup.label for m in home.backups.backup(full=True)}
    assert home.backups.findings(base) == ()


def test_a_receiver_that_is_down_is_found(shared: Shared) -> None:
    home = shared.home
    home.services.kill("receivewal.main")
    try:
        codes = until(lambda: {f.code for f in home.backups.findings({"r1": home.backups.get("r1").label})})
        assert "receiver_down" in codes
    finally:
        home.backups.ensure()


def test_a_repository_that_takes_nothing_fails_the_run_and_not_the_others(shared: Shared) -> None:
    home = shared.home
    with away(home.repository(2) / "backup"):
        made: list[Made] = []
        with pytest.raises(HomeportError) as e:
            home.backups.backup(on_made=made.append)
    assert "r2" in e.value.sentence
    assert [m.backup.repository for m in made] == ["r1"]
    newest = home.backups.get("r1").label
    assert f"repository r1 has {newest}" in e.value.details
    assert home.backups.records.manifest("r1", newest) is not None


def test_two_at_once_are_refused(shared: Shared) -> None:
    layout = shared.home.backups.layout
    from homeport.system import files

    with files.lock(layout.lock.with_suffix(".backup"), what="test"):
        with pytest.raises(HomeportError) as e:
            shared.home.backups.backup()
    assert e.value.code == "backup.busy" and e.value.type.retry


def test_a_proof_that_was_killed_is_cleaned_up_by_the_next(shared: Shared) -> None:
    home = shared.home
    label = home.backups.get("r1").label
    child = os.fork()
    if child == 0:
        # Killed while the copy's server runs.
        proving.compare = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment,return-value]
        home.backups.prove("r1", label)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    instances = {m.instance for m in process.marked(str(home.data))}
    copy = home.data / "scratch" / "main" / "proof"
    assert instances == {"backup.main.copy"} and copy.exists()
    server = (copy / "data" / "postmaster.pid").read_text().splitlines()[0]
    assert server in makers_of_shared_memory()
    home.backups.clean("copy")
    until(lambda: home.left() == [])
    assert server not in makers_of_shared_memory()


def makers_of_shared_memory() -> set[str]:
    return {line.split()[4] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


def test_expiring_takes_backups_and_the_log_that_nothing_needs(shared: Shared) -> None:
    home = shared.home
    newest = home.backups.get("r1")
    before = len(home.segments())
    with pytest.raises(HomeportError):
        home.backups.expire("r1", [b.label for b in home.backups.list()[0].backups], None)
    home.backups.backup(full=True)
    home.backups.expire("r1", [shared.full[0].backup.label], newest.label)
    labels = [b.label for b in home.backups.list()[0].backups]
    assert shared.full[0].backup.label not in labels and shared.incremental[0].backup.label not in labels
    assert len(home.segments()) < before
    assert home.backups.continuity("r1", newest.label) == ()
    assert home.backups.records.manifest("r1", shared.full[0].backup.label) is None
    assert home.backups.records.manifest("r2", shared.full[1].backup.label) is not None
    assert home.backups.prove("r1").passed


def test_a_repository_of_another_cluster_is_refused(shared: Shared) -> None:
    with pytest.raises(HomeportError) as e:
        PhysicalHome(repository_of=shared.home)
    assert e.value.code == "backup.other_cluster"
