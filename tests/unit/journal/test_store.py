"""The journal: whole transactions, a chain that shows a changed past, versions that are refused."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest
import sqlalchemy as sa

from homeport.journal import schema
from homeport.journal.model import Event
from homeport.journal.store import SCHEMA, Store, open_engine, parse_time, text_time
from homeport.kernel.errors import HomeportError


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened(Event):
    kind: ClassVar[str] = "test.happened"
    what: str


class FakeClock:
    def __init__(self):
        self.at = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)

    def now(self):
        self.at += timedelta(milliseconds=1)
        return self.at

    def monotonic(self):
        return 0.0

    def sleep(self, seconds):
        pass


@pytest.fixture
def store(tmp_path):
    engine = open_engine(tmp_path / "state.db")
    yield Store(engine, FakeClock())
    engine.dispose()


def test_records_come_back_in_order_with_who_and_when(store):
    for what in ("one", "two", "three"):
        with store.transaction("ann") as tx:
            tx.append(Happened(app="shop", change="c-1", what=what))
    records = store.records(app="shop")
    assert [r.data["what"] for r in records] == ["one", "two", "three"]
    assert [r.seq for r in records] == [1, 2, 3]
    assert records[0].actor == "ann" and records[0].at < records[1].at
    assert [r.seq for r in store.records(newest=True, limit=2)] == [2, 3]
    assert store.records(app="blog") == []


def test_a_transaction_that_fails_leaves_no_event(store):
    with pytest.raises(RuntimeError), store.transaction("ann") as tx:
        tx.append(Happened(what="never"))
        raise RuntimeError
    assert store.records() == []
    assert store.version == 0


def test_a_changed_past_shows(store):
    for n in range(5):
        with store.transaction("ann") as tx:
            tx.append(Happened(what=str(n)))
    assert store.first_broken() is None
    with store.engine.begin() as c:
        c.execute(schema.events.update().where(schema.events.c.seq == 3).values(actor="eve"))
    assert store.first_broken() == 3


def test_a_removed_record_shows(store):
    for n in range(4):
        with store.transaction("ann") as tx:
            tx.append(Happened(what=str(n)))
    with store.engine.begin() as c:
        c.execute(schema.events.delete().where(schema.events.c.seq == 2))
    assert store.first_broken() == 2


def test_a_truncated_database_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "state.db"
    open_engine(path).dispose()
    for extra in tmp_path.glob("state.db-*"):
        extra.unlink()
    damaged = path.read_bytes()[:1500]
    path.write_bytes(damaged)
    with pytest.raises(HomeportError) as e:
        open_engine(path)
    assert e.value.code == "journal.unreadable"
    assert path.read_bytes() == damaged


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "state.db"
    path.write_text("this is a letter to my aunt\n" * 100)
    with pytest.raises(HomeportError) as e:
        open_engine(path)
    assert e.value.code == "journal.unreadable"


def test_a_newer_schema_is_refused(tmp_path):
    path = tmp_path / "state.db"
    engine = open_engine(path)
    with engine.begin() as c:
        c.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(HomeportError) as e:
        open_engine(path)
    assert e.value.code == "journal.newer_version"


def test_the_migrations_give_the_tables_that_the_code_uses(tmp_path):
    engine = open_engine(tmp_path / "state.db")
    inspector = sa.inspect(engine)
    for table in schema.metadata.sorted_tables:
        assert {c["name"] for c in inspector.get_columns(table.name)} == {c.name for c in table.columns}
    engine.dispose()
    versions = sorted(
        p.name for p in __import__("pathlib").Path(schema.__file__).parent.glob("migrations/versions/0*.py")
    )
    assert versions[-1].startswith(SCHEMA)


def test_times_sort_as_text():
    early = datetime(2026, 1, 2, 3, 4, 5, 9, tzinfo=UTC)
    late = early + timedelta(microseconds=1)
    assert text_time(early) < text_time(late)
    assert parse_time(text_time(early)) == early
