"""Masks in a real PostgreSQL: what is equal stays equal, what is unique stays unique, and nobody is told of."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from postgres import Postgres

from homeport.backup.clone import applying, catalog, plan
from homeport.kernel.errors import HomeportError
from homeport.spec.model_backup import Mask

SCHEMA = """
CREATE EXTENSION citext;
CREATE DOMAIN handle AS varchar(40) NOT NULL CHECK (value <> 'admin');
CREATE TABLE users (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email citext NOT NULL UNIQUE CHECK (email LIKE '%@%'),
  first_name varchar(20), name text UNIQUE, handle handle, phone varchar(20) CHECK (phone ~ '^[+0-9 ]{7,}$'),
  street text, note text, salary numeric(10, 2) CHECK (salary > 0), badge int UNIQUE, tiny smallint, big bigint UNIQUE,
  born date, born_unique date UNIQUE, seen timestamptz, at timestamp, ip inet, net cidr, ip_text text, key uuid UNIQUE, raw bytea,
  score float8, cash money, lower_email text GENERATED ALWAYS AS (lower(note)) STORED
);
CREATE TABLE logins (email citext REFERENCES users (email) ON UPDATE CASCADE, badge int REFERENCES users (badge), ip inet);
CREATE TABLE visits (day date, email text) PARTITION BY RANGE (day);
CREATE TABLE visits_1 PARTITION OF visits FOR VALUES FROM ('2020-01-01') TO ('2030-01-01');
CREATE TABLE animals (email text);
CREATE TABLE dogs (bark text) INHERITS (animals);
CREATE TABLE log (what text);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO log VALUES (OLD.email); RETURN NEW; END $$;
CREATE TRIGGER tell BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER always BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION tell();
ALTER TABLE users ENABLE ALWAYS TRIGGER always;
ALTER TABLE logins ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE INDEX ON users (lower(note));
INSERT INTO users (email, first_name, name, handle, phone, street, note, salary, badge, tiny, big, born, born_unique, seen, at,
  ip, net, ip_text, key, raw, score, cash)
SELECT 'Anna' || n || '@real.example', 'Anna' || n, 'Anna Real ' || n, 'anna' || n, '+49 30 ' || 1000000 + n,
  n || ' Real Street', CASE WHEN n % 3 = 0 THEN '' ELSE 'met Anna' || n || '@real.example twice' END, n + 0.25, n, n,
  n * 10000000000, date '1980-01-01' + n, date '1980-01-01' + n, timestamptz '2026-01-01' + n * interval '1 hour',
  timestamp '2026-01-01 12:00' + n * interval '1 minute', ('192.0.2.' || n % 250)::inet, '198.51.100.0/24',
  CASE WHEN n % 2 = 0 THEN '192.0.2.7' ELSE 'fe80::1' END, md5(n::text)::uuid, 'Anna', n / 7.0, n::money
FROM generate_series(1, 2000) n;
INSERT INTO logins SELECT upper(email::text), badge, ip FROM users WHERE id % 2 = 0;
INSERT INTO visits SELECT '2026-05-01', email::text FROM users LIMIT 100;
INSERT INTO animals VALUES ('cat@real.example');
INSERT INTO dogs VALUES ('dog@real.example', 'x');
"""
MASKS = {
    "users.email": "email", "users.first_name": "name", "users.name": "name", "users.handle": "text",
    "users.phone": "phone", "users.street": "address", "users.note": "text", "users.salary": "number",
    "users.badge": "number", "users.tiny": "number", "users.big": "number", "users.born": "date",
    "users.born_unique": "date", "users.seen": "date", "users.at": "date", "users.ip": "ip", "users.net": "ip",
    "users.ip_text": "ip", "users.key": "hash", "users.raw": "hash", "users.score": "number", "users.cash": "number",
    "logins.email": "email", "logins.badge": "number", "logins.ip": "ip", "visits.email": "email", "animals.email": "email",
}  # fmt: skip


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres(settings={"fsync": "off"}) as it:
        yield it


@pytest.fixture
def database(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection[Any]]:
    """A fresh one, empty."""
    name = f"t{abs(hash(request.node.name)) % 10**8}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    with psycopg.connect(postgres.dsn(name), autocommit=True) as connection:
        yield connection


def wanted(masks: dict[str, str]) -> list[Mask]:
    return [
        Mask(f"public.{key.partition('.')[0]}", key.partition(".")[2], rule) for key, rule in masks.items()
    ]


def masked(connection: psycopg.Connection[Any], masks: dict[str, str]) -> int:
    found = catalog.read(connection)
    planned, problems = plan.planned(found, wanted(masks), "main")
    assert problems == []
    columns: dict[tuple[str, str], list[str]] = {}
    for c in found.columns:
        if not c.generated:
            columns.setdefault((c.schema, c.table), []).append(c.name)
    with connection.transaction():
        return applying.apply(connection, planned, columns)


def one(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_every_rule_on_every_type(database: psycopg.Connection[Any]) -> None:
    database.execute(SCHEMA.encode())
    before = database.execute("SELECT * FROM users ORDER BY id").fetchall()
    assert masked(database, MASKS) == 2000 + 1000 + 100 + 2
    after = database.execute("SELECT * FROM users ORDER BY id").fetchall()
    names = [c.name for c in database.execute("SELECT * FROM users LIMIT 0").description or ()]
    for n, name in enumerate(names):
        same = sum(a[n] == b[n] and a[n] != "" for a, b in zip(before, after, strict=True))
        assert name == "id" or same < 120, (name, same)
    # Not one of the people is left, nor in what is computed or was noted by triggers.
    for table in ("users", "logins", "visits", "animals", "log"):
        assert (
            one(database, f"SELECT count(*) FROM {table} t WHERE t::text ~* 'anna[0-9]|real|dog@|cat@'") == 0
        )
    assert one(database, "SELECT count(*) FROM log") == 0
    assert (
        one(
            database,
            "SELECT count(*) FROM users WHERE email ~ '^[a-z]+[.][a-z]+[.][0-9a-f]{16}@example[.]com$'",
        )
        == 2000
    )
    # Joins and foreign keys hold, without regard to case where the type has none.
    assert one(database, "SELECT count(*) FROM logins JOIN users USING (email, badge)") == 1000
    assert one(database, "SELECT count(*) FROM visits") == 100
    assert one(database, "SELECT count(*) FROM users WHERE salary::text ~ '^[0-9]+([.][0-9]{2})?$'") == 2000
    assert one(database, "SELECT count(*) FROM users u WHERE length(badge::text) = length(id::text)") == 2000
    assert (
        one(database, "SELECT count(*) FROM users WHERE extract(year FROM born) BETWEEN 1980 AND 1986")
        == 2000
    )
    assert one(database, "SELECT count(*) FROM users WHERE note = ''") == 666
    assert (
        one(database, "SELECT count(*) FROM users WHERE ip <<= '10.0.0.0/8' AND net <<= '10.0.0.0/8'") == 2000
    )
    assert one(database, "SELECT count(distinct ip) FROM users") == 250
    assert one(database, "SELECT count(*) FROM pg_trigger WHERE tgname = 'always' AND tgenabled = 'A'") == 1
    assert one(database, "SELECT count(*) FROM pg_class WHERE relforcerowsecurity") == 1
    for key in ("logins_email_fkey", "logins_badge_fkey"):
        definition = one(
            database, f"SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = '{key}'"
        )
        database.execute(
            f"ALTER TABLE logins DROP CONSTRAINT {key}, ADD CONSTRAINT {key} {definition}".encode()
        )


def test_another_clone_has_other_masks(database: psycopg.Connection[Any]) -> None:
    database.execute("CREATE TABLE users (email text); INSERT INTO users VALUES ('anna@real.example')")
    seen = set()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), database.transaction():
            masked(database, {"users.email": "email"})
            seen.add(one(database, "SELECT email FROM users"))
            raise ZeroDivisionError
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("type_", "values", "rule"),
    [
        ("smallint", "generate_series(-32767, 32767, 7)", "number"),
        ("int", "generate_series(-2147483647, 2147483647, 1000003)", "number"),
        ("bigint", "unnest(ARRAY[0, 1, 9, 10, -5, 999999999999999999, 1000000000000000000, 9223372036854775807, -9223372036854775807])", "number"),
        ("numeric", "unnest(ARRAY[0, 1.5, 1.25, 100, 12345678901234567890123.5, -3, 0.001, 'NaN'])", "number"),
        ("date", "unnest(ARRAY['2024-02-29', '2024-12-31', '2023-12-31', '0044-03-15 BC', 'infinity', '2024-01-01']::date[])", "date"),
        ("timestamptz", "unnest(ARRAY['2024-02-29 23:59:59.999999', '2024-12-31', '-infinity', '1969-12-31 23:00']::timestamptz[])", "date"),
    ],
)  # fmt: skip
def test_what_is_unique_stays_unique(
    database: psycopg.Connection[Any], type_: str, values: str, rule: str
) -> None:
    database.execute(f"CREATE TABLE t (v {type_} UNIQUE); INSERT INTO t SELECT {values}".encode())
    rows = one(database, "SELECT count(*) FROM t")
    assert masked(database, {"t.v": rule}) == rows
    assert one(database, "SELECT count(DISTINCT v) FROM t") == rows


def test_short_and_unique_texts(database: psycopg.Connection[Any]) -> None:
    database.execute(
        "CREATE TABLE t (a varchar(25) UNIQUE, b char(12) UNIQUE, c varchar(17) UNIQUE, d varchar(4), e varchar(1));"
        "INSERT INTO t SELECT 'anna' || n || '@x.example', 'anna' || n, 'anna ' || n, 'anna', 'a' FROM generate_series(1, 500) n"
    )
    masked(database, {"t.a": "email", "t.b": "hash", "t.c": "name", "t.d": "phone", "t.e": "text"})
    assert one(database, "SELECT count(*) FROM t WHERE t::text ~ 'anna'") == 0
    assert one(database, "SELECT count(*) FROM t WHERE a LIKE '%@example.com'") == 500


def test_a_check_that_refuses_is_told_without_the_value(database: psycopg.Connection[Any]) -> None:
    database.execute(
        "CREATE TABLE t (v text CONSTRAINT ours CHECK (v LIKE '%@real.example')); INSERT INTO t VALUES ('anna@real.example')"
    )
    with pytest.raises(HomeportError) as raised:
        masked(database, {"t.v": "email"})
    assert raised.value.sentence == "cannot mask t.v: a check refuses the masked value (ours)"
    assert raised.value.__cause__ is None


def test_the_apps_own_functions_run_as_its_owner(database: psycopg.Connection[Any]) -> None:
    database.execute(
        "CREATE ROLE plain_owner; CREATE TABLE t (v text);"
        "CREATE FUNCTION who(v text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN "
        "IF current_user <> 'plain_owner' THEN RAISE 'run by %', current_user; END IF; RETURN true; END $$;"
        "ALTER TABLE t OWNER TO plain_owner; INSERT INTO t VALUES ('anna'); ALTER TABLE t ADD CHECK (who(v)) NOT VALID"
    )
    assert masked(database, {"t.v": "text"}) == 1


def test_rows_that_a_policy_hides_from_their_owner_are_masked(database: psycopg.Connection[Any]) -> None:
    database.execute(
        "CREATE ROLE policed; CREATE TABLE t (v text); INSERT INTO t VALUES ('anna'); ALTER TABLE t OWNER TO policed;"
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY none ON t USING (false)"
    )
    assert masked(database, {"t.v": "text"}) == 1
    assert one(database, "SELECT v FROM t") != "anna"
    assert one(database, "SELECT relforcerowsecurity FROM pg_class WHERE relname = 't'")


def test_columns_that_look_as_if_they_told_of_people(database: psycopg.Connection[Any]) -> None:
    database.execute(
        """CREATE TYPE card AS (kind text, who text);
        CREATE TABLE things (id int, email_sent_at timestamptz, email_verified boolean, address_id int, phone_count int,
        token_type text, title text, free text, doc jsonb, ip_address inet, born date, contact text, calls text,
        version text, day text, words tsvector, plain jsonb, sender text, tags text[], entry card);
        INSERT INTO things (id, title, free, doc, contact, calls, version, day, plain, sender, tags, entry)
        SELECT n, 'Hat ' || n, CASE WHEN n = 4711 THEN 'write to anna@real.example' ELSE 'nothing' END,
        jsonb_build_object('phone', '1', 'deep', jsonb_build_array(jsonb_build_object('city', 'x'))),
        '+49 30 ' || 1000000 + n, n::text, '1.2.' || n, '2026-11-' || n, '{"size": 3}', 'x', ARRAY['a'],
        ROW('private', CASE WHEN n = 17 THEN 'anna@real.example' END)::card FROM generate_series(1, 6000) n"""
    )
    found = catalog.suspects(database, catalog.read(database), {("public", "things", "title")})
    assert {s.column.name: s.line("main").partition(" = ")[2] for s in found} == {
        "free": '"email"', "doc": '"null"', "ip_address": '"ip"', "born": '"date"', "contact": '"phone"',
        "words": '"null"', "entry": '"null"',
    }  # fmt: skip


def test_roles_of_the_target_take_over(database: psycopg.Connection[Any]) -> None:
    name = one(database, "SELECT current_database()")
    for of in ("src", "dst"):
        for suffix in applying.SUFFIXES:
            database.execute(f"CREATE ROLE {of}_{suffix}".encode())
    database.execute("CREATE ROLE somebody")
    database.execute(f"ALTER DATABASE {name} OWNER TO src_owner".encode())
    database.execute(
        "CREATE TABLE t (v int); ALTER TABLE t OWNER TO src_owner; GRANT SELECT ON t TO src_app, somebody;"
        "CREATE TABLE u (v int); ALTER TABLE u OWNER TO somebody"
    )
    source, target = (SimpleNamespace(database=of, owner=f"{of}_owner") for of in ("src", "dst"))
    for _ in range(2):  # done again, it changes nothing
        with database.transaction():
            applying.give_roles(database, source, target)
    assert (
        one(database, "SELECT relacl::text FROM pg_class WHERE relname = 't'")
        == "{dst_owner=arwdDxt/dst_owner,dst_app=r/dst_owner}"
    )
    assert one(database, "SELECT relowner::regrole::text FROM pg_class WHERE relname = 'u'") == "dst_owner"
    assert one(database, "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'src%'") == 0
