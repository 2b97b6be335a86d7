"""Configuration and programs as data."""

from dataclasses import replace
from pathlib import Path

from tests.unit.database.test_database_plan import ROW

from homeport.database import commands, scram
from homeport.database.commands import Pool
from homeport.database.model import Cluster, Layout
from homeport.database.sizing import GB, sizes
from homeport.database.urls import url, user_and_password
from homeport.kernel.secret import Secret

LAYOUT = Layout(Path("/srv/it's"), "main")
CLUSTER = Cluster("main", 15, "ready", 16400, 16401, False)
POOL = Pool(ROW, 8, {"shop_production_a": "SCRAM-SHA-256$4096:c2FsdA==$x:y"})


def test_initdb():
    argv = commands.initdb(Path("/usr/lib/postgresql/15/bin"), Path("/d/data.new"))
    assert argv[:2] == ("/usr/lib/postgresql/15/bin/initdb", "--pgdata=/d/data.new")
    assert {"--data-checksums", "--encoding=UTF8", "--auth-host=reject", "--auth-local=reject"} <= {*argv}
    assert commands.as_user(argv, None) == argv
    assert commands.as_user(argv, "postgres")[-len(argv) - 1 :] == ("--", *argv)


def test_the_server_listens_on_this_machine_only_and_archives_nothing_yet():
    text = commands.postgresql_conf(LAYOUT, CLUSTER, sizes(1 * GB, 2))
    lines = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    assert lines["listen_addresses"] == "'127.0.0.1'" and lines["port"] == "'16400'"
    assert lines["archive_mode"] == "'on'" and lines["archive_command"] == "'/bin/true'"
    assert lines["unix_socket_directories"] == "'\"/srv/it''s/postgresql/main/s\"'"
    assert lines["pg_stat_statements.track_utility"] == "'off'"


def test_nobody_is_trusted():
    for text in (commands.hba(), commands.pooler_hba((POOL,), admin="root")):
        assert "trust" not in text and "md5" not in text
    assert commands.hba().index("host all homeport all reject") < commands.hba().index("127.0.0.1/32 scram")


def test_the_pooler_lets_each_login_into_its_own_database():
    other = Pool(replace(ROW, app="blog", database="blog_production"), 5, {"blog_production_b": "v"})
    lines = commands.pooler_hba((POOL, other), admin="root").splitlines()
    assert lines == [
        'local pgbouncer "root" peer',
        "host blog_production blog_production_b 127.0.0.1/32 scram-sha-256",
        "host shop_production shop_production_a 127.0.0.1/32 scram-sha-256",
    ]
    assert commands.userlist((POOL,), admin="root").splitlines() == [
        '"root" ""',
        '"shop_production_a" "SCRAM-SHA-256$4096:c2FsdA==$x:y"',
    ]


def test_prepared_statements_are_kept_where_the_pooler_can():
    for version, there in (((1, 18), False), ((1, 21), True), ((1, 25), True), ((), False)):
        text = commands.pgbouncer_ini(LAYOUT, CLUSTER, (POOL,), admin="root", version=version)
        assert ("max_prepared_statements" in text) is there
        assert "pool_mode=transaction pool_size=8 max_db_connections=8" in text
    assert commands.pooler_version("PgBouncer 1.18.0\nlibevent 2") == (1, 18)
    assert commands.pooler_version("what?") == ()


def test_a_verifier_is_that_of_its_password():
    """The example of RFC 7677, its stored and server keys computed from it."""
    verifier = (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
    assert scram.matches(verifier, "pencil")
    assert not scram.matches(verifier, "pencils")
    for nothing in (None, "", "md5abc", "SCRAM-SHA-256$x:y$z:w", verifier.replace("4096", "many")):
        assert not scram.matches(nothing, "pencil")


def test_urls_say_what_they_were_made_of():
    made = url("shop_production_a", "p/@:%", 16401, "shop_production")
    assert user_and_password(made) == ("shop_production_a", "p/@:%")
    assert "p/@" not in made


def test_a_secret_does_not_show():
    secret = Secret("hush")
    assert "hush" not in f"{secret} {secret!r} {[secret]} {secret:}" and secret.reveal() == "hush"
