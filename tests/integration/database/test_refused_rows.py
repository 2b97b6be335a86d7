"""What PostgreSQL's own programs print when rows are refused, and what of it is kept."""

import subprocess

import psycopg

from homeport.database import machine, refused

PERSON = "person1@realmail.example"


def test_pg_restore_and_the_server_say_no_values(postgres: str, tmp_path) -> None:
    _, programs = machine.programs()
    dump = tmp_path / "dump"
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute("CREATE TABLE people (email text); CREATE TABLE words (word text)")
        conn.execute("INSERT INTO people VALUES (%(p)s), (%(p)s)", {"p": PERSON})
        conn.execute("INSERT INTO words VALUES (%s)", (PERSON,))
        subprocess.run(
            [programs / "pg_dump", "-Fc", "-a", f"--file={dump}", postgres], check=True, timeout=60
        )
        conn.execute("TRUNCATE people, words; CREATE UNIQUE INDEX once ON people (email)")
        conn.execute("ALTER TABLE words ALTER word TYPE int USING 1")
        ran = subprocess.run(
            [programs / "pg_restore", "-a", "-d", postgres, dump], capture_output=True, text=True, timeout=60
        )
        assert ran.returncode != 0 and PERSON in ran.stderr
        lines = refused.lines_of(ran.stderr)
        assert not [line for line in lines if PERSON in line]
        assert any('unique constraint "once"' in line for line in lines)
        assert any("invalid input syntax for type integer" in line for line in lines)
        for statement in (
            f"INSERT INTO people VALUES ('{PERSON}'), ('{PERSON}')",
            f"INSERT INTO words VALUES ('{PERSON}')",
        ):
            try:
                conn.execute(statement.encode())
            except psycopg.Error as e:
                assert PERSON in str(e) and PERSON not in refused.why(e)
            else:
                raise AssertionError(statement)
