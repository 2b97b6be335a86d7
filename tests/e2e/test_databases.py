"""Apps with databases and caches, as a person deploys them: real PostgreSQL, PgBouncer, SQLite and Redis."""

import json
import os
import signal
import sys
import time

import pytest

EXTRA = f"""
sys.path[:0] = [p for p in {[p for p in sys.path if "site-packages" in p]!r}]
def query(sql, variable="DATABASE_URL"):
    import psycopg
    with psycopg.connect(os.environ[variable], prepare_threshold=None, connect_timeout=5) as c:
        found = c.execute(sql)
        return found.fetchall() if found.description else []
"""
AFTER = """
def health(handler):
    try: handler.answer(200, str(query("select count(*) from orders")[0][0]))
    except Exception as e: handler.answer(500, str(e))
def get(self):
    from urllib.parse import unquote
    if self.path == "/health": return health(self)
    try: self.answer(200, json.dumps(query(unquote(self.path[1:])), default=str))
    except Exception as e: self.answer(500, str(e))
Handler.do_GET = get
"""
ADD_ORDERS = """-- migrate:up
create table orders (id bigint generated always as identity primary key, note text not null default '');
-- migrate:down
drop table orders;
"""
DATABASE = '[database.main]\nmigrations = "migrations"\n'


class Shop:
    """An app with a database whose health is that of its table."""

    def __init__(self, homeport, name):
        self.homeport = homeport
        self.app = homeport.app(name)
        self.count = 0
        (self.app.directory / "migrations").mkdir()
        self.database = DATABASE
        self.options = {}

    def migration(self, sql, version=None):
        self.count += 1
        file = f"{version or f'202611201200{self.count:02d}'}_step_{self.count}.sql"
        (self.app.directory / "migrations" / file).write_text(sql)
        return file

    def deploy(self, *arguments, status=0, **options):
        options = {"replicas": 1, "keep_warm": "0s", "extra": EXTRA, "after": AFTER} | self.options | options
        self.app.write(str(self.count), more=self.database, **options)
        return self.homeport.deploy(self.app, *arguments, status=status)

    def sql(self, text):
        from urllib.parse import quote

        status, body, _ = self.homeport.get("/" + quote(text), host=self.app.host)
        assert status == 200, body
        return json.loads(body)

    def events(self, kind):
        return [
            e for e in self.homeport.json("events", "--app", self.app.name, "-n", "500") if e["kind"] == kind
        ]

    @property
    def serving(self):
        return self.homeport.environment(self.app)["serving"]


@pytest.fixture(scope="module")
def shop(homeport):
    made = Shop(homeport, "orders")
    made.migration(ADD_ORDERS)
    made.deploy()
    return made


def test_the_first_deploy_makes_the_database_and_its_schema(shop):
    assert shop.sql("select count(*) from orders") == [[0]]
    [[user, database]] = shop.sql("select current_user, current_database()")
    assert database == "orders_production" and user in ("orders_production_a", "orders_production_b")
    # The app's login owns nothing, and may not change what Homeport recorded.
    for forbidden in ("create table mine (a int)", "delete from homeport_migrations", "drop table orders"):
        with pytest.raises(AssertionError, match=r"permission denied|must be owner"):
            shop.sql(forbidden)
    assert shop.sql("select release from homeport_migrations") == [["r1"]]
    [made] = shop.events("database.restore_point")
    assert made["data"]["lsn"]


def test_a_migration_that_fails_takes_the_deploy_back_and_leaves_no_trace(shop):
    before = shop.serving
    bad = shop.migration(
        "-- migrate:up\ncreate table half (a int);\nselect 1/0;\n-- migrate:down\ndrop table half;\n"
    )
    done = shop.deploy(status=7)
    assert f"cannot apply {bad}" in done.stderr and "division by zero" in done.stdout + done.stderr
    assert shop.serving == before and shop.sql("select to_regclass('half')") == [[None]]
    (shop.app.directory / "migrations" / bad).unlink()
    assert "started  r" not in done.stdout


def test_an_expansion_is_kept_or_taken_back_with_the_release(shop):
    sick = {"after": AFTER.replace("200, str(query", "500, str(query")}
    added = shop.migration(
        "-- migrate:up\nalter table orders add column a int;\n-- migrate:down\nalter table orders drop column a;\n"
    )
    shop.deploy(status=7, start_timeout="2s", **sick)
    assert shop.sql(
        "select count(*) from information_schema.columns where column_name = 'a' and table_name = 'orders'"
    ) == [[1]]
    shop.database = DATABASE + 'on_rollback = "down"\n'
    shop.migration(
        "-- migrate:up\nalter table orders add column b int;\n-- migrate:down\nalter table orders drop column b;\n"
    )
    done = shop.deploy(status=7, start_timeout="2s", **sick)
    assert "migrated back" in done.stdout
    assert shop.sql(
        "select count(*) from information_schema.columns where column_name = 'b' and table_name = 'orders'"
    ) == [[0]]
    assert shop.sql("select count(*) from homeport_migrations where rolled_back_at is not null") == [[1]]
    shop.deploy()
    assert shop.sql("select b from orders") == [] and added
    shop.database = DATABASE


def test_a_contract_runs_once_its_release_has_served_and_then_there_is_no_way_back(shop, homeport):
    before = shop.serving
    dropped = shop.migration(
        "-- homeport:contract\n-- migrate:up\nalter table orders drop column a;\n-- migrate:down\nalter table orders add column a int;\n"
    )
    done = shop.deploy(rollout='watch_for = "1s"')
    assert "waits until" in done.stdout
    homeport.wait(lambda: dropped in [e["data"]["filename"] for e in shop.events("migration.applied")])
    refused = homeport.run("rollback", before, cwd=shop.app.directory, status=5)
    assert "took away what it needs" in refused.stderr and "homeport migrate down" in refused.stderr
    # The next deploy does not run it again, nor wait for it.
    assert "waits until" not in shop.deploy().stdout


def test_killed_in_a_migration_the_next_control_plane_ends_it_once(shop, homeport):
    slow = shop.migration(
        "-- migrate:up\nselect pg_sleep(2);\nalter table orders add column c int;\n-- migrate:down\nalter table orders drop column c;\n"
    )
    shop.app.write("slow", more=shop.database, replicas=1, keep_warm="0s", extra=EXTRA, after=AFTER)
    deploy = homeport.start("deploy", cwd=shop.app.directory)
    name = f"{shop.app.name}.production.migrate-main"
    homeport.wait(lambda: name in homeport.pids().values())
    time.sleep(0.5)
    os.kill(homeport.pid_of("serve"), signal.SIGKILL)
    output = deploy.communicate(timeout=150)[0]
    assert deploy.returncode == 0, output
    assert shop.sql("select c from orders") == []
    told = [e["data"]["filename"] for e in shop.events("migration.applied")]
    assert told.count(slow) == 1
    assert name not in homeport.pids().values()


def test_a_deploy_that_is_cancelled_ends_its_migration(shop, homeport):
    before = shop.serving
    slow = shop.migration("-- migrate:up\nselect pg_sleep(60);\n-- migrate:down\nselect 1;\n")
    shop.app.write("slow", more=shop.database, replicas=1, keep_warm="0s", extra=EXTRA, after=AFTER)
    deploy = homeport.start("deploy", cwd=shop.app.directory)
    name = f"{shop.app.name}.production.migrate-main"
    homeport.wait(lambda: name in homeport.pids().values())
    homeport.run("cancel", cwd=shop.app.directory)
    deploy.communicate(timeout=150)
    assert deploy.returncode == 7 and shop.serving == before
    homeport.wait(
        lambda: (
            shop.sql(
                "select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' and state = 'active' and pid <> pg_backend_pid()"
            )
            == [[0]]
        )
    )
    (shop.app.directory / "migrations" / slow).unlink()


def test_what_a_database_gives_is_set_by_nobody_else(shop, homeport):
    for command in (
        ("secrets", "set", "DATABASE_URL"),
        ("env", "set", "DATABASE_URL=x"),
        ("secrets", "unset", "DATABASE_URL"),
    ):
        done = homeport.run(*command, cwd=shop.app.directory, stdin="postgresql://x", status=5)
        assert "[database.main] in homeport.toml gives it" in done.stderr


def test_a_url_that_was_set_before_is_not_overwritten(homeport):
    other = Shop(homeport, "own-url")
    other.migration(ADD_ORDERS)
    other.app.write("1", more="")
    homeport.run(
        "secrets", "set", "DATABASE_URL", cwd=other.app.directory, stdin="postgresql://mine@127.0.0.1/x"
    )
    done = other.deploy(status=3)
    assert 'url = "secret:DATABASE_URL"' in done.stderr
    assert (
        homeport.run("secrets", "reveal", "DATABASE_URL", cwd=other.app.directory).stdout.strip()
        == "postgresql://mine@127.0.0.1/x"
    )


@pytest.mark.parametrize(
    "url, says, status",
    [
        ("postgresql://nobody:secretword@127.0.0.1:1/x", "nothing listens there", 6),
        ("not a url", "cannot read", 3),
    ],
)
def test_a_database_of_others_that_cannot_be_used_is_told_before_anything_changes(
    homeport, url, says, status
):
    other = Shop(homeport, f"attached-{status}")
    other.migration(ADD_ORDERS)
    other.database = DATABASE + 'url = "secret:THEIRS_URL"\n'
    other.app.write("1", more=other.database)
    assert "THEIRS_URL" in other.deploy(status=4).stderr
    homeport.run("secrets", "set", "THEIRS_URL", cwd=other.app.directory, stdin=url)
    done = other.deploy(status=status)
    assert says.lower() in done.stderr.lower() and "secretword" not in done.stderr + done.stdout


def test_an_app_migrates_with_a_tool_of_its_own(homeport):
    other = Shop(homeport, "tooled")
    (other.app.directory / "tool.py").write_text(
        EXTRA.replace("sys.path", "import os, sys\nsys.path", 1)
        + 'query("create table if not exists orders (id int)")\nprint("made by", query("select current_user, session_user"))\n'
    )
    other.database = f'[database.main]\nmigrate = "{sys.executable} tool.py"\n'
    done = other.deploy()
    assert "migrated main by" in done.stdout
    assert other.sql("select tableowner from pg_tables where tablename = 'orders'") == [
        ["tooled_production_owner"]
    ]
    assert "made by" in homeport.run("logs", "--build", "r1", cwd=other.app.directory).stdout


def test_a_small_app_has_a_file_and_a_cache(homeport):
    small = Shop(homeport, "small")
    small.migration(
        "-- migrate:up\ncreate table orders (id integer primary key);\n-- migrate:down\ndrop table orders;\n"
    )
    small.database = '[storage.data]\npath = "var"\n[cache.main]\n[database.main]\nengine = "sqlite"\npath = "var/shop.db"\nmigrations = "migrations"\n'
    small.options = {
        "extra": """
def query(sql):
    import sqlite3
    with sqlite3.connect(os.environ["DATABASE_URL"].removeprefix("sqlite:///")) as c: return c.execute(sql).fetchall()
def ask(*words):
    import socket
    from urllib.parse import urlsplit
    u = urlsplit(os.environ["REDIS_URL"])
    with socket.create_connection((u.hostname, u.port)) as s:
        s.sendall(f"AUTH {u.username} {u.password}\\r\\n{' '.join(words)}\\r\\n".encode())
        time.sleep(0.2)
        return s.recv(1000).decode()
""",
        "after": AFTER.replace(
            "json.dumps(query(unquote(self.path[1:])), default=str)", 'json.dumps(ask("SET", "a", "1"))'
        ),
    }
    small.deploy()
    assert small.sql("anything") == "+OK\r\n+OK\r\n"
    shown = homeport.run("config", "show", cwd=small.app.directory).stdout
    assert "sqlite:///" in shown and "REDIS_URL" in shown


def test_data_outlives_its_app_and_is_found_again(homeport):
    gone = Shop(homeport, "gone")
    gone.migration(ADD_ORDERS)
    gone.deploy()
    gone.sql("insert into orders default values returning id")
    homeport.run("destroy", "gone", "--yes", "gone")
    gone.deploy()
    assert gone.sql("select count(*) from orders") == [[1]]


def test_everything_comes_back_after_a_stop(shop, homeport):
    homeport.run("down")
    assert not homeport.pids()
    homeport.up()
    homeport.wait(lambda: homeport.get(host=shop.app.host, path="/health")[0] == 200)
    assert shop.sql("select count(*) from orders") == [[0]]
