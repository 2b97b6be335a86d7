"""Names, and the steps to a database from every state that a crash can leave."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.database.model import Provisioned
from homeport.database.plan import Seen, Step, cluster_name, database_name, steps
from homeport.kernel.ids import NAME

NAMES = st.from_regex(NAME, fullmatch=True)
ROW = Provisioned(
    app="shop",
    environment="production",
    name="main",
    cluster="main",
    database="shop_production",
    state="making",
    login="a",
    previous=None,
    pool="transaction",
    connections=None,
    replicas=2,
    extensions=(),
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)
LIMIT = Step("limit")


@pytest.mark.parametrize(
    ("parts", "taken", "name"),
    [
        (("shop", "production", "main"), (), "shop_production"),
        (("my-shop", "preview-fix", "reports"), (), "my_shop_preview_fix_reports"),
        (("pg", "production", "main"), (), "app_pg_production"),
    ],
)
def test_names(parts, taken, name):
    assert database_name(*parts, taken) == name


@given(NAMES, NAMES, NAMES)
def test_names_fit_with_all_of_their_roles(app, environment, name):
    found = database_name(app, environment, name)
    row = replace(ROW, database=found)
    roles = (row.owner, row.role, row.migrator, row.login_role("a"), row.login_role("b"))
    assert all(len(role.encode()) <= 63 and not role.startswith("pg_") for role in roles)
    assert found.replace("_", "a").isalnum()
    assert len(cluster_name(app, environment, name, dedicated=True)) <= 15


def test_names_that_are_spelled_alike_are_told_apart():
    first = database_name("a-b", "c", "main")
    second = database_name("a", "b-c", "main", {first})
    assert first == "a_b_c" and second.startswith("a_b_c_") and second != first
    long = "x" * 40
    assert database_name(long, long, "one") != database_name(long, long, "two")


def apply(row: Provisioned, seen: Seen, step: Step) -> Seen:
    """What a server has after a step."""
    roles, logins = dict(seen.roles), set(seen.logins)
    match step.kind:
        case "role":
            roles[step.role] = False
        case "database":
            return replace(seen, has_database=True)
        case "password":
            roles[step.role] = True
            logins.add(step.role)
        case "lock":
            roles[step.role] = False
            logins.discard(step.role)
    return replace(seen, roles=roles, logins=frozenset(logins))


def test_from_every_interrupted_prefix_the_same_comes_about():
    nothing = Seen({}, False)
    whole = steps(ROW, nothing)
    assert [step.kind for step in whole] == [*["role"] * 5, "database", "rights", "password", "limit"]
    for cut in range(len(whole) + 1):
        seen = nothing
        for step in whole[:cut]:
            seen = apply(ROW, seen, step)
        rest = steps(ROW, seen)
        # Until it is ready its rights are given again: nobody knows whether they were.
        assert Step("rights") in rest
        for step in rest:
            seen = apply(ROW, seen, step)
        assert steps(replace(ROW, state="ready"), seen) == (LIMIT,)
        assert seen.logins == {"shop_production_a"}


def test_rights_are_given_before_anyone_may_log_in():
    kinds = [step.kind for step in steps(ROW, Seen({}, False))]
    assert kinds.index("rights") < kinds.index("password")


def ready(**values: object) -> Provisioned:
    return replace(ROW, state="ready", **values)


def seen(**passwords: bool) -> Seen:
    roles = {f"shop_production_{end}": False for end in ("owner", "app", "a", "b", "migrate")}
    roles |= {f"shop_production_{end}": right for end, right in passwords.items()}
    return Seen(roles, True, frozenset(f"shop_production_{end}" for end in passwords))


def test_while_a_rotation_is_under_way_both_logins_stay():
    assert steps(ready(login="b", previous="a"), seen(a=False, b=True)) == (LIMIT,)
    assert steps(ready(login="b", previous="a"), seen(a=False)) == (
        Step("password", "shop_production_b"),
        LIMIT,
    )


def test_a_login_that_nobody_should_have_is_taken_away():
    assert steps(ready(login="b"), seen(a=False, b=True)) == (Step("lock", "shop_production_a"), LIMIT)
