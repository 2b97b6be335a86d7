"""A commit's whole way: stages, gates, the queue, cancel and retry, by the installed command line."""

import pytest

PIPELINE = """
[pipeline]
on_newer = "{on_newer}"
[[pipeline.stage]]
kind = "check"
commands = {{ tests = {tests} }}
[[pipeline.stage]]
kind = "build"
[[pipeline.stage]]
kind = "deploy"
environment = "staging"
[[pipeline.stage]]
kind = "smoke"
requests = [{{ path = "/", contains = "{smoke}" }}]
{approve}
[[pipeline.stage]]
kind = "deploy"
environment = "production"
[environments.staging]
domains = ["staging.shop.localhost"]
[environments.production]
{gate}
"""
APPROVE = """
[[pipeline.stage]]
kind = "approve"
environment = "production"
items = ["told support"]
own = false
people = ["anna", "tests", "root"]
"""


class Shop:
    def __init__(self, homeport) -> None:
        self.homeport = homeport
        self.app = homeport.app("shop")
        self.version = 0

    def write(self, *, tests='"true"', smoke=None, approve="", gate="", on_newer="queue", **more) -> None:
        self.version += 1
        spec = PIPELINE.format(
            tests=tests,
            smoke=smoke or self.version,
            approve=approve,
            gate='gate = "approval"' if gate else "",
            on_newer=on_newer,
        )
        self.app.write(str(self.version), replicas=1, more=spec, **more)

    def run(self, *arguments, status=0, who=None):
        before = self.homeport.env.get("LOGNAME")
        try:
            if who is not None:
                self.homeport.env["LOGNAME"] = who
            return self.homeport.run(*arguments, cwd=self.app.directory, status=status)
        finally:
            self.homeport.env.pop("LOGNAME", None)
            if before is not None:
                self.homeport.env["LOGNAME"] = before

    def show(self, which="") -> dict:
        return self.homeport.json("pipeline", "show", *([which] if which else []), cwd=self.app.directory)

    def await_state(self, *states: str, which="") -> dict:
        return self.homeport.wait(
            lambda: (found := self.show(which))["state"] in states and found, what=f"the run to be {states}"
        )

    def serving(self) -> str:
        return self.homeport.get()[1]


@pytest.fixture(scope="module")
def shop(homeport):
    return Shop(homeport)


def test_a_run_passes_and_serves(shop):
    shop.write(tests='"echo well tested"')
    told = shop.run("pipeline", "run").stdout
    assert "run #1 passed" in told
    assert "well tested" in told
    assert shop.serving() == "1"
    found = shop.show()
    assert [s["state"] for s in found["stages"]] == ["passed"] * 5
    assert {i["name"]: i["state"] for i in found["checklist"]}["tests green"] == "ok"
    assert "well tested" in shop.run("pipeline", "logs", "1", "check").stdout


def test_a_failed_check_stops_it_and_production_is_untouched(shop):
    shop.write(tests='"echo line of the test; exit 3"')
    done = shop.run("pipeline", "run", status=7)
    assert "check: tests" in done.stderr
    assert "line of the test" in done.stdout
    assert shop.serving() == "1"
    assert [s["state"] for s in shop.show()["stages"]] == ["failed"] + ["coming"] * 4


def test_a_stage_that_forks_and_hangs_is_ended(shop):
    shop.write(tests='{ command = "(setsid sleep 300 &) ; sleep 300", timeout = "1s" }')
    shop.run("pipeline", "run", status=7)
    assert [n for n in shop.homeport.pids().values() if ".pipeline." in n] == []


def test_retry_goes_on_from_the_stage_that_failed(shop):
    shop.write(tests=f'"test -e {shop.homeport.work}/mended"')
    shop.run("pipeline", "run", status=7)
    shop.run("pipeline", "retry", status=7)
    (shop.homeport.work / "mended").touch()
    shop.run("pipeline", "retry")
    found = shop.show()
    assert (found["state"], found["attempt"]) == ("passed", 3)
    assert shop.serving() == str(shop.version)
    assert "passed" in shop.run("pipeline", "retry", status=5).stderr


def test_what_another_release_answers_is_no_smoke_test_of_this_run(shop):
    """What serves staging by now would answer as the smoke test wants."""
    shop.write(smoke=shop.version + 2)
    shop.run("pipeline", "run", status=7)
    deployed = shop.show()["stages"][2]["found"]["details"]["release"]
    shop.write()
    shop.run("deploy", "--env", "staging")
    done = shop.run("pipeline", "retry", status=7)
    assert f"by now, not {deployed} of this run: begin a new run" in done.stderr


def test_a_bad_deploy_is_taken_back_and_fails_the_run(shop):
    before = shop.serving()
    shop.write(
        after='def health(h): h.answer(*((500, "no") if os.environ["HOMEPORT_ENVIRONMENT"] == "production" else (200, "")))',
        start_timeout="2s",
    )
    done = shop.run("pipeline", "run", status=7)
    assert "deploy production: cannot" in done.stderr
    assert shop.serving() == before


def test_cancel_takes_back_what_is_being_deployed(shop):
    before = shop.serving()
    shop.write(
        extra="if os.environ['HOMEPORT_ENVIRONMENT'] == 'production': time.sleep(60)", start_timeout="50s"
    )
    running = shop.homeport.start("pipeline", "run", cwd=shop.app.directory)
    shop.homeport.wait(lambda: shop.show()["stages"][4]["state"] == "running")
    shop.run("pipeline", "cancel")
    out, _ = running.communicate(timeout=150)
    assert running.returncode == 7, out
    found = shop.show()
    assert (found["state"], found["reason"].partition(" by")[0]) == ("cancelled", "cancelled")
    assert shop.serving() == before


def test_cancel_ends_a_check(shop):
    shop.write(tests='"sleep 300"')
    running = shop.homeport.start("pipeline", "run", cwd=shop.app.directory)
    shop.homeport.wait(lambda: any(".pipeline." in n for n in shop.homeport.pids().values()))
    shop.run("pipeline", "cancel")
    running.communicate(timeout=150)
    assert [n for n in shop.homeport.pids().values() if ".pipeline." in n] == []


def test_a_gate_and_who_may_pass_it(shop):
    before = shop.serving()
    shop.write(approve=APPROVE, gate="yes")
    told = shop.run("pipeline", "run", who="root").stdout
    assert "waits for approval" in told
    assert "homeport approve" in told
    for who, arguments, status, why in (
        ("eve", ["-m", "mine", "--tick-all"], 5, "eve is not among those who may"),
        ("root", ["-m", "mine", "--tick-all"], 5, "root started the run"),
        ("tests", ["-m", "mine", "--tick-all"], 5, "tests wrote the commit"),
        ("anna", ["-m", "mine"], 3, "not every item is ticked"),
        ("anna", ["-m", "mine", "--tick", "told nobody"], 3, "no such item"),
        ("anna", ["-m", " ", "--tick-all"], 3, "a reason is kept"),
    ):
        assert why in shop.run("approve", *arguments, who=who, status=status).stderr
    assert shop.serving() == before
    assert shop.run("deploy", status=5).stderr.startswith("error: cannot deploy to production: it has a gate")
    shop.run("approve", "-m", "looked at it", "--tick", "told support", who="anna")
    found = shop.await_state("passed", "failed")
    assert found["state"] == "passed"
    assert shop.serving() == str(shop.version)
    (said,) = found["approvals"]
    assert (said["person"], said["reason"], said["ticked"]) == ("anna", "looked at it", ["told support"])
    assert said["what"]["commits"]
    told = [
        e for e in shop.homeport.json("events", "--app", "shop", "-n", "200") if e["kind"] == "gate.decided"
    ]
    assert told[-1]["actor"] == "anna"
    assert "it passed" in shop.run("approve", str(found["number"]), "-m", "again", status=5).stderr


def test_a_commit_cannot_push_its_gate_away(shop):
    """What serves has a gate with people: the commit has neither gate nor stage."""
    before = shop.serving()
    shop.write()
    shop.run("pipeline", "run", who="root")
    gate = next(s for s in shop.show()["stages"] if s["kind"] == "approve")
    assert (gate["people"], gate["own"], gate["items"]) == (
        ["anna", "tests", "root"],
        False,
        ["told support"],
    )
    assert shop.serving() == before
    shop.run("reject", "-m", "not like this", who="anna")
    found = shop.await_state("failed")
    assert found["reason"] == "approve production: rejected by anna: not like this"
    assert shop.serving() == before


def test_runs_queue_and_a_newer_one_supersedes_those_that_wait(shop):
    shop.write(approve=APPROVE, gate="yes")
    shop.run("pipeline", "run", who="root")
    first = shop.await_state("waiting")
    shop.write(approve=APPROVE, gate="yes")
    second = shop.homeport.start("pipeline", "run", "--wait", cwd=shop.app.directory)
    shop.homeport.wait(lambda: shop.show()["number"] == first["number"] + 1)
    assert shop.show()["behind"] == first["number"]
    told = shop.run("pipeline", "run", "HEAD~1", who="root").stdout
    assert "which waits for approval" in told
    shop.write(approve=APPROVE, gate="yes", on_newer="supersede")
    told = shop.run("pipeline", "run", who="root").stdout
    assert "waits for approval" in told
    third = shop.show()
    for number in range(first["number"], third["number"]):
        found = shop.await_state("superseded", which=str(number))
        assert found["reason"] == f"superseded by #{third['number']}"
    assert second.wait(30) == 7
    second.communicate()
    shop.run("pipeline", "cancel")


def test_what_is_no_run_is_refused(shop):
    assert "cannot read 'x'" in shop.run("pipeline", "show", "x", status=3).stderr
    assert "cannot find run 99999" in shop.run("pipeline", "show", "99999", status=4).stderr
    assert "cannot find stage" in shop.run("pipeline", "logs", "1", "nothing", status=4).stderr
    assert "is waiting" in shop.run("approve", "-m", "x", status=4).stderr
    assert "cannot find commit nothing" in shop.run("pipeline", "run", "nothing", status=4).stderr


def test_the_runs_of_an_app_go_with_it(shop):
    shop.write(tests='"sleep 300"')
    running = shop.homeport.start("pipeline", "run", cwd=shop.app.directory)
    shop.homeport.wait(lambda: any(".pipeline." in n for n in shop.homeport.pids().values()))
    shop.run("destroy", "shop", "--yes", "shop")
    running.communicate(timeout=150)
    assert list((shop.homeport.data / "pipelines").glob("*")) == []
    assert [n for n in shop.homeport.pids().values() if ".pipeline." in n] == []
