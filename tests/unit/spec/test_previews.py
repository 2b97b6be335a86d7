"""``[previews]``, and what the environment of a branch comes to."""

import pytest

from homeport.kernel.errors import HomeportError
from homeport.spec.model import Previews, Route, Spec
from homeport.spec.parse import parse

APP = '[app]\nname = "shop"\n[processes.web]\ncommand = "run"\n'
PREVIEWS = '[previews]\ndomain = "preview.example.com"\n'


def read(text: str) -> Spec:
    return parse(APP + text)


def problems(text: str) -> list[str]:
    with pytest.raises(HomeportError) as caught:
        read(text)
    return [detail.removeprefix("homeport.toml:") for detail in caught.value.details]


def test_previews_with_every_key_and_with_none() -> None:
    text = '[previews]\ndomain = "Preview.example.com"\nttl = "3d"\nsleep_after = "30m"\nmost = 5\n'
    assert read(text).previews == Previews("preview.example.com", 3 * 86400.0, 1800.0, 5)
    assert read("[previews]").previews == Previews()
    assert read("[previews]\nsleep_after = false").previews == Previews()
    assert read("").previews is None


def test_a_preview_is_the_app_on_a_host_of_its_own() -> None:
    spec = read(f"""[processes.guide]
static = "g"
[routes]
"shop.example.com" = "web"
"example.com" = "web"
"shop.example.com/guide" = "guide"
{PREVIEWS}[environments.staging]
replicas = {{ web = 3 }}
""")
    preview = spec.for_environment("preview-fix-42")
    assert preview.routes == (
        Route("fix-42.shop.preview.example.com", "/", "web"),
        Route("fix-42.shop.preview.example.com", "/guide", "guide"),
    )
    assert (preview.processes, preview.environments) == (spec.processes, ())
    assert preview.default_environment == spec.default_environment
    assert preview.for_environment("preview-fix-42") == preview
    assert spec.for_environment("staging").process("web").replicas == 3


def test_a_preview_runs_what_the_environment_preview_says() -> None:
    spec = read(f"""[routes]
"*" = "web"
{PREVIEWS}[environments.staging]
domains = ["staging.example.com", "other.example.com"]
variables = {{ A = "staging" }}
[environments.preview]
inherits = "staging"
replicas = {{ web = 2 }}
""")
    preview = spec.for_environment("preview-x")
    assert preview.routes == (Route("x.shop.preview.example.com", "/", "web"),)
    assert preview.process("web").replicas == 2
    assert [variable.value for variable in preview.variables] == ["staging"]


def test_the_environment_preview_may_route_any_host() -> None:
    spec = read(f"""[processes.api]
command = "api"
[routes]
"a.example.com" = "web"
"b.example.com" = "api"
{PREVIEWS}[environments.preview.routes]
"*" = "web"
"*/api" = "api"
""")
    host = "x.shop.preview.example.com"
    assert spec.for_environment("preview-x").routes == (Route(host, "/", "web"), Route(host, "/api", "api"))


def test_what_is_no_preview() -> None:
    spec = read(f"{PREVIEWS}[environments.preview-declared]\n")
    assert spec.for_environment("preview-declared") is spec.environments[0][1]
    for name in ("preview", "previews", "production", "xpreview-a"):
        assert spec.for_environment(name) is spec
    without = read("")
    assert without.for_environment("preview-x") is without


def test_a_preview_of_workers_has_no_routes() -> None:
    spec = parse(f"[app]\nname = 'a'\n[processes.worker]\ncommand = 'x'\n{PREVIEWS}")
    assert spec.for_environment("preview-x").routes == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[previews]\ndomain = 'http://a.b'\nttl = 1\nsleep_after = true\nmost = 0\nfoo = 1",
         ["6: at 'previews.domain': must be a host without a scheme, such as \"a.b\"",
          "7: at 'previews.ttl': must be a duration from 1s to 365d, such as \"30s\" or \"10m\", got 1",
          "8: at 'previews.sleep_after': must be a duration from 1s to 30d, such as \"30s\" or \"10m\", got true (false "
          "means: never)",
          "9: at 'previews.most': must be a whole number from 1 to 1000, got 0",
          "10: at 'previews.foo': unknown key; known: domain, most, sleep_after, ttl"]),
        ("[previews]\ndomain = '10.0.0.1'",
         ["6: at 'previews.domain': must be a domain, such as \"preview.example.com\", got \"10.0.0.1\""]),
        ("[previews]\ndomain = '*.example.com'",
         ["6: at 'previews.domain': must be a whole host, or \"*\" for any host, got \"*.example.com\": wildcard hosts "
          "are not in this version of Homeport yet"]),
        ("[previews]\ndomain = '*'",
         ["6: at 'previews.domain': must be one host without a path, such as \"shop.example.com\", got \"*\""]),
        (f"[previews]\ndomain = '{'a' * 60}.{'b' * 60}.{'c' * 60}'",
         ["6: at 'previews.domain': must be a host of at most 170 characters, got 182"]),
        ("[preview]\n[previews]", ["5: at 'preview': unknown key; did you mean \"previews\"?"]),
        ("[[previews]]", ["5: at 'previews': must be a table, got an array: write [previews], not [[…]]"]),
        ("[previews]\n[environments.preview]\ndomains = ['a.b']",
         ["7: at 'environments.preview.domains': have no use: each preview has a host of its own, below the domain of "
          "[previews]; take them out"]),
        ("[previews]\n[environments.preview.routes]\n'*' = 'web'\n'a.b' = 'web'\n'*/x' = 'web'",
         ["8: at 'environments.preview.routes.\"a.b\"': must be for any host, such as \"*\": each preview has a host of "
          "its own, below the domain of [previews]"]),
        ("[processes.api]\ncommand = 'x'\n[routes]\n'a.b' = 'web'\n'c.d' = 'api'\n[previews]",
         ["10: at 'previews': cannot stand for the hosts of the app's routes, which lead \"/\" to \"web\" on one and to "
          '"api" on another; write [environments.preview.routes] instead, with * for the host']),
    ],
)  # fmt: skip
def test_each_error_says_where_and_what(text: str, told: list[str]) -> None:
    assert problems(text) == told


def test_an_environment_called_preview_may_have_hosts_where_there_are_no_previews() -> None:
    spec = read("[environments.preview]\ndomains = ['a.b']\n")
    assert spec.for_environment("preview").routes == (Route("a.b", "/", "web"),)
