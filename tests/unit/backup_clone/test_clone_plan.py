import pytest

from homeport.backup.clone.model import Catalog, Column, Masked
from homeport.backup.clone.plan import planned
from homeport.backup.clone.shop import chosen, dump_argv, load_argv
from homeport.spec.model_backup import Mask


def column(name: str, type_: str = "text", table: str = "users", **more: object) -> Column:
    return Column("public", table, name, type_, type_, **more)


def plan(catalog: Catalog, **masks: str) -> tuple[tuple[Masked, ...], list[str]]:
    wanted = []
    for key, rule in masks.items():
        table, _, name = key.partition("__")
        wanted.append(Mask(f"public.{table}", name, rule))
    return planned(catalog, wanted, "main")


def test_masks_of_what_is_not_there_are_told_all_at_once() -> None:
    catalog = Catalog((column("email"), column("id", "int4")), inside={("public", "p1"): ("public", "users")})
    masks, problems = plan(catalog, users__emial="email", people__x="text", p1__email="email")
    assert masks == ()
    assert problems == [
        "users.emial is not in the database; users.email is there",
        "people.x is not in the database",
        "p1.email is part of another table: name users.email",
    ]


@pytest.mark.parametrize(
    ("found", "rule", "says"),
    [
        (column("c", "jsonb"), "text", "null, keep would"),
        (column("c", "jsonb", not_null=True), "text", "keep would"),
        (column("c", "int4"), "email", "number, null, keep would"),
        (column("c", not_null=True), "null", "cannot be null"),
        (column("c", "varchar", length=20, unique=True), "email", "20 characters at most and unique"),
        (column("c", "varchar", length=5, unique=True), "hash", "too few for hash"),
        (column("c", unique=True), "number", "hash keeps them apart"),
        (column("c", "cidr", unique=True), "ip", "may become the same"),
        (column("c", generated=True), "text", "is generated"),
    ],
)
def test_a_rule_that_does_not_fit_is_refused(found: Column, rule: str, says: str) -> None:
    _, problems = plan(Catalog((found,)), users__c=rule)
    assert len(problems) == 1 and says in problems[0], problems


def test_keep_is_no_mask_and_fits_everything() -> None:
    assert plan(Catalog((column("c", "jsonb"),)), users__c="keep") == ((), [])


REFERENCE = (("public", "orders", "email"), ("public", "users", "email"))


def test_what_refers_to_a_masked_column_is_masked_alike_or_refused() -> None:
    catalog = Catalog(
        (column("email", unique=True), column("email", "varchar", "orders", length=40)), (REFERENCE,)
    )
    _, problems = plan(catalog, users__email="email")
    assert problems == ['users.email is referred to by orders.email: add "orders.email" = "email"']
    _, problems = plan(catalog, orders__email="hash")
    assert problems == ['orders.email refers to users.email: add "users.email" = "hash"']
    masks, problems = plan(catalog, users__email="email", orders__email="email")
    assert problems == []
    # Of both the room of the narrower one, and unique as the other: so both become the same.
    assert {(m.shape.length, m.shape.unique) for m in masks} == {(40, True)}
    assert plan(catalog, users__email="email", orders__email="null")[1] == []
    assert plan(catalog, users__email="null", orders__email="email")[1] != []


def test_a_dump_leaves_out_what_leads_elsewhere() -> None:
    listed = """;
; Archive
1; 2615 16390 SCHEMA - ext homeport
2; 3079 16391 EXTENSION - citext
3; 0 0 COMMENT - EXTENSION citext
4; 1417 16395 SERVER - other homeport
5; 1418 16396 USER MAPPING - USER MAPPING shop SERVER other homeport
6; 1259 16397 FOREIGN TABLE public there shop
7; 1259 16398 TABLE public users shop
8; 2613 16399 BLOB - 16399 shop
9; 0 0 BLOBS - BLOBS
10; 0 16398 TABLE DATA public users shop
11; 0 0 ACL - TABLE users shop
"""
    lines = chosen(listed, {"ext"}).splitlines()
    assert [line.partition(";")[0] for line in lines] == ["7", "10", "11"]


def test_no_password_is_in_an_argument() -> None:
    from pathlib import Path

    there = Path("/p")
    words = (
        *dump_argv(there, there, "d", there, 2),
        *load_argv(there, there, there, 5432, "u", "o", "d", 2),
    )
    assert not any("postgresql://" in w or w.startswith("--password") for w in words)
    assert "--no-blobs" in words and "--no-owner" in words and "--role=o" in words
