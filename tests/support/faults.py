"""Two databases for insight: a shop that is well, under load, and one with a fault for each rule."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg

SHOP = """
CREATE EXTENSION pg_stat_statements;
CREATE ROLE {p}owner NOLOGIN;
CREATE ROLE {p}app NOLOGIN;
CREATE ROLE {p}login LOGIN IN ROLE {p}app;
CREATE ROLE {p}migrations LOGIN IN ROLE {p}owner;
GRANT CREATE ON SCHEMA public TO {p}owner;
SET ROLE {p}owner;
CREATE TABLE users (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, email text NOT NULL UNIQUE, name text,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE products (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, sku text NOT NULL UNIQUE, title text NOT NULL,
    price numeric(10, 2) NOT NULL CHECK (price >= 0), details jsonb NOT NULL DEFAULT '{{}}'
);
CREATE TABLE orders (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, user_id bigint NOT NULL REFERENCES users,
    state text NOT NULL DEFAULT 'new', placed_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE lines (
    order_id bigint NOT NULL REFERENCES orders ON DELETE CASCADE, product_id int NOT NULL REFERENCES products,
    quantity int NOT NULL, PRIMARY KEY (order_id, product_id)
);
CREATE INDEX orders_user_placed ON orders (user_id, placed_at DESC);
CREATE INDEX orders_open ON orders (placed_at) WHERE state = 'new';
CREATE INDEX lines_product ON lines (product_id);
CREATE INDEX users_name ON users (lower(name));
CREATE INDEX products_details ON products USING gin (details);
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON orders TO {p}app USING (user_id = current_setting('app.user_id', true)::bigint);
CREATE FUNCTION order_count() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    AS 'SELECT count(*) FROM orders';
CREATE MATERIALIZED VIEW sales AS
    SELECT product_id, sum(quantity) AS sold FROM lines GROUP BY product_id;
CREATE UNIQUE INDEX ON sales (product_id);
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {p}app;
INSERT INTO users (email, name) SELECT 'u' || n || '@example.com', 'User ' || n FROM generate_series(1, 20000) n;
INSERT INTO products (sku, title, price, details)
    SELECT 'sku-' || n, 'Thing ' || n, n % 100, jsonb_build_object('colour', n % 7) FROM generate_series(1, 2000) n;
INSERT INTO orders (user_id, state, placed_at)
    SELECT 1 + n % 20000, CASE WHEN n % 50 = 0 THEN 'new' ELSE 'sent' END, now() - n * interval '1 minute'
    FROM generate_series(1, 40000) n;
INSERT INTO lines SELECT 1 + n % 40000, 1 + (n * 7) % 2000, 1 + n % 3 FROM generate_series(1, 80000) n
    ON CONFLICT DO NOTHING;
RESET ROLE;
"""
AFTER = "REFRESH MATERIALIZED VIEW sales; ANALYZE"

QUERIES: tuple[tuple[str, Callable[[random.Random], tuple[Any, ...]]], ...] = (
    ("SELECT * FROM users WHERE email = %s", lambda r: (f"u{r.randint(1, 20000)}@example.com",)),
    ("SELECT * FROM users WHERE lower(name) = %s", lambda r: (f"user {r.randint(1, 20000)}",)),
    (
        "SELECT o.id, o.state FROM orders o WHERE o.user_id = %s ORDER BY o.placed_at DESC LIMIT 10",
        lambda r: (r.randint(1, 20000),),
    ),
    (
        "SELECT l.*, p.title FROM lines l JOIN products p ON p.id = l.product_id WHERE l.order_id = %s",
        lambda r: (r.randint(1, 40000),),
    ),
    (
        "SELECT count(*) FROM orders WHERE state = 'new' AND placed_at > now() - interval '1 day'",
        lambda r: (),
    ),
    ("SELECT sum(quantity) FROM lines WHERE product_id = %s", lambda r: (r.randint(1, 2000),)),
    (
        "SELECT id FROM products WHERE details @> %s::jsonb LIMIT 5",
        lambda r: (f'{{"colour": {r.randint(0, 6)}}}',),
    ),
    ("UPDATE users SET name = %s WHERE id = %s", lambda r: (f"User {r.randint(1, 9)}", r.randint(1, 20000))),
    ("INSERT INTO orders (user_id) VALUES (%s)", lambda r: (r.randint(1, 20000),)),
    ("SELECT * FROM sales WHERE product_id = %s", lambda r: (r.randint(1, 2000),)),
)


def clean(dsn: str, *, prefix: str = "", rounds: int = 60) -> None:
    """A shop as one is meant to be, with a load that uses all that it has."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(SHOP.format(p=prefix).encode())
        for statement in AFTER.split("; "):
            connection.execute(statement.encode())
        connection.execute("VACUUM")
    load(dsn, rounds)


def load(dsn: str, rounds: int) -> None:
    r = random.Random(7)
    with psycopg.connect(dsn, autocommit=True) as connection:
        for _ in range(rounds):
            for text, values in QUERIES:
                connection.execute(text.encode(), values(r))


PLANTED = """
CREATE EXTENSION pg_stat_statements;
CREATE ROLE {p}app LOGIN CONNECTION LIMIT 5;
CREATE ROLE {p}runs LOGIN;
GRANT CREATE ON SCHEMA public TO {p}runs;
GRANT CREATE ON SCHEMA public TO PUBLIC;

CREATE TABLE customers (
    id bigint PRIMARY KEY, email text NOT NULL, region int NOT NULL, note text
);
INSERT INTO customers SELECT n, 'c' || n || '@example.com', n % 10, repeat('x', 100) FROM generate_series(1, 60000) n;
CREATE INDEX customers_region ON customers (region);
CREATE INDEX customers_region_again ON customers (region);
CREATE INDEX customers_region_note ON customers (region, note);
CREATE INDEX customers_note ON customers (note, id);

CREATE TABLE invoices (id bigint PRIMARY KEY, customer bigint REFERENCES customers, total numeric);
INSERT INTO invoices SELECT n, 1 + n % 60000, n FROM generate_series(1, 20000) n;
ALTER TABLE invoices ADD CONSTRAINT invoices_positive CHECK (total > 0) NOT VALID;

CREATE TABLE bloated (id bigint PRIMARY KEY, filler text) WITH (autovacuum_enabled = off);
INSERT INTO bloated SELECT n, repeat('y', 60) FROM generate_series(1, 560000) n;
DELETE FROM bloated WHERE id % 10 <> 0 OR id > 558000;

CREATE TABLE dying (id bigint PRIMARY KEY, n int) WITH (autovacuum_enabled = off);
INSERT INTO dying SELECT n, n FROM generate_series(1, 40000) n;

CREATE TABLE tickets (id int PRIMARY KEY, title text);
CREATE INDEX tickets_named ON tickets (title) WHERE title <> '';
CREATE SEQUENCE tickets_id_seq AS bigint OWNED BY tickets.id;
ALTER TABLE tickets ALTER COLUMN id SET DEFAULT nextval('tickets_id_seq');
SELECT setval('tickets_id_seq', 2100000000);
CREATE TABLE small_ids (id bigint PRIMARY KEY);
CREATE SEQUENCE small_ids_seq AS smallint;
ALTER TABLE small_ids ALTER COLUMN id SET DEFAULT nextval('small_ids_seq');
SELECT setval('small_ids_seq', 28000);

CREATE TABLE notes (id bigint PRIMARY KEY, user_id bigint NOT NULL);
CREATE TABLE letters (id bigint PRIMARY KEY, owner_id bigint NOT NULL);
ALTER TABLE letters ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON letters USING (true);
CREATE TABLE drafts (id bigint PRIMARY KEY, user_id bigint NOT NULL);
ALTER TABLE drafts ENABLE ROW LEVEL SECURITY;
CREATE TABLE memos (id bigint PRIMARY KEY, user_id bigint NOT NULL);
CREATE POLICY asleep ON memos USING (user_id = 1);
SET ROLE {p}runs;
CREATE TABLE diaries (id bigint PRIMARY KEY, user_id bigint NOT NULL);
ALTER TABLE diaries ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON diaries USING (user_id = 1);
RESET ROLE;

CREATE FUNCTION become() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM customers';
SET password_encryption = 'md5';
CREATE ROLE {p}old LOGIN PASSWORD 'an old one';
"""

FAULTS: dict[str, str] = {
    "connections": "{p}app",
    "lock-tree": "",
    "idle-in-transaction": "",
    "long-transaction": "",
    "prepared-transaction": "{p}left behind",
    "replication-slot": "{p}forgotten",
    "wraparound": "{database}",
    "sequence-exhaustion": "public.tickets.id",
    "sequence-exhaustion 2": "public.small_ids.id",
    "unsafe-setting": "full_page_writes",
    "checksums-off": "data_checksums",
    "collation-version": "{database}",
    "invalid-index": "public.customers_email_unique",
    "invalid-index 2": "public.customers_region_ccnew",
    "duplicate-index": "public.customers_region_again",
    "redundant-index": "public.customers_region",
    "unused-index": "public.customers_note",
    "foreign-key-index": "public.invoices (customer)",
    "slow-query": "",
    "missing-index": "public.customers (email)",
    "sequential-scans": "public.bloated",
    "table-bloat": "public.bloated",
    "index-bloat": "public.bloated_pkey",
    "dead-rows": "public.dying",
    "never-analysed": "public.dying",
    "autovacuum-off": "public.dying",
    "unvalidated-constraint": "public.invoices invoices_positive",
    "cache-hits": "{database}",
    "rls-missing": "public.notes",
    "policy-open": "public.letters everything",
    "rls-without-policy": "public.drafts",
    "rls-disabled": "public.memos",
    "rls-owner-bypass": "public.diaries",
    "security-definer": "public.become()",
    "public-create": "public",
    "md5-password": "{p}old",
}
"""The rule (a number where it has several faults) and the object that it must name; "" for any."""

SETTINGS = {
    "max_prepared_transactions": "5",
    "shared_buffers": "'2MB'",
    "full_page_writes": "off",
    "wal_level": "replica",
    "autovacuum_freeze_max_age": "100000",
    "pg_stat_statements.track": "all",
}
"""Of the cluster that :func:`planted` is made in, which must be of its own, without checksums and with a
locale whose collation has a version."""


@contextmanager
def planted(dsn: str, *, prefix: str = "") -> Iterator[None]:
    """A database with a fault of each kind; those of sessions last as long as this does."""
    with ExitStack() as stack:

        def session(role: str = "postgres", application: str = "") -> psycopg.Connection[Any]:
            connection = psycopg.connect(
                f"{dsn} user={role} application_name='{application}'", autocommit=True
            )
            stack.callback(connection.close)
            return connection

        admin = session()
        admin.execute(PLANTED.format(p=prefix).encode())
        for statement in (
            "VACUUM customers, invoices, bloated, dying",
            "ANALYZE customers, invoices, bloated",
        ):
            admin.execute(statement.encode())
        admin.execute("UPDATE dying SET n = n + 1")
        _invalid_indexes(admin)
        for n in range(30):
            admin.execute("SELECT id FROM customers WHERE email = %s", [f"c{n}@example.com"])
            if n < 22:
                admin.execute(SLOW.encode(), [n])
        for _ in range(60):
            admin.execute("SELECT count(filler) FROM bloated")
        name = admin.execute("SELECT current_database()").fetchone()
        admin.execute(f"UPDATE pg_database SET datcollversion = '1' WHERE datname = '{name[0]}'".encode())
        admin.execute(f"SELECT pg_create_physical_replication_slot('{prefix}forgotten', true)".encode())
        preparing = session()
        preparing.execute("BEGIN")
        preparing.execute("SELECT pg_current_xact_id()")
        preparing.execute(f"PREPARE TRANSACTION '{prefix}left behind'".encode())
        admin.execute(
            "DO $$ BEGIN FOR i IN 1..210000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
        )
        for _ in range(4):
            session(f"{prefix}app")
        holder = session(application="holder")
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE tickets IN ACCESS EXCLUSIVE MODE")
        threads = [
            threading.Thread(target=_quietly, args=(session(), text))
            for text in (
                "SELECT count(*) FROM tickets",
                "SELECT pg_sleep(600)",
                "ALTER TABLE tickets ADD x int",
            )
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                "AND backend_type = 'client backend' AND datname = current_database()"
            )
            for thread in threads:
                thread.join(10)
            admin.execute(f"ROLLBACK PREPARED '{prefix}left behind'".encode())


SLOW = "SELECT count(*) FROM customers WHERE md5(md5(note || %s)) < 'f'"


def _invalid_indexes(admin: psycopg.Connection[Any]) -> None:
    admin.execute("INSERT INTO customers VALUES (0, 'c1@example.com', 1, 'twice')")
    try:
        admin.execute("CREATE UNIQUE INDEX CONCURRENTLY customers_email_unique ON customers (email)")
    except psycopg.errors.UniqueViolation:
        pass
    # As a REINDEX CONCURRENTLY leaves it that is killed.
    admin.execute("CREATE INDEX customers_region_ccnew ON customers (region)")
    admin.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'customers_region_ccnew'::regclass"
    )


def _quietly(connection: psycopg.Connection[Any], text: str) -> None:
    try:
        connection.execute(text.encode())
    except psycopg.Error:
        pass


def create(dsn: str, name: str) -> None:
    """A database whose collation has a version."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'und'".encode()
        )


def missed(report: Any, *, prefix: str = "", database: str = "shop") -> list[str]:
    """The planted faults that a report does not have."""
    found = {(f.rule, f.what) for f in report.findings}
    rules = {rule for rule, _ in found}
    gone = []
    for key, what in FAULTS.items():
        rule, what = key.split()[0], what.format(p=prefix, database=database)
        if (rule, what) not in found if what else rule not in rules:
            gone.append(f"{key} {what}".strip())
    return gone
