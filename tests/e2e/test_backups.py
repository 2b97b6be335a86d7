"""Backups from the first repository to a machine that is gone: real pgBackRest, restic and PostgreSQL."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from live import HOMEPORT
from test_databases import AFTER, DATABASE, EXTRA
from test_secrets import hits

from homeport.backup.physical.model import in_memory
from homeport.backup.repositories import MACHINE
from homeport.guard.vault import Vault
from homeport.journal.store import Store, open_engine
from homeport.system.clock import RealClock

PASSPHRASE = "tulip-anvil-seventeen-harbour"
TABLE = """-- migrate:up
create table orders (id bigint generated always as identity primary key, note text not null default '');
insert into orders (note) select repeat('x', 200) || g from generate_series(1, 2000) g;
-- migrate:down
drop table orders;
"""
LATER = (
    "insert into homeport_migrations (version, description, filename, checksum, source, applied_at, applied_by, release) "
    "values ('203001010000', 'later', '203001010000_later.sql', 'x', 'x', now(), 'me', 'r9')"
)
MORE = DATABASE + '[storage.uploads]\npath = "uploads"\n[variables]\nAPI_KEY = { secret = true }\n'


class Shop:
    def __init__(self, homeport):
        self.homeport = homeport
        self.app = homeport.app("orders")
        (self.app.directory / "migrations").mkdir()
        (self.app.directory / "migrations" / "202611201200_orders.sql").write_text(TABLE)
        self.app.write("1", replicas=1, keep_warm="0s", extra=EXTRA, after=AFTER, more=MORE)
        homeport.run("secrets", "set", "API_KEY", cwd=self.app.directory, stdin="sk_live_from_before")
        homeport.deploy(self.app)
        self.repository = homeport.work / "repository"
        self.repository.mkdir()

    def sql(self, text):
        from urllib.parse import quote

        status, body, _ = self.homeport.get("/" + quote(text), host=self.app.host)
        assert status == 200, body
        return json.loads(body)

    def rows(self):
        return self.sql("select count(*) from orders")[0][0]

    @property
    def uploads(self):
        return self.homeport.data / "storage" / "orders" / "production" / "uploads"

    def runs(self):
        """But those of Homeport's own state, which follow what is done here."""
        return self.homeport.ask("/v1/backups/runs?kind=backup&kind=prove")

    def quiet(self):
        """No run is under way, and at least one was."""
        self.homeport.wait(
            lambda: (found := self.runs()) and all(r["state"] != "running" for r in found), seconds=120
        )

    def prove(self, status):
        """Once nothing else is under way."""
        while True:
            done = self.homeport.run("backup", "prove", "--json", status=None)
            if "is under way" not in done.stderr:
                assert done.returncode == status, done.stdout + done.stderr
                return json.loads(done.stdout)
            self.quiet()


class Argvs:
    """Command lines and environments of all processes, looked at again and again."""

    def __init__(self):
        self.seen = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self):
        while not self._end.wait(0.02):
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    with open(f"/proc/{pid}/cmdline", "rb") as f:
                        self.seen.add(f.read())
                except OSError:
                    continue

    def close(self):
        self._end.set()
        self._thread.join()
        return b"\n".join(self.seen)


@pytest.fixture(scope="module")
def shop(homeport):
    return Shop(homeport)


def test_a_repository_is_added_and_everything_in_it_proven(shop, refused):
    homeport = shop.homeport
    done = homeport.run("backup", "status", status=1)
    assert "nothing is backed up yet" in done.stdout
    refused("backup", "run", status=5, says="there is no repository")
    for name, place, passphrase, status, says in (
        ("local", shop.repository, "short", 3, "fewer than 12"),
        ("local", "", PASSPHRASE, 3, "is a directory, or an S3"),
        ("local", homeport.work / "x", PASSPHRASE, 3, "there is no directory"),
        *([("local", closed(homeport), PASSPHRASE, 3, "may not enter")] if os.geteuid() == 0 else []),
    ):
        arguments = ("backup", "repository", "add", name, *([str(place)] if place else []))
        done = homeport.run(*arguments, status=status, stdin=passphrase)
        assert says in done.stderr, done.stderr
    assert homeport.json("backup", "repository", "list") == []

    shop.uploads.mkdir(parents=True, exist_ok=True)
    (shop.uploads / "picture.bin").write_bytes(os.urandom(200_000))
    argvs = Argvs()
    homeport.run("backup", "repository", "add", "local", str(shop.repository), stdin=PASSPHRASE)
    shop.quiet()  # the first one begins by itself
    run = shop.runs()[-1]
    assert run["state"] == "passed", run["reason"]
    assert [s["name"] for s in run["steps"]] == [
        "back up cluster main",
        "back up files of orders.production",
        "back up files of homeport",
        "prove cluster main in local",
        "prove files of homeport in local",
        "prove files of orders.production in local",
        "keep what is known of them",
        "remove what need not be kept",
        "look at what could be lost",
    ]
    done = homeport.run("backup", "status", "--now")
    assert "everything could be brought back" in done.stdout
    listed = homeport.json("backup", "list")
    assert [(c["cluster"], c["kind"], c["proof"]["passed"]) for c in listed["clusters"]] == [
        ("main", "full", True)
    ]
    assert {(f["series"], f["removed"]) for f in listed["files"]} == {
        ("homeport", False),
        ("orders.production", False),
    }
    assert all(f["proof"]["passed"] for f in listed["files"]) and not listed["problems"]
    assert any(f["name"] == "backups" and f["ok"] for f in homeport.json("doctor", status=None)), (
        "doctor tells of backups"
    )

    seen = argvs.close()
    store = Store(open_engine(homeport.data / "state.db"), RealClock())
    vault = Vault(store, homeport.data / "secrets.key")
    words = [PASSPHRASE, *(vault.reveal(*MACHINE, name) for name in vault.versions(*MACHINE))]
    assert len(words) == 3
    assert hits(homeport.data, words) == [] and hits(shop.repository, words) == []
    assert not [w for w in words if w.encode() in seen]


def test_a_flipped_bit_is_found_by_the_next_proof_and_named(shop):
    bundles = [p for p in (shop.repository / "postgresql" / "backup").rglob("bundle/*") if p.is_file()]
    packs = [p for p in (shop.repository / "files" / "data").rglob("*") if p.is_file()]
    broken = [max(found, key=lambda p: p.stat().st_size) for found in (bundles, packs)]
    for path in broken:
        flip(path)
    found = shop.prove(status=7)
    wrong = {s["name"]: s["error"]["sentence"] for s in found["steps"] if s["state"] == "failed"}
    assert set(wrong) == {"prove cluster main in local", "prove files of orders.production in local"}, found
    told = next(s["error"] for s in found["steps"] if s["name"] == "prove cluster main in local")
    assert re.search(r"\b(base|global|pg_\w+)/\w+", f"{told}"), told
    done = shop.homeport.run("backup", "status", status=1)
    assert "prove cluster main in local failed" in done.stdout, done.stdout
    for path in broken:
        flip(path)


def test_a_machine_that_is_gone_comes_back_from_the_repository_and_the_passphrase(shop, refused):
    homeport = shop.homeport
    before = homeport.environment(shop.app)
    shop.sql("insert into orders (note) select 'after the backup' from generate_series(1, 50)")
    # As a release would have, that was deployed since the state was backed up.
    homeport.run("db", "shell", "--", "-qc", LATER, cwd=shop.app.directory)
    rows = shop.rows()
    known = proofs(homeport)
    assert known
    memory = in_memory(homeport.data)
    assert list(memory.parent.glob(f"{memory.name}-*"))
    homeport.run("down")  # PostgreSQL archives the rest of its log as it stops
    assert not list(memory.parent.glob(f"{memory.name}-*")), "what opens repositories is left in memory"
    lost = homeport.work / "lost"
    homeport.data.rename(lost)

    place = str(shop.repository)
    for directory, passphrase, status, says in (
        (place, "not the passphrase", 3, "does not open it"),
        (f"{place}/files", PASSPHRASE, 4, "there is none at that place"),
    ):
        done = homeport.run("recover", directory, status=status, stdin=passphrase)
        assert says in done.stderr and "hint: " in done.stderr, done.stderr
        assert not os.listdir(homeport.data)

    assert kill_within(homeport, place) == -signal.SIGKILL
    done = homeport.run("up", status=5)
    assert "did not come to its end" in done.stderr
    report = json.loads(homeport.run("recover", place, "--json", status=1, stdin=PASSPHRASE).stdout)
    [missing] = report["lost"]
    assert "migrations 203001010000 later of database main (r9 then)" in missing, report
    assert [found["what"] for found in report["as_of"]] == [
        "state, releases, config and secrets",
        "files of orders.production",
        "cluster main",
    ]
    assert all(found["at"] for found in report["as_of"]), report
    assert [(e["app"], e["release"], e["health"]) for e in report["serving"]] == [
        ("orders", before["serving"], "up")
    ]
    assert shop.rows() == rows
    assert (shop.uploads / "picture.bin").read_bytes() == (
        lost / "storage" / "orders" / "production" / "uploads" / "picture.bin"
    ).read_bytes()
    done = homeport.run("secrets", "reveal", "API_KEY", cwd=shop.app.directory)
    assert "sk_live_from_before" in done.stdout
    done = homeport.run("recover", place, status=5, stdin=PASSPHRASE)
    assert "it is not empty" in done.stderr and "--data-dir" in done.stderr

    # What was proven when came along, and what backups have to hold.
    assert proofs(homeport) == known
    manifests = [p.name for p in lost.glob("backups/*/records/*.manifest.json")]
    assert manifests and manifests == [
        p.name for p in homeport.data.glob("backups/*/records/*.manifest.json")
    ]

    # Nothing goes to where the former machine may still back up, until a person says so.
    refused("backup", "run", status=5, says="may still back up there", hint="homeport backup resume")
    assert "homeport backup resume" in homeport.run("backup", "status", status=1).stdout
    homeport.run("backup", "resume")
    assert proof_of_cluster(shop)
    # The history of the timeline that the recovered cluster is on has to be in the repository by then.
    homeport.wait(lambda: proof_of_cluster(shop)["state"] not in ("waiting", "running"), seconds=120)
    proof = proof_of_cluster(shop)
    assert proof["state"] == "passed", (
        proof["error"],
        [(r["id"], r["actor"], r["started_at"], r["state"], r["request"]) for r in shop.runs()],
    )


def proofs(homeport):
    """When each backup was proven, and whether that passed; by repository and label or snapshot."""
    listed = homeport.json("backup", "list")
    assert not listed["problems"]
    return {
        (b["repository"], b.get("label") or b["snapshot"]): (b["proof"]["at"], b["proof"]["passed"])
        for b in (*listed["clusters"], *listed["files"])
        if b["proof"]
    }


def proof_of_cluster(shop):
    """In the newest full backup."""
    full = next(r for r in shop.runs() if r["request"].get("full"))
    return next(s for s in full["steps"] if s["name"] == "prove cluster main in local")


def closed(homeport):
    """A directory that PostgreSQL's user may not enter."""
    directory = homeport.work / "closed"
    directory.mkdir(mode=0o700)
    return directory


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    mode = path.stat().st_mode
    path.chmod(0o600)
    path.write_bytes(data)
    path.chmod(mode)


def kill_within(homeport, place):
    """Begin a recovery and kill it while a cluster comes back; how it ended."""
    process = subprocess.Popen(
        [str(HOMEPORT), "recover", place],
        env=homeport.env,
        cwd=homeport.work,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    process.stdin.write(PASSPHRASE)
    process.stdin.close()
    deadline = time.monotonic() + 60
    scratch = homeport.data / "postgresql" / "main"
    while process.poll() is None and time.monotonic() < deadline:
        if list(scratch.glob("restored-*")):
            process.kill()
        time.sleep(0.01)
    process.stdout.close()
    return process.wait()
