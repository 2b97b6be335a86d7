"""SQLite databases: files that are made, checked and migrated, whoever they belong to."""

import os
import pwd
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from homeport.database.migrations.model import Direction, Goal, Migration, Options, Progress
from homeport.database.migrations.plan import statuses
from homeport.database.migrations.port import Migrator
from homeport.database.sqlite.directory import read
from homeport.database.sqlite.file import SqliteFile
from homeport.database.sqlite.files import parse_all
from homeport.database.sqlite.migrator import SqliteMigrator
from homeport.kernel.errors import HomeportError
from homeport.system.clock import RealClock
from homeport.system.fsuser import acting_as

QUICK = Options(lock_timeout=0.05, patience=0.2, by="anna", release="r7")
UP, DOWN = Goal(), Goal(Direction.DOWN, to="0")


@pytest.fixture
def storage() -> Iterator[Path]:
    with TemporaryDirectory(prefix="hp-sqlite-", dir="/tmp") as directory:
        root = Path(directory)
        root.chmod(0o755)
        (root / "data").mkdir()
        yield root / "data"


@pytest.fixture
def file(storage: Path) -> SqliteFile:
    return SqliteFile(storage, "x/shop.db")


def files(*sections: tuple[str, str]) -> tuple[Migration, ...]:
    return parse_all(
        (f"{n}_step.sql", f"-- migrate:up\n{up}\n-- migrate:down\n{down}\n".encode())
        for n, (up, down) in enumerate(sections, 1)
    )


def migrator(file: SqliteFile, options: Options = QUICK) -> Migrator:
    return SqliteMigrator(file, options, RealClock())


def schema(file: SqliteFile) -> set[str]:
    with sqlite3.connect(file.path) as connection:
        found = connection.execute("select name from sqlite_schema where type = 'table'").fetchall()
    connection.close()
    return {name for (name,) in found} - {"homeport_migrations", "sqlite_sequence"}


A = ("create table a (x integer primary key)", "drop table a")
B = ("create table b (a integer references a)", "drop table b")
ALL = files(A, B)


def test_a_database_is_made_in_wal_mode(file: SqliteFile) -> None:
    checked = file.ensure()
    assert checked.bytes > 0 and checked.problems == ()
    assert file.url == f"sqlite:///{file.path}"
    with sqlite3.connect(file.path) as connection:
        assert connection.execute("pragma journal_mode").fetchall() == [("wal",)]
    connection.close()
    assert file.check().problems == ()


def test_what_an_app_left_in_another_mode_is_in_wal_mode_afterwards(file: SqliteFile) -> None:
    file.path.parent.mkdir()
    connection = sqlite3.connect(file.path)
    connection.execute("create table kept (x)")
    connection.close()
    file.ensure()
    assert schema(file) == {"kept"}
    assert file.path.read_bytes()[18:20] == b"\x02\x02"


def test_a_file_that_is_no_database_is_refused_and_left_alone(file: SqliteFile) -> None:
    file.path.parent.mkdir()
    file.path.write_text("a text of some length, which is no database" * 100)
    before = file.path.read_bytes()
    for call in (file.ensure, file.check, lambda: migrator(file).look(ALL)):
        with pytest.raises(HomeportError) as caught:
            call()
        assert caught.value.code == "database.sqlite_unusable"
        assert caught.value.sentence == f"cannot use the database {file.path}: file is not a database"
    assert file.path.read_bytes() == before


@pytest.mark.parametrize("what", ["a directory", "a file on the way", "no storage"])
def test_a_place_where_no_database_can_be(storage: Path, file: SqliteFile, what: str) -> None:
    if what == "a directory":
        file.path.mkdir(parents=True)
    elif what == "a file on the way":
        file.path.parent.write_text("")
    else:
        storage.rmdir()
    with pytest.raises(HomeportError) as caught:
        file.ensure()
    assert caught.value.code == "database.sqlite_unusable"


def test_damage_is_found(file: SqliteFile) -> None:
    file.ensure()
    with sqlite3.connect(file.path) as connection:
        connection.execute("create table a (x)")
        connection.executemany("insert into a values (?)", (("v" * 500,) for _ in range(200)))
    connection.execute("pragma wal_checkpoint(truncate)")
    connection.close()
    with file.path.open("r+b") as f:
        f.seek(3 * 4096)
        f.write(b"\xff" * 4096)
    assert file.check().problems != ()


def test_migrations_go_up_and_down_and_the_table_tells_the_truth(file: SqliteFile) -> None:
    assert [s.state for s in statuses(migrator(file).look(ALL))] == ["pending", "pending"]
    assert not file.path.exists()
    notes: list[Progress] = []
    done = migrator(file).run(ALL, UP, note=notes.append)
    assert [(d.version, d.direction, d.attempts) for d in done] == [
        ("1", Direction.UP, 1),
        ("2", Direction.UP, 1),
    ]
    assert [n.kind for n in notes] == ["started", "statement", "applied"] * 2
    assert schema(file) == {"a", "b"}
    rows = migrator(file).look(ALL).rows
    assert [(r.version, r.is_applied, r.by, r.release) for r in rows] == [
        ("1", True, "anna", "r7"), ("2", True, "anna", "r7"),
    ]  # fmt: skip
    assert migrator(file).run(ALL, UP) == ()
    assert [d.version for d in migrator(file).run(ALL, DOWN)] == ["2", "1"]
    assert schema(file) == set()
    assert [s.state for s in statuses(migrator(file).look(ALL))] == ["rolled back", "rolled back"]
    assert len(migrator(file).run(ALL, UP)) == 2


def test_a_changed_file_stops_everything(file: SqliteFile) -> None:
    migrator(file).run(ALL[:1], UP)
    changed = files(("create table a (x, y)", ""), B)
    with pytest.raises(HomeportError) as caught:
        migrator(file).run(changed, UP)
    assert caught.value.code == "database.migration_changed"
    assert schema(file) == {"a"}


@pytest.mark.parametrize(
    ("up", "code", "said"),
    [
        ("create table c (x);\ncreate tabel d (x);", "failed", 'line 3: near "tabel": syntax error'),
        ("create table c (x);\ninsert into gone values (1);", "failed", "line 3: no such table: gone"),
        ("create table c (x);\ninsert into b values (9);", "failed", "rows that it leaves refer to rows"),
        ("create table c (x);\ninsert or rollback into a values (1), (1);", "failed", "UNIQUE constraint failed"),
        ("create table c (x);\nselect ?;", "failed", "line 3: "),
        ("create table c (x);\nwith recursive n(i) as (select 1 union all select i + 1 from n limit 30000000) "
         "insert into c select i from n where i < 0;", "timed_out", "line 3: it ran past statement_timeout"),
    ],
)  # fmt: skip
def test_nothing_stays_of_a_file_that_fails(file: SqliteFile, up: str, code: str, said: str) -> None:
    options = Options(lock_timeout=0.05, patience=0.2, statement_timeout=0.3)
    migrator(file).run(ALL, UP)
    more = files(A, B, (up, ""))
    with pytest.raises(HomeportError) as caught:
        migrator(file, options).run(more, UP)
    assert caught.value.code == f"database.migration_{code}"
    assert said in caught.value.sentence
    assert schema(file) == {"a", "b"}
    assert [s.state for s in statuses(migrator(file).look(more))] == ["applied", "applied", "pending"]
    assert len(migrator(file).run(files(A, B, ("create table c (x)", "")), UP)) == 1


def test_a_table_can_be_made_anew_while_others_refer_to_it(file: SqliteFile) -> None:
    rebuilt = """insert into a values (1); insert into b values (1);
pragma foreign_keys = off;
create table new (x integer primary key, y text); insert into new (x) select x from a; drop table a;
alter table new rename to a;"""
    assert len(migrator(file).run(files(A, B, (rebuilt, "")), UP)) == 3


def test_vacuum_runs_outside_a_transaction(file: SqliteFile) -> None:
    assert len(migrator(file).run(files(A, ("vacuum", "")), UP)) == 2


def test_one_that_is_stopped_leaves_nothing(file: SqliteFile) -> None:
    long = "with recursive n(i) as (select 1 union all select i + 1 from n limit 30000000) insert into a select i from n where i < 0"
    asked = iter([False] * 4)
    with pytest.raises(HomeportError) as caught:
        migrator(file).run(files(A, (long, "")), UP, cancelled=lambda: next(asked, True))
    assert caught.value.code == "database.migration_cancelled"
    assert schema(file) == {"a"}


def test_one_that_never_gets_to_write_gives_up(file: SqliteFile) -> None:
    migrator(file).run(ALL[:1], UP)
    other = sqlite3.connect(file.path, isolation_level=None)
    other.execute("begin immediate")
    notes: list[Progress] = []
    with pytest.raises(HomeportError) as caught:
        migrator(file).run(ALL, UP, note=notes.append)
    assert caught.value.code == "database.migration_blocked"
    assert "retry" in [n.kind for n in notes]
    other.execute("rollback")
    other.close()
    assert len(migrator(file).run(ALL, UP)) == 1


def test_readers_do_not_hold_it_up(file: SqliteFile) -> None:
    migrator(file).run(ALL[:1], UP)
    other = sqlite3.connect(file.path, isolation_level=None)
    other.execute("begin")
    other.execute("select * from a").fetchall()
    assert len(migrator(file).run(ALL, UP)) == 1
    other.close()


def test_runs_at_once_apply_each_file_once(file: SqliteFile) -> None:
    many = files(*((f"create table t{n} (x)", "") for n in range(20)))
    patient = Options(lock_timeout=0.05, patience=30)
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: migrator(file, patient).run(many, UP), range(4)))
    assert sorted(int(d.version) for run in runs for d in run) == list(range(1, 21))


RUN = """
import sys
from pathlib import Path
from homeport.database.migrations.model import Goal, Options
from homeport.database.sqlite.directory import read
from homeport.database.sqlite.file import SqliteFile
from homeport.database.sqlite.migrator import SqliteMigrator
from homeport.system.clock import RealClock
def note(p):
    print(p.kind, p.version, flush=True)
SqliteMigrator(SqliteFile(Path(sys.argv[1]), "x/shop.db"), Options(), RealClock()).run(
    read(Path(sys.argv[2])), Goal(), note=note)
"""


@pytest.mark.parametrize("after", range(1, 8))
def test_a_run_that_is_killed_leaves_whole_files_only(storage: Path, file: SqliteFile, after: int) -> None:
    directory = storage.parent / "migrations"
    directory.mkdir()
    for n in range(1, 4):
        text = f"-- migrate:up\ncreate table t{n} (x);\ninsert into t{n} values (1);\n"
        (directory / f"{n}_t.sql").write_text(text)
    child = subprocess.Popen(
        [sys.executable, "-c", RUN, str(storage), str(directory)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdout is not None
    for _ in range(after):
        child.stdout.readline()
    child.kill()
    child.wait()
    child.stdout.close()
    all_files = read(directory)
    applied = [s.version for s in statuses(migrator(file).look(all_files)) if s.state == "applied"]
    assert {f"t{v}" for v in applied} == (schema(file) if file.path.exists() else set())
    migrator(file).run(all_files, UP)
    assert schema(file) == {"t1", "t2", "t3"}
    assert file.check().problems == ()


@pytest.fixture
def app_user() -> pwd.struct_passwd:
    if os.geteuid() != 0:
        pytest.skip("only root can act as another user")
    return pwd.getpwnam("nobody")


def test_all_that_is_made_belongs_to_the_owner_of_the_storage(
    storage: Path, file: SqliteFile, app_user: pwd.struct_passwd
) -> None:
    os.chown(storage, app_user.pw_uid, app_user.pw_gid)
    file.ensure()
    with file.connect() as connection:
        file.run(connection, "create table mine (x)")
        assert Path(f"{file.path}-wal").stat().st_uid == app_user.pw_uid
        assert Path(f"{file.path}-shm").stat().st_uid == app_user.pw_uid
    migrator(file).run(ALL[:0], UP)
    assert {path.stat().st_uid for path in storage.rglob("*")} == {app_user.pw_uid}


@pytest.mark.parametrize("link", ["x/shop.db", "x"])
def test_a_link_of_an_app_leads_nowhere_that_the_app_cannot_go(
    storage: Path, file: SqliteFile, app_user: pwd.struct_passwd, link: str
) -> None:
    private = storage.parent / "private"
    private.mkdir(mode=0o700)
    os.chown(storage, app_user.pw_uid, app_user.pw_gid)
    if "/" in link:
        file.path.parent.mkdir()
        os.symlink(private / "made.db", file.path)
    else:
        os.symlink(private, storage / link)
    for call in (file.ensure, file.check, lambda: migrator(file).run(ALL, UP)):
        with pytest.raises(HomeportError) as caught:
            call()
        assert caught.value.code == "database.sqlite_unusable"
    assert list(private.iterdir()) == []


def test_rights_are_ones_own_again_afterwards(storage: Path, app_user: pwd.struct_passwd) -> None:
    storage.chmod(0o700)
    other = ThreadPoolExecutor(1)
    other.submit(int).result()
    with other, acting_as(app_user.pw_uid, app_user.pw_gid):
        with pytest.raises(PermissionError):
            (storage / "a").write_text("")
        with acting_as(0, 0):
            (storage / "b").write_text("")
        with pytest.raises(PermissionError):
            (storage / "a").write_text("")
        assert other.submit((storage / "c").write_text, "x").result() == 1
    assert (storage / "b").stat().st_uid == 0
    (storage / "a").write_text("")
