"""The shell for SQLite of machines without the program sqlite3."""

import subprocess
import sys
from pathlib import Path

import pytest

from homeport.database.sqlite.file import SqliteFile


@pytest.fixture
def shell(tmp_path: Path):
    SqliteFile(tmp_path, "shop.db").ensure()

    def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable,
                "-P",
                "-m",
                "homeport.database.sqlite.shell",
                str(tmp_path),
                "shop.db",
                *arguments,
            ],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
        )

    run("create table note (id int, text text); insert into note values (1, 'a;b'), (2, null)")
    return run


def test_rows_are_printed_as_sqlite3_does(shell):
    done = shell("select * from note; select count(*) from note")
    assert (done.stdout, done.returncode) == ("1|a;b\n2|\n2\n", 0)


def test_statements_come_from_a_pipe_and_may_go_over_lines(shell):
    done = shell(stdin="select text\nfrom note\nwhere id = 1;\nselect 7;\n.quit\nselect 8;\n")
    assert (done.stdout, done.returncode) == ("a;b\n7\n", 0)


def test_a_mistake_is_told_without_a_traceback(shell):
    done = shell("select * from nowhere; select 8")
    assert done.returncode == 1 and done.stderr == "error: no such table: nowhere\n" and not done.stdout


def test_read_only_changes_nothing(shell):
    done = shell("-readonly", "delete from note")
    assert done.returncode == 1 and "readonly" in done.stderr
    assert shell("select count(*) from note").stdout == "2\n"


def test_a_file_that_is_no_database(shell, tmp_path):
    (tmp_path / "shop.db").write_bytes(b"no database " * 100)
    done = shell("select 1")
    assert done.returncode and done.stderr.startswith("error: cannot ") and "Traceback" not in done.stderr
