"""Files of the data directory that were damaged: what serves goes on, and what is wrong is said."""

import json
import os
import signal
import sqlite3
import threading
import time

import pytest

CONFLICT = 5


@pytest.fixture(scope="module")
def shop(homeport):
    app = homeport.app("shop")
    app.write("1", replicas=1)
    homeport.deploy(app)
    return app


class Asking:
    """GETs one after the other in the background; all must be 200."""

    def __init__(self, homeport):
        self.homeport, self.wrong, self.count = homeport, [], 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._stop.wait(0.01):
            try:
                status = self.homeport.get()[0]
            except OSError as e:
                status = str(e)
            self.count += 1
            if status != 200:
                self.wrong.append(status)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        assert not self.wrong and self.count > 10, self.wrong[:5]


def edge_files(homeport):
    return sorted(p for p in (homeport.data / "edge").iterdir() if p.suffix in (".cfg", ".map"))


def test_edge_files_damaged_while_it_runs_are_mended_without_a_lost_request(homeport, shop):
    files = edge_files(homeport)
    assert len(files) >= 4
    with Asking(homeport):
        for damage in (b"", b"global\n    daemon\n# a stranger's\n", b"\xff\xfe\x00"):
            for path in files:
                path.write_bytes(damage)
            homeport.wait(
                lambda damage=damage: all(p.read_bytes() != damage for p in files),
                seconds=15,
                what="the edge's files are written anew",
            )
        for path in files:
            path.unlink()
        homeport.wait(lambda: all(p.exists() for p in files), seconds=15)
        assert homeport.environment(shop)["health"] == "up"


def test_edge_files_damaged_while_it_is_down_are_made_anew(homeport, shop):
    homeport.run("down")
    before = {p: p.read_bytes() for p in edge_files(homeport)}
    for n, path in enumerate(before):
        path.write_bytes(path.read_bytes()[: 100 * n])
    homeport.up()
    homeport.wait(lambda: homeport.get()[0] == 200)
    assert homeport.wait(lambda: {p: p.read_bytes() for p in before} == before)


def test_homeport_json_damaged(homeport, shop, refused):
    path = homeport.data / "homeport.json"
    good = path.read_text()
    try:
        for damage in ("", "{", "[]", '{"layout": 99, "http": "127.0.0.1:1", "https": null}'):
            path.write_text(damage)
            with Asking(homeport):
                homeport.run("status")
                time.sleep(0.3)
            refused("up", status=None, says=str(homeport.data), hint="hint: ")
            # Killed, the control plane cannot come back; what serves goes on, and the CLI says why.
        path.write_text("{")
        os.kill(homeport.pid_of("serve"), signal.SIGKILL)
        with Asking(homeport):
            time.sleep(1)
    finally:
        path.write_text(good)
    homeport.wait(lambda: homeport.run("status", status=None).returncode == 0, seconds=30)


DAMAGE = {
    "emptied": lambda path: os.truncate(path, 0),
    "cut short": lambda path: os.truncate(path, 5000),
    "a stranger's": lambda path: path.write_bytes(b"PK\x03\x04 not a database at all" * 400),
    "removed": lambda path: path.unlink(),
}


def _answers(homeport):
    try:
        return homeport.get()[0] == 200
    except OSError:
        return False


def test_state_db_damaged_is_refused_while_traffic_goes_on(fresh_homeport, refused):
    """A control plane that began anew would take what runs for strangers', and stop it."""
    homeport = fresh_homeport
    homeport.up()
    app = homeport.app("shop")
    app.write("1", replicas=1)
    homeport.deploy(app)
    database = homeport.data / "state.db"
    saved = homeport.work / "saved.db"
    with sqlite3.connect(database) as source, sqlite3.connect(saved) as target:
        source.backup(target)
    source.close()
    target.close()
    log = homeport.data / "logs" / "serve.log"

    def put(damage=None):
        # Made elsewhere: serve, which comes every 2 s, must meet neither a part of it nor the good one.
        made = homeport.work / "state.made"
        made.write_bytes(saved.read_bytes())
        if damage:
            DAMAGE[damage](made)
        for path in homeport.data.glob("state.db*"):
            path.unlink(missing_ok=True)
        if made.exists():
            made.rename(database)
        return database.read_bytes() if database.exists() else None

    def refusals():
        return log.read_text().count("error: cannot open")

    with Asking(homeport):
        put("removed")
        os.kill(homeport.pid_of("serve"), signal.SIGKILL)
        for damage in DAMAGE:
            content = put(damage)
            before = refusals()
            homeport.wait(
                lambda before=before: refusals() > before, seconds=40, what=f"serve on one {damage}"
            )
            done = homeport.run("doctor", status=1)
            assert "✗ files" in done.stdout and str(database) in done.stdout
            refused("up", status=1, says=f"cannot open {database}", hint="backup", at=homeport)
            assert (database.read_bytes() if database.exists() else None) == content
            assert any(n.startswith("shop.production.r1") for n in homeport.pids().values())
        put()
        homeport.wait(lambda: homeport.run("status", status=None).returncode == 0, seconds=60)
    assert homeport.environment(app)["serving"] == "r1"
    homeport.run("down")
    for damage in DAMAGE:
        content = put(damage)
        refused("up", status=1, says=f"cannot open {database}", hint="backup", at=homeport)
        assert (database.read_bytes() if database.exists() else None) == content
        # What is on disk is enough for the edge and the apps: only the control plane is missing.
        homeport.wait(lambda: _answers(homeport), seconds=30, what=f"the app serves with state.db {damage}")
        homeport.run("down")
        assert not homeport.pids()
    put()
    homeport.up()
    homeport.wait(lambda: homeport.get()[:2] == (200, "1"))


def test_state_db_of_a_newer_homeport_is_refused(fresh_homeport, refused):
    fresh_homeport.up()
    fresh_homeport.run("down")
    with sqlite3.connect(fresh_homeport.data / "state.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    refused(
        "up", status=CONFLICT, says="newer Homeport (schema 9999", hint="install the newer", at=fresh_homeport
    )
    assert not fresh_homeport.pids()
    assert json.loads((fresh_homeport.data / "homeport.json").read_text())["layout"] == 1
