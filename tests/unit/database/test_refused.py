"""What PostgreSQL says, without the values of rows: it is recorded for good."""

from types import SimpleNamespace

import psycopg
import pytest

from homeport.database import refused
from homeport.database.connect import first_line

PERSON = "person1@realmail.example"


class Said(psycopg.Error):
    """As the server sends it."""

    def __init__(self, state, primary, **fields):
        super().__init__("\n".join([primary, *(f"DETAIL:  {v}" for v in fields.values() if v)]))
        none = dict.fromkeys(("schema_name", "table_name", "constraint_name", "context", "message_detail"))
        self._fields = SimpleNamespace(**{**none, "sqlstate": state, "message_primary": primary, **fields})

    @property
    def diag(self):
        return self._fields


DUPLICATE = Said(
    "23505",
    'duplicate key value violates unique constraint "users_email_key"',
    message_detail=f"Key (email)=({PERSON}) already exists.",
    schema_name="public",
    table_name="users",
    constraint_name="users_email_key",
)


def test_table_and_constraint_are_named_and_no_value():
    said = first_line(DUPLICATE)
    assert PERSON not in said
    assert said == 'duplicate key value violates unique constraint "users_email_key" (table public.users)'


@pytest.mark.parametrize(
    ("state", "primary"),
    [
        ("22P02", f'invalid input syntax for type integer: "{PERSON}"'),
        ("22P02", f'invalid input value for enum mood: "a\n"{PERSON}"'),
        ("22003", f'value "{PERSON}" is out of range for type integer'),
        ("P0001", f"nobody is called {PERSON}"),
    ],
)
def test_a_value_that_the_message_quotes_is_left_out(state, primary):
    error = Said(state, primary, context=f'PL/pgSQL function checked() line 3 at RAISE\nSQL "{PERSON}"')
    assert PERSON not in refused.why(error)
    assert "\n" not in refused.why(error)


def test_what_a_migration_raises_itself_is_told():
    place = "PL/pgSQL function inline_code_block line 3 at RAISE"
    assert refused.why(Said("P0001", "merge the doubles first", context=place)) == "merge the doubles first"
    place = "PL/pgSQL function refuse() line 2 at RAISE"
    assert (
        refused.why(Said("P0001", PERSON, context=place))
        == f"a function of the database raised an error ({place})"
    )


def test_a_connection_that_failed_says_why():
    error = psycopg.OperationalError('connection to server at "x" failed\nFATAL:  no room')
    assert refused.why(error) == "no room"


def test_of_programs_no_detail_is_kept():
    text = f"""pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 3456; 0 16389 TABLE DATA users app
pg_restore: error: COPY failed for table "users": ERROR:  duplicate key value violates unique constraint "users_key"
DETAIL:  Key (email)=({PERSON}
second line of {PERSON}) already exists.
CONTEXT:  COPY users, line 3, column email: "{PERSON}"
pg_restore: error: COPY failed for table "n": ERROR:  invalid input syntax for type integer: "{PERSON}
{PERSON}"
pg_restore: error: could not execute query: ERROR:  role "x" does not exist
HINT:  make it
Command was: ALTER TABLE a
    OWNER TO b;
"""
    lines = refused.lines_of(text)
    assert PERSON not in "\n".join(lines)
    assert lines == [
        "pg_restore: while PROCESSING TOC:",
        "pg_restore: from TOC entry 3456; 0 16389 TABLE DATA users app",
        'pg_restore: error: COPY failed for table "users": '
        'ERROR:  duplicate key value violates unique constraint "users_key"',
        "CONTEXT:  COPY users, line 3",
        'pg_restore: error: COPY failed for table "n": ERROR:  invalid input syntax for type integer: …',
        'pg_restore: error: could not execute query: ERROR:  role "x" does not exist',
        "HINT:  make it",
        "Command was: ALTER TABLE a",
    ]


def test_the_end_of_a_longer_text_may_begin_within_a_value():
    text = f"{PERSON}) already exists.\nnon-prefixed {PERSON}\npg_restore: error: no"
    assert refused.lines_of(text, cut=True) == ["pg_restore: error: no"]
    assert refused.lines_of("bash: no such file\n") == ["bash: no such file"]


def test_details_in_another_language_are_details():
    text = f"pg_restore: error: FEHLER:  doppelter Wert\nDÉTAIL :  clé ({PERSON})\nDETAIL:  ({PERSON})"
    assert refused.lines_of(text) == ["pg_restore: error: FEHLER:  doppelter Wert"]
