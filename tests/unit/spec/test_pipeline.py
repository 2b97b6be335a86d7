"""``[pipeline]`` and its stages: what they come to, and each thing that is refused, where it stands."""

import pytest

from homeport.kernel.errors import HomeportError
from homeport.spec.model import Budget, Check, Pipeline, SmokeRequest, Spec, Stage
from homeport.spec.parse import parse

APP = '[app]\nname = "shop"\n[processes.web]\ncommand = "run"\n'
STAGE = "[[pipeline.stage]]\n"
DEPLOY = f'{STAGE}kind = "deploy"\n'


def read(text: str) -> Spec:
    return parse(APP + text)


def stages(text: str) -> tuple[Stage, ...]:
    return read(text).pipeline.stages


def problems(text: str) -> list[str]:
    with pytest.raises(HomeportError) as caught:
        read(text)
    return [detail.removeprefix("homeport.toml:") for detail in caught.value.details]


def test_every_stage_with_every_key() -> None:
    pipeline = read("""[environments.staging]
domains = ["staging.example.com", "other.example.com"]
[environments.production]
[pipeline]
branch = " release/1.x "
on_newer = "supersede"
[[pipeline.stage]]
kind = "check"
name = "checks"
commands = { lint = "ruff check .", tests = { command = "pytest -q", timeout = "5m" } }
[[pipeline.stage]]
kind = "build"
budgets = { "dist/**/*.js" = "300KB", "static/app.css" = { most = "50KB", gzip = true } }
[[pipeline.stage]]
kind = "deploy"
environment = "staging"
[[pipeline.stage]]
kind = "smoke"
retries = 2
command = "bin/smoke"
timeout = "1m"
requests = [
  { path = "/health" },
  { path = "/orders?a=/b//c://d", method = "POST", body = "{}\\n", headers = { "Content-Type" = "application/json" }, status = [200, 201], contains = "order", expect_headers = { "Content-Type" = "json" }, json = { "order.id" = 1, a = "x", b = 1.5, c = true }, within = "2s", host = "Other.example.com" },
]
[[pipeline.stage]]
kind = "approve"
people = ["anna", "ben"]
own = false
timeout = "24h"
items = ["support was told"]
[[pipeline.stage]]
kind = "deploy"
environment = "production"
[[pipeline.stage]]
kind = "verify"
watch_for = "1m"
command = "bin/verify"
[[pipeline.stage.requests]]
path = "/"
[[pipeline.stage.requests]]
path = "/health"
""").pipeline
    assert pipeline == Pipeline(
        (
            Stage(
                "check", "checks", checks=(Check("lint", "ruff check ."), Check("tests", "pytest -q", 300.0))
            ),
            Stage(
                "build",
                "build",
                budgets=(Budget("dist/**/*.js", 300_000), Budget("static/app.css", 50_000, True)),
            ),
            Stage("deploy", "deploy staging", "staging"),
            Stage(
                "smoke",
                "smoke staging",
                "staging",
                retries=2,
                command="bin/smoke",
                timeout=60.0,
                requests=(
                    SmokeRequest("/health"),
                    SmokeRequest(
                        "/orders?a=/b//c://d",
                        "POST",
                        "other.example.com",
                        (("Content-Type", "application/json"),),
                        "{}\n",
                        (200, 201),
                        "order",
                        (("Content-Type", "json"),),
                        (("order.id", 1), ("a", "x"), ("b", 1.5), ("c", True)),
                        2.0,
                    ),
                ),
            ),
            Stage(
                "approve",
                "approve production",
                "production",
                people=("anna", "ben"),
                own=False,
                timeout=86400.0,
                items=("support was told",),
            ),
            Stage("deploy", "deploy production", "production"),
            Stage(
                "verify",
                "verify production",
                "production",
                watch_for=60.0,
                command="bin/verify",
                requests=(SmokeRequest("/"), SmokeRequest("/health")),
            ),
        ),
        branch="release/1.x",
        on_newer="supersede",
    )


def test_an_app_without_a_pipeline_has_no_stages_of_its_own() -> None:
    assert read("").pipeline == read("[pipeline]").pipeline == Pipeline()


def test_environments_have_the_pipeline_of_the_app() -> None:
    spec = read(f"[environments.a]\n{DEPLOY}")
    assert spec.for_environment("a").pipeline is spec.pipeline


def test_a_deploy_is_to_the_environment_of_the_app_where_it_names_none() -> None:
    assert stages(DEPLOY) == (Stage("deploy", "deploy production", "production"),)
    spec = parse(f'[app]\nname = "a"\nenvironment = "qa"\n[processes.web]\ncommand = "x"\n{DEPLOY}')
    assert spec.pipeline.stages == (Stage("deploy", "deploy qa", "qa"),)


def test_stages_are_for_the_deploy_before_and_approvals_for_the_one_after() -> None:
    found = stages(f"""[environments.staging]
{STAGE}kind = "approve"
{DEPLOY}environment = "staging"
{STAGE}kind = "smoke"
command = "x"
{STAGE}kind = "approve"
{STAGE}kind = "verify"
{DEPLOY}
{STAGE}kind = "approve"
{STAGE}kind = "smoke"
environment = "staging"
command = "x"
{STAGE}kind = "verify"
""")
    assert [stage.name for stage in found] == [
        "approve staging",
        "deploy staging",
        "smoke staging",
        "approve production",
        "verify staging",
        "deploy production",
        "approve production 2",
        "smoke staging 2",
        "verify production",
    ]
    assert [stage.name.split()[1] for stage in found] == [stage.environment for stage in found]
    assert found[0].timeout == 7 * 86400


def test_names_that_are_not_given_give_way_to_those_that_are() -> None:
    check = f'{STAGE}kind = "check"\ncommands = "x"\n'
    found = stages(f'{check}{check}{check}name = "check"\n{check}name = " check 3"\n{check}')
    assert [stage.name for stage in found] == ["check 2", "check 4", "check", "check 3", "check 5"]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("pytest -q", "pytest"),
        (".venv/bin/ruff check .", "ruff"),
        ("./run.sh", "run-sh"),
        ("FOO=1 pytest", "FOO-1"),
        ("( x )", "command"),
        ("x" * 50, "x" * 40),
    ],
)
def test_a_single_command_is_called_by_its_first_word(line: str, name: str) -> None:
    [stage] = stages(f'{STAGE}kind = "check"\ncommands = "{line}"')
    assert stage.checks == (Check(name, line),)


# Of each text the first line is line 5 of the file.
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[pipeline]\nbranch = ''", ["6: at 'pipeline.branch': must be text in quotes, got \"\""]),
        ("[pipeline]\non_newer = 'drop'", ["6: at 'pipeline.on_newer': must be \"queue\" or \"supersede\", got \"drop\""]),
        ("[pipeline]\nstages = []", ["6: at 'pipeline.stages': unknown key; did you mean \"stage\"?"]),
        ("[pipeline.stage]\nkind = 'build'",
         ["5: at 'pipeline.stage': must be an array of tables, got a table: write [[pipeline.stage]], with two "
          "brackets"]),
        ("[pipeline]\nstage = ['build', 1]",
         ["6: at 'pipeline.stage[1]': must be a table, got \"build\"", "6: at 'pipeline.stage[2]': must be a table, got 1"]),
        ("pipeline = 1", ["5: at 'processes.web.pipeline': unknown key; known: command, cpu, exclusive, health, "
                          "heartbeat, liveness, memory, replicas, response_timeout, start, start_timeout, static, "
                          "stop_grace, user"]),
        ("[[pipeline]]", ["5: at 'pipeline': must be a table, got an array: write [pipeline], not [[…]]"]),
        (STAGE, ["5: at 'pipeline.stage[1]': needs a key \"kind\""]),
        (f"{STAGE}{STAGE}kind = 'biuld'\nfoo = 1",
         ["5: at 'pipeline.stage[1]': needs a key \"kind\"",
          '7: at \'pipeline.stage[2].kind\': must be "check" or "build" or "deploy" or "smoke" or "approve" or '
          '"verify", got "biuld"',
          "8: at 'pipeline.stage[2].foo': unknown key; known: budgets, command, commands, environment, items, kind, "
          "name, own, people, requests, retries, timeout, watch_for"]),
        (f"{STAGE}kind = 'build'\ncommands = 'x'\ntimeout = '1m'\nrequests = []\nenvironment = 'nope'",
         ["7: at 'pipeline.stage[1].commands': is for \"check\", and the kind of this stage is \"build\"",
          "8: at 'pipeline.stage[1].timeout': is for \"smoke\", \"approve\" or \"verify\", and the kind of this stage is "
          '"build"',
          "9: at 'pipeline.stage[1].requests': is for \"smoke\" or \"verify\", and the kind of this stage is \"build\"",
          "10: at 'pipeline.stage[1].environment': is for \"deploy\", \"smoke\", \"approve\" or \"verify\", and the kind "
          'of this stage is "build"']),
        (f"{DEPLOY}retries = 'x'",
         ["7: at 'pipeline.stage[1].retries': is for \"smoke\", and the kind of this stage is \"deploy\""]),
        (f"{STAGE}kind = 'check'", ["5: at 'pipeline.stage[1]': needs a key \"commands\""]),
        (f"{STAGE}kind = 'check'\ncommands = []",
         ["7: at 'pipeline.stage[1].commands': must be a shell command, or a table of them by name, such as "
          '{ lint = "ruff check .", tests = "pytest -q" }, got an array']),
        (f"{STAGE}kind = 'check'\ncommands = {{}}",
         ["7: at 'pipeline.stage[1].commands': must be a shell command, or a table of them by name, such as "
          '{ lint = "ruff check .", tests = "pytest -q" }, got an empty one']),
        (f"{STAGE}kind = 'check'\ncommands = ' '",
         ["7: at 'pipeline.stage[1].commands': must be a shell command, got an empty one; leave the key out for none"]),
        (f"{STAGE}kind = 'check'\n[pipeline.stage.commands]\na = 1\nb = {{ timeout = 1 }}\n'c d' = 'x'\n"
         "e = { comand = 'x', command = 'y' }",
         ["8: at 'pipeline.stage[1].commands.a': must be a shell command in quotes, got 1",
          "9: at 'pipeline.stage[1].commands.b.timeout': must be a duration from 1s to 24h, such as \"30s\" or \"10m\", "
          "got 1",
          "9: at 'pipeline.stage[1].commands.b': needs a key \"command\"",
          "10: at 'pipeline.stage[1].commands.\"c d\"': must be a name of at most 40 letters, digits, \"-\" and \"_\", a "
          "letter or digit first, such as lint",
          "11: at 'pipeline.stage[1].commands.e.comand': unknown key; did you mean \"command\"?"]),
        (f"{STAGE}kind = 'build'\nbudgets = 1", ["7: at 'pipeline.stage[1].budgets': must be a table, got 1"]),
        (f"{STAGE}kind = 'build'\n[[pipeline.stage.budgets]]",
         ["7: at 'pipeline.stage[1].budgets': must be a table, got an array: write [pipeline.stage.budgets], not [[…]]"]),
        (f"{STAGE}kind = 'build'\n[pipeline.stage.budgets]\na = 5\n'/b' = '1KB'\n'c/**.js' = '1KB'\n'd/../..' = '1KB'\n"
         "e = { gzip = 1 }\n'f//g' = {}\nh = { most = '0B' }",
         ["8: at 'pipeline.stage[1].budgets.a': must be a size from 1B to 1TB, such as \"512MB\" or \"2GB\", got 5",
          "9: at 'pipeline.stage[1].budgets.\"/b\"': must be relative to the top of the release, without \"..\", \"\\\" and "
          'empty parts, got "/b"',
          "10: at 'pipeline.stage[1].budgets.\"c/**.js\"': must have \"**\" as a whole part, such as \"dist/**/*.js\", got "
          '"c/**.js"',
          "11: at 'pipeline.stage[1].budgets.\"d/../..\"': must be relative to the top of the release, without \"..\", "
          '"\\" and empty parts, got "d/../.."',
          "12: at 'pipeline.stage[1].budgets.e.gzip': must be true or false, got 1",
          "12: at 'pipeline.stage[1].budgets.e': needs a key \"most\"",
          "13: at 'pipeline.stage[1].budgets.\"f//g\"': must be relative to the top of the release, without \"..\", \"\\\" "
          'and empty parts, got "f//g"',
          "14: at 'pipeline.stage[1].budgets.h.most': must be a size from 1B to 1TB, such as \"512MB\" or \"2GB\", got "
          '"0B"']),
        (f"[environments.staging]\n{DEPLOY}environment = 'stagin'\n{DEPLOY}environment = 'qa'",
         ["8: at 'pipeline.stage[1].environment': no environment \"stagin\" in this file; did you mean \"staging\"?",
          "11: at 'pipeline.stage[2].environment': no environment \"qa\" in this file; known: production, staging"]),
        (f"{STAGE}kind = 'smoke'\ncommand = 'x'\n{STAGE}kind = 'verify'\n{STAGE}kind = 'approve'",
         ["5: at 'pipeline.stage[1]': needs a \"deploy\" stage before it, or an \"environment\"",
          "8: at 'pipeline.stage[2]': needs a \"deploy\" stage before it, or an \"environment\"",
          "10: at 'pipeline.stage[3]': needs a \"deploy\" stage, or an \"environment\""]),
        (f"{STAGE}kind = 'smoke'\ncommand = 'x'\n{DEPLOY}",
         ["5: at 'pipeline.stage[1]': needs a \"deploy\" stage before it, or an \"environment\""]),
        (f"{STAGE}kind = 'smokee'\n{STAGE}kind = 'verify'",
         ['6: at \'pipeline.stage[1].kind\': must be "check" or "build" or "deploy" or "smoke" or "approve" or "verify", '
          'got "smokee"; did you mean "smoke"?']),
        (f"{DEPLOY}environment = 'x'\n{STAGE}kind = 'smoke'\ncommand = 'x'",
         ["7: at 'pipeline.stage[1].environment': no environment \"x\" in this file; known: production"]),
        (f"{DEPLOY}{STAGE}kind = 'build'\n{DEPLOY}{STAGE}kind = 'build'",
         ["5: at 'pipeline.stage[1]': must come after the build, which is 'pipeline.stage[2]' in line 7",
          "11: at 'pipeline.stage[4]': is a second build: 'pipeline.stage[2]' in line 7 makes the release"]),
        (f"{DEPLOY}name = 'a'\n{DEPLOY}name = 'a'\n{DEPLOY}name = ''",
         ["10: at 'pipeline.stage[2].name': is the same as 'pipeline.stage[1].name' in line 7",
          "13: at 'pipeline.stage[3].name': must be text in quotes, got \"\""]),
        (f"{STAGE}kind = 'approve'\npeople = []\nitems = ['a', 'a']\n{DEPLOY}",
         ["7: at 'pipeline.stage[1].people': must be an array of people, such as [\"anna\", \"ben\"], got an empty one",
          "8: at 'pipeline.stage[1].items': must name each of the items once: \"a\" is there twice"]),
        (f"{STAGE}kind = 'approve'\npeople = 'anna'\nitems = ['a', 1, '']\ntimeout = '0s'\n{DEPLOY}",
         ["7: at 'pipeline.stage[1].people': must be an array of people, such as [\"anna\", \"ben\"], got \"anna\"",
          "8: at 'pipeline.stage[1].items[2]': must be text in quotes, got 1",
          "8: at 'pipeline.stage[1].items[3]': must be text in quotes, got \"\"",
          "9: at 'pipeline.stage[1].timeout': must be a duration from 1s to 90d, such as \"30s\" or \"10m\", got \"0s\""]),
        (f"{DEPLOY}{STAGE}kind = 'smoke'", ["7: at 'pipeline.stage[2]': needs \"requests\", a \"command\" or both"]),
        (f"{DEPLOY}{STAGE}kind = 'smoke'\nrequests = []",
         ["9: at 'pipeline.stage[2].requests': must hold a request, such as { path = \"/health\" }"]),
        (f"{DEPLOY}{STAGE}kind = 'smoke'\nrequests = {{ path = '/' }}",
         ["9: at 'pipeline.stage[2].requests': must be an array of tables, got a table: write "
          "[[pipeline.stage.requests]], with two brackets"]),
        ("[environments.a.pipeline]\nbranch = 'x'\n[environments.a.previews]",
         ["5: at 'environments.a.pipeline': is the same for all environments: write [pipeline]",
          "7: at 'environments.a.previews': is the same for all environments: write [previews]; what previews run is "
          "[environments.preview]"]),
    ],
)  # fmt: skip
def test_each_error_says_where_and_what(text: str, told: list[str]) -> None:
    assert problems(text) == told


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ("", [": needs a key \"path\""]),
        ("path = 'health'", [".path: must be a URL path that begins with \"/\", such as \"/health\", got \"health\""]),
        ("path = '//evil.example.com/x'",
         [".path: must be a path of the app that begins with one \"/\", without scheme and host, such as \"/health\", got "
          '"//evil.example.com/x"']),
        ("path = 'https://evil.example.com/x'",
         [".path: must be a path of the app that begins with one \"/\", without scheme and host, such as \"/health\", got "
          '"https://evil.example.com/x"']),
        (r"path = '/\evil.example.com'",
         [".path: must be a path of the app that begins with one \"/\", without scheme and host, such as \"/health\", got "
          r'"/\\evil.example.com"']),
        (r"path = '/a\b'", [r'.path: must hold no "\" (write %5C), got "/a\\b"']),
        (r'path = "/a\r\nHost: evil"',
         [".path: must hold no spaces, control characters or letters beyond ASCII (write %20 and the like), got "
          r'"/a\r\nHost: evil"']),
        ("path = '/'\nmethod = 'post'",
         ['.method: must be "GET" or "HEAD" or "POST" or "PUT" or "PATCH" or "DELETE" or "OPTIONS", got "post"']),
        ("path = '/'\nhost = 'http://a.b'", [".host: must be a host without a scheme, such as \"a.b\""]),
        ("path = '/'\nhost = 'a.b/c'",
         [".host: must be one host without a path, such as \"shop.example.com\", got \"a.b/c\""]),
        ("path = '/'\nhost = '*'", [".host: must be one host without a path, such as \"shop.example.com\", got \"*\""]),
        ("path = '/'\nhost = ''", ['.host: must be a host, such as "shop.example.com", or "*" for any host']),
        ("path = '/'\nhost = 'a.b:80'",
         [".host: must be a host name without a port (Homeport's own ports are set by `homeport up`), got \"a.b:80\""]),
        ("path = '/'\nheaders = []",
         [".headers: must be a table of headers, such as { Accept = \"text/html\" }, got an array"]),
        ("path = '/'\nheaders = { Host = 'x', content-length = '1', 'A b' = 'x', A = 1, B = \"x\\r\\nC: d\" }",
         [".headers.Host: must not be among the headers: write host = \"…\" in the request",
          ".headers.content-length: must not be among the headers: Homeport sets it itself",
          ".headers.\"A b\": must be the name of a header, such as \"Content-Type\"; one with other than letters, digits "
          'and "-" stands in quotes',
          ".headers.A: must be text in quotes without control characters and letters beyond ASCII, got 1",
          ".headers.B: must be text in quotes without control characters and letters beyond ASCII, got "
          r'"x\r\nC: d"']),
        ("path = '/'\nexpect_headers = { Host = 'x', a = '1', A = '2' }",
         [".expect_headers: must name each once: \"a\" and \"A\" are the same"]),
        ("path = '/'\nstatus = 200", [".status: must be an array of statuses, such as [200, 201], got 200"]),
        ("path = '/'\nstatus = [200, '201', 99]",
         [".status[2]: must be a whole number from 200 to 599, got \"201\"",
          ".status[3]: must be a whole number from 200 to 599, got 99"]),
        ("path = '/'\nstatus = [200, 200]", [".status: must name each of the statuses once: 200 is there twice"]),
        ("path = '/'\nbody = 1", [".body: must be text in quotes, got 1"]),
        ("path = '/'\nbody = '" + "x" * 64_001 + "'", [".body: must be of at most 64,000 bytes, got 64,001"]),
        ("path = '/'\ncontains = ''", [".contains: must not be empty: leave the key out"]),
        ("path = '/'\njson = { a.b = 1, c = nan, d = [], e = 1979-05-27, 'f..g' = 1 }",
         [".json.a: must be a string, a number, true or false, got a table: a path with dots stands in quotes, such as "
          '"order.id" = 1',
          ".json.c: must be a string, a number, true or false, got nan",
          ".json.d: must be a string, a number, true or false, got an array",
          ".json.e: must be a string, a number, true or false, got 1979-05-27",
          ".json.\"f..g\": must be a JSON path, such as \"data.orders.0.rate\", got \"f..g\""]),
        ("path = '/'\nwithin = 2",
         [".within: must be a duration from 1ms to 5m, such as \"30s\" or \"10m\", got 2"]),
        ("path = '/'\nurl = '/'", [".url: unknown key; did you mean 'rollout.signals.NAME.url' or "
          "'database.NAME.url'?"]),
    ],
)  # fmt: skip
def test_what_a_request_may_not_say(request_: str, told: list[str]) -> None:
    one = "[[pipeline.stage.requests]]\n"
    found = problems(f"{DEPLOY}{STAGE}kind = 'smoke'\n{one}path = '/'\n{one}{request_}")
    start = "at 'pipeline.stage[2].requests[2]"
    assert [
        problem.partition(": ")[2].replace(start, "").replace("': ", ": ", 1) for problem in found
    ] == told
    assert all(int(problem.partition(":")[0]) >= 11 for problem in found)


def test_requests_stay_with_the_hosts_of_the_environment() -> None:
    smoke = f"{STAGE}kind = 'smoke'\nrequests = [\n{{ path = '/', host = '%s' }},\n{{ path = '/' }},\n]\n"
    hosts = "[routes]\n'shop.example.com' = 'web'\n[environments.qa]\ndomains = ['qa.example.com']\n"
    text = f"{hosts}{DEPLOY}{smoke % 'qa.example.com'}{DEPLOY}environment = 'qa'\n{smoke % 'qa.example.com'}"
    assert problems(text) == [
        '14: at \'pipeline.stage[2].requests[1].host\': no route of "production" is for "qa.example.com"; did you '
        'mean "shop.example.com"?'
    ]
    assert len(stages(f"{DEPLOY}{smoke % 'any.example.com'}")) == 2  # where the route is for any host


def test_requests_to_an_app_without_routes_have_nowhere_to_go() -> None:
    text = f"[routes]\n{DEPLOY}{STAGE}kind = 'verify'\nrequests = [{{ path = '/' }}]"
    assert problems(text) == [
        "10: at 'pipeline.stage[2].requests': have nowhere to go: no route leads to \"production\""
    ]


def test_hosts_are_not_judged_by_routes_that_are_in_doubt() -> None:
    text = (
        f"[routes]\n'a.b' = 'wbe'\n{DEPLOY}{STAGE}kind = 'smoke'\nrequests = [{{ path = '/', host = 'c.d' }}]"
    )
    [problem] = problems(text)
    assert "no process" in problem


def test_environments_are_not_judged_while_that_of_the_app_is_in_doubt() -> None:
    with pytest.raises(HomeportError) as caught:
        parse(
            f"{APP.replace('[proc', 'environment = 1' + chr(10) + '[proc')}{DEPLOY}environment = 'live'\n{DEPLOY}"
        )
    [detail] = caught.value.details
    assert "at 'app.environment'" in detail


def test_how_much_there_may_be() -> None:
    many = "".join(f"c{n} = 'x'\n" for n in range(60))
    check = f"{STAGE}kind = 'check'\n[pipeline.stage.commands]\n{many}"
    assert problems(check * 2) == [
        "5: at 'pipeline.stage': have 120 commands in all; at most 100 are possible"
    ]
    budgets = "".join(f"f{n} = '1KB'\n" for n in range(101))
    assert problems(f"{STAGE}kind = 'build'\n[pipeline.stage.budgets]\n{budgets}") == [
        "5: at 'pipeline.stage': have 101 budgets in all; at most 100 are possible"
    ]
    requests = "{ path = '/' }, " * 101
    smoke = f"{STAGE}kind = 'smoke'\nrequests = [{requests}]\n"
    assert problems(DEPLOY + smoke * 2) == [
        "5: at 'pipeline.stage': have 202 requests in all; at most 200 are possible"
    ]
    headers = "".join(f"h{n} = 'x'\n" for n in range(51))
    one = f"{DEPLOY}{STAGE}kind = 'smoke'\n[[pipeline.stage.requests]]\npath = '/'\n"
    assert problems(f"{one}[pipeline.stage.requests.headers]\n{headers}") == [
        "11: at 'pipeline.stage[2].requests[1].headers': must be at most 50 headers, got 51"
    ]
    assert problems(DEPLOY * 51) == ["5: at 'pipeline.stage': are 51 stages; at most 50 are possible"]
    fits = f"{STAGE}kind = 'check'\n[pipeline.stage.commands]\n" + "".join(
        f"c{n} = 'x'\n" for n in range(100)
    )
    assert len(stages(fits + DEPLOY * 49)) == 50
