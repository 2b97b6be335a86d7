"""Files in dbmate's format, good ones and bad ones."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.database.migrations.files import LIMIT, new_file, parse, parse_all, version_of
from homeport.database.migrations.model import Lone
from homeport.kernel.errors import HomeportError

NAME = "20261120120000_add_orders.sql"
PLAIN = "-- migrate:up\nCREATE TABLE orders (id bigint);\n\n-- migrate:down\nDROP TABLE orders;\n"


def refused(text: str | bytes, name: str = NAME) -> HomeportError:
    with pytest.raises(HomeportError) as caught:
        parse(name, text if isinstance(text, bytes) else text.encode())
    assert caught.value.code == "database.migration_invalid"
    assert caught.value.sentence.startswith("cannot use ")
    assert caught.value.hint
    return caught.value


def test_a_file_has_a_version_a_description_and_sections() -> None:
    m = parse(NAME, PLAIN.encode())
    assert (m.version, m.description) == ("20261120120000", "add orders")
    assert [(s.text, s.line) for s in m.up.statements] == [("CREATE TABLE orders (id bigint)", 2)]
    assert m.down is not None
    assert [(s.text, s.line) for s in m.down.statements] == [("DROP TABLE orders", 5)]
    assert not m.contract


@pytest.mark.parametrize(
    ("name", "version"),
    [("1_a.sql", "1"), ("001.sql", "001"), (NAME, "20261120120000"), ("a_1.sql", None), ("_1.sql", None),
     ("1-a.sql", None), ("1_a.sql~", None), ("1_a.SQL", None), (".sql", None), ("١_a.sql", None)],
)  # fmt: skip
def test_versions_are_the_digits_a_name_begins_with(name: str, version: str | None) -> None:
    assert version_of(name) == version


def test_line_ends_do_not_change_the_checksum() -> None:
    assert parse(NAME, PLAIN.encode()).checksum == parse(NAME, PLAIN.replace("\n", "\r\n").encode()).checksum
    assert parse(NAME, PLAIN.encode()).checksum != parse(NAME, (PLAIN + " ").encode()).checksum


def test_a_missing_or_empty_down_section_is_none() -> None:
    assert parse(NAME, b"-- migrate:up\nSELECT 1;\n").down is None
    assert parse(NAME, b"-- migrate:up\nSELECT 1;\n-- migrate:down\n\n").down is None


def test_a_new_file_is_a_good_one() -> None:
    name, text = new_file("Add Orders!", datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC))
    assert name == NAME
    assert parse(name, text.encode()).up.statements == ()
    with pytest.raises(HomeportError):
        new_file("…", datetime(2026, 11, 20, tzinfo=UTC))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (PLAIN.encode("utf-16"), "UTF-16"),
        (PLAIN.encode("utf-16-le"), "UTF-16"),
        (b"\xef\xbb\xbf" + PLAIN.encode(), "byte order mark"),
        (PLAIN.replace("orders", "or\0ders").encode(), "NUL"),
        (PLAIN.encode() + b"\n-- \xff", "not UTF-8 (line 7)"),
        (b"-- " + b"x" * LIMIT, "more than 10 MB"),
        (b"CREATE TABLE t();", "no up section"),
        (b"", "no up section"),
        (b"SELECT 1;\n-- migrate:up\n", "line 1 stands before"),
        (b"-- migrate:down\n-- migrate:up\n", "more than one section"),
        (b"-- migrate:up\n-- migrate:up\n", "more than one section"),
        (b"-- migrate:up\n-- migrate:sideways\n", "migrate:sideways"),
        (b"-- migrate:up transaction:maybe\n", "transaction:maybe"),
        (b"-- migrate:up\nSELECT 1;\nSELEC 2;\n", "line 3, column 1: syntax error"),
        ("-- migrate:up\nSELECT 'é', 1 FRM t x;\n".encode(), "line 2, column 19: syntax error"),
        (b"-- migrate:up\n\\d orders\n", "line 2, column 1"),
        (b"-- migrate:up\nSELECT $$never closed\n", "unterminated"),
        (b"-- migrate:up\nSELECT 1;\nCOMMIT;\n", "line 3 begins or ends a transaction"),
        (b"-- migrate:up\nBEGIN;\n", "line 2 begins or ends a transaction"),
        (b"-- migrate:up\nROLLBACK;\n", "begins or ends"),
        (b"-- migrate:up\nSAVEPOINT a;\n", "begins or ends"),
        (b"-- migrate:up\nPREPARE TRANSACTION 'a';\n", "begins or ends"),
        (b"-- migrate:up\nSET SESSION AUTHORIZATION bob;\n", "line 2 changes the role"),
        (b"-- migrate:up\nSET LOCAL ROLE bob;\n", "changes the role"),
        (b"-- migrate:up\nRESET ALL;\n", "changes the role or resets"),
        (b"-- migrate:up\nDISCARD ALL;\n", "discards"),
        (b"-- migrate:up\nCOPY t FROM stdin;\n", "psql"),
        (b"-- migrate:up\nSELECT 1;\n-- migrate:down\nCOMMIT;\n", "line 4 begins or ends"),
        (b"-- homeport:allow ban-drop-table\n-- migrate:up\n", "line 1 allows something without a reason"),
        (b"-- homeport:contrct\n-- migrate:up\n", "homeport:contrct"),
    ],
)
def test_bad_input_is_named(raw: bytes, words: str) -> None:
    assert words in refused(raw).sentence


def test_a_backslash_command_says_what_it_is() -> None:
    assert "\\restrict is a command of psql" in refused("-- migrate:up\n\\restrict abc\n").hint


def test_a_bad_name_is_refused() -> None:
    assert "version" in refused(PLAIN, "add_orders.sql").sentence


def test_two_files_of_one_version_are_refused() -> None:
    with pytest.raises(HomeportError, match=r"1_a\.sql has the version 1 too"):
        parse_all([("1_b.sql", PLAIN.encode()), ("1_a.sql", PLAIN.encode())])


def test_all_problems_come_at_once() -> None:
    with pytest.raises(HomeportError, match="3 problems") as caught:
        parse_all(
            [("x.sql", b""), ("1_a.sql", b""), ("1_b.sql", PLAIN.encode()), ("1_c.sql", PLAIN.encode())]
        )
    assert len(caught.value.details) == 3


def test_files_are_in_the_order_of_their_names() -> None:
    found = parse_all([(n, PLAIN.encode()) for n in ("2_b.sql", "10_c.sql", "1_a.sql")])
    assert [m.filename for m in found] == ["10_c.sql", "1_a.sql", "2_b.sql"]


def test_own_comments() -> None:
    text = (
        "-- homeport:contract\n-- migrate:up\n-- homeport:allow ban-drop-column because nobody reads it\n"
        "ALTER TABLE orders DROP COLUMN note;\n"
    )
    m = parse(NAME, text.encode())
    assert m.contract
    assert [(a.rule, a.reason, a.line) for a in m.allowances] == [("ban-drop-column", "nobody reads it", 3)]


@pytest.mark.parametrize(
    ("statement", "lone", "name", "table"),
    [
        (
            "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON s.t (a)",
            Lone.CREATE_INDEX,
            ("s", "i"),
            ("s", "t"),
        ),
        ('CREATE INDEX CONCURRENTLY "I x" ON t (a)', Lone.CREATE_INDEX, ("", "I x"), ("", "t")),
        ("DROP INDEX CONCURRENTLY IF EXISTS s.i", Lone.DROP_INDEX, ("s", "i"), ("", "")),
        ("REINDEX INDEX CONCURRENTLY i", Lone.REINDEX, ("", "i"), ("", "")),
        ("REINDEX (CONCURRENTLY, VERBOSE) TABLE t", Lone.REINDEX, ("", "t"), ("", "t")),
        ("REINDEX SCHEMA s", Lone.REINDEX, ("", ""), ("", "")),
        ("ALTER TABLE p DETACH PARTITION s.q CONCURRENTLY", Lone.DETACH, ("s", "q"), ("", "p")),
        ("VACUUM FULL t", Lone.REPEATABLE, ("", ""), ("", "")),
        ("CLUSTER", Lone.REPEATABLE, ("", ""), ("", "")),
        ("ALTER SYSTEM SET work_mem = '8MB'", Lone.REPEATABLE, ("", ""), ("", "")),
        ("CREATE DATABASE d", Lone.WHOLE, ("", ""), ("", "")),
        ("DROP DATABASE d", Lone.WHOLE, ("", ""), ("", "")),
        ("CREATE TABLESPACE d LOCATION '/x'", Lone.WHOLE, ("", ""), ("", "")),
        ("DROP SUBSCRIPTION d", Lone.WHOLE, ("", ""), ("", "")),
    ],
)
def test_what_no_transaction_holds_is_found(
    statement: str, lone: Lone, name: tuple[str, str], table: tuple[str, str]
) -> None:
    m = parse(NAME, f"-- migrate:up\n-- why\n/* and\nhow */ {statement};\n".encode())
    found = m.up.lone
    assert found is not None
    assert (found.lone, found.name, found.table, found.line, found.text) == (lone, name, table, 4, statement)
    assert "does not stand alone" in refused(f"-- migrate:up\nSELECT 1;\n{statement};\n").sentence


@pytest.mark.parametrize(
    "statement",
    ["CREATE INDEX i ON t (a)", "DROP INDEX i", "REINDEX TABLE t", "ANALYZE t", "CLUSTER t USING i", "DO $$BEGIN END$$",
     "REFRESH MATERIALIZED VIEW CONCURRENTLY v", "ALTER TABLE p DETACH PARTITION q", "TRUNCATE t"],
)  # fmt: skip
def test_what_a_transaction_holds_need_not_stand_alone(statement: str) -> None:
    assert parse(NAME, f"-- migrate:up\n{statement};\nSELECT 1;".encode()).up.lone is None


def test_an_index_made_concurrently_needs_a_name() -> None:
    assert "without a name" in refused("-- migrate:up\nCREATE INDEX CONCURRENTLY ON t (a);\n").sentence


def test_without_a_transaction_one_statement_is_the_most() -> None:
    assert "2 statements" in refused("-- migrate:up transaction:false\nSELECT 1;\nSELECT 2;\n").sentence
    batches = parse(NAME, b"-- migrate:up transaction:false\nCALL backfill();\n").up.lone
    assert batches is not None and batches.lone is Lone.BATCHES
    # What can run in a transaction does, with its record: dbmate's option asks for nothing that is lost.
    assert parse(NAME, b"-- migrate:up transaction:false\nCREATE TABLE t();\n").up.lone is None


def test_a_new_enum_value_is_not_used_by_the_file_that_adds_it() -> None:
    use = "ALTER TYPE mood ADD VALUE 'calm';\nINSERT INTO t VALUES ('calm');\n"
    assert "adds the value 'calm'" in refused(f"-- migrate:up\n{use}").sentence
    parse(NAME, f"-- migrate:up\nCREATE TYPE mood AS ENUM ('x');\n{use}".encode())
    parse(NAME, b"-- migrate:up\nALTER TYPE mood ADD VALUE 'calm';\nCREATE TABLE t (m mood);\n")


def test_a_statement_with_a_secret_is_not_shown() -> None:
    m = parse(NAME, b"-- migrate:up\nCREATE ROLE app PASSWORD 'hunter22';\n")
    assert "hunter22" not in m.up.statements[0].summary


@given(
    st.binary(max_size=300)
    | st.text(max_size=300).map(lambda t: ("-- migrate:up\n" + t).encode("utf-8", "replace"))
)
def test_no_input_ends_in_a_traceback(raw: bytes) -> None:
    try:
        parse(NAME, raw)
    except HomeportError as e:
        assert e.code == "database.migration_invalid"
