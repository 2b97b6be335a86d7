"""Previews by the command line: made, asleep, woken by a request, gone."""

import itertools
import os
import signal
import threading

import pytest

PREVIEWS = """
[previews]
ttl = "1h"
sleep_after = "2s"
most = 3
[environments.production]
"""
NUMBERS = itertools.count(1)


@pytest.fixture
def shop(homeport):
    """An app in production, with a branch feature/hats that shows another version."""
    app = homeport.app(f"shop{next(NUMBERS)}")
    app.write("one", replicas=1, more=PREVIEWS)
    homeport.deploy(app)
    app.git("checkout", "-q", "-b", "feature/hats")
    app.write("hats", replicas=1, more=PREVIEWS)
    yield app
    homeport.run("destroy", app.name, "--yes", app.name)


@pytest.fixture(scope="module")
def known(homeport):
    """An app without any preview."""
    app = homeport.app("known")
    app.write("one", replicas=1, more=PREVIEWS)
    app.git("branch", "feature/hats")
    homeport.deploy(app)
    return app


def host_of(app):
    return f"feature-hats.{app.name}.localhost"


def show(homeport, app, name="feature-hats"):
    return homeport.json("preview", "show", name, cwd=app.directory, status=None)


def await_sleep(homeport, app):
    homeport.wait(lambda: show(homeport, app)["state"] == "asleep", what="the preview sleeps")


def ask_at_once(homeport, app, count):
    """What ``count`` requests at once are answered: (status, body)."""
    answers = []

    def ask():
        try:
            answers.append(homeport.get("/", host=host_of(app), timeout=40)[:2])
        except OSError as e:
            answers.append((0, repr(e)))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_a_preview_from_its_branch_to_its_end(homeport, shop):
    made = homeport.run("preview", "create", "feature/hats", cwd=shop.directory)
    assert "feature-hats of feature/hats" in made.stdout and host_of(shop) in made.stdout
    assert homeport.get("/", host=host_of(shop))[:2] == (200, "hats")
    assert homeport.get("/", host=shop.host)[1] == "one", "production is untouched"
    [listed] = homeport.json("preview", "list", cwd=shop.directory)
    assert listed["branch"] == "feature/hats" and listed["environment"] == "preview-feature-hats"

    shop.write("caps", replicas=1, more=PREVIEWS)
    homeport.run("preview", "create", "feature/hats", cwd=shop.directory)
    assert homeport.get("/", host=host_of(shop))[1] == "caps"
    assert len(homeport.json("preview", "list", cwd=shop.directory)) == 1

    (shop.directory / "app.py").write_text((shop.directory / "app.py").read_text().replace("caps", "dirt"))
    homeport.run("preview", "create", "feature/hats", "--dirty", cwd=shop.directory)
    assert homeport.get("/", host=host_of(shop))[1] == "dirt"

    homeport.run("preview", "extend", "feature-hats", "--ttl", "5d12h", cwd=shop.directory)
    assert "in 5 d" in homeport.run("preview", "list", cwd=shop.directory).stdout
    gone = homeport.run("preview", "remove", "feature-hats", cwd=shop.directory)
    assert "is gone" in gone.stdout
    assert homeport.get("/", host=host_of(shop))[0] == 404
    assert not any("preview-" in name for name in homeport.pids().values())
    assert homeport.get("/", host=shop.host)[1] == "one"


def test_it_sleeps_and_every_request_that_wakes_it_is_answered(homeport, shop):
    homeport.run("preview", "create", "feature/hats", cwd=shop.directory)
    for count in (1, 20):
        await_sleep(homeport, shop)
        homeport.wait(
            lambda: not any(n.startswith(f"{shop.name}.preview-") for n in homeport.pids().values())
        )
        assert "asleep" in homeport.run("status", cwd=shop.directory).stdout
        assert ask_at_once(homeport, shop, count) == [(200, "hats")] * count
    events = homeport.json("events", "-n", "100", cwd=shop.directory)
    assert sum(e["kind"] == "preview.awake" for e in events) == 2
    assert not any(e["kind"] in ("instance.crashed", "edge.healed") for e in events)


def test_a_deploy_to_one_that_sleeps_wakes_it(homeport, shop):
    homeport.run("preview", "create", "feature/hats", cwd=shop.directory)
    await_sleep(homeport, shop)
    shop.write("caps", replicas=1, more=PREVIEWS)
    homeport.run("preview", "create", "feature/hats", cwd=shop.directory)
    assert show(homeport, shop)["state"] in ("serving", "asleep")
    assert homeport.get("/", host=host_of(shop), timeout=40)[1] == "caps"


def test_a_control_plane_that_is_killed_wakes_it_when_it_is_back(homeport, shop):
    homeport.run("preview", "create", "feature/hats", cwd=shop.directory)
    await_sleep(homeport, shop)
    answers = []
    asking = threading.Thread(target=lambda: answers.extend(ask_at_once(homeport, shop, 5)))
    os.kill(homeport.pid_of("serve"), signal.SIGKILL)
    asking.start()
    asking.join()
    assert answers == [(200, "hats")] * 5


def test_one_that_does_not_start_any_more_says_so_and_the_request_is_told_to_come_again(homeport, shop):
    shop.write("hats", replicas=1, more=PREVIEWS, extra="open('go.txt').close()")
    (shop.directory / "go.txt").write_text("go")
    shop.commit("with its file")
    homeport.run("preview", "create", "feature/hats", cwd=shop.directory)
    await_sleep(homeport, shop)
    release = show(homeport, shop)["release"]
    (homeport.data / "releases" / shop.name / release / "go.txt").unlink()
    status, _, headers = homeport.get("/", host=host_of(shop), timeout=60)
    assert status == 503 and "retry-after" in headers
    told = homeport.wait(lambda: (found := show(homeport, shop))["state"] == "failed" and found["problem"])
    assert told.startswith("cannot ")
    assert (
        "expires in"
        in homeport.run("preview", "show", "feature-hats", cwd=shop.directory, status=None).stdout
    )


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("create", "no-such-branch"), 4, "cannot find commit no-such-branch"),
        (("create", "feature/hats", "--name", "No Name"), 3, "cannot name a preview"),
        (("create", "feature/hats", "--name", "preview-x"), 3, "leave out the preview-"),
        (("create", "feature/hats", "--ttl", "0s"), 3, "cannot have a preview live 0 seconds"),
        (("create", "feature/hats", "--ttl", "soon"), 3, "cannot read --ttl"),
        (("create", "feature/hats", "--env", "preview-x"), 2, "--env"),
        (("show", "nothing"), 4, "cannot find preview"),
        (("remove", "nothing"), 4, "cannot find preview"),
        (("remove", "No Name"), 3, "cannot use"),
        (("extend", "nothing", "--ttl", "1h"), 4, "cannot find preview"),
    ],
)
def test_bad_input_is_told(homeport, known, arguments, status, told):
    done = homeport.run("preview", *arguments, cwd=known.directory, status=status)
    assert told in done.stderr


def test_an_app_without_previews_is_told_what_to_write(homeport):
    app = homeport.app("plain")
    app.write("one", replicas=1)
    app.git("branch", "hats")
    done = homeport.run("preview", "create", "hats", cwd=app.directory, status=3)
    assert "[previews]" in done.stderr and "domain" in done.stderr


def test_an_environment_goes_alone_and_production_does_not(homeport):
    app = homeport.app("alone")
    app.write("one", replicas=1, more='[environments.staging]\ndomains = ["staging.alone.localhost"]\n')
    homeport.deploy(app)
    homeport.deploy(app, "--env", "staging")
    homeport.run("destroy", "alone", "--env", "staging", "--yes", "alone", status=3)
    kept = homeport.run("destroy", "alone", "--env", "production", "--yes", "production", status=5)
    assert "homeport destroy alone" in kept.stderr
    gone = homeport.run("destroy", "alone", "--env", "staging", "--yes", "staging")
    assert "staging of alone is gone" in gone.stdout
    assert homeport.get("/", host="staging.alone.localhost")[0] == 404
    assert homeport.get("/", host=app.host)[1] == "one"
    assert [n for n in homeport.pids().values() if n.startswith("alone.")] == ["alone.production.r1.web.1"]
