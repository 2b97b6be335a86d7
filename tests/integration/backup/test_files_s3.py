"""Backups of files in an S3-compatible store, and what is told of one that misbehaves."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
sys.path.insert(0, str(Path(__file__).parent))

from bad_store import BadStore
from files_home import LIMITS, OWN, PASSPHRASE, FilesHome
from seaweed import BUCKET, KEY, SECRET_KEY, Seaweed

from homeport.backup.files.model import Limits, Made, Repository, S3Place
from homeport.backup.files.recovery import recover
from homeport.backup.files.service import FileBackups
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret
from homeport.system import net

IMPATIENT = Limits(short=15, stalled=15)


@dataclass
class Away:
    home: FilesHome
    place: S3Place
    bad: BadStore
    made: Made
    """A backup of storage; with it there is one of Homeport's own."""

    def backups(self, limits: Limits = LIMITS, **changes: Any) -> FileBackups:
        place = replace(self.place, **changes)
        repository = Repository("offsite", place, OWN)
        return FileBackups(self.home.data, [repository], self.home.clock, limits, yielding=False)


@pytest.fixture(scope="module")
def away() -> Iterator[Away]:
    home = FilesHome()
    try:
        with Seaweed() as store, BadStore(store.url) as bad:
            place = S3Place(store.url, BUCKET, Secret(KEY), Secret(SECRET_KEY), "machines/one")
            backups = FileBackups(
                home.data, [Repository("offsite", place, OWN)], home.clock, LIMITS, yielding=False
            )
            backups.prepare()
            backups.set_passphrase(PASSPHRASE)
            backups.backup(home.own)
            [made] = backups.backup(home.storage)
            yield Away(home, place, bad, made)
    finally:
        home.end()


def refused(code: str) -> Any:
    return pytest.raises(HomeportError, check=lambda e: e.code == code and e.sentence.startswith("cannot "))


def test_proven_and_recovered_from_the_address_and_the_passphrase(away: Away, tmp_path: Path) -> None:
    assert away.backups().prove("offsite", away.made.snapshot).failures == ()
    found = recover(tmp_path, Repository("given", away.place, PASSPHRASE), away.home.clock, limits=LIMITS)
    assert [r.series for r in found.series] == ["homeport", "shop.production"]
    assert (tmp_path / "secrets.key").read_text() == "the-key-of-all-secrets"


def test_what_a_store_refuses_is_named_without_its_keys(away: Away) -> None:
    cases = [
        ("backup.store_refused", {"secret_key": Secret("wrong-hush")}),
        ("backup.store_refused", {"key": Secret("AKIDWRONG")}),
        ("backup.store_refused", {"bucket": "none-of-ours"}),
        ("backup.no_repository", {"prefix": "machines/two"}),
        ("backup.store_not_answering", {"endpoint": f"http://127.0.0.1:{_closed()}"}),
    ]
    for code, changes in cases:
        with refused(code) as caught:
            away.backups(**changes).restic("offsite").check_opened()
        told = f"{caught.value.sentence}{caught.value.hint}{caught.value.details}"
        assert "hush" not in told and OWN.reveal() not in told


def _closed() -> int:
    return next(port for port in range(28_000, 29_000) if net.is_port_free(port))


@pytest.mark.parametrize(
    ("mode", "code"), [("500", "backup.store_failed"), ("hang", "backup.store_not_answering")]
)
def test_a_store_that_fails_or_hangs_ends_the_run_in_its_time(away: Away, mode: str, code: str) -> None:
    backups = away.backups(IMPATIENT, endpoint=away.bad.url)
    away.bad.mode = mode
    try:
        with refused(code):
            backups.backup(away.home.storage)
        with refused(code):
            backups.prove("offsite", away.made.snapshot)
    finally:
        away.bad.mode = "well"
    assert backups.records.proof("offsite", away.made.snapshot) is not None, (
        "what was not tried proves nothing"
    )
    assert away.home.left() == []
    assert backups.backup(away.home.storage), "and the next one goes on"


def test_a_store_that_cuts_answers_short_is_told_of(away: Away, tmp_path: Path) -> None:
    backups = away.backups(IMPATIENT, endpoint=away.bad.url)
    away.bad.mode, away.bad.only = "truncate", "/data/"
    try:
        with refused("backup.store_failed") as caught:
            backups.restic("offsite").restore(away.made.snapshot, tmp_path, away.made.bytes)
    finally:
        away.bad.mode, away.bad.only = "well", ""
    assert caught.value.details
