"""``homeport migrate`` and the trial at the gate, as a person has them: real PostgreSQL, one Homeport."""

import sys
from datetime import UTC, datetime, timedelta

import pytest

EXTRA = f"""
sys.path[:0] = [p for p in {[p for p in sys.path if "site-packages" in p]!r}]
def count():
    import psycopg
    with psycopg.connect(os.environ["DATABASE_URL"], prepare_threshold=None, connect_timeout=20) as c:
        return str(c.execute("select count(*) from orders").fetchone()[0])
"""
AFTER = """
def get(self):
    if self.path == "/health": return health(self)
    try: self.answer(200, count())
    except Exception as e: self.answer(500, str(e))
Handler.do_GET = get
"""
DATABASE = '[database.main]\nmigrations = "migrations"\n'
ADD_ORDERS = """-- migrate:up
create table orders (id bigint generated always as identity primary key, note text not null default '', a int);
create view notes as select note from orders;
-- migrate:down
drop view notes;
drop table orders;
"""
ADD_B = "-- migrate:up\nalter table orders add column b int;\n-- migrate:down\nalter table orders drop column b;\n"
DROP_NOTE = """-- homeport:contract
-- migrate:up
alter table orders drop column note;
-- migrate:down
alter table orders add column note text;
"""
DROP_VIEW = "-- migrate:up\n-- homeport:allow ban-drop-view because nothing reads it\ndrop view notes;\n-- migrate:down\ncreate view notes as select note from orders;\n"


class Shop:
    def __init__(self, homeport):
        self.homeport = homeport
        self.app = homeport.app("shop")
        self.directory = self.app.directory / "migrations"
        self.directory.mkdir()
        self.count = 0
        self.more = DATABASE

    def write(self, sql, name=None):
        """A migration, later than those before."""
        self.count += 1
        at = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(minutes=self.count)
        file = self.directory / (name or f"{at:%Y%m%d%H%M%S}_step_{self.count}.sql")
        file.write_bytes(sql if isinstance(sql, bytes) else sql.encode())
        return file

    def commit(self):
        self.app.write(
            str(self.count),
            more=self.more,
            replicas=1,
            keep_warm="0s",
            rollout='watch_for = "1s"',
            extra=EXTRA,
            after=AFTER,
        )

    def deploy(self, *, status=0):
        self.commit()
        return self.homeport.deploy(self.app, status=status)

    def migrate(self, *arguments, status=0):
        return self.homeport.run("migrate", *arguments, cwd=self.app.directory, status=status)

    def states(self):
        found = self.homeport.json("migrate", "status", cwd=self.app.directory)
        return {s["version"]: s["state"] for s in found["statuses"]}, found

    @property
    def looked_at(self):
        """How the migrations of what serves stand; cheaper to wait on than a command."""
        return self.homeport.ask("/v1/apps/shop/environments/production/migrations")

    def query(self, sql):
        done = self.homeport.run("db", "shell", "--", "-tAc", sql, cwd=self.app.directory)
        return done.stdout.strip()

    @property
    def serving(self):
        return self.homeport.environment(self.app)["serving"]

    def serves(self):
        return self.homeport.get("/")[0] == 200


@pytest.fixture(scope="module")
def shop(homeport):
    made = Shop(homeport)
    made.write(ADD_ORDERS)
    made.deploy()
    return made


def version(file):
    return file.name.partition("_")[0]


def test_a_migration_from_its_first_line_to_its_last(shop):
    told = shop.migrate("new", "add", "b").stdout
    [path] = shop.directory.glob("*_add_b.sql")
    assert path.name in told
    path.unlink()
    added = shop.write(ADD_B)
    assert shop.states()[0][version(added)] == "pending"
    assert "add column b int;" in shop.migrate("plan").stdout
    tried = shop.migrate("trial").stdout
    assert "1 pending, tried up, down and up" in tried and "AccessExclusiveLock" in tried
    # By the files of what serves, which does not have it.
    assert "has every migration of what serves" in shop.migrate("up").stdout
    shop.deploy()
    assert shop.states()[0][version(added)] == "applied"
    assert "is as its migrations give it" in shop.migrate("verify").stdout
    assert "CREATE TABLE public.orders" in shop.migrate("dump").stdout


def test_back_and_forth_in_production_wants_its_name(shop):
    for arguments, status, says in (
        (("--steps", "1"), 2, "--confirm production"),
        (("--steps", "1", "--confirm", "staging"), 5, "rows may be lost"),
        (("--to", "1"), 4, "no migration has this version"),
    ):
        assert says in shop.migrate("down", *arguments, status=status).stderr
    told = shop.migrate("down", "--steps", "1", "--confirm", "production").stdout
    assert "drop column b" in told and "Rows in what is dropped are lost" in told and "migrated back" in told
    assert list(shop.states()[0].values()) == ["applied", "rolled back"]
    assert "migrated main" in shop.migrate("up").stdout
    assert list(shop.states()[0].values()) == ["applied", "applied"] and shop.serves()


def test_what_was_edited_stops_everything_until_it_is_repaired(shop):
    [first] = [f for f in shop.directory.iterdir() if "step_1" in f.name]
    first.write_text(ADD_ORDERS + "-- by hand\n")
    told = shop.migrate("status").stdout
    assert "✗ changed" in told and "+-- by hand" in told
    assert "--yes" in shop.migrate("repair", status=2).stderr
    shop.migrate("repair", "--yes")
    assert shop.states()[0][version(first)] == "applied"
    first.write_text(ADD_ORDERS)
    shop.migrate("repair", "--yes")


def test_what_somebody_changed_by_hand_is_shown_as_a_diff(shop):
    shop.query("create index by_hand on orders (a)")
    told = shop.migrate("verify", status=1).stdout
    assert "public.by_hand" in told and "+CREATE INDEX by_hand" in told
    shop.query("drop index by_hand")
    shop.migrate("verify")


BAD = {
    "syntax": ("-- migrate:up\ncreate tabel x (a int);\n", None, "syntax error"),
    "commit": ("-- migrate:up\ncreate table x (a int);\nCOMMIT;\n", None, "begins or ends a transaction"),
    "utf-16": ("-- migrate:up\ncreate table x (a int);\n".encode("utf-16"), None, "UTF-16"),
    "twice": ("-- migrate:up\n", "20261120000100_again.sql", "too"),
    "no version": ("-- migrate:up\n", "orders.sql", "does not begin with a version"),
    "large": (b"-- migrate:up\n" + b"-" * 200_000_000, None, "more than 10 MB"),
}


def test_a_file_that_can_never_be_run(shop, refused):
    before = shop.serving
    for sql, name, says in BAD.values():
        file = shop.write(sql, name)
        try:
            shop.commit()
            done = refused("deploy", status=3, says=says, cwd=shop.app.directory)
        finally:
            file.unlink()
        assert "building" not in done.stdout and shop.serving == before and shop.serves()


def test_without_a_down_section_it_runs_and_is_not_taken_back(shop):
    file = shop.write("-- migrate:up\nalter table orders add column c int;\n")
    assert f"{file.name} cannot be taken back" in shop.migrate("trial").stdout
    shop.deploy()
    told = shop.migrate("down", version(file), "--confirm", "production", status=5).stderr
    assert "it has no down section" in told and shop.serves()


def test_a_contract_that_failed_is_shown_and_finished(shop, homeport):
    contract = shop.write(DROP_NOTE)
    shop.deploy()
    found = homeport.wait(lambda: (f := shop.looked_at)["failed"] and f, seconds=90)
    assert found["failed"] == [version(contract)] and found["waiting"] == []
    assert "marked contract, failed" in homeport.run("doctor", status=None).stdout
    assert "other objects depend on it" in shop.migrate("up", status=7).stderr
    # The next release takes away what stood in the way, and the contract with it when its own watch is over.
    shop.write(DROP_VIEW)
    shop.deploy()
    homeport.wait(lambda: {s["state"] for s in shop.looked_at["statuses"]} == {"applied"}, seconds=90)
    homeport.wait(lambda: homeport.environment(shop.app)["change"]["done"], seconds=90)
    assert "marked contract" not in homeport.run("doctor", status=None).stdout
    assert shop.looked_at["failed"] == []
    # Taken back by hand it is no failure, and up brings it anew.
    shop.migrate("down", version(contract), "--confirm", "production")
    found = shop.looked_at
    assert found["statuses"][-2]["state"] == "rolled back" and found["failed"] == []
    shop.migrate("up")
    assert {s["state"] for s in shop.looked_at["statuses"]} == {"applied"}
    assert "marked contract" not in homeport.run("doctor", status=None).stdout


def test_what_is_approved_at_a_gate_was_tried(shop, homeport):
    shop.more = DATABASE + '[environments.production]\ngate = "approval"\n'

    def run(sql):
        file = shop.write(sql)
        shop.commit()
        told = homeport.run("pipeline", "run", cwd=shop.app.directory).stdout
        shown = homeport.json("pipeline", "show", cwd=shop.app.directory)
        gate = next(s for s in shown["stages"] if s["kind"] == "approve")
        [report] = gate["found"]["what"]["migrations"]
        checked = {i["name"]: i["state"] for i in shown["checklist"]}["migrations tried"]
        return file, told, report, checked

    file, told, report, checked = run("-- migrate:up\nalter table orders rename to purchases;\n")
    assert "trying the migrations of main" in told
    assert f"a deploy refuses {file.name} as it stands" in told and checked == "failed"
    homeport.run("reject", "-m", "no", cwd=shop.app.directory)
    file.unlink()

    file, told, report, checked = run("-- migrate:up\nselect 1 / 0;\n")
    assert "division by zero" in report["failure"]["sentence"] and checked == "failed"
    assert "tried and failed" in told
    homeport.run("reject", "-m", "no", cwd=shop.app.directory)
    file.unlink()

    file, told, report, checked = run(ADD_B.replace("column b", "column d"))
    assert report["failure"] is None and checked == "ok"
    assert [t["direction"] for t in report["tried"]] == ["up", "down", "up"]
    assert report["tried"][0]["touched"][0]["table"] == "public.orders"
    assert version(file) not in shop.query("select version from homeport_migrations")
    homeport.run("approve", "-m", "seen", cwd=shop.app.directory)
    homeport.wait(lambda: {s["version"] for s in shop.looked_at["statuses"]} >= {version(file)}, seconds=90)
    for left in ("datname from pg_database where datname", "rolname from pg_roles where rolname"):
        assert shop.query(f"select {left} like 'homeport_scratch_%'") == ""
