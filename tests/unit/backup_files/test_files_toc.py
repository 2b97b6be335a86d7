"""What of a dump is restored by its owner, what by the superuser, and what not at all."""

import pytest

from homeport.backup.files.queries import wrong
from homeport.backup.files.toc import contents, extensions
from homeport.spec.model_backup import ProofQuery

LISTED = """\
;
; Archive created at 2026-11-21 12:00:00 UTC
;     dbname: theirs
6; 2615 16400 SCHEMA - ext postgres
7; 2615 16401 SCHEMA - crm postgres
2; 3079 16402 EXTENSION - pgcrypto
3410; 0 0 COMMENT - EXTENSION pgcrypto
3409; 0 0 COMMENT - TABLE people postgres
215; 1259 16450 TABLE crm people postgres
3300; 3466 16500 EVENT TRIGGER - noted postgres
3411; 0 0 COMMENT - EVENT TRIGGER noted postgres
3301; 6104 16501 PUBLICATION - all_of_it postgres
3302; 6106 16502 PUBLICATION TABLE crm all_of_it people postgres
3303; 6100 16503 SUBSCRIPTION - theirs postgres
3200; 0 16450 TABLE DATA crm people postgres
"""


def test_extensions_come_from_the_superuser_and_what_is_beyond_a_database_from_nobody() -> None:
    found = contents(LISTED, frozenset({"ext"}))
    assert found.extensions == "2; 3079 16402 EXTENSION - pgcrypto\n"
    assert [line.split(" ", 3)[3] for line in found.rest.splitlines()] == [
        "SCHEMA - crm postgres",
        "COMMENT - TABLE people postgres",
        "TABLE crm people postgres",
        "TABLE DATA crm people postgres",
    ]
    assert "SCHEMA - ext" in contents(LISTED).rest
    assert found.left_out == (
        "EVENT TRIGGER noted",
        "PUBLICATION all_of_it",
        "PUBLICATION TABLE crm all_of_it people",
        "SUBSCRIPTION theirs",
    )
    rights = "3500; 0 0 ACL crm TABLE people postgres\n3501; 826 1 DEFAULT ACL crm DEFAULT PRIVILEGES FOR TABLES x\n"
    assert contents(LISTED + rights).rights == rights and found.rights == ""


def test_extensions_of_the_sql() -> None:
    sql = """\
SET lock_timeout = 0;
CREATE EXTENSION IF NOT EXISTS pgcrypto WITH SCHEMA ext;
CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA "My ""Schema";
DROP DATABASE x;
"""
    assert extensions(sql) == (("pgcrypto", "ext"), ("uuid-ossp", 'My "Schema'))


@pytest.mark.parametrize(
    ("expect", "rows", "told"),
    [
        ("", [(1,)], None),
        ("", [("",)], None),
        ("", [], "q: no row came"),
        ("", [(0,)], "q: the first value is 0"),
        ("", [(None,)], "q: the first value is null"),
        ("", [(False,)], "q: the first value is f"),
        ("0", [(0,)], None),
        ("t", [(True, 2)], None),
        ("null", [(None,)], None),
        ("5", [(4,), (5,)], "q: 4 instead of 5"),
    ],
)
def test_answers_of_the_app_s_own_queries(
    expect: str, rows: list[tuple[object, ...]], told: str | None
) -> None:
    assert wrong(ProofQuery("q", "SELECT 1", expect), rows) == told
