"""One app from its first deploy to its end, as a person at a terminal does it."""

import json
import re
import threading

import pytest


@pytest.fixture(scope="module")
def shop(homeport):
    app = homeport.app("shop")
    app.write("1")
    homeport.deploy(app)
    return app


class Getting:
    """GETs one after the other in the background; every answer that is not 200 is kept."""

    def __init__(self, homeport, host="shop.localhost"):
        self.homeport, self.host = homeport, host
        self.bodies, self.wrong = [], []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(3)]

    def _run(self):
        while not self._stop.is_set():
            try:
                status, body, _ = self.homeport.get(host=self.host)
                self.bodies.append(body)
                if status != 200:
                    self.wrong.append((status, body[:80]))
            except OSError as e:
                self.wrong.append((0, str(e)))

    def __enter__(self):
        for t in self._threads:
            t.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for t in self._threads:
            t.join()


def test_what_was_deployed_serves_and_status_tells_it(homeport):
    shop = homeport.app("first")
    shop.write("1")
    homeport.deploy(shop)
    assert homeport.get(host=shop.host)[:2] == (200, "1")
    found = homeport.environment(shop)
    assert found["health"] == "up" and found["serving"] == "r1" and found["releases"] == ["r1"]
    assert "r1 serves" in homeport.run("status").stdout
    homeport.wait(lambda: "running" in homeport.run("ps", cwd=shop.directory).stdout)
    ps = homeport.run("ps", cwd=shop.directory).stdout
    assert "r1.web.1" in ps and "50%" in ps
    assert "first" in [a["name"] for a in homeport.json("apps")]


def test_deploy_rollback_scale_and_restart_drop_nothing(homeport, shop):
    with Getting(homeport) as getting:
        shop.write("2")
        out = homeport.deploy(shop).stdout
        assert "r2" in out and "serves production" in out
        assert homeport.get()[1] == "2"
        homeport.run("scale", "web=3", cwd=shop.directory)
        assert homeport.environment(shop)["processes"][0] | {"name": ""} == {
            "name": "",
            "routed": True,
            "wanted": 3,
            "serving": 3,
        }
        homeport.run("restart", cwd=shop.directory)
        homeport.run("rollback", cwd=shop.directory)
        assert homeport.get()[1] == "1"
        homeport.run("rollback", "r2", cwd=shop.directory)
        assert homeport.get()[1] == "2"
    assert getting.wrong == []
    assert len(getting.bodies) > 50


def test_a_rollback_goes_to_the_release_that_last_served_well(homeport, shop):
    shop.write("3 (bad idea)")
    homeport.deploy(shop)
    before = homeport.environment(shop)["rollback_target"]
    homeport.run("rollback", cwd=shop.directory)
    assert homeport.environment(shop)["serving"] == before
    # The release that was left is no target any more: going back twice does not bounce.
    assert homeport.environment(shop)["rollback_target"] not in (
        None,
        homeport.json("releases", "--app", "shop")[0]["id"],
    )


def test_the_same_content_is_not_built_again(homeport, shop):
    shop.write("4", build='command = "date +%s%N > built"')
    homeport.deploy(shop)
    first = homeport.environment(shop)["serving"]
    shop.commit("an empty commit")
    out = homeport.deploy(shop).stdout
    assert "nothing to build" in out
    assert homeport.environment(shop)["serving"] == first


def test_dirty_ships_the_working_tree_and_says_so(homeport, shop):
    shop.write("4")
    text = (shop.directory / "app.py").read_text()
    (shop.directory / "app.py").write_text(text.replace('VERSION = "4"', 'VERSION = "4-dirty"'))
    done = homeport.run("deploy", cwd=shop.directory)
    assert "uncommitted" in done.stderr
    assert homeport.get()[1] == "4"
    homeport.run("deploy", "--dirty", cwd=shop.directory)
    assert homeport.get()[1] == "4-dirty"
    assert homeport.json("releases", "--app", "shop")[0]["dirty"] is True
    shop.git("checkout", "-q", ".")


def test_an_older_commit_can_be_deployed(homeport, shop):
    shop.write("older")
    shop.write("newer")
    homeport.run("deploy", "HEAD~1", cwd=shop.directory)
    assert homeport.get()[1] == "older"


def test_a_release_that_is_never_well_gets_no_traffic(homeport, shop):
    serving = homeport.environment(shop)["serving"]
    shop.write(
        "broken",
        start_timeout="8s",
        after='def health(h): print("cannot reach the oracle", flush=True); h.answer(500, "no")',
    )
    with Getting(homeport) as getting:
        done = homeport.deploy(shop, status=7)
    assert "answered 500" in done.stderr and f"{serving} serves production on" in done.stderr
    assert "cannot reach the oracle" in done.stderr
    assert getting.wrong == [] and "broken" not in getting.bodies
    assert homeport.environment(shop)["serving"] == serving
    broken = homeport.json("releases", "--app", "shop")[0]["id"]
    assert not [i["name"] for i in homeport.environment(shop)["instances"] if i["release"] == broken]


def test_a_release_that_crashes_is_given_up_quickly(homeport, shop):
    shop.write("crashing", start_timeout="120s", extra='print("no such table: users"); sys.exit(4)')
    done = homeport.deploy(shop, status=7)
    assert "not ready within" not in done.stderr, "long before its time to start is over"
    assert "status 4" in done.stderr and "no such table: users" in done.stderr


def test_a_health_path_that_redirects_or_is_slow_is_told(homeport, shop):
    shop.write("5", start_timeout="8s", after='def health(h): h.answer(302, "", Location="/login")')
    assert "302 to /login" in homeport.deploy(shop, status=7).stderr
    shop.write("6", start_timeout="8s", after='def health(h): time.sleep(5); h.answer(200, "well")')
    assert "no answer within 2 s" in homeport.deploy(shop, status=7).stderr


def test_a_build_that_fails_leaves_its_log_and_nothing_else(homeport, shop):
    shop.write("7", build='command = "echo compiling; echo oh no >&2; exit 9"')
    done = homeport.deploy(shop, status=7)
    assert "compiling" in done.stdout and "status 9" in done.stderr
    assert (done.stdout + done.stderr).count("│ oh no") == 1
    release = homeport.json("releases", "--app", "shop")[0]
    assert release["state"] == "failed"
    assert not (homeport.data / "releases" / "shop" / release["id"]).exists()
    assert "oh no" in homeport.run("logs", "--build", release["id"], cwd=shop.directory).stdout
    assert "oh no" in (homeport.data / "releases" / "shop" / f"{release['id']}.log").read_text()


def test_a_build_that_hangs_or_forks_is_ended_whole(homeport, shop):
    shop.write("8", build='command = "(setsid sleep 98765 &) ; sleep 98765"\ntimeout = "2s"')
    assert "longer than" in homeport.deploy(shop, status=7).stderr
    assert not [n for n in homeport.pids().values() if ".build." in n]


def test_a_build_over_its_disk_budget_is_stopped(homeport, shop):
    shop.write("9", build='command = "head -c 60000000 /dev/urandom > big; sleep 300"\ndisk = "20MB"')
    assert "more than allowed" in homeport.deploy(shop, status=7).stderr


def test_variables_reach_new_instances_only(homeport):
    shop = homeport.app("variables")
    shop.write("10")
    homeport.deploy(shop)
    homeport.run("env", "set", "GREETING=hello there", "N=1", cwd=shop.directory)
    assert "GREETING" not in json.loads(homeport.get("/env", host=shop.host)[1])
    homeport.run("restart", cwd=shop.directory)
    assert "GREETING" not in json.loads(homeport.get("/env", host=shop.host)[1])
    homeport.run("deploy", "--config-only", cwd=shop.directory)
    seen = json.loads(homeport.get("/env", host=shop.host)[1])
    assert seen["GREETING"] == "hello there" and seen["HOMEPORT_APP"] == "variables"
    assert homeport.run("env", "list", cwd=shop.directory).stdout == "GREETING=hello there\nN=1\n"
    homeport.run("env", "unset", "N", cwd=shop.directory)
    assert "N=1" not in homeport.run("env", "list", cwd=shop.directory).stdout
    done = homeport.run("env", "set", "PORT=1", "1X=2", cwd=shop.directory, status=3)
    assert "PORT" in done.stderr and "1X" in done.stderr


def test_exec_runs_with_the_releases_directory_and_variables(homeport, shop):
    homeport.run("env", "set", "GREETING=hello there", cwd=shop.directory)
    homeport.run("deploy", "--config-only", cwd=shop.directory)
    done = homeport.run("exec", "--", "sh", "-c", "pwd; echo $GREETING; exit 5", cwd=shop.directory, status=5)
    assert "/releases/shop/r" in done.stdout and "hello there" in done.stdout
    assert "cannot run" in homeport.run("exec", "no-such-program", cwd=shop.directory, status=127).stderr


def test_logs_and_events(homeport, shop):
    shop.write("logging")
    homeport.deploy(shop)
    out = homeport.run("logs", "-n", "20", cwd=shop.directory).stdout
    assert re.search(r"\d\d:\d\d:\d\d\.\d{3} r\d+\.web\.\d+ listening as logging", out)
    assert homeport.run("logs", "--since", "1h", "--process", "web", cwd=shop.directory).stdout
    assert (
        "cannot find process"
        in homeport.run("logs", "--process", "nope", cwd=shop.directory, status=4).stderr
    )
    assert "no such" not in homeport.run("logs", "--since", "yesterday", cwd=shop.directory, status=3).stderr
    kinds = {e["kind"] for e in homeport.json("events", "-n", "1000", "--all")}
    assert {
        "change.started",
        "release.promoted",
        "traffic.shifted",
        "build.finished",
        "change.finished",
    } <= kinds


def test_following_logs_shows_new_lines(homeport, shop):
    following = homeport.start("logs", "-f", "-n", "1", cwd=shop.directory)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(iter(following.stdout.readline, "")))
    reader.start()
    try:
        homeport.wait(lambda: lines, what="the last line is shown")
        homeport.run("restart", cwd=shop.directory)
        homeport.wait(lambda: "".join(lines[1:]).count("listening as") >= 2, what="both new ones are shown")
    finally:
        following.send_signal(2)
        reader.join(20)
        following.stdout.close()
    assert following.wait(20) == 130


def test_old_releases_are_pruned_but_never_what_serves_or_the_way_back(homeport, shop):
    for n in range(20, 27):
        shop.write(str(n), replicas=1, keep_warm="0s")
        homeport.deploy(shop, "-q")
    homeport.wait(
        lambda: sum(r["state"] == "ready" for r in homeport.json("releases", "--app", "shop")) <= 6,
        seconds=60,
    )
    found = {r["id"]: r for r in homeport.json("releases", "--app", "shop")}
    environment = homeport.environment(shop)
    assert found[environment["serving"]]["state"] == "ready"
    assert found[environment["rollback_target"]]["state"] == "ready"
    pruned = [r["id"] for r in found.values() if r["state"] == "pruned"]
    assert pruned and not (homeport.data / "releases" / "shop" / pruned[0]).exists()
    assert "files were removed" in homeport.run("rollback", pruned[0], cwd=shop.directory, status=4).stderr


def test_doctor_finds_nothing(homeport, shop):
    homeport.wait(lambda: homeport.run("doctor", status=None).returncode == 0, seconds=15)


def test_destroy_asks_for_the_name_and_leaves_no_trace_but_the_journal(homeport):
    gone = homeport.app("gone")
    gone.write("1")
    homeport.deploy(gone)
    assert "--yes gone" in homeport.run("destroy", "gone", status=2).stderr
    assert "not confirmed" in homeport.run("destroy", "gone", "--yes", "gonee", status=3).stderr
    assert homeport.get(host=gone.host)[0] == 200
    homeport.run("destroy", "gone", "--yes", "gone")
    assert homeport.get(host=gone.host)[0] == 404
    assert "gone" not in [a["name"] for a in homeport.json("apps")]
    assert not (homeport.data / "releases" / "gone").exists()
    assert not [n for n in homeport.pids().values() if n.startswith("gone.")]
    assert not list((homeport.data / "logs").glob("gone.*"))
    assert any(e["kind"] == "app.destroyed" for e in homeport.json("events", "-n", "1000", "--all"))
    assert "cannot find app" in homeport.run("releases", "--app", "gone", status=4).stderr


def test_variables_can_be_set_before_the_first_deploy(homeport):
    app = homeport.app("early")
    app.write("1", extra='assert os.environ["NEEDED"] == "yes"', replicas=1)
    homeport.run("env", "set", "NEEDED=yes", cwd=app.directory)
    homeport.deploy(app)
    assert homeport.get(host=app.host)[1] == "1"


def test_a_spec_in_the_middle_of_an_edit_does_not_stand_in_the_way(homeport, shop):
    spec = shop.directory / "homeport.toml"
    text = spec.read_text()
    try:
        spec.write_text(text + "\n[processes.web\nbroken = \n")
        assert "r" in homeport.run("releases", cwd=shop.directory).stdout
        assert "uncommitted" in homeport.run("deploy", cwd=shop.directory).stderr
        shop.commit("broken")
        assert "not valid TOML" in homeport.run("deploy", cwd=shop.directory, status=3).stderr
    finally:
        spec.write_text(text)
        shop.commit("whole again")


def test_status_of_one_app(homeport, shop):
    assert [a["name"] for a in homeport.json("status", "--app", "shop", status=None)["apps"]] == ["shop"]
    assert "cannot find app" in homeport.run("status", "--app", "shopp", status=4).stderr


def test_apps_do_not_see_homeports_own_environment(homeport, shop):
    path = homeport.run("exec", "--", "sh", "-c", "echo $PATH", cwd=shop.directory).stdout
    assert ".venv" not in path and "/usr/bin" in path
