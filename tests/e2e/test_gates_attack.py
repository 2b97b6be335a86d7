"""Ways past a gate that are shut, what a gate shows, and calls that come twice at once."""

import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

PIPELINE = """
[[pipeline.stage]]
kind = "check"
commands = { tests = "true" }
[[pipeline.stage]]
kind = "deploy"
environment = "staging"
[[pipeline.stage]]
kind = "deploy"
environment = "production"
[environments.staging]
domains = ["staging.shop.localhost"]
[environments.production]
"""
GATE = 'gate = "approval"\n'
HELD = """
while os.environ["HOMEPORT_ENVIRONMENT"] == "production" and not os.path.exists({go!r}):
    time.sleep(0.1)
"""


class Shop:
    """r1 serves without a gate, r2 brought one."""

    def __init__(self, homeport) -> None:
        self.homeport = homeport
        self.app = homeport.app("shop")
        self.write("1", gate="")
        self.run("pipeline", "run", "-q")
        self.write("2")
        self.run("pipeline", "run", "-q")
        self.run("approve", "-m", "a gate, at last")
        self.await_state("passed")

    def write(self, version, *, gate=GATE, **more) -> None:
        self.app.write(version, replicas=1, more=PIPELINE + gate, **more)

    def run(self, *arguments, status=0):
        return self.homeport.run(*arguments, cwd=self.app.directory, status=status)

    def push(self) -> None:
        argv = ["git", "push", "-q", "homeport", "HEAD:main"]
        subprocess.run(argv, cwd=self.app.directory, env=self.homeport.env, check=True, capture_output=True)

    def show(self) -> dict:
        return self.homeport.json("pipeline", "show", cwd=self.app.directory)

    def await_state(self, *states) -> dict:
        return self.homeport.wait(
            lambda: (found := self.show())["state"] in states and found, what=str(states)
        )

    def serving(self) -> str:
        return self.homeport.get()[1]


@pytest.fixture(scope="module")
def shop(homeport):
    return Shop(homeport)


def test_a_push_shows_every_commit_at_the_gate(shop):
    """git keeps what is pushed apart from what the control plane sees, until the gate is reached."""
    shop.run("remote")
    for n in range(3):
        shop.app.commit(f"step {n}")
    shop.write("3")
    shop.push()
    gate = shop.homeport.wait(
        lambda: (g := shop.show()["stages"][2])["found"]["what"]["commits_known"] and g, what="its commits"
    )
    assert [line.partition(" ")[2] for line in gate["found"]["what"]["commits"]] == [
        "version 3",
        "step 2",
        "step 1",
        "step 0",
    ]


def test_a_rollback_is_no_way_past_a_gate(shop):
    """r3 is built, and waits for a person."""
    assert shop.show()["state"] == "waiting"
    done = shop.run("rollback", "r3", status=5)
    assert "it never served there, and production has a gate" in done.stderr
    assert shop.serving() == "2"
    shop.run("reject", "-m", "no")
    shop.await_state("failed")


def test_a_rollback_to_before_the_gate_does_not_open_it(shop):
    shop.run("rollback", "r1")
    shop.write("4", gate="")
    assert "cannot deploy to production: it has a gate" in shop.run("deploy", status=5).stderr
    shop.run("pipeline", "run", "-q")
    assert shop.show()["state"] == "waiting"
    assert shop.serving() == "1"
    shop.run("reject", "-m", "no")
    shop.await_state("failed")
    shop.run("rollback", "r2")


def test_an_approval_is_for_the_difference_from_what_served(shop):
    """Something else begins to serve between the approval and the deploy."""
    shop.write("5")
    shop.run("pipeline", "run", "-q")
    go = shop.homeport.work / "go"
    shop.write("6", start_timeout="120s", extra=HELD.format(go=str(go)))
    before = set(shop.homeport.pids().values())
    mend = shop.homeport.start("deploy", "--past-gate", "emergency", cwd=shop.app.directory)
    shop.homeport.wait(
        lambda: [
            n for n in shop.homeport.pids().values() if n.startswith("shop.production.") and n not in before
        ],
        what="the other deploy",
    )
    shop.run("approve", "-m", "looked at it")
    go.touch()
    mend.communicate(timeout=150)
    assert mend.returncode == 0
    found = shop.await_state("failed", "passed")
    assert "it was approved when r2 served production" in found["reason"]
    assert shop.serving() == "6"
    shop.run("pipeline", "retry", "-q")
    found = shop.show()
    assert (found["state"], found["stages"][2]["state"]) == ("waiting", "waiting")
    shop.run("reject", "-m", "no")
    shop.await_state("failed")


def test_of_decisions_and_retries_at_once_one_holds(shop):
    with ThreadPoolExecutor(4) as pool:
        retries = list(pool.map(lambda _: shop.run("pipeline", "retry", "-q", status=None), range(3)))
        assert sorted(r.returncode for r in retries) == [0, 5, 5], [r.stderr for r in retries]
        said = list(
            pool.map(lambda n: shop.run(("approve", "reject")[n % 2], "-m", str(n), status=None), range(4))
        )
    assert [r.returncode for r in said].count(0) == 1, [r.stderr for r in said]
    found = shop.await_state("passed", "failed")
    attempt = found["attempt"]
    assert len([a for a in found["approvals"] if a["attempt"] == attempt]) == 1
