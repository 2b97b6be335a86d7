"""Releases that take themselves back: canaries, and the watch after a promotion."""

import json
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

CANARY = 'strategy = "canary"\nsteps = ["20%", "50%"]\nbake = "1s"\nwatch_for = "{watch}"\n{more}'
ANSWER = "        self.answer(200, VERSION"
FAILS = "        import random\n        if random.random() < {share}: return self.answer(500, 'bad', X_Release=os.environ['HOMEPORT_RELEASE'])\n"


class Load:
    """GETs at a rate, each on a connection of its own, in the background."""

    def __init__(self, homeport, host, rate=60):
        self.homeport, self.host, self.rate = homeport, host, rate
        self.answers = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        with ThreadPoolExecutor(32) as pool:
            due = time.time()
            while not self._stop.is_set():
                pool.submit(self._ask)
                due += random.expovariate(self.rate)
                time.sleep(max(0.0, due - time.time()))

    def _ask(self):
        try:
            status, _, headers = self.homeport.get("/x", host=self.host)
        except OSError:
            status, headers = -1, {}
        self.answers.append((time.time(), status, headers.get("x-release", "")))

    def failed(self):
        return [a for a in self.answers if a[1] != 200]

    def of(self, release):
        return [a for a in self.answers if a[2] == release]


def spec(watch="0s", more=""):
    return CANARY.format(watch=watch, more=more)


def version(app, number, rollout, instead=ANSWER):
    app.write(number, rollout=rollout)
    source = app.directory / "app.py"
    source.write_text(source.read_text().replace(ANSWER, instead))
    app.commit(f"version {number}")


@pytest.fixture
def app(homeport, request):
    app = homeport.app(request.node.name.removeprefix("test_").replace("_", "-")[:30].strip("-"))
    yield app
    homeport.run("destroy", app.name, "--yes", app.name, status=None)


def trial(homeport, app):
    """The trial under way or the last one; {} before the first."""
    shown = homeport.run("rollout", "show", "--json", cwd=app.directory, status=None)
    return json.loads(shown.stdout) if shown.returncode == 0 else {}


def ended(process):
    """What a command in the background printed; it is over within a minute."""
    told = process.communicate(timeout=90)[0]
    return told


def test_a_good_canary_gets_its_shares_and_then_all(homeport, app):
    app.write("1", rollout=spec())
    homeport.deploy(app)
    with Load(homeport, app.host, rate=150) as load:
        app.write("2", rollout=spec())
        told = homeport.deploy(app).stdout
    assert "gets 20 %" in told and "gets 50 %" in told and "r2 serves" in told
    assert not load.failed()
    found = trial(homeport, app)
    assert (found["state"], found["outcome"]) == ("promoted", "promoted")
    assert found["figures"]["canary_requests"] and not found["figures"]["canary_errors"]


def test_a_failing_canary_is_taken_back(homeport, app):
    app.write("1", rollout=spec())
    homeport.deploy(app)
    version(app, "2", spec(), FAILS.format(share=0.5) + ANSWER)
    with Load(homeport, app.host) as load:
        done = homeport.deploy(app, status=7)
        time.sleep(0.5)
        load.answers.clear()
        time.sleep(1)
    assert "requests failed" in done.stderr and "r1 serves production on" in done.stderr
    assert not load.of("r2") and not load.failed()
    found = trial(homeport, app)
    assert (found["state"], found["share"]) == ("rolled back", 0.0)
    assert homeport.environment(app)["serving"] == "r1"


def test_a_canary_that_dies_costs_no_get_and_is_taken_back(homeport, app):
    app.write("1", rollout=spec())
    homeport.deploy(app)
    app.write("2", rollout=spec().replace('"20%", ', "").replace("1s", "30s"))
    with Load(homeport, app.host, rate=200) as load:
        deploy = homeport.start("deploy", cwd=app.directory)
        homeport.wait(lambda: load.of("r2"), what="the canary gets requests")
        os.kill(homeport.pid_of(f"{app.name}.production.r2.web.1"), signal.SIGKILL)
        told = ended(deploy)
    assert deploy.returncode == 7 and ("died" in told or "failed" in told), told
    assert not load.failed()


def test_a_canary_without_traffic_is_neither_good_nor_bad(homeport, app):
    app.write("1", rollout=spec(more='on_inconclusive = "ask"'))
    homeport.deploy(app)
    app.write("2", rollout=spec(more='on_inconclusive = "ask"'))
    deploy = homeport.start("deploy", cwd=app.directory)
    homeport.wait(lambda: trial(homeport, app).get("asks"), what="it asks")
    assert homeport.environment(app)["serving"] == "r1"
    homeport.run("rollout", "resume", cwd=app.directory)
    homeport.wait(
        lambda: trial(homeport, app)["step"] == 1 and trial(homeport, app)["asks"], what="it asks again"
    )
    homeport.run("rollout", "promote", cwd=app.directory)
    told = ended(deploy)
    assert deploy.returncode == 0 and "too little traffic" in told
    assert homeport.environment(app)["serving"] == "r2"


def test_a_canary_may_go_on_without_traffic_and_says_so(homeport, app):
    app.write("1", rollout=spec())
    homeport.deploy(app)
    app.write("2", rollout=spec(more='on_inconclusive = "continue"'))
    homeport.deploy(app)
    assert trial(homeport, app)["state"] == "inconclusive"


def test_a_paused_canary_stays_and_abort_takes_it_back(homeport, app):
    app.write("1", rollout=spec())
    homeport.deploy(app)
    app.write("2", rollout=spec(more='on_inconclusive = "continue"').replace("1s", "10s"))
    deploy = homeport.start("deploy", cwd=app.directory)
    homeport.wait(lambda: homeport.run("rollout", "pause", cwd=app.directory, status=None).returncode == 0)
    time.sleep(11)
    assert trial(homeport, app)["step"] == 0 and trial(homeport, app)["paused_by"]
    homeport.run("rollout", "abort", cwd=app.directory)
    told = ended(deploy)
    assert deploy.returncode == 7, told
    assert homeport.environment(app)["serving"] == "r1"
    refused = homeport.run("rollout", "pause", cwd=app.directory, status=5)
    assert "is over" in refused.stderr


def test_what_was_promoted_and_is_worse_goes_back_by_itself(homeport, app):
    blue_green = 'watch_for = "30s"'
    app.write("1", rollout=blue_green)
    homeport.deploy(app)
    version(app, "2", blue_green, FAILS.format(share=0.5) + ANSWER)
    with Load(homeport, app.host):
        time.sleep(1)
        homeport.deploy(app)
        homeport.wait(lambda: homeport.environment(app)["serving"] == "r1", what="it goes back")
    found = trial(homeport, app)
    assert (found["phase"], found["state"]) == ("watch", "rolled back")
    told = homeport.run("events", "--app", app.name).stdout
    assert "rolled back" in told


def test_the_control_plane_killed_while_a_canary_is_judged(homeport, app):
    app.write("1", rollout=spec())
    homeport.deploy(app)
    version(app, "2", spec().replace("1s", "8s"), FAILS.format(share=0.3) + ANSWER)
    with Load(homeport, app.host, rate=30):
        deploy = homeport.start("deploy", cwd=app.directory)
        homeport.wait(lambda: homeport.run("rollout", "show", cwd=app.directory, status=None).returncode == 0)
        os.kill(homeport.pid_of("serve"), signal.SIGKILL)
        told = ended(deploy)
    assert deploy.returncode == 7, told
    assert homeport.environment(app)["serving"] == "r1"


def test_recreate_holds_requests_while_nothing_runs(homeport, app):
    app.write("1", rollout='strategy = "recreate"', replicas=1)
    homeport.deploy(app)
    app.write("2", rollout='strategy = "recreate"', replicas=1)
    with Load(homeport, app.host, rate=30) as load:
        time.sleep(0.5)
        homeport.deploy(app)
        time.sleep(0.5)
    assert load.of("r1") and load.of("r2") and not load.failed()
    changed = max(a[0] for a in load.of("r1"))
    assert min(a[0] for a in load.of("r2")) > changed - 0.01


def test_a_gate_is_passed_with_an_approval_or_a_reason(homeport, app):
    gated = '[environments.production]\ngate = "approval"\n'
    app.write("1", more=gated)
    refused = homeport.deploy(app, status=5)
    assert "has a gate" in refused.stderr and "--past-gate" in refused.stderr
    homeport.deploy(app, "--past-gate", "the shop is down")
    app.write("2")
    assert "has a gate" in homeport.deploy(app, status=5).stderr, "a commit pushed the gate away"


class Browser:
    """Keeps the cookies that it is given."""

    def __init__(self, homeport, app):
        self.homeport, self.app, self.cookies = homeport, app, {}

    def release(self):
        sent = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())} if self.cookies else {}
        status, _, headers = self.homeport.get("/x", host=self.app.host, headers=sent)
        assert status == 200
        if "set-cookie" in headers:
            name, _, value = headers["set-cookie"].partition(";")[0].partition("=")
            self.cookies[name] = value
        return headers["x-release"]


def test_a_pinned_browser_goes_on_talking_to_the_release_it_loaded(homeport, app):
    pinned = 'pin = true\nwatch_for = "0s"'
    app.write("1", rollout=pinned)
    homeport.deploy(app)
    loaded, later = Browser(homeport, app), Browser(homeport, app)
    assert loaded.release() == "r1"
    app.write("2", rollout=pinned)
    homeport.deploy(app)
    assert {loaded.release() for _ in range(10)} == {"r1"}
    assert {later.release() for _ in range(10)} == {"r2"}
    homeport.run("rollback", cwd=app.directory)
    assert {later.release() for _ in range(10)} == {"r1"}, "held at what was gone back from"


def test_a_sticky_visitor_stays_on_one_side_of_a_canary(homeport, app):
    app.write("1", rollout=spec(more="sticky = true"))
    homeport.deploy(app)
    app.write("2", rollout=spec(more="sticky = true").replace("20%", "40%"))
    deploy = homeport.start("deploy", cwd=app.directory)
    homeport.wait(lambda: homeport.run("rollout", "pause", cwd=app.directory, status=None).returncode == 0)
    visitors = [Browser(homeport, app) for _ in range(20)]
    first = [visitor.release() for visitor in visitors]
    assert set(first) == {"r1", "r2"}
    for _ in range(5):
        assert [visitor.release() for visitor in visitors] == first
    homeport.run("rollout", "promote", cwd=app.directory)
    told = ended(deploy)
    assert deploy.returncode == 0, told
    assert {visitor.release() for visitor in visitors} == {"r2"}


def test_a_number_of_the_teams_own_takes_a_canary_back(homeport, app):
    def with_signal(number):
        signal = f'[rollout.signals.abandoned]\ncommand = "echo {number}"\nmost = 3\ninterval = "1s"\n'
        return spec(more='on_inconclusive = "continue"\n').replace("1s", "8s") + signal

    app.write("1", rollout=spec())
    homeport.deploy(app)
    app.write("2", rollout=with_signal(5))
    refused = homeport.deploy(app, status=7)
    assert "signal abandoned out of bounds 3 times in a row" in refused.stderr
    assert homeport.environment(app)["serving"] == "r1"
