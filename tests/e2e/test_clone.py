"""``homeport clone``: production's shapes in staging, without its people; over one Homeport."""

import os
import re
import signal

import psycopg
import pytest

PLANTED = "anna.planted@people.example"
MIGRATION = """-- migrate:up
create table users (id int generated always as identity primary key, email text not null unique, name text,
  note text, email_sent_at timestamptz);
create table orders (id bigint primary key, email text not null references users (email), amount numeric(10, 2));
create index users_note on users (lower(note));
do $$ begin execute format('revoke delete on orders from %I', replace(current_user, '_owner', '_app')); end $$;
-- migrate:down
drop table orders, users;
"""
PEOPLE = f"""
insert into users (email, name, note) select 'someone' || n || '@people.example', 'Someone ' || n, 'hello'
  from generate_series(1, 3000) n;
insert into users (email, name, note) values ('{PLANTED}', 'Anna Planted', 'write to {PLANTED}');
insert into orders select row_number() over (), email, 12.5 from users;
analyze
"""
SPEC = """
[database.main]
migrations = "migrations"
[environments.production]
[environments.staging]
domains = ["staging.shop.localhost"]
"""
MASKS = """
[backup.mask]
"users.email" = "email"
"users.name" = "name"
"users.note" = "text"
"orders.email" = "email"
"""


@pytest.fixture(scope="module")
def shop(homeport):
    app = homeport.app("shop")
    (app.directory / "migrations").mkdir()
    (app.directory / "migrations" / "20261120120000_people.sql").write_text(MIGRATION)
    app.write(replicas=1, keep_warm="5s", more=SPEC)
    homeport.deploy(app)
    homeport.deploy(app, "--env", "staging")
    with admin(homeport, "shop_production") as connection:
        connection.execute(PEOPLE)
    repository = homeport.work / "repository"
    repository.mkdir()
    homeport.run(
        "backup", "repository", "add", "local", str(repository), stdin="correct horse battery staple\n"
    )
    # The first backup begins by itself, and is proven.
    homeport.wait(
        lambda: (runs := homeport.ask("/v1/backups/runs?kind=backup")) and runs[0]["state"] != "running",
        seconds=120,
        what="the first backup",
    )
    return app


def clone(homeport, shop, *options, source="production", target="staging", status=0):
    return homeport.run(
        "clone", source, target, "--confirm", target, *options, cwd=shop.directory, status=status
    )


def admin(homeport, database="postgres"):
    directory = homeport.data / "postgresql" / "main"
    port = re.search(r"^port = '(\d+)'", (directory / "postgresql.conf").read_text(), re.MULTILINE)
    return psycopg.connect(
        f"host={directory / 's'} port={port[1]} user=homeport dbname={database}", autocommit=True
    )


def databases(homeport):
    with admin(homeport) as connection:
        return sorted(
            n for (n,) in connection.execute("select datname from pg_database where datname ~ '^shop_'")
        )


def left_over(homeport):
    """Copies, servers on them, logins, scratch."""
    with admin(homeport) as connection:
        roles = [
            n
            for (n,) in connection.execute(
                "select rolname from pg_roles where rolname ~ '^homeport_(clone|was)'"
            )
        ]
    directories = [p.name for p in (homeport.data / "postgresql" / "main").glob("restored-*")]
    # A backup by the clock may be under way, and proven.
    running = [name for name in homeport.pids().values() if name == "backup.main.restored"]
    return roles + directories + running


def test_what_is_not_proven_is_not_cloned_and_nobody_is_cloned_unasked(homeport, shop, refused):
    refused(
        "clone", "production", "nowhere", "--confirm", "nowhere", status=4, says="nowhere", cwd=shop.directory
    )
    refused(
        "clone", "staging", "staging", "--confirm", "staging", status=5, says="itself", cwd=shop.directory
    )
    refused(
        "clone", "production", "staging", "--confirm", "production", status=5, says="was not repeated",
        hint="--confirm staging", cwd=shop.directory,
    )  # fmt: skip
    done = homeport.run("clone", "staging", "production", cwd=shop.directory, status=2)
    assert "--confirm production" in done.stderr


def test_columns_that_no_mask_names_are_refused_all_at_once(homeport, shop):
    done = clone(homeport, shop, status=7)
    assert set(re.findall(r'^("[^\n]*?)  #', done.stdout, re.MULTILINE)) == {
        '"users.email" = "email"', '"users.name" = "name"', '"users.note" = "email"', '"orders.email" = "email"',
    }  # fmt: skip
    assert PLANTED not in done.stdout + done.stderr
    assert databases(homeport) == ["shop_production", "shop_staging"] and left_over(homeport) == []


def test_a_clone_has_the_shapes_and_nobody_of_the_people(homeport, shop):
    app = shop.write(version="2", replicas=1, keep_warm="5s", more=SPEC + MASKS)
    assert app
    homeport.deploy(shop)
    done = clone(homeport, shop)
    assert "4 columns of 2 tables masked" in done.stdout and "from backup" in done.stdout
    kept = re.search(r"kept as (\S+):", done.stdout)
    assert kept and kept[1] in databases(homeport) and left_over(homeport) == []
    with admin(homeport, "shop_staging") as connection:
        found = connection.execute(
            "select count(*), count(distinct email), count(*) filter (where email like '%@example.com') from users"
        ).fetchone()
        assert found == (3001, 3001, 3001)
        assert connection.execute("select count(*) from orders join users using (email)").fetchone() == (
            3001,
        )
        told = connection.execute(
            "select count(*) from users u where u::text ~* 'people[.]example|someone|planted'"
        ).fetchone()
        assert told == (0,)
        rights = connection.execute(
            "select has_table_privilege('shop_staging_app', 'orders', p) from unnest(array['insert', 'delete']) p"
        )
        assert [x for (x,) in rights] == [True, False]
        owner = connection.execute("select relowner::regrole::text from pg_class where relname = 'users'")
        assert owner.fetchone() == ("shop_staging_owner",)
        connection.execute("checkpoint")
        row = connection.execute("select oid from pg_database where datname = 'shop_staging'").fetchone()
    # Every byte of it.
    files = list((homeport.data / "postgresql" / "main" / "data" / "base" / str(row[0])).iterdir())
    assert len(files) > 100
    for file in files:
        content = file.read_bytes()
        assert b"planted@people" not in content and b"people.example" not in content, file
    url = homeport.run("db", "url", "--env", "staging", cwd=shop.directory).stdout.strip()
    with psycopg.connect(url, prepare_threshold=None) as connection:
        assert connection.execute("select count(*) from users").fetchone() == (3001,)
    homeport.run("restore", "drop", kept[1], "--confirm", kept[1], "--env", "staging", cwd=shop.directory)
    assert databases(homeport) == ["shop_production", "shop_staging"]


def test_the_control_plane_may_be_killed_in_the_middle(homeport, shop):
    run = homeport.json(
        "clone", "production", "staging", "--confirm", "staging", "--replace", "--no-wait", cwd=shop.directory
    )
    path = f"/v1/backups/runs/{run['id']}"
    for number in (1, 3):  # while it is masked, and while it is switched
        now = homeport.wait(
            lambda n=number: (
                (r := homeport.ask(path))
                and (r["state"] != "running" or r["steps"][n]["state"] != "waiting")
                and r
            ),
            seconds=90,
        )
        if now["state"] != "running":
            break
        os.kill(homeport.pid_of("serve"), signal.SIGKILL)
    done = homeport.wait(lambda: (r := homeport.ask(path)) and r["state"] != "running" and r, seconds=120)
    assert done["state"] == "passed", done
    assert databases(homeport) == ["shop_production", "shop_staging"] and left_over(homeport) == []
    with admin(homeport, "shop_staging") as connection:
        assert connection.execute("select count(*) from orders join users using (email)").fetchone() == (
            3001,
        )
    told = homeport.run("events", "-n", "300").stdout + homeport.run("backup", "show", run["id"]).stdout
    assert "people.example" not in told
