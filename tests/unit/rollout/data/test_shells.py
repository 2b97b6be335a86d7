"""What a shell for an attached database is given: never a password where others can read it."""

from homeport.rollout.data import shells
from homeport.rollout.data.shells import READ_ONLY

URL = "postgresql://them:p%25%2F%40ss@db.example.com:6543/theirs?sslmode=verify-full&options=-c%20a%3Db"


def test_the_url_goes_into_the_environment_and_not_into_arguments():
    shell = shells._attached(URL, read_only=False)
    assert shell.program == "psql" and shell.arguments == () and shell.note == ""
    assert shell.environment == {
        "PGHOST": "db.example.com",
        "PGPORT": "6543",
        "PGUSER": "them",
        "PGPASSWORD": "p%/@ss",
        "PGDATABASE": "theirs",
        "PGSSLMODE": "verify-full",
        "PGOPTIONS": "-c a=b",
        "PGAPPNAME": "homeport db shell",
    }


def test_to_read_only_is_asked_of_the_session_and_what_that_is_worth_is_said():
    shell = shells._attached(URL, read_only=True)
    assert shell.environment["PGOPTIONS"] == f"-c a=b {READ_ONLY}"
    assert "may write" in shell.note
