"""What the control plane keeps and tells of object lock; a worker that is a function."""

import sys
from datetime import timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_runs import Rig

from homeport.backup.locks.errors import NO_OBJECT_LOCK
from homeport.backup.locks.model import GOVERNANCE, Lock
from homeport.backup.model import PASSED
from homeport.backup.repositories import Place
from homeport.database.errors import WORK_FAILED
from homeport.journal.store import text_time
from homeport.kernel.errors import HomeportError
from homeport.system.clock import RealClock

MONTH = Lock(GOVERNANCE, 30)
FAR = Place(endpoint="https://s3.example.com", bucket="depot")
NOW = RealClock().now()


@pytest.fixture
def rig(tmp_path):
    found = Rig(tmp_path)
    found.worker.results["lock"] = {
        "former": None,
        "seen": MONTH.to_json(),
        "seen_at": text_time(NOW),
        "problem": "",
        "renewed_at": text_time(NOW),
        "extended": 0,
    }
    found.worker.results["undelete"] = {"deleted": 2, "overwritten": 1, "files": ["a"], "done": True}
    return found


def add(rig, lock=MONTH):
    keys = {"key": "k", "secret_key": "s"}
    return rig.backups.add_repository("far", FAR, keys, "six random words here", lock=lock, actor="me")


def kinds(rig):
    return [r.kind for r in rig.store.records()]


def test_it_is_locked_before_anything_is_written_and_looked_at_with_each_backup(rig):
    add(rig)
    assert rig.worker.asked == ["lock", "prepare"]
    [known] = rig.backups.locks.list()
    assert (known.repository, known.asked, known.seen, known.renewed_at) == ("far", MONTH, MONTH, NOW)
    assert "backup.repository_locked" in kinds(rig)
    run = rig.backups.back_up(prove=False, actor="me")
    assert run.steps[-1].work == "locks" and run.steps[-1].request == {"extend": True}
    assert rig.to_end(run.id).state == PASSED


def test_a_bucket_that_cannot_is_none_of_ours(rig):
    rig.worker.fail["lock"] = NO_OBJECT_LOCK.error("cannot lock far: it was made without")
    with pytest.raises(HomeportError, check=lambda e: e.type is NO_OBJECT_LOCK):
        add(rig)
    assert rig.worker.asked == ["lock"]
    assert rig.backups.repositories.list() == () and rig.backups.locks.list() == ()


def test_where_nothing_can_be_made_the_bucket_is_as_it_was(rig):
    rig.worker.fail["prepare"] = WORK_FAILED.error("cannot reach it")
    with pytest.raises(HomeportError, match="cannot reach it"):
        add(rig)
    assert rig.worker.asked == ["lock", "prepare", "unlock"]
    assert rig.backups.repositories.list() == () and rig.backups.locks.list() == ()


def test_without_a_lock_nothing_is_looked_at(rig):
    add(rig, lock=None)
    rig.backups.locking.look()
    assert rig.worker.asked == ["prepare"]
    assert not any(s.work == "locks" for s in rig.backups.back_up(prove=False, actor="me").steps)


def test_asked_for_later_and_forgotten_with_its_repository(rig):
    add(rig, lock=None)
    with pytest.raises(HomeportError, check=lambda e: e.code == "backup.unknown_repository"):
        rig.backups.locking.lock("near", MONTH, actor="me")
    for days in (0, 3651):
        with pytest.raises(HomeportError, match="1 to 3,650 days"):
            rig.backups.locking.lock("far", Lock(GOVERNANCE, days), actor="me")
    rig.backups.locking.lock("far", MONTH, actor="me")
    rig.backups.locking.look()
    assert rig.worker.asked == ["prepare", "lock", "locks"]
    rig.backups.locking.forget("far", actor="me")
    assert rig.backups.locks.list() == ()
    rig.backups.locking.lock("far", MONTH, actor="me")
    rig.backups.remove_repository("far", actor="me")
    add(rig, lock=None)
    assert rig.backups.locks.list() == ()


def test_what_comes_back_is_in_the_journal_and_nothing_is_written_meanwhile(rig):
    add(rig)
    since = NOW - timedelta(hours=1)
    run = rig.backups.back_up(prove=False, actor="me")
    assert rig.backups.locking.undelete("far", since, plan=True, actor="me").deleted == 2
    assert "backup.repository_undeleted" not in kinds(rig)
    with pytest.raises(HomeportError, check=lambda e: e.code == "backup.run_under_way"):
        rig.backups.locking.undelete("far", since, plan=False, actor="me")
    rig.to_end(run.id)
    rig.backups.locking.undelete("far", since, plan=False, actor="me")
    assert kinds(rig)[-1] == "backup.repository_undeleted"
