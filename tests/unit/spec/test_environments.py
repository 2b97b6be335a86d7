"""Environments: what each comes to, and each problem told once, where it was written."""

import pytest

from homeport.kernel.errors import HomeportError
from homeport.spec.environments import MOST_ENVIRONMENTS, MOST_INHERITED
from homeport.spec.model import Cron, Hook, Maintenance, ReadOnly, Route, Spec, Storage, Variable
from homeport.spec.parse import parse

APP = '[app]\nname = "shop"\n[processes.web]\ncommand = "run"\n'


def environments(text: str) -> dict[str, Spec]:
    return dict(parse(APP + text).environments)


def problems(text: str) -> list[str]:
    with pytest.raises(HomeportError) as caught:
        parse(APP + text)
    return [detail.removeprefix("homeport.toml:") for detail in caught.value.details]


def test_an_environment_that_says_nothing_is_the_app() -> None:
    spec = parse(APP + "[environments.staging]")
    [(name, staging)] = spec.environments
    assert name == "staging"
    assert staging == parse(APP)
    assert spec.for_environment("staging") is staging
    assert spec.for_environment("other") is spec


def test_the_default_environment() -> None:
    assert parse(APP).default_environment == "production"
    spec = parse(
        '[app]\nname = "a"\nenvironment = "staging"\n[processes.web]\ncommand = "x"\n[environments.qa]'
    )
    assert spec.default_environment == "staging"
    assert spec.for_environment("qa").default_environment == "staging"


def test_every_table_of_an_environment() -> None:
    [spec] = environments("""
replicas = 2
memory = "1GB"
[processes.worker]
command = "work"
[routes]
"a.example.com" = "web"
[variables]
A = 1
B = { type = "int", default = 2, description = "two" }
[rollout]
drain = "1s"
batch = 3
[cron.one]
schedule = "0 3 * * *"
command = "one"
[cron.two]
schedule = "@hourly"
command = "two"
timeout = "1m"
[hooks]
before-build = "b"
before-traffic = "t"
[storage.uploads]
path = "var/uploads"
[maintenance]
page = "m.html"
[read_only]
exempt = ["/login"]

[environments.staging]
replicas = { web = 4 }
[environments.staging.processes.web]
memory = "2GB"
[environments.staging.processes.new]
command = "new"
[environments.staging.routes]
"b.example.com" = "web"
[environments.staging.variables]
B = 3
C = "c"
[environments.staging.rollout]
drain = "2s"
[environments.staging.cron]
one = { enabled = false }
two = { timeout = "2m" }
[environments.staging.hooks]
before-build = { timeout = "9s" }
after-build = "a"
[environments.staging.storage.uploads]
path = "data"
[environments.staging.storage.more]
path = "more"
[environments.staging.maintenance]
retry_after = "1h"
[environments.staging.read_only]
exempt = ["/a/", "/b"]
""").values()
    web, worker, new = spec.processes
    assert (web.replicas, web.memory, web.command) == (4, 2_000_000_000, "run")
    assert (worker.command, new.command) == ("work", "new")
    assert spec.routes == (Route("b.example.com", "/", "web"),)
    assert spec.variables == (
        Variable("A", "1"),
        Variable("B", "3", type="int", description="two"),
        Variable("C", "c"),
    )
    assert (spec.rollout.drain, spec.rollout.batch) == (2.0, 3)
    assert spec.cron == (Cron("two", "@hourly", "two", timeout=120.0),)
    assert spec.hooks == (
        Hook("before-build", "b", 9.0),
        Hook("after-build", "a"),
        Hook("before-traffic", "t"),
    )
    assert spec.storage == (Storage("uploads", "data"), Storage("more", "more"))
    assert spec.maintenance == Maintenance("m.html", 3600.0)
    assert spec.read_only == ReadOnly(("/a", "/b"))
    assert spec.environments == ()


def test_inheritance_goes_from_the_app_along_the_chain_whatever_the_order_of_the_file() -> None:
    specs = environments("""
[variables]
A = "app"
B = "app"
C = "app"
[environments.qa]
inherits = "staging"
variables = { C = "qa" }
[environments.staging]
variables = { B = "staging", C = "staging" }
""")
    assert list(specs) == ["qa", "staging"]
    assert [v.value for v in specs["qa"].variables] == ["app", "staging", "qa"]
    assert [v.value for v in specs["staging"].variables] == ["app", "staging", "staging"]


@pytest.mark.parametrize(
    ("app", "environment", "variable"),
    [
        ('"a"', '"b"', Variable("X", "b")),
        ('"1"', "{ type = 'int' }", Variable("X", "1", type="int")),
        ("{ type = 'int', default = 1 }", "2", Variable("X", "2", type="int")),
        ("{ type = 'int', default = 1 }", "{ default = 2 }", Variable("X", "2", type="int")),
        ("{ required = true, pattern = '^a' }", '"ab"', Variable("X", "ab", pattern="^a")),
        ('"a"', "{ required = true }", Variable("X", required=True)),
        ('"a"', "{ from = 'file:/a' }", Variable("X", secret=True, source="file:/a")),
        ("{ from = 'file:/a' }", '"a"', Variable("X", "a")),
        ("{ required = true, secret = true }", "{ from = 'file:/a' }",
         Variable("X", secret=True, source="file:/a")),
        ("{ one_of = ['a', 'b'] }", "{ one_of = ['c'] }", Variable("X", one_of=("c",))),
    ],
)  # fmt: skip
def test_a_variable_over_a_variable(app: str, environment: str, variable: Variable) -> None:
    [spec] = environments(f"[variables]\nX = {app}\n[environments.s.variables]\nX = {environment}").values()
    assert spec.variables == (variable,)


def test_a_variable_over_one_of_the_older_table() -> None:
    [spec] = environments("[env]\nA = 1\nB = 2\n[environments.s.variables]\nA = { type = 'int' }\n").values()
    assert set(spec.variables) == {Variable("A", "1", type="int"), Variable("B", "2")}


def test_domains_take_the_place_of_the_hosts_of_the_apps_routes() -> None:
    specs = environments("""
[processes.guide]
static = "g"
[routes]
"a.example.com" = "web"
"b.example.com" = "web"
"a.example.com/guide" = "guide"
[environments.s]
domains = ["S.example.com", "bücher.example"]
[environments.t]
inherits = "s"
routes = { "t.example.com" = "guide" }
[environments.u]
inherits = "t"
domains = ["u.example.com"]
[environments.v]
inherits = "s"
""")
    assert specs["s"].routes == (
        Route("s.example.com", "/", "web"),
        Route("s.example.com", "/guide", "guide"),
        Route("xn--bcher-kva.example", "/", "web"),
        Route("xn--bcher-kva.example", "/guide", "guide"),
    )
    assert specs["t"].routes == (Route("t.example.com", "/", "guide"),)
    assert [route.host for route in specs["u"].routes] == ["u.example.com", "u.example.com"]
    assert specs["v"].routes == specs["s"].routes


def test_domains_of_an_app_without_routes_lead_to_web() -> None:
    [spec] = environments("[environments.s]\ndomains = ['a.b']").values()
    assert spec.routes == (Route("a.b", "/", "web"),)


def test_domains_lead_to_a_web_that_only_the_environment_has() -> None:
    text = "[app]\nname = 'a'\n[processes.w]\ncommand = 'x'\n[environments.s]\ndomains = ['a.b']\n"
    spec = parse(text + "[environments.s.processes.web]\ncommand = 'y'")
    assert spec.for_environment("s").routes == (Route("a.b", "/", "web"),)
    with pytest.raises(HomeportError) as caught:
        parse(text)
    assert caught.value.details == (
        "homeport.toml:6: at 'environments.s.domains': have no use: the app has no routes",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[environments.a]\ninherits = 'stagin'\n[environments.staging]",
         ["6: at 'environments.a.inherits': no environment \"stagin\" in this file; did you mean \"staging\"?"]),
        ("[environments.staging]\ninherits = 'qa'\n[environments.qa]\ninherits = 'staging'\n[environments.x]\n"
         "inherits = 'qa'",
         ["6: at 'environments.staging.inherits': is a cycle: staging → qa → staging"]),
        ("[environments.a]\ninherits = 'a'", ["6: at 'environments.a.inherits': is a cycle: a → a"]),
        ("[environments.a]\ninherits = 3",
         ["6: at 'environments.a.inherits': must be a name: 1 to 40 of a-z, 0-9 and inner hyphens, a letter first, "
          'such as "shop", got 3']),
        ("[environments.'X y']",
         ["5: at 'environments.\"X y\"': must be a name: 1 to 40 of a-z, 0-9 and inner hyphens, a letter first, such "
          'as "shop", got "X y"']),
        ("[environments]\na = 1", ["6: at 'environments.a': must be a table, got 1"]),
        ("[environments]\ndomains = ['a.b']",
         ["6: at 'environments.domains': belongs in a table, such as [environments.staging]"]),
        ("[environments.a]\nvariabels = {}",
         ["6: at 'environments.a.variabels': unknown key; did you mean \"variables\"?"]),
        ("[environments.a]\ncron = 1", ["6: at 'environments.a.cron': must be a table, got 1"]),
        ("[environments.a]\nmemory = '1GB'",
         ["6: at 'environments.a.memory': unknown key; did you mean 'processes.NAME.memory' or 'cron.NAME.memory' "
          "or 'cache.NAME.memory'?"]),
        ("[environments.a]\nreplicas = 2",
         ["6: at 'environments.a.replicas': must be a table of numbers by process, such as { web = 4 }, got 2"]),
        ("[environments.a]\nreplicas = { wbe = 2, web = 'x' }",
         ["6: at 'environments.a.replicas.wbe': no process \"wbe\"; known: web",
          "6: at 'environments.a.replicas.web': must be a whole number from 1 to 100, got \"x\""]),
        ("[environments.a]\nreplicas = { web = 2 }\nprocesses = { web = { replicas = 3 } }",
         ["6: at 'environments.a.replicas.web': is also 'environments.a.processes.web.replicas' in line 7: take one "
          "of the two out"]),
        ("[environments.a]\ndomains = ['a.b/c']",
         ["6: at 'environments.a.domains': must be hosts without a path, got \"a.b/c\""]),
        ("[environments.a]\ndomains = []",
         ["6: at 'environments.a.domains': must be an array of hosts, such as [\"staging.example.com\"], got an empty "
          "array"]),
        ("[environments.a]\ndomains = ['a.b', 'A.B']",
         ["6: at 'environments.a.domains': must name each host once: \"a.b\" is there twice"]),
        ("[environments.a]\ndomains = ['http://a.b']\n[environments.b]\ninherits = 'a'",
         ["6: at 'environments.a.domains': must be a host without a scheme, such as \"a.b\""]),
        ("[environments.a]\ndomains = ['a.b']\nroutes = { 'c.d' = 'web' }",
         ["6: at 'environments.a.domains': stand against its own [routes], which name hosts: take one of the two "
          "out"]),
        ("[environments.a]\ncron = { nigthly = { enabled = false } }",
         ["6: at 'environments.a.cron.nigthly': is no command that could be left out"]),
    ],
)  # fmt: skip
def test_each_error_says_where_and_what(text: str, problem: list[str]) -> None:
    assert problems(text) == problem


def test_two_processes_for_one_prefix_are_ambiguous_once_for_all_that_inherit() -> None:
    text = (
        "[processes.api]\ncommand = 'x'\n[routes]\n'a.b' = 'web'\n'c.d' = 'api'\n"
        "[environments.s]\ndomains = ['q.r']\n[environments.t]\ninherits = 's'"
    )
    assert problems(text) == [
        '11: at \'environments.s.domains\': cannot stand for the hosts of the app\'s routes, which lead "/" to "web" '
        'on one and to "api" on another; write [environments.s.routes] instead'
    ]


def test_domains_beside_routes_are_told_as_that_and_nothing_else() -> None:
    text = (
        "[processes.api]\ncommand = 'x'\n[routes]\n'a.b' = 'web'\n'c.d' = 'api'\n"
        "[environments.s]\ndomains = ['q.r']\nroutes = { 'e.f' = 'web' }"
    )
    [problem] = problems(text)
    assert "stand against its own [routes]" in problem


def test_too_many_routes_by_domains() -> None:
    routes = "".join(f"'*/p{n}' = 'web'\n" for n in range(501))
    [problem] = problems(f"[routes]\n{routes}[environments.s]\ndomains = ['a.b', 'c.d']")
    assert "give 1,002 routes" in problem


def test_an_error_of_the_app_is_not_told_again_for_its_environments() -> None:
    text = """memory = "lots"
static = "x"
foo = 1
[routes]
"a.b" = "wen"
[environments.s]
[environments.s.processes.new]
command = "x"
[environments.s.processes.web]
cpu = 1
[environments.t]
inherits = "s"
"""
    assert [problem.split(":")[1] for problem in problems(text)] == [
        " at 'processes.web'",
        " at 'processes.web.memory'",
        " at 'processes.web.foo'",
        " at 'routes.\"a.b\"'",
    ]


def test_an_error_is_told_where_it_was_written_and_once_for_all_that_inherit() -> None:
    text = """[cron.c]
schedule = "@daily"
command = "x"
[environments.s.processes.web]
memory = "lots"
foo = 1
[environments.t]
inherits = "s"
[environments.t.cron.c]
schedule = "never"
[environments.u]
inherits = "t"
[environments.u.processes.web]
memory = "lots"
"""
    told = [problem.split(": ")[:2] for problem in problems(text)]
    assert told == [
        ["9", "at 'environments.s.processes.web.memory'"],
        ["10", "at 'environments.s.processes.web.foo'"],
        ["14", "at 'environments.t.cron.c.schedule'"],
        ["18", "at 'environments.u.processes.web.memory'"],
    ]


def test_what_only_the_merge_shows_is_told_at_the_environment() -> None:
    text = """health = { path = "/up" }
[processes.worker]
command = "x"
[variables]
A = "abc"
[storage.a]
path = "var"
[environments.s]
variables = { A = { type = "int" } }
storage = { b = { path = "var/b" } }
[environments.s.processes.web]
static = "x"
[environments.t]
inherits = "s"
[environments.t.routes]
"a.b" = "worker"
"""
    assert problems(text) == [
        "13: at 'environments.s.variables.A.default': must be a whole number",
        "14: at 'environments.s.storage.b.path': lies inside of the one of 'storage.a.path' in line 11",
        '15: at \'environments.s.processes.web\': has both "command" and "static": a process has one of them',
        '17: at \'environments.t.processes.web\': no route leads to this static site: add a line "*" = "web" in '
        "[routes]",
        "17: at 'environments.t.processes.web.health': is for a process that a route names: add a line \"*\" = "
        '"web" in [routes], or take it out',
    ]


def test_errors_of_the_app_and_of_environments_are_told_at_once_in_the_order_of_the_file() -> None:
    text = "[environments.s.rollout]\ndrain = 1\n[rollout]\nbatch = 0\n[environments.t]\ngate = 'aproval'\n"
    assert [problem.split(": ")[1] for problem in problems(text)] == [
        "at 'environments.s.rollout.drain'",
        "at 'rollout.batch'",
        "at 'environments.t.gate'",
    ]


def test_a_chain_that_is_too_long_is_told_once() -> None:
    chain = "".join(f"[environments.e{n}]\ninherits = 'e{n - 1}'\n" for n in range(1, 60))
    [problem] = problems(f"[environments.e0]\n{chain}")
    assert f"at 'environments.e{MOST_INHERITED + 1}.inherits'" in problem
    fits = "".join(f"[environments.e{n}]\ninherits = 'e{n - 1}'\n" for n in range(1, MOST_INHERITED + 1))
    assert len(environments(f"[environments.e0]\n{fits}")) == MOST_INHERITED + 1


def test_too_many_environments_are_refused() -> None:
    many = "".join(f"[environments.e{n}]\n" for n in range(MOST_ENVIRONMENTS + 1))
    assert problems(many) == ["5: at 'environments': are 101; at most 100 are possible"]


def test_a_flood_of_errors_in_environments_is_counted_but_not_told() -> None:
    bad = "".join(f"V{n} = [1]\n" for n in range(90))
    text = "".join(f"[environments.e{n}.variables]\n{bad}" for n in range(40))
    told = problems(text)
    assert len(told) == 101
    assert told[-1] == " and 80 more"
