"""init, down and completion: what they ask a running Homeport, if one runs."""

import json
import tomllib

import click
import pytest
from cli_rig import change, environment

ASGI = "async def app(scope, receive, send): ...\n"
PRODUCTION = "/v1/apps/shop/environments/production"


def status(*environments):
    apps = {}
    for e in environments:
        apps.setdefault(e["app"], []).append(e)
    return {"apps": [{"name": a, "environments": es} for a, es in apps.items()]}


SHOP = environment(
    routes=["shop.example.com", "*"],
    urls=["http://shop.example.com:8080/", "http://10.0.0.5:8080/"],
    instances=[{}, {}],
)


@pytest.fixture
def routes(cli):
    (cli.session.directory / "main.py").write_text(ASGI)

    def make(*arguments):
        output = cli.run("init", *arguments).output
        return tomllib.loads((cli.session.directory / "homeport.toml").read_text())["routes"], output

    return make


@pytest.mark.parametrize("arguments", [(), ("--start", "./serve")])
def test_init_leaves_every_host_to_the_app_that_has_it(cli, routes, arguments):
    cli.client.answers["/v1/status"] = status(SHOP)
    found, output = routes("--name", "blog", *arguments)
    assert found == {"blog.localhost": "web"}
    assert 'shop has "*" in [routes], so blog gets http://blog.localhost:8080/' in output


@pytest.mark.parametrize(
    "others", [None, status(), status(environment(routes=["*/blog"], urls=["http://127.0.0.1/blog"]))]
)
def test_init_takes_every_host_when_nobody_has_it_or_nobody_tells(cli, routes, others):
    if others is not None:
        cli.client.answers["/v1/status"] = others
    found, output = routes("--name", "blog")
    assert found == {"*": "web"} and "localhost" not in output
    assert cli.made[0]["patience"] == 0


def test_init_again_for_the_app_that_has_every_host(cli, routes):
    cli.client.answers["/v1/status"] = status(SHOP)
    assert routes("--name", "shop")[0] == {"*": "web"}


def test_init_describes_every_key_without_a_checkout_or_a_homeport(cli):
    output = cli.run("init", "--keys").output
    assert output.startswith("# homeport.toml") and "start_timeout" in output
    assert not (cli.session.directory / "homeport.toml").exists()


def test_down_says_what_it_stops(cli):
    cli.lifecycle.down = lambda _: {"message": "Homeport is down"}
    cli.client.answers["/v1/status"] = status(
        SHOP, environment("staging"), environment(app="blog", instances=[{}])
    )
    lines = cli.run("down").output.splitlines()
    assert lines == ["stopping 2 of shop production, 1 of blog production", "✓ Homeport is down"]
    stopped = json.loads(cli.run("down", "--json").output)["stopped"]
    assert stopped[0] == {"app": "shop", "environment": "production", "instances": 2}


def test_down_does_not_need_a_control_plane_that_answers(cli):
    cli.lifecycle.down = lambda _: {"message": "Homeport is down"}
    assert cli.run("down").output == "✓ Homeport is down\n"
    assert cli.made[0]["patience"] == 0


@pytest.fixture
def known(cli):
    processes = [{"name": "web", "wanted": 2}, {"name": "worker", "wanted": 1}]
    names = ("staging", "production")
    cli.client.answers |= {
        "/v1/status": status(SHOP, environment(app="blog")),
        "/v1/apps/shop": {"name": "shop", "environments": [environment(n) for n in names]},
        "/v1/apps/shop/releases": [
            {"id": "r4", "state": "failed", "serving": []},
            {"id": "r3", "state": "ready", "serving": ["production"]},
            {"id": "r2", "state": "ready", "serving": ["staging"]},
        ],
        PRODUCTION: environment(processes=processes, change=change()),
        PRODUCTION + "/variables": {"variables": {"ALPHA": "1", "BETA": "2"}},
        PRODUCTION + "/secrets": [{"name": "KEY"}],
        PRODUCTION + "/cron": [{"name": "nightly"}],
        "/v1/apps/shop/environments/staging/variables": {"variables": {"GAMMA": "3"}},
    }
    return cli


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("status --app ", ["shop", "blog"]),
        ("--app s", ["shop"]),
        ("deploy --env ", ["staging", "production"]),
        ("rollback ", ["r2"]),
        ("logs --build ", ["r4", "r3", "r2"]),
        ("logs --process w", ["web", "worker"]),
        ("exec --process wo", ["worker"]),
        ("run --process wo", ["worker"]),
        ("scale ", ["web=2", "worker=1"]),
        ("env unset ", ["ALPHA", "BETA"]),
        ("env unset ALPHA ", ["BETA"]),
        ("env unset --env staging ", ["GAMMA"]),
        ("cancel ", ["c-0123456789"]),
        ("destroy b", ["blog"]),
        ("promote st", ["staging"]),
        ("promote staging pro", ["production"]),
        ("secrets reveal ", ["KEY"]),
        ("cron history ", ["nightly"]),
        ("diff r3 ", ["r4", "r3", "r2"]),
        ("config diff staging ", ["staging", "production"]),
    ],
)
def test_the_shell_completes_names_of_the_running_homeport(known, line, offered):
    assert known.complete(*line.split(" ")) == offered
    assert known.made == [{"patience": 0.0, "timeout": 0.3}]


@pytest.mark.parametrize("line", ["rollback ", "status --app ", "scale ", "env unset "])
def test_the_shell_completes_nothing_where_nobody_answers(cli, line, capsys):
    assert cli.complete(*line.split(" ")) == []
    assert capsys.readouterr() == ("", "")


def test_the_shell_completes_nothing_where_no_app_is_meant(known):
    known.session.app_option = None
    assert known.complete("rollback", "") == []


def test_every_completed_parameter_is_there():
    from homeport.cli.app import COMPLETED, cli

    for path, parameter in COMPLETED:
        command = cli
        for name in path.split():
            command = command.get_command(click.Context(command), name)
        assert parameter in {p.name for p in command.params}, f"{path}: {parameter}"


def test_a_command_that_is_not_there_is_told_with_one_that_is_near(cli):
    assert "'deploy'" in cli.run("depoly", status=2).stderr
    assert "Did you mean" not in cli.run("xyzzy", status=2).stderr
