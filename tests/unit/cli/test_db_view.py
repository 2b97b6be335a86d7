"""Databases printed for people."""

import pytest
from click import unstyle

from homeport.cli import db_view

DATABASE = {
    "app": "shop",
    "environment": "production",
    "name": "main",
    "engine": "postgresql",
    "kind": "provisioned",
    "state": "ready",
    "variable": "DATABASE_URL",
    "cluster": "main",
    "database": "shop_production",
    "version": "15.18",
    "bytes": 7_830_000,
    "connections": 3,
    "connections_allowed": 8,
    "pool": "transaction",
    "clients": 12,
    "waiting": 0,
    "where": "cluster main",
    "rotating_since": None,
    "problem": "",
}


def shown(capsys):
    return [unstyle(line).rstrip() for line in capsys.readouterr().out.splitlines()]


def test_a_database_is_one_line(capsys):
    db_view.databases([DATABASE], all_apps=False)
    head, line = shown(capsys)
    assert "APP" not in head
    assert line.split() == [
        "production",
        "main",
        "ready",
        "postgresql",
        "15.18",
        "7.83",
        "MB",
        "3",
        "of",
        "8",
        "transaction:",
        "12",
        "clients",
        "shop_production",
        "cluster",
        "main",
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"problem": "cannot reach the server: no"}, "cannot reach the server: no"),
        ({"state": "kept"}, "homeport db drop shop_production"),
        ({"rotating_since": "2026-11-21T12:00:00Z"}, "its former login is valid still"),
    ],
)
def test_what_is_remarkable_stands_below(capsys, change, says):
    db_view.databases([DATABASE | change], all_apps=True)
    assert says in shown(capsys)[-1]


def test_what_is_not_known_is_left_out(capsys):
    gone = dict.fromkeys(("bytes", "connections", "connections_allowed", "clients", "waiting", "version"))
    db_view.databases([DATABASE | gone | {"state": "down", "problem": "no"}], all_apps=False)
    assert "None" not in "".join(shown(capsys))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, "transaction: 12 clients"),
        ({"clients": 1}, "transaction: 1 client"),
        ({"waiting": 2}, "transaction: 12 clients, 2 wait"),
        ({"pool": "none"}, "none"),
        ({"pool": None}, ""),
    ],
)
def test_pools(change, text):
    assert db_view.pool(DATABASE | change) == text


def test_sizes_have_indexes_below_their_table(capsys):
    index = {"name": "public.orders_pkey", "bytes": 8192}
    orders = {"name": "public.orders", "kind": "table", "rows": 12345.0, "bytes": 16384, "indexes": [index]}
    small = orders | {"name": "public.small", "rows": None, "indexes": []}
    db_view.sizes({"bytes": 9_000_000, "exact": True, "tables": [orders, small, small]}, 2)
    lines = shown(capsys)
    assert lines[1].split()[:6] == ["public.orders", "table", "12,345", "16.4", "KB", "24.6"]
    assert lines[2].startswith("  public.orders_pkey")
    assert lines[-1] == "9 MB in all, 1 table more"


def test_a_finding_has_what_mends_it_and_what_that_locks():
    mend = {"statement": "DROP INDEX CONCURRENTLY a", "locks": "nothing for long", "safe": False, "note": ""}
    assert [unstyle(line) for line in db_view.mend(mend)] == [
        "DROP INDEX CONCURRENTLY a",
        "locks: nothing for long; not while the app is under load",
    ]
    told = {"statement": "", "locks": "nothing", "safe": True, "note": "more room in time"}
    assert db_view.mend(told) == ["more room in time"]


def test_statements_of_homeport_itself_are_left_out(capsys):
    query = {
        "share": 0.5,
        "calls": 3,
        "mean": 0.01,
        "text": "select  1\n from a",
        "user": "shop_production_a",
    }
    db_view.queries([query, query | {"user": "homeport", "text": "select ours"}])
    text = "\n".join(shown(capsys))
    assert "select 1 from a" in text
    assert "ours" not in text


def test_text_of_a_database_cannot_move_the_cursor(capsys):
    table = {"name": "a\x1b[2J", "kind": "table", "rows": None, "bytes": None, "indexes": []}
    db_view.sizes({"bytes": 1, "exact": True, "tables": [table]}, 5)
    assert "\x1b[2J" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"serves": False, "others": 2},
            "the app has it, and is given the new one as soon as it can; 2 instances, runs or commands",
        ),
        ({"warm": 1}, "1 instance kept warm for a way back"),
        ({"warm": 2, "others": 1}, "2 instances kept warm for a way back; 1 instance, run or command"),
        ({}, "a change is under way"),
    ],
)
def test_who_may_have_a_former_login(change, text):
    assert db_view.holders({"serves": True, "warm": 0, "others": 0} | change) == text
