"""The edge's state and instances' environments, derived."""

from dataclasses import replace
from datetime import UTC, datetime

from homeport.edge.model import Bind
from homeport.kernel.ids import AppName, ChangeId, EnvironmentName, ProcessName, ReleaseId
from homeport.rollout import desired, rules
from homeport.rollout.model import Config, Environment, Instance
from homeport.spec.model import Build
from homeport.spec.parse import parse

SHOP = AppName("shop")
ONE = parse(
    '[app]\nname="shop"\n[processes.web]\ncommand="x"\n[routes]\n"a.example"="web"\n[env]\nA="spec"\nB="spec"\n'
)
TWO = parse('[app]\nname="shop"\n[processes.api]\ncommand="x"\n[routes]\n"b.example"="api"\n')
HTTP = Bind("127.0.0.1", 80)


def instance(process="web", n=1, *, weight=100, port=20000):
    return Instance(
        SHOP,
        EnvironmentName("production"),
        ReleaseId("r1"),
        ProcessName(process),
        n,
        port if process == "web" else None,
        "x",
        ChangeId("c-1"),
        weight,
        True,
        datetime(2026, 11, 21, tzinfo=UTC),
    )


def environment(routing):
    return Environment(SHOP, EnvironmentName("production"), routing, routing, (), ())


def state(routing, *instances):
    specs = {(SHOP, ReleaseId("r1")): ONE, (SHOP, ReleaseId("r2")): TWO}
    return desired.edge_state(HTTP, None, (environment(routing),), instances, specs)


def test_only_instances_that_passed_readiness_are_known_to_the_edge():
    found = state(ReleaseId("r1"), instance(n=1), replace(instance(n=2, port=20001), ready=False))
    assert [s.name for s in found.services[0].servers] == ["shop.production.r1.web.1"]
    assert [(r.host, r.prefix, r.service) for r in found.routes] == [
        ("a.example", "/", "shop.production.web")
    ]


def test_a_process_whose_routes_are_gone_keeps_its_service_while_it_has_instances():
    found = state(ReleaseId("r2"), instance(n=1, weight=0))
    assert {s.name for s in found.services} == {"shop.production.web", "shop.production.api"}
    assert [r.host for r in found.routes] == ["b.example"]


def test_nothing_routes_before_the_first_rollout():
    found = state(None)
    assert found.services == () and found.routes == ()


def test_workers_are_not_the_edges_business():
    worker = instance(process="job")
    assert (
        state(ReleaseId("r1"), instance(), worker).services[0].servers
        == state(ReleaseId("r1"), instance()).services[0].servers
    )


def test_variables_set_by_hand_win_over_the_specs_and_homeports_over_both():
    process = ONE.process("web")
    config = Config.of({"B": "hand", "HOMEPORT_APP": "x"}, {"KEY": 2})
    spec = desired.instance_spec(
        instance(), process, ONE, config, "/dir", tokens={"KEY": "sealed"}, storage={"up-loads": "/s"}
    )
    seen = dict(spec.environment)
    assert seen["HOMEPORT_STORAGE_UP_LOADS"] == "/s"
    assert spec.secrets == (("KEY", "sealed"),) and "KEY" not in seen
    assert (seen["A"], seen["B"], seen["HOMEPORT_APP"], seen["PORT"]) == ("spec", "hand", "shop", "20000")


def test_a_route_that_another_environment_has_is_found():
    other = Environment(AppName("blog"), EnvironmentName("production"), None, ReleaseId("r1"), (), ())
    specs = {(AppName("blog"), ReleaseId("r1")): ONE}
    args = (SHOP, EnvironmentName("production"), ONE, (other,), specs)
    assert desired.route_conflict(*args) == ("a.example/", other)
    mine = replace(other, app=SHOP)
    assert desired.route_conflict(SHOP, mine.name, ONE, (mine,), {(SHOP, ReleaseId("r1")): ONE}) is None


def test_what_makes_two_builds_the_same():
    assert rules.digest("t", Build("make")) == rules.digest("t", Build("make", timeout=1))
    assert rules.digest("t", Build("make")) != rules.digest("t", Build("make all"))


def test_a_variables_value_is_never_told():
    for name, value in (("X", "se\ncret"), ("1X", "secret"), ("PATH", "secret"), ("Y", "secret" * 20_000)):
        problem = rules.variable_problem(name, value)
        assert problem is not None and "secret" not in problem
    assert rules.variable_problem("GOOD_1", "any thing = fine ✓") is None
