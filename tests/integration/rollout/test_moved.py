"""Releases that were built in another data directory: what in them is told the new path, and what is left."""

import os
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from state_db import fresh

from homeport.backup.repositories import Place
from homeport.guard.vault import Vault
from homeport.journal.store import Store
from homeport.kernel.ids import AppName, ReleaseId
from homeport.rollout import rules, state
from homeport.rollout.backups import moved
from homeport.rollout.backups.recovered import settle
from homeport.rollout.model import Commit, Release, ReleaseState
from homeport.system.clock import RealClock

FORMER = "/srv/former"
R1 = f"{FORMER}/releases/shop/r1"


@pytest.fixture
def release(tmp_path):
    directory = tmp_path / "releases" / "shop" / "r1"
    (directory / ".venv" / "bin").mkdir(parents=True)
    return directory


def test_scripts_settings_and_links_name_the_new_path(tmp_path, release):
    script = release / ".venv" / "bin" / "gunicorn"
    script.write_text(f"#!{R1}/.venv/bin/python\nimport gunicorn\n")
    script.chmod(0o750)
    (release / ".venv" / "pyvenv.cfg").write_text(f"home = /usr/bin\ncommand = python3 -m venv {R1}/.venv\n")
    (release / "here.pth").write_text(f"{R1}/src\nfile://{R1}/src\n")
    (release / "link").symlink_to(f"{R1}/src")
    run = release.with_name("r1.production")
    run.mkdir()
    (run / "uploads").symlink_to(f"{FORMER}/storage/shop/production/uploads")
    [told] = moved.tell(tmp_path, FORMER)
    assert (told.app, told.release, told.changed, told.left) == ("shop", "r1", 5, ())
    assert script.read_text() == f"#!{release}/.venv/bin/python\nimport gunicorn\n"
    assert stat.S_IMODE(script.stat().st_mode) == 0o750
    assert f"venv {release}/.venv\n" in (release / ".venv" / "pyvenv.cfg").read_text()
    assert (release / "here.pth").read_text() == f"{release}/src\nfile://{release}/src\n"
    assert os.readlink(release / "link") == f"{release}/src"
    assert os.readlink(run / "uploads") == f"{tmp_path}/storage/shop/production/uploads"
    assert moved.tell(tmp_path, FORMER) == (), "it can be made again"


def test_other_text_and_what_is_no_text_is_left(tmp_path, release):
    same = {
        "page.js": b"fetch('/srv/former/releases/other/r1'); get('/srv/former'); '/srv/former/releases/shop/'",
        "longer": f"/mnt{R1}/x /srv/former2/releases/shop/r1".encode(),
        "program": f"a\0{R1}".encode(),
    }
    for name, content in same.items():
        (release / name).write_bytes(content)
    (release / "python").symlink_to("/usr/bin/python3")
    assert moved.tell(tmp_path, FORMER) == ()
    assert {name: (release / name).read_bytes() for name in same} == same


def test_a_first_line_that_linux_would_cut_off_is_left_and_named(tmp_path, release):
    long = f"#!{R1}/{'x' * 200}\n"
    (release / "run").write_text(long)
    [told] = moved.tell(tmp_path, FORMER)
    assert told.left == ("run",) and (release / "run").read_text() == long


@pytest.mark.parametrize(("here", "reused"), [("/srv/new", False), (FORMER, True)])
def test_a_build_of_another_directory_is_no_build_of_the_same_files(tmp_path, here, reused):
    store = Store(fresh(tmp_path / "state.db"), RealClock())
    shop = AppName("shop")
    with store.transaction("me") as tx:
        state.ensure_environment(tx, shop, "production")
        state.insert_release(tx, release_of(shop, "ab" * 32))
    for _ in range(2):  # a recovery may be cut off between this and its note of it
        settle(
            store,
            Vault(store, tmp_path / "secrets.key"),
            repository="local",
            place=Place(path="/new"),
            keys={},
            former=FORMER,
            here=here,
            as_of=None,
            before=None,
        )
    found = state.State(store)
    assert (found.reusable(shop, "ab" * 32) is not None) is reused
    digest = found.release(shop, ReleaseId("r1")).digest
    assert rules.built_elsewhere(digest) is not reused and digest.endswith("ab" * 32)
    assert digest.count(rules.ELSEWHERE) == (not reused)


def release_of(app, digest):
    return Release(
        app=app,
        id=ReleaseId("r1"),
        commit=Commit("c" * 40, "First"),
        digest=digest,
        state=ReleaseState.READY,
        spec="",
        size=1,
        build_seconds=1.0,
        created_at=datetime.now(UTC),
        change=None,
    )
