"""A repository in an S3-compatible store beside a directory: a drill without the store, everything in it deleted by
somebody who has its keys and brought back, then all of it from there."""

import json
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from minio import Minio
from urllib3 import PoolManager

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from seaweed import KEY, SECRET_KEY, Seaweed
from test_backups import PASSPHRASE, Shop
from tls_front import TlsFront

LOCKED = "locked"
A_SECOND = timedelta(seconds=2)
"""The store tells times to the second."""


class Attacker:
    """With the keys that Homeport has."""

    def __init__(self, url):
        self._http = PoolManager()
        where = url.removeprefix("http://")
        self.client = Minio(where, KEY, SECRET_KEY, secure=False, region="us-east-1", http_client=self._http)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._http.clear()

    def delete_everything(self):
        """How many there were."""
        found = [o.object_name for o in self.client.list_objects(LOCKED, prefix="one/", recursive=True)]
        for name in found:
            self.client.remove_object(LOCKED, name)
        return len(found)


@pytest.fixture(scope="module")
def far(homeport):
    """As the command line takes it."""
    with Seaweed() as store, TlsFront(store.url, homeport.work) as front, Attacker(store.url) as attacker:
        attacker.client.make_bucket(LOCKED, object_lock=True)
        homeport.env |= {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        options = ("--endpoint", front.url, "--bucket", LOCKED, "--prefix", "one", "--ca", str(front.ca))
        yield options, attacker
        # PostgreSQL archives the rest of its log as it stops.
        homeport.run("down", status=None)


def newest(homeport):
    return homeport.ask("/v1/backups/runs?kind=backup")[0]


def backed_up(homeport):
    steps = newest(homeport)["steps"]
    made = [s["state"] for s in steps if s["name"].startswith("back up")]
    assert "failed" not in made, steps
    return set(made) == {"passed"}


def end_proofs(homeport, shop):
    """Of the newest backup, once it is made."""
    homeport.wait(lambda: backed_up(homeport), seconds=120)
    homeport.run("backup", "cancel", newest(homeport)["id"], status=None)
    shop.quiet()


@pytest.fixture(scope="module")
def shop(homeport, far):
    """Backed up into both."""
    shop = Shop(homeport)
    (homeport.work / "near").mkdir()
    homeport.run("backup", "repository", "add", "far", *far[0], "--lock", "30d", stdin=PASSPHRASE)
    near = ("backup", "repository", "add", "near", str(homeport.work / "near"))
    while (done := homeport.run(*near, status=None, stdin=PASSPHRASE)).returncode:
        # The first backup begins by itself, and may do so before there is another repository.
        assert "is under way" in done.stderr, done.stderr
        end_proofs(homeport, shop)
    # What is new is backed up into at once.
    homeport.wait(
        lambda: any(
            s["name"].endswith(" in near")
            for r in homeport.ask("/v1/backups/runs?kind=backup")
            for s in r["steps"]
        )
    )
    end_proofs(homeport, shop)
    return shop


def test_a_drill_without_the_store(homeport, shop):
    report = homeport.json("drill", "repository-unreachable")
    told = {line["phase"]: " ".join(line["told"]) for line in report["timeline"]}
    assert report["passed"] and "far" in told["detect"], report
    assert "from near" in told["restore"] and list((homeport.data / "scratch").glob("_*")) == []


def test_deleted_there_and_the_machine_gone_all_comes_back(homeport, shop, far):
    far, attacker = far
    serving, rows = homeport.environment(shop.app)["serving"], shop.rows()
    assert "locked for 30 d (governance)" in homeport.run("backup", "status", status=None).stdout
    homeport.run("down")
    since = datetime.now(UTC)
    homeport.wait(lambda: datetime.now(UTC) - since > A_SECOND)
    assert attacker.delete_everything() > 10
    homeport.data.rename(homeport.work / "lost")
    shutil.rmtree(homeport.work / "near")
    done = homeport.run("recover", *far[:5], "none", *far[6:], status=4, stdin=PASSPHRASE)
    assert "there is none at that place" in done.stderr and "hint: " in done.stderr
    undelete = ("--undelete-since", since.isoformat())
    found = json.loads(homeport.run("recover", *far, *undelete, "--json", stdin=PASSPHRASE).stdout)
    assert found["ok"] and not found["lost"], found
    assert [(e["app"], e["release"], e["health"]) for e in found["serving"]] == [("orders", serving, "up")]
    assert any("repository near was not looked at" in text for text in found["todo"])
    assert shop.rows() == rows
