"""Merging: idempotent, associative along a chain, changing nothing that it is given."""

import copy

from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.spec.layers import Layer, Values, merged

quick = settings(max_examples=60, deadline=None, database=None)

NAMES = st.sampled_from(["a", "b", "c"])
PLAIN = st.integers(0, 9) | st.sampled_from(["x", "y"]) | st.booleans()


def tables(keys: list[str], values: st.SearchStrategy[object] = PLAIN) -> st.SearchStrategy[Values]:
    return st.dictionaries(st.sampled_from(keys), values, max_size=3)


VARIABLE = PLAIN | tables(["default", "required", "from", "type", "pattern", "description"])
HOOK = st.sampled_from(["x", "y"]) | tables(["command", "timeout"])
PROCESS = st.fixed_dictionaries(
    {}, optional={"cpu": PLAIN, "replicas": PLAIN, "health": tables(["path", "timeout"])}
)
TABLES: dict[str, st.SearchStrategy[object]] = {
    "variables": st.dictionaries(NAMES, VARIABLE, max_size=3),
    "processes": st.dictionaries(NAMES, PROCESS, max_size=3),
    "routes": tables(["a.b", "c.d"]),
    "rollout": st.fixed_dictionaries(
        {},
        optional={
            "drain": PLAIN,
            "steps": st.lists(PLAIN, max_size=2),
            "signals": st.dictionaries(NAMES, tables(["most", "url"]), max_size=2),
        },
    ),
    "cron": st.dictionaries(NAMES, tables(["schedule", "enabled", "timeout"]), max_size=3),
    "hooks": st.dictionaries(st.sampled_from(["before-build", "after-build"]), HOOK, max_size=2),
    "storage": st.dictionaries(NAMES, tables(["path"]), max_size=2),
    "maintenance": tables(["page", "retry_after"]),
    "read_only": tables(["exempt"], st.lists(st.sampled_from(["/a", "/b"]), max_size=2)),
}
APPS = st.fixed_dictionaries(
    {}, optional={**TABLES, "app": tables(["name"]), "env": st.dictionaries(NAMES, PLAIN, max_size=2)}
)
LAYERS = st.fixed_dictionaries(
    {}, optional={**TABLES, "domains": st.lists(NAMES, max_size=2), "replicas": st.dictionaries(NAMES, PLAIN, max_size=2),
         "gate": st.none() | st.just("approval")}
)  # fmt: skip


@quick
@given(APPS, LAYERS)
def test_merging_again_changes_nothing(app: Values, layer: Values) -> None:
    once = merged(app, layer)
    assert merged(once, layer) == once


@quick
@given(APPS, LAYERS, LAYERS)
def test_inheritance_is_associative_along_a_chain(app: Values, first: Values, second: Values) -> None:
    both = merged(
        {k: v for k, v in first.items() if k != "replicas"}, {"replicas": first.get("replicas", {})}
    )
    assert merged(merged(app, first), second) == merged(app, merged(both, second))


@quick
@given(APPS, LAYERS)
def test_merging_changes_neither_of_the_two(app: Values, layer: Values) -> None:
    before = copy.deepcopy((app, layer))
    merged(app, layer)
    assert (app, layer) == before


@quick
@given(APPS)
def test_an_empty_layer_leaves_everything_as_it_is(app: Values) -> None:
    assert merged(app, {}) == app


def test_what_is_not_touched_is_shared() -> None:
    app = {"cron": {"a": {}, "b": {"x": 1}}, "rollout": {"y": 1}}
    result = merged(app, {"cron": {"a": {"z": 1}}})
    assert result["rollout"] is app["rollout"]
    assert result["cron"]["b"] is app["cron"]["b"]


def test_tables_inside_each_other_without_end_are_not_followed() -> None:
    deep: dict[str, object] = {}
    for _ in range(5000):
        deep = {"a": deep}
    assert merged({"rollout": deep}, {"rollout": {"a": deep}})["rollout"].keys() == {"a"}


def test_of_domains_and_routes_the_later_ones_hold() -> None:
    assert "domains" not in merged({"domains": ["a"]}, {"routes": {}})
    assert merged({"domains": ["a"]}, {"domains": ["b"]})["domains"] == ["b"]


def test_where_a_value_is_written() -> None:
    layer = Layer(
        "s", {"variables": {"A": 1, "B": {"type": "int"}}, "replicas": {"web": 2}, "routes": {"x": {}}}
    )
    assert layer.path == ("environments", "s")
    assert layer.value_at(("variables", "A", "default")) == ("variables", "A")
    assert layer.value_at(("variables", "B", "type")) == ("variables", "B", "type")
    assert layer.value_at(("variables", "B", "default")) is None
    assert layer.value_at(("variables", "B")) is None
    assert layer.value_at(("variables", "C")) is None
    assert layer.value_at(("processes", "web", "replicas")) == ("replicas", "web")
    assert layer.value_at(("processes", "web", "memory")) is None
    assert layer.value_at(("routes", "x")) == ("routes", "x")
