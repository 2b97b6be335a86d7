"""Clusters, roles and databases, on a real PostgreSQL behind a real PgBouncer."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from database_home import MAIN, DatabaseHome, connect

from homeport.database import machine
from homeport.database.urls import user_and_password
from homeport.kernel.errors import HomeportError
from homeport.spec.model_database import Database
from homeport.system.process import is_alive


@pytest.fixture(scope="module")
def shared() -> Iterator[DatabaseHome]:
    """With the databases of two apps; tests use them and leave them as they are."""
    home = DatabaseHome()
    try:
        home.ensure("shop")
        home.ensure("blog")
        home.as_owner("CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text)")
        yield home
    finally:
        home.end()


@pytest.fixture
def home() -> Iterator[DatabaseHome]:
    home = DatabaseHome()
    try:
        yield home
    finally:
        home.end()


def wait_until(look: Any, seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def refused(url: str, statement: str) -> None:
    with connect(url) as c:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            c.execute(statement)


def url_of(home: DatabaseHome, app: str) -> str:
    url = home.secrets.get(app, "production", "DATABASE_URL")
    assert url is not None
    return url


# Least privilege


def test_the_app_reads_and_writes(shared):
    with connect(url_of(shared, "shop")) as c:
        c.execute("INSERT INTO orders (what) VALUES ('a book')")
        assert ("a book",) in c.execute("SELECT what FROM orders").fetchall()
        c.execute("UPDATE orders SET what = 'two'")
        c.execute("DELETE FROM orders")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE EXTENSION hstore",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "DROP TABLE orders",
        "TRUNCATE orders",
        "ALTER TABLE orders ADD x int",
        "SET ROLE shop_production_owner",
        "SET ROLE homeport",
        "SELECT rolpassword FROM pg_authid",
        "SELECT * FROM homeport.pg_stat_statements",
        "COPY orders TO PROGRAM 'true'",
        "ALTER SYSTEM SET work_mem = '1GB'",
    ],
)
def test_the_app_cannot(shared, statement):
    refused(url_of(shared, "shop"), statement)


def test_the_apps_roles_own_nothing(shared):
    with shared.databases.connect_as_admin("shop", "production", "main") as c:
        owned = c.execute(
            "SELECT count(*) FROM pg_shdepend WHERE deptype = 'o' AND refobjid IN "
            "(SELECT oid FROM pg_roles WHERE rolname ~ '^shop_production_(app|a|b|migrate)$')"
        ).fetchone()
        owner = c.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'orders'").fetchone()
        checksums = c.execute("SHOW data_checksums").fetchone()
    assert owned == (0,) and owner == ("shop_production_owner",) and checksums == ("on",)


def test_what_the_owner_makes_in_another_schema_is_for_the_app(shared):
    shared.as_owner(
        "CREATE SCHEMA stock",
        "CREATE TABLE stock.item (id serial PRIMARY KEY)",
        "CREATE FUNCTION stock.f() RETURNS int LANGUAGE sql AS 'SELECT 7'",
    )
    try:
        with connect(url_of(shared, "shop")) as c:
            c.execute("INSERT INTO stock.item DEFAULT VALUES")
            assert c.execute("SELECT stock.f()").fetchone() == (7,)
    finally:
        shared.as_owner("DROP SCHEMA stock CASCADE")


def test_what_a_migration_takes_from_the_app_stays_taken(shared):
    shared.as_owner("ALTER DEFAULT PRIVILEGES REVOKE DELETE ON TABLES FROM shop_production_app")
    try:
        shared.ensure("shop")
        shared.as_owner("CREATE TABLE kept (id int)")
        refused(url_of(shared, "shop"), "DELETE FROM kept")
    finally:
        shared.as_owner(
            "ALTER DEFAULT PRIVILEGES GRANT DELETE ON TABLES TO shop_production_app",
            "DROP TABLE IF EXISTS kept",
        )


def test_two_apps_cannot_see_each_other(shared):
    cluster = shared.databases.state.cluster("main")
    user, password = user_and_password(url_of(shared, "shop"))
    for port in (cluster.port, cluster.pooler_port):
        for database in ("blog_production", "postgres", "template1"):
            with pytest.raises(psycopg.OperationalError):
                connect(f"postgresql://{user}:{password}@127.0.0.1:{port}/{database}")
        connect(f"postgresql://{user}:{password}@127.0.0.1:{port}/shop_production").close()
    with connect(url_of(shared, "shop")) as c:
        seen = c.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE usename ~ '^blog' AND query <> '<insufficient privilege>'"
        )
        assert seen.fetchone() == (0,)


def test_the_superuser_comes_in_by_the_socket_only(shared):
    cluster = shared.databases.state.cluster("main")
    for port in (cluster.port, cluster.pooler_port):
        with pytest.raises(psycopg.OperationalError):
            connect(f"postgresql://homeport:x@127.0.0.1:{port}/postgres")


def test_the_migrator_has_a_password_only_while_it_is_used(shared):
    with shared.databases.owner_url("shop", "production", "main") as outer:
        with shared.databases.owner_url("shop", "production", "main") as inner:
            assert inner == outer
        with connect(outer.reveal()) as c:
            assert c.execute("SELECT current_user").fetchone() == ("shop_production_owner",)
    with pytest.raises(psycopg.OperationalError):
        connect(outer.reveal())


def test_no_password_is_on_disk_in_the_journal_or_in_the_log(shared):
    secrets = [user_and_password(url)[1].encode() for url in shared.secrets.values.values()]
    with shared.databases.owner_url("shop", "production", "main") as url:
        connect(url.reveal()).close()
        secrets.append(user_and_password(url.reveal())[1].encode())
    assert all(len(secret) > 20 for secret in secrets)
    checked = 0
    for path in shared.data.rglob("*"):
        if path.is_file() and not path.is_symlink():
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue  # of a server that lives
            checked += 1
            assert not any(secret in content for secret in secrets), path
    assert checked > 500
    with shared.databases.connect_as_admin("shop", "production", "main") as c:
        told = c.execute("SELECT string_agg(query, ' ') FROM homeport.pg_stat_statements").fetchone()
    assert "SCRAM-SHA-256$" not in str(told)


# Made once, whatever comes between


def test_made_again_it_is_the_same(shared):
    before = url_of(shared, "shop"), shared.pid("postgresql.main"), shared.pid("pgbouncer.main")
    shared.again()
    assert shared.ensure("shop") == before[0]
    assert (shared.pid("postgresql.main"), shared.pid("pgbouncer.main")) == before[1:]


def test_a_password_that_was_changed_by_hand_is_put_right(shared):
    with shared.databases.connect_as_admin("blog", "production", "main") as c:
        c.execute("ALTER ROLE blog_production_a PASSWORD 'other'")
    connect(shared.ensure("blog")).close()


def test_a_lost_secret_gets_a_new_password(shared):
    shared.secrets.remove("blog", "production", "DATABASE_URL")
    connect(shared.ensure("blog")).close()


def test_an_interrupted_initdb_begins_anew(home, monkeypatch):
    """It is killed with the control plane, in the middle: something of it runs on and files are left."""
    initdb = subprocess.Popen
    killed = []

    class Cut(BaseException):
        pass

    def cut(*arguments, **more):
        child = initdb(*arguments, **more)
        if any("initdb" in str(word) for word in arguments[0]):
            unfinished = home.data / "postgresql" / "main" / "data.new"
            wait_until(lambda: (unfinished / "base").exists())
            killed.append(child)
            raise Cut
        return child

    monkeypatch.setattr(subprocess, "Popen", cut)
    with pytest.raises(Cut):
        home.ensure()
    monkeypatch.undo()
    assert killed and home.databases.state.cluster("main").state == "making"
    (home.data / "postgresql" / "main" / "data.new" / "left").write_text("over")
    home.again()
    connect(home.ensure()).close()
    killed[0].communicate()
    assert not (home.data / "postgresql" / "main" / "data.new").exists()
    assert not (home.data / "postgresql" / "main" / "data" / "left").exists()


def test_files_that_are_not_ours_are_left_alone(home):
    directory = home.data / "postgresql" / "main"
    directory.mkdir(parents=True)
    (directory / "precious").write_text("data")
    with pytest.raises(HomeportError) as e:
        home.ensure()
    assert e.value.code == "database.not_ours"
    assert (directory / "precious").read_text() == "data"


def test_files_that_are_gone_are_not_made_anew(home):
    home.ensure()
    home.services.stop("pgbouncer.main")
    home.services.stop("postgresql.main")
    files = home.data / "postgresql" / "main" / "data"
    files.rename(home.data / "postgresql" / "elsewhere")
    with pytest.raises(HomeportError) as e:
        home.ensure()
    assert e.value.code == "database.files_gone" and not files.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as another user")
def test_a_closed_directory_is_told(home):
    home.data.chmod(0o700)
    with pytest.raises(HomeportError) as e:
        home.ensure()
    assert e.value.code == "database.closed_directory" and f"chmod o+x {home.data}" in e.value.hint
    home.data.chmod(0o755)
    connect(home.ensure()).close()


@pytest.mark.parametrize("step", ["make_role", "make_database", "give_rights", "set_password", "set_limits"])
def test_cut_off_at_a_step_it_goes_on(shared, monkeypatch, step):
    from homeport.database import roles

    app = f"cut-{step.replace('_', '-')}"

    class Cut(BaseException):
        pass

    real = getattr(roles, step)
    for when in ("before", "after"):

        def cut(*arguments, real=real, when=when, **more):
            if when == "after":
                real(*arguments, **more)
            raise Cut

        monkeypatch.setattr(roles, step, cut)
        with pytest.raises(Cut):
            shared.ensure(app)
        monkeypatch.undo()
        shared.again()
    url = shared.ensure(app)
    refused(url, "CREATE TABLE mine (id int)")
    shared.as_owner("CREATE TABLE t (id int)", app=app)
    with connect(url) as c:
        c.execute("INSERT INTO t VALUES (1)")
    row = shared.databases.get(app, "production", "main")
    shared.databases.drop(app, "production", MAIN, confirm=row.database)


def test_extensions_belong_to_the_owner(shared):
    shared.ensure("wiki", Database("main", extensions=("pg_trgm", "uuid-ossp")))
    shared.as_owner("DROP EXTENSION pg_trgm", app="wiki")
    with pytest.raises(HomeportError) as e:
        shared.ensure("wiki", Database("main", extensions=("no_such_thing",)))
    assert e.value.code == "database.no_extension"
    with pytest.raises(HomeportError) as e:
        shared.ensure("wiki", Database("main", extensions=("pg_stat_statements", "file_fdw")))
    assert e.value.code == "database.no_extension"
    shared.databases.drop("wiki", "production", MAIN, confirm="wiki_production")


def test_dropping_takes_all_of_it_and_nothing_else(shared):
    url = shared.ensure("gone")
    with pytest.raises(HomeportError) as e:
        shared.databases.drop("gone", "production", MAIN, confirm="gone")
    assert e.value.code == "database.not_confirmed"
    with connect(url) as held:
        held.execute("SELECT 1")
        shared.databases.drop("gone", "production", MAIN, confirm="gone_production")
        with pytest.raises(psycopg.Error):
            held.execute("SELECT 1")
    with shared.databases.connect_as_admin("shop", "production", "main") as c:
        assert c.execute("SELECT count(*) FROM pg_roles WHERE rolname ~ '^gone'").fetchone() == (0,)
        assert c.execute("SELECT count(*) FROM pg_database WHERE datname ~ '^gone'").fetchone() == (0,)
    assert shared.secrets.get("gone", "production", "DATABASE_URL") is None
    connect(url_of(shared, "shop")).close()
    with pytest.raises(HomeportError) as e:
        shared.databases.drop("gone", "production", MAIN, confirm="gone_production")
    assert e.value.code == "database.unknown"


def test_a_dedicated_cluster_is_apart_and_goes_with_its_database(shared):
    own = Database("own", dedicated=True, pool="session")
    url = shared.ensure("shop", own)
    cluster = next(c for c in shared.databases.state.clusters() if c.dedicated)
    with connect(url) as c:
        assert (
            c.execute("SELECT inet_server_port(), current_database()").fetchone()[1] == "shop_production_own"
        )
    with pytest.raises(HomeportError) as e:
        shared.ensure("shop", Database("own"))
    assert e.value.code == "database.cannot_move"
    shared.databases.drop("shop", "production", own, confirm="shop_production_own")
    assert not (shared.data / "postgresql" / cluster.name).exists()
    assert shared.services.status(cluster.service) is None


def test_a_restore_point_is_kept(shared):
    point = shared.databases.restore_point("shop", "production", "main", change="c-1")
    assert shared.databases.state.restore_points("shop", "production", "main")[0] == point
    assert "/" in point.lsn


# What is killed comes back


def test_killed_servers_come_back(home):
    url = home.ensure()
    home.as_owner("CREATE TABLE t (id int)")
    with connect(url) as c:
        c.execute("INSERT INTO t VALUES (1)")
    for service in ("postgresql.main", "pgbouncer.main"):
        pid = home.pid(service)
        os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda pid=pid, service=service: (
                (s := home.services.status(service)) and s.running and s.pid != pid
            )
        )

        def answers():
            try:
                with connect(url) as c:
                    return c.execute("SELECT count(*) FROM t").fetchone() == (1,)
            except psycopg.Error:
                return False

        wait_until(answers)


def test_a_killed_supervisor_leaves_them_running_and_the_next_one_keeps_them(home):
    url = home.ensure()
    server = home.pid("postgresql.main")
    with connect(url) as c:
        c.execute("SELECT 1")
        home.home.kill_supervisord()
        c.execute("SELECT 1")
        home.home.supervise()
        wait_until(lambda: home.services.status("pgbouncer.main"))
        home.again()
        assert home.ensure() == url
        assert home.pid("postgresql.main") == server
        c.execute("SELECT 1")
        # It is looked after again: what ends comes back, and is stopped when asked.
        os.kill(server, signal.SIGKILL)
        wait_until(lambda: (s := home.services.status("postgresql.main")) and s.running and s.pid != server)
    home.ensure()
    again = home.pid("postgresql.main")
    home.services.stop("postgresql.main")
    assert home.services.status("postgresql.main") is None
    assert not is_alive(again)


def test_a_kept_server_can_be_restarted_and_stopped(home):
    home.ensure()
    server = home.pid("postgresql.main")
    home.home.kill_supervisord()
    home.home.supervise()
    wait_until(lambda: home.services.status("postgresql.main").running)
    home.databases.restart(home.databases.state.cluster("main"))
    assert home.pid("postgresql.main") != server
    assert not is_alive(server)


def test_the_newest_server_is_chosen():
    version, programs = machine.programs()
    assert version >= 15 and (programs / "initdb").exists()
    with pytest.raises(HomeportError) as e:
        machine.programs(14)
    assert e.value.code == "database.no_server"
