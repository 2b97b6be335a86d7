"""What a valid file comes to, and the message for each thing that is wrong with an invalid one."""

import pytest

from homeport.kernel.errors import HomeportError, Kind
from homeport.spec.keys import ELSEWHERE, LATER
from homeport.spec.model import Build, Health, Process, Rollout, Route, Spec, Variable
from homeport.spec.parse import parse

SMALLEST = '[app]\nname = "shop"\n[processes.web]\ncommand = "run"\n'


def problems(text: str) -> list[str]:
    """The details of the error that ``text`` is refused with, without the file's name."""
    with pytest.raises(HomeportError) as caught:
        parse(text)
    assert caught.value.code == "spec.invalid"
    assert caught.value.kind is Kind.INVALID
    count = len(caught.value.details)
    assert caught.value.sentence == f"cannot read homeport.toml: {count} error{'s' if count > 1 else ''}"
    return [detail.removeprefix("homeport.toml:") for detail in caught.value.details]


def web(*lines: str) -> str:
    return "\n".join(['[app]\nname = "shop"', "[processes.web]", *lines])


def test_the_smallest_file_has_the_models_defaults_and_routes_all_to_web() -> None:
    assert parse(SMALLEST) == Spec(
        "shop", Build(), (Process("web", "run"),), (Route("*", "/", "web"),), Rollout(), ()
    )


def test_a_file_with_every_table() -> None:
    spec = parse("""
[app]
name = "shop"
[build]
command = "make"
timeout = "1h30m"
disk = "512MiB"
[processes.web]
command = " run $PORT "
health = { path = "/up?full=1", interval = "250ms", timeout = "1s", healthy_after = 3, unhealthy_after = 4 }
replicas = 2
memory = "1.5GB"
cpu = 2
user = "www-data"
start_timeout = "5s"
stop_grace = "0s"
response_timeout = "2m"
[processes.worker]
command = "work"
[processes.site]
static = "./public/html/"
[routes]
"Shop.Example.COM/" = "web"
"*/site/" = "site"
[env]
A = "x = y"
b_2 = 7
C = true
[rollout]
strategy = "rolling"
drain = "1m"
keep_warm = "0s"
batch = 2
""")
    web = Process(
        "web",
        "run $PORT",
        health=Health("/up?full=1", 0.25, 1.0, 3, 4),
        replicas=2,
        memory=1_500_000_000,
        cpu=2.0,
        user="www-data",
        start_timeout=5.0,
        stop_grace=0.0,
        response_timeout=120.0,
    )
    assert spec == Spec(
        "shop",
        Build("make", 5400.0, 512 * 2**20),
        (web, Process("worker", "work"), Process("site", "", static="public/html")),
        (Route("shop.example.com", "/", "web"), Route("*", "/site", "site")),
        Rollout("rolling", 60.0, 0.0, 2),
        (Variable("A", "x = y"), Variable("b_2", "7"), Variable("C", "true")),
    )


def test_an_app_of_workers_needs_no_route() -> None:
    assert parse('[app]\nname = "a"\n[processes.worker]\ncommand = "work"').routes == ()


def test_a_process_may_be_called_like_a_key() -> None:
    spec = parse(SMALLEST + "[processes.command]\ncommand = 'x'\n[processes.static]\ncommand = 'y'")
    assert [process.name for process in spec.processes] == ["web", "command", "static"]


def test_an_empty_table_of_routes_means_no_route() -> None:
    assert parse(SMALLEST + "[routes]").routes == ()


@pytest.mark.parametrize("text", ["\ufeff" + SMALLEST, SMALLEST.replace("\n", "\r\n")])
def test_a_file_saved_on_windows_is_read(text: str) -> None:
    assert parse(text) == parse(SMALLEST)


def test_ten_errors_are_told_at_once_in_the_order_of_the_file() -> None:
    text = """\
title = "Shop"

[app]
name = "My Shop"

[build]
comand = "npm ci"
timeout = 900

[processes.web]
command = "npm start"
replicas = "two"
health = { path = "health" }
memory = "lots"

[checks.home]
interval = 24

[routes]
"https://shop.example.com" = "web"
"example.com/shop" = "wen"

[rollout]
strategy = "canary"
steps = [5]
"""
    with pytest.raises(HomeportError) as caught:
        parse(text, path="shop/homeport.toml")
    assert caught.value.sentence == "cannot read shop/homeport.toml: 11 errors"
    assert caught.value.hint == "homeport init --keys describes every key"
    assert (
        "\n".join(caught.value.details)
        == """\
shop/homeport.toml:1: at 'title': unknown key; known: app, backup, build, cache, cron, database, environments, hooks, maintenance, pipeline, previews, processes, read_only, rollout, routes, storage, variables
shop/homeport.toml:4: at 'app.name': must be a name: 1 to 40 of a-z, 0-9 and inner hyphens, a letter first, such as "shop", got "My Shop"
shop/homeport.toml:7: at 'build.comand': unknown key; did you mean "command"?
shop/homeport.toml:8: at 'build.timeout': must be a duration from 1s to 24h, such as "30s" or "10m", got 900
shop/homeport.toml:12: at 'processes.web.replicas': must be a whole number from 1 to 100, got "two"
shop/homeport.toml:13: at 'processes.web.health.path': must be a URL path that begins with "/", such as "/health", got "health"
shop/homeport.toml:14: at 'processes.web.memory': must be a size from 8MB to 16TB, such as "512MB" or "2GB", got "lots"
shop/homeport.toml:16: at 'checks': checks are not in this version of Homeport yet; take it out
shop/homeport.toml:20: at 'routes."https://shop.example.com"': must be a host without a scheme, such as "shop.example.com"
shop/homeport.toml:21: at 'routes."example.com/shop"': no process "wen"; did you mean "web"?
shop/homeport.toml:25: at 'rollout.steps': must be a percentage from 0% to 100%, such as "5%", got 5: write "5%\""""
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "a = ",
            '1: not valid TOML: this is not a TOML value; text stands in quotes: key = "value"',
        ),
        ("[app]\n\nname", '3: not valid TOML: a key needs "=" and a value after it'),
        (
            "[app]\nname = 'x'\nname = 'y'\n",
            "3: not valid TOML: a key is written twice, or is both a value and a table (column 11)",
        ),
        (
            "x = { a = 1,\n b = 2 }",
            "1: not valid TOML: a key must be here; a table in { } stands in one line (column 13)",
        ),
        ("[app]\n[app]\n", "2: not valid TOML: Cannot declare ('app',) twice (column 5)"),
        ("\n\nx = [" + "[" * 5000, "1: tables or arrays lie too deep inside each other"),
        ("x = " + "9" * 5000, "1: a number has too many digits"),
        ("\nx = '" + chr(0xDC80) + "'", "2: the file is not UTF-8 text"),
        ("#" * 256_001, "1: the file is 256 KB large; at most 256 KB are read"),
        ("\n" + ".".join("a" * 300) + " = 1", '2: the line holds more than 200 "."'),
        (
            "\0",
            '1: not valid TOML: a line must be a key and its value (key = "value"), or a table ([table]) (column 1)',
        ),
    ],
)
def test_what_is_not_toml_is_told_with_its_line(text: str, problem: str) -> None:
    assert problems(text) == [problem]


def test_dots_in_a_comment_are_no_dotted_key() -> None:
    parse(SMALLEST + "# " + "." * 500)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", ["1: at 'app.name': is missing: add [app] with name = \"…\"",
              "1: at 'processes': an app needs a process: add [processes.web] with a command or a static directory"]),
        ("\n[app]\n[processes.web]\ncommand='x'", ["2: at 'app.name': is missing: add [app] with name = \"…\""]),
        ("app = 'shop'\n[processes.web]\ncommand='x'", ["1: at 'app': must be a table, got \"shop\""]),
        ("[[app]]\nname = 'x'\n[processes.web]\ncommand='x'",
         ["1: at 'app': must be a table, got an array: write [app], not [[…]]"]),
        ("[app]\nname='x'\n[processes]", [
            "3: at 'processes': an app needs a process: add [processes.web] with a command or a static directory"]),
        ("processes = 1\n[app]\nname='x'", ["1: at 'processes': must be a table, got 1"]),
        ("[app]\nname='x'\n[processes]\nweb = 'run'", ["4: at 'processes.web': must be a table, got \"run\""]),
        ("[app]\nname='x'\n[processes]\ncommand = 'run'",
         ["4: at 'processes.command': belongs in a table, such as [processes.web]"]),
        ("[app]\nname='x'\n[[processes.web]]\ncommand = 'run'",
         ["3: at 'processes.web': must be a table, got an array: write [processes.web], not [[…]]"]),
        ("[app]\nname='x'\n[processes.\"a b\"]\ncommand = 'run'",
         ["3: at 'processes.\"a b\"': must be a name: 1 to 40 of a-z, 0-9 and inner hyphens, a letter first, such as "
          '"shop", got "a b"']),
        (web(), ["3: at 'processes.web': needs a \"command\", or \"static\" with a directory"]),
        (web("command = 'x'", "static = 'y'"),
         ["3: at 'processes.web': has both \"command\" and \"static\": a process has one of them"]),
        (web("command = 'x'", "health = '/up'"), ["5: at 'processes.web.health': must be a table, got \"/up\""]),
        ("replicas = 2\n" + web("command = 'x'"),
         ["1: at 'replicas': unknown key; did you mean 'processes.NAME.replicas' or 'environments.NAME.replicas'?"]),
        ("command = 'x'\n" + web("command = 'x'"),
         ["1: at 'command': unknown key; did you mean 'build.command' or 'processes.NAME.command' "
          "or 'processes.NAME.liveness.command'?"]),
        (web("command = 'x'", "[process.web]"), ["5: at 'process': unknown key; did you mean \"processes\"?"]),
        (SMALLEST + "[env]\nPORT = 1", ["6: at 'env.PORT': is reserved: Homeport sets it itself"]),
        (SMALLEST + "[env]\nPATH = 'x'", ["6: at 'env.PATH': is reserved: Homeport sets it itself"]),
        (SMALLEST + "[env]\nHOMEPORT_X = 'x'", ["6: at 'env.HOMEPORT_X': is reserved: Homeport sets it itself"]),
        (SMALLEST + "[env]\n1A = 1",
         ["6: at 'env.1A': must be a name of at most 128 letters, digits and \"_\", no digit first"]),
        (SMALLEST + "env = 1", ["5: at 'processes.web.env': is not known for one process: variables are for all of them, "
                                "in [variables]"]),
        (SMALLEST + "[routes]\nshop.example.com = 'web'",
         ["6: at 'routes.shop': must be the name of a process; a host stands in quotes: "
          '"shop.example.com" = "web"']),
        (SMALLEST + "[routes]\n'a.b' = 3", ["6: at 'routes.\"a.b\"': must be the name of a process, got 3"]),
        (SMALLEST + "[routes]\n'a.b' = 'wbe'", ["6: at 'routes.\"a.b\"': no process \"wbe\"; known: web"]),
        (SMALLEST + "[routes]\n'A.b/x/' = 'web'\n'a.b' = 'web'\n'a.b/x' = 'web'",
         ["8: at 'routes.\"a.b/x\"': is the same route as 'routes.\"A.b/x/\"' in line 6"]),
        ("[app]\nname='x'\n[processes.site]\nstatic='.'",
         ["3: at 'processes.site': no route leads to this static site: add a line \"*\" = \"site\" in [routes]"]),
        ("[app]\nname='x'\n[processes.job]\ncommand='x'\nhealth={}\nresponse_timeout='1s'",
         ["5: at 'processes.job.health': is for a process that a route names: add a line \"*\" = \"job\" in [routes], "
          "or take it out",
          "6: at 'processes.job.response_timeout': is for a process that a route names: add a line \"*\" = \"job\" in "
          "[routes], or take it out"]),
    ],
)  # fmt: skip
def test_each_error_says_where_and_what(text: str, problem: list[str]) -> None:
    assert problems(text) == problem


@pytest.mark.parametrize(
    "value", ["1.5", "[1]", '"""a\nb"""', '"a\\u0000"', '"a\\rb"', "2024-01-01", "9" * 30]
)
def test_a_bad_variable_is_refused_and_its_value_not_told(value: str) -> None:
    [problem] = problems(SMALLEST + f"[env]\nTOKEN = {value}")
    assert problem.startswith("6: at 'env.TOKEN': must be ")
    assert "got" not in problem


@pytest.mark.parametrize("path", LATER)
def test_what_a_later_version_brings_is_refused_by_its_name(path: str) -> None:
    where = path.replace("NAME", "staging")
    table, _, key = where.rpartition(".")
    [problem] = problems(SMALLEST + (f"[{table}]\n{key} = 1" if table else f"[{where}.x]\ny = 1"))
    assert f"at '{where}': {LATER[path]} not in this version of Homeport yet; take it out" in problem


@pytest.mark.parametrize("path", ELSEWHERE)
def test_what_is_looked_for_in_the_wrong_place_is_sent_to_the_right_one(path: str) -> None:
    where = path.replace("processes.NAME", "processes.web").replace("NAME", "staging")
    [problem] = problems(f"{SMALLEST}[{where}]")
    assert f"at '{where}': {ELSEWHERE[path]}" in problem


@pytest.mark.parametrize(
    ("strategy", "end"),
    [
        ("bluegreen", 'got "bluegreen"; did you mean "blue-green"?'),
        ("x", 'got "x"'),
    ],
)
def test_a_strategy_that_is_not_there(strategy: str, end: str) -> None:
    [problem] = problems(SMALLEST + f"[rollout]\nstrategy = '{strategy}'")
    assert problem.endswith(end)


def test_errors_of_processes_do_not_hide_behind_errors_of_routes() -> None:
    text = '[app]\nname="x"\n[processes.a]\nstatic="x"\n[routes]\n"*.x" = "a"'
    [problem] = problems(text)  # and no second one, that no route leads to "a"
    assert "wildcard hosts are not in this version of Homeport yet" in problem


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("timeout", "did you mean 'processes.NAME.health.timeout' or 'processes.NAME.liveness.timeout'?"),
        ("user_", 'did you mean "user"?'),
        ("strategy", "did you mean 'rollout.strategy'?"),
        ("x" * 61, "known: command, cpu, exclusive, health, heartbeat, liveness, memory, replicas, "
         "response_timeout, start, start_timeout, static, stop_grace, user"),
        ("static" + "_" * 55, "known: command, cpu, exclusive, health, heartbeat, liveness, memory, replicas, "
         "response_timeout, start, start_timeout, static, stop_grace, user"),
    ],
)  # fmt: skip
def test_what_may_have_been_meant_by_an_unknown_key(key: str, hint: str) -> None:
    [problem] = problems(f"{SMALLEST}{key} = 1")
    assert problem.endswith(f": unknown key; {hint}")


def test_a_route_where_there_is_no_process_to_name() -> None:
    text = '[app]\nname="x"\n[routes]\n"*" = "web"'
    assert problems(text)[-1] == """4: at 'routes."*"': no process "web\""""


@pytest.mark.parametrize(
    ("lines", "meant"),
    [
        ("a.b = 3", '"a.b" = …'),
        ("a.b = {c = 'x', d = 'y'}", '"a.b" = …'),
        (".".join("a" * 100) + " = 'x'", '"a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a…" = …'),
    ],
)
def test_a_host_without_quotes_that_cannot_be_guessed(lines: str, meant: str) -> None:
    [problem] = problems(f"{SMALLEST}[routes]\n{lines}")
    assert problem.endswith(f"a host stands in quotes: {meant}")


def test_a_flood_of_errors_is_counted_but_not_told() -> None:
    text = SMALLEST + "[routes]\n" + "".join(f'"h{n}" = "none{n}"\n' for n in range(3000))
    with pytest.raises(HomeportError) as caught:
        parse(text)
    assert caught.value.sentence == "cannot read homeport.toml: 3000 errors"
    assert len(caught.value.details) == 101
    assert caught.value.details[-1] == "homeport.toml: and 2900 more"


def test_nothing_unprintable_and_nothing_long_gets_into_a_message() -> None:
    key = "x" * 5000
    for text in (f'"\\u001b[31m" = 1\n"{key}" = 2\n' + SMALLEST, SMALLEST + f'user = "\\u001b\\u202e{key}"'):
        for problem in problems(text):
            assert problem.isprintable()
            assert len(problem) < 400
