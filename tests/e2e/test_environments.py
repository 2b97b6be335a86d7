"""One app in several places: environments, configuration, promote, hooks, storage, workers."""

import json
import os
import time

import pytest

MORE = """
[variables]
GREETING = "hello"
CURRENCY = { one_of = ["EUR", "USD"], default = "EUR" }
LIMIT = { required = true, type = "int", description = "orders a minute" }

[environments.staging]
domains = ["staging.%s.localhost"]
replicas = { web = 1 }
variables = { GREETING = "hello, tester" }

[environments.production]
"""


@pytest.fixture(scope="module")
def shop(homeport):
    app = homeport.app("shop")
    app.write("1", more=MORE % "shop")
    for environment in ("staging", "production"):
        homeport.run("env", "set", "LIMIT=10", "--env", environment, cwd=app.directory)
    homeport.deploy(app, "--env", "staging")
    return app


def seen(homeport, host):
    """The variables that an instance has."""
    return json.loads(homeport.get("/env", host=host)[1])


def test_what_is_required_is_refused_before_the_build_all_at_once(homeport):
    app = homeport.app("strict")
    more = MORE % "strict" + 'variables = { CURRENCY = "EUR" }\n'
    app.write("1", more=more, build='command = "touch /tmp/never-built-by-strict; false"')
    done = homeport.deploy(app, status=3)
    assert (
        "LIMIT" in done.stderr
        and "homeport env set LIMIT=" in done.stderr
        and "orders a minute" in done.stderr
    )
    assert homeport.json("apps") == [] or "strict" not in [a["name"] for a in homeport.json("apps")]
    assert not os.path.exists("/tmp/never-built-by-strict")


def test_an_environment_that_is_not_declared_is_refused_with_the_nearest(homeport, shop):
    done = homeport.deploy(shop, "--env", "stagin", status=4)
    assert "stagin" in done.stderr and "staging" in done.stderr.partition("hint")[2]


def test_each_environment_has_its_own_configuration_and_promote_builds_nothing(homeport, shop):
    promoted = homeport.run("promote", "staging", "production", cwd=shop.directory)
    assert "building" not in promoted.stdout and "r1 serves production" in promoted.stdout
    assert seen(homeport, "staging.shop.localhost")["GREETING"] == "hello, tester"
    assert seen(homeport, "shop.localhost")["GREETING"] == "hello"
    assert homeport.environment("shop", "staging")["processes"][0]["wanted"] == 1
    assert homeport.environment("shop", "production")["processes"][0]["wanted"] == 2
    again = homeport.run("promote", "staging", "production", cwd=shop.directory, status=5)
    assert "already" in again.stderr
    differ = homeport.run("config", "diff", "staging", "production", cwd=shop.directory, status=1)
    assert "GREETING" in differ.stdout and "LIMIT" not in differ.stdout


def test_a_changed_value_restarts_nothing_and_comes_and_goes_as_a_release(homeport, shop):
    before = {i["pid"] for i in homeport.environment("shop")["instances"] if i["weight"]}
    homeport.run("env", "set", "GREETING=moin", cwd=shop.directory)
    assert {i["pid"] for i in homeport.environment("shop")["instances"] if i["weight"]} == before
    shown = homeport.run("config", "show", cwd=shop.directory)
    assert "GREETING" in shown.stderr + shown.stdout and "not deployed yet" in shown.stderr
    homeport.run("deploy", "--config-only", cwd=shop.directory)
    assert homeport.environment("shop")["serving"] == "r2"
    assert seen(homeport, "shop.localhost")["GREETING"] == "moin"
    origin = {s["name"]: s["origin"] for s in homeport.json("config", "show", cwd=shop.directory)["deployed"]}
    assert origin["GREETING"] == "set by hand" and origin["CURRENCY"] == "app"
    assert homeport.run("deploy", "--config-only", cwd=shop.directory, status=5).stderr
    differ = homeport.run("diff", "r1", "r2", cwd=shop.directory).stdout
    assert "GREETING" in differ and "moin" in differ
    homeport.run("rollback", cwd=shop.directory)
    assert seen(homeport, "shop.localhost")["GREETING"] == "hello"
    assert homeport.environment("shop")["serving"] == "r1"


def test_a_value_that_breaks_the_app_never_takes_traffic(homeport):
    app = homeport.app("brittle")
    app.write(
        "1",
        extra="if os.environ.get('MODE') == 'bad': sys.exit('bad mode')",
        more='\n[variables]\nMODE = "good"\n',
    )
    homeport.deploy(app)
    homeport.run("env", "set", "MODE=bad", cwd=app.directory)
    homeport.run("deploy", "--config-only", cwd=app.directory, status=7)
    assert homeport.get(host=app.host)[0] == 200
    assert homeport.environment("brittle")["serving"] == "r1"


def test_dotenv_in_and_out(homeport, shop):
    (shop.directory / "x.env").write_text("# words\nexport GREETING='good day'\nCURRENCY=USD\nEMPTY=\n")
    done = homeport.run("env", "import", "x.env", cwd=shop.directory)
    assert "GREETING" in done.stdout
    exported = homeport.run("env", "export", cwd=shop.directory).stdout
    assert "good day" in exported and "CURRENCY=" in exported
    bad = homeport.run("env", "import", "-", cwd=shop.directory, stdin="CURRENCY=GBP\nLIMIT=many\n", status=3)
    assert "CURRENCY" in bad.stderr and "LIMIT" in bad.stderr
    assert "GBP" not in homeport.run("env", "export", cwd=shop.directory).stdout


def test_hooks_run_at_their_moment_and_one_before_traffic_stops_the_rollout(homeport):
    app = homeport.app("hooked")
    log = homeport.work / "hooks.log"
    hook = f"echo $HOMEPORT_HOOK $HOMEPORT_RELEASE >> {log}"
    hooks = "\n[hooks]\n" + "".join(
        f'{name} = "{hook}"\n'
        for name in (
            "before-build",
            "after-build",
            "before-start",
            "before-traffic",
            "after-traffic",
            "after-rollback",
        )
    )
    app.write("1", more=hooks, build='command = "true"')
    homeport.deploy(app)
    assert log.read_text().split() == [
        "before-build", "r1", "after-build", "r1", "before-start", "r1",
        "before-traffic", "r1", "after-traffic", "r1",
    ]  # fmt: skip
    bad = hooks.replace(f'before-traffic = "{hook}"', 'before-traffic = "echo the smoke test failed; exit 3"')
    app.write("2", more=bad, build='command = "true"')
    done = homeport.deploy(app, status=7)
    assert "the smoke test failed" in done.stdout + done.stderr and "before-traffic" in done.stderr
    assert homeport.get(host=app.host)[1] == "1"
    assert log.read_text().split()[-2:] == ["after-rollback", "r2"]


def test_a_hook_that_forks_and_hangs_is_ended_with_all_its_children(homeport):
    app = homeport.app("hanging")
    hang = "(setsid sleep 977 &) ; sleep 977"
    app.write("1", more=f'\n[hooks]\nbefore-traffic = {{ command = "{hang}", timeout = "1s" }}\n')
    done = homeport.deploy(app, status=7)
    assert "longer than 1.0 s" in done.stderr
    assert not [name for name in homeport.pids().values() if "hook-" in name]


def test_storage_outlives_releases_and_is_not_shared_between_environments(homeport):
    app = homeport.app("files")
    extra = (
        "os.makedirs('var/uploads', exist_ok=True)\n"
        "with open('var/uploads/log', 'a') as f: f.write(os.environ['HOMEPORT_RELEASE'] + ' ')\n"
    )
    more = (
        '\n[storage.uploads]\npath = "var/uploads"\n'
        '[environments.staging]\ndomains = ["staging.files.localhost"]\n[environments.production]\n'
    )
    app.write("1", extra=extra, more=more, replicas=1)
    homeport.deploy(app, "--env", "staging")
    homeport.run("promote", "staging", "production", cwd=app.directory)
    app.write("2", extra=extra, more=more, replicas=1)
    homeport.deploy(app)
    storage = homeport.data / "storage" / "files"
    assert (storage / "production" / "uploads" / "log").read_text().split() == ["r1", "r2"]
    assert (storage / "staging" / "uploads" / "log").read_text().split() == ["r1"]
    homeport.run("destroy", "files", "--yes", "files")
    assert (storage / "production" / "uploads" / "log").exists(), (
        "what users stored is not Homeport's to remove"
    )


WORKER = """
import os, signal, sys, time
path = {path!r}
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
release = os.environ["HOMEPORT_RELEASE"]
def note(what):
    with open(path, "a") as f: f.write(f"{{release}} {{what}} {{time.time()}}\\n")
note("start")
while not stop: time.sleep(0.05)
note("stop")
"""


def test_exclusive_workers_never_overlap(homeport):
    app = homeport.app("queue")
    log = homeport.work / "worker.log"
    app.directory.joinpath("worker.py").write_text(WORKER.format(path=str(log)))
    worker = '[processes.worker]\ncommand = "exec python3 worker.py"\nexclusive = true\n'
    app.write("1", process=worker)
    homeport.deploy(app)
    app.write("2", process=worker)
    homeport.deploy(app)
    homeport.run("rollback", cwd=app.directory)
    homeport.wait(lambda: "r1 start" in log.read_text().split("r2 stop")[-1])
    lines = [line.split()[:2] for line in log.read_text().splitlines()]
    assert lines == [
        ["r1", "start"], ["r1", "stop"], ["r2", "start"], ["r2", "stop"], ["r1", "start"],
    ]  # fmt: skip


def test_a_worker_that_does_not_live_is_restarted(homeport):
    app = homeport.app("sleepy")
    app.write(
        "1",
        process='[processes.worker]\ncommand = "exec sleep 1000"\n'
        'liveness = { command = "test -e alive", interval = "1s", unhealthy_after = 2 }\n',
    )
    (app.directory / "alive").write_text("")
    app.commit("alive")
    homeport.deploy(app)
    release = homeport.data / "releases" / "sleepy" / "r1"
    pid = homeport.pid_of("sleepy.production.r1.worker.1")
    time.sleep(3)
    assert homeport.pid_of("sleepy.production.r1.worker.1") == pid
    (release / "alive").unlink()
    homeport.wait(
        lambda: any(e["kind"] == "worker.unhealthy" for e in homeport.json("events", "--app", "sleepy")),
        what="the worker is found unhealthy",
    )
    homeport.wait(
        lambda: (
            homeport.pids().get(pid) is None and "sleepy.production.r1.worker.1" in homeport.pids().values()
        ),
        what="another process",
    )


def test_what_began_to_serve_meanwhile_is_not_taken_out_of_service(homeport):
    app = homeport.app("racing")
    asked = homeport.work / "racing.asked"
    more = f'\n[variables]\nTOKEN = {{ from = "command:touch {asked}; sleep 2; echo from-outside" }}\n'
    app.write("1", more=more)
    homeport.deploy(app)
    asked.unlink()
    app.write("2", more=more)
    first = homeport.start("deploy", cwd=app.directory)
    homeport.wait(asked.exists)
    homeport.run("env", "set", "Z=9", cwd=app.directory)
    second = homeport.run("deploy", "--config-only", cwd=app.directory, status=None)
    assert first.wait(60) == 0
    first.stdout.close()
    assert second.returncode in (0, 5), second.stderr
    assert homeport.get(host=app.host)[1] == "2"


def test_a_hook_never_runs_twice_at_once_and_one_on_the_way_back_runs_to_its_end(homeport):
    app = homeport.app("careful")
    log = homeport.work / "careful.log"
    go_on = homeport.work / "careful.go"
    before = f"echo begin >> {log}; until test -e {go_on}; do sleep 0.1; done; echo end >> {log}"
    back = f"sleep 1; echo back >> {log}"
    app.write("1", more=f'\n[hooks]\nbefore-traffic = "{before}"\nafter-rollback = "{back}"\n')
    command = homeport.start("deploy", cwd=app.directory)
    homeport.wait(lambda: log.exists() and "begin" in log.read_text())
    os.kill(homeport.pid_of("serve"), 9)
    homeport.wait(lambda: log.read_text().split() == ["begin", "begin"], seconds=60)
    go_on.write_text("")
    assert command.wait(60) == 0
    command.stdout.close()
    assert log.read_text().split() == ["begin", "begin", "end"]
    log.unlink()
    go_on.unlink()
    app.write("2", more=f'\n[hooks]\nbefore-traffic = "{before}"\nafter-rollback = "{back}"\n')
    command = homeport.start("deploy", cwd=app.directory)
    homeport.wait(lambda: log.exists() and "begin" in log.read_text())
    homeport.run("cancel", cwd=app.directory)
    assert command.wait(60) == 7
    command.stdout.close()
    assert log.read_text().split() == ["begin", "back"]


def test_an_instance_that_cannot_be_started_is_forgotten(homeport):
    app = homeport.app("blocked")
    app.write("1", more='\n[storage.a]\npath = "app.py"\n')
    homeport.deploy(app, status=None)
    assert homeport.environment("blocked")["instances"] == []


def test_scaling_one_process_leaves_the_others_to_the_file(homeport):
    app = homeport.app("scaled")
    worker = '[processes.worker]\ncommand = "exec sleep 1000"\nreplicas = {n}\n'
    app.write("1", process=worker.format(n=1))
    homeport.deploy(app)
    homeport.run("scale", "web=3", cwd=app.directory)
    app.write("2", process=worker.format(n=2))
    homeport.deploy(app)
    wanted = {p["name"]: p["wanted"] for p in homeport.environment("scaled")["processes"]}
    assert wanted == {"web": 3, "worker": 2}


def test_a_secret_that_is_declared_but_not_deployed_yet_is_imported_as_one(homeport):
    app = homeport.app("early")
    app.write("1", more="\n[variables]\nKEY = { secret = true }\n")
    done = homeport.run("env", "import", "-", cwd=app.directory, stdin="KEY=never-in-clear-please\nA=1\n")
    assert "1 secret(s): KEY" in done.stdout
    assert homeport.run("env", "export", cwd=app.directory).stdout.startswith("A=1\n")


def test_a_missing_key_takes_no_worker_down(homeport):
    app = homeport.app("keyless")
    app.write(
        "1",
        process='[processes.worker]\ncommand = "exec sleep 1000"\n'
        'liveness = { command = "true", interval = "1s", unhealthy_after = 1 }\n',
    )
    homeport.run("secrets", "set", "TOKEN", "--app", "keyless", stdin="some-secret-value")
    homeport.deploy(app)
    pid = homeport.pid_of("keyless.production.r1.worker.1")
    key = homeport.data / "secrets.key"
    key.rename(key.with_name("away"))
    try:
        time.sleep(4)
        assert homeport.pid_of("keyless.production.r1.worker.1") == pid
    finally:
        key.with_name("away").rename(key)


def test_a_worker_that_crashes_again_and_again_is_told_everywhere(homeport):
    app = homeport.app("looping")
    app.write("1", process='[processes.worker]\ncommand = "sleep 4; exit 3"\n')
    homeport.deploy(app)

    def states():
        return [i["state"] for i in homeport.environment("looping")["instances"] if i["process"] == "worker"]

    homeport.wait(lambda: states() == ["crash-looping"], what="status tells it")
    for _ in range(5):
        assert homeport.run("status", status=1).stdout
        assert homeport.environment("looping")["health"] == "down"
        time.sleep(0.5)
    assert "crashes again and again" in homeport.run("doctor", status=None).stdout
    homeport.run("destroy", "looping", "--yes", "looping")


def test_what_a_hook_prints_is_shown_without_a_build_too(homeport):
    app = homeport.app("telling")
    more = (
        '\n[hooks]\nbefore-start = "echo the hook speaks in $HOMEPORT_ENVIRONMENT"\n'
        '[environments.staging]\ndomains = ["staging.telling.localhost"]\n[environments.production]\n'
    )
    app.write("1", more=more)
    assert "the hook speaks in staging" in homeport.deploy(app, "--env", "staging").stdout
    promoted = homeport.run("promote", "staging", "production", cwd=app.directory).stdout
    assert promoted.count("│ the hook speaks in production") == 1


def test_what_a_new_environment_needs_can_be_set_before_it_is_deployed(homeport):
    app = homeport.app("growing")
    app.write("1")
    homeport.deploy(app)
    app.write(
        "1",
        more="\n[variables]\nKEY = { required = true, secret = true }\n\n"
        '[environments.qa]\ndomains = ["qa.growing.localhost"]\n',
    )
    refused = homeport.run("deploy", "--env", "qa", cwd=app.directory, status=None)
    assert refused.returncode and "homeport secrets set KEY --env qa" in refused.stderr, refused.stderr
    at = {"cwd": app.directory}
    homeport.run("secrets", "set", "KEY", "--env", "qa", stdin="hush", **at)
    homeport.run("env", "set", "--env", "qa", "OTHER=1", **at)
    homeport.run("env", "import", "--env", "qa", "-", stdin="THIRD=2\n", **at)
    homeport.run("deploy", "--env", "qa", **at)
    assert homeport.environment("growing", "qa")["serving"]
    done = homeport.run("secrets", "set", "KEY", "--env", "qb", stdin="hush", status=None, **at)
    assert done.returncode and 'did you mean "qa"?' in done.stderr, done.stderr
