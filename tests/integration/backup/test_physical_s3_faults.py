"""A store that answers 500, hangs or cuts its answers short, at the beginning and in the middle of each piece of work.

It stands beside a local repository, which has its backup and its proof all the same.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from physical_home import PASSPHRASE, PhysicalHome, directory

# isort: split
from bad_store import BadStore
from seaweed import BUCKET, KEY, SECRET_KEY, Seaweed
from tls_front import TlsFront

from homeport.backup import works
from homeport.backup.model import FAILED, PASSED, Step, judged
from homeport.backup.physical import commands, service
from homeport.backup.physical.model import LocalStore, Made, Newest, Repository, S3Store, Settings
from homeport.backup.physical.service import PhysicalBackups
from homeport.backup.toolbox import Toolbox
from homeport.database.state import DatabaseState
from homeport.journal.store import Store
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret

SAYS = {
    "500": "its store answers with error 500",
    "hang": "its store does not answer",
    "truncate": "its store cuts its answers short",
}
FILES, LOG = "/bundle/", "/archive/main/15-1/0"
SILENT = {"500": 3.0, "hang": 1.0, "truncate": 4.0, "well": 10.0}
"""Seconds that the store may be silent for; what fails comes to some of them."""


class Box(Toolbox):
    """Whose repositories are those of the test, without a vault."""

    settings: Settings

    @property
    def repositories(self) -> Any:
        settings = SETTINGS[self.data_dir]

        class Known:
            def for_clusters(self, *, synchronous: bool = False) -> Settings:
                return settings

        return Known()


SETTINGS: dict[Path, Settings] = {}


@dataclass
class Away:
    home: PhysicalHome
    both: PhysicalBackups
    bad: BadStore
    made: tuple[Made, ...]
    box: Toolbox

    @contextmanager
    def fault(self, mode: str, only: str = "", method: str = "") -> Iterator[None]:
        self.bad.only, self.bad.method, self.bad.met = only, method, 0
        self._wait_for_answers(SILENT[mode])
        self.bad.mode = mode
        try:
            yield
            assert self.bad.met, "the store was asked"
        finally:
            self.bad.mode, self.bad.only, self.bad.method = "well", "", ""
            self._wait_for_answers(SILENT["well"])

    def _wait_for_answers(self, seconds: float) -> None:
        commands.ANSWER = commands.LOOKING = seconds
        commands._LOOK = (f"--io-timeout={seconds}",)
        self.both.prepare()


@pytest.fixture(scope="module")
def away() -> Iterator[Away]:
    patch = pytest.MonkeyPatch()
    for name in ("ANSWER", "LOOKING", "_LOOK"):
        patch.setattr(commands, name, getattr(commands, name))
    patch.setattr(commands, "pgbackrest_conf", impatient(commands.pgbackrest_conf))
    patch.setattr(service, "FLUSHING", 1.0)
    where = directory()
    where.chmod(0o755)
    try:
        with Seaweed() as store, BadStore(store.url) as bad, TlsFront(bad.url, where) as front:
            home = PhysicalHome()
            try:
                far = S3Store(
                    BUCKET, "localhost", "us-east-1", Secret(KEY), Secret(SECRET_KEY), "/shop", front.port, True, front.ca
                )  # fmt: skip
                settings = Settings(
                    (
                        Repository("r1", LocalStore(home.repository()), Secret(PASSPHRASE)),
                        Repository("far", far, Secret("another passphrase")),
                    )
                )
                SETTINGS[home.data] = settings
                both = PhysicalBackups(
                    home.data, home.cluster, home.clusters, home.services, settings, home.clock
                )
                both.ensure()
                home.sql("CREATE TABLE orders AS SELECT g AS id FROM generate_series(1, 1000) g")
                made = both.backup()
                box = Box(
                    home.data, DatabaseState(Store(home.engine, home.clock)), None, home.services, home.clock
                )
                assert both.prove("far").passed
                yield Away(home, both, bad, made, box)
            finally:
                home.end()
    finally:
        patch.undo()
        shutil.rmtree(where, ignore_errors=True)


def impatient(conf: Callable[..., Secret]) -> Callable[..., Secret]:
    """Without the 15 s after which pgBackRest tries a file once more."""

    def written(*args: Any) -> Secret:
        return Secret(conf(*args).reveal().replace("[global]\n", "[global]\njob-retry-interval=0.1\n", 1))

    return written


def named(error: HomeportError, mode: str) -> None:
    assert error.code == "backup.repository_unreachable" and error.sentence.startswith("cannot ")
    assert error.sentence.endswith(SAYS[mode]), error.sentence
    told = f"{error.sentence} {error.hint} {error.details}"
    assert SECRET_KEY not in told and "another passphrase" not in told


@pytest.mark.parametrize(
    ("mode", "only"),
    [("hang", ""), ("truncate", "backup.manifest")],
)
def test_a_backup_is_not_in_a_store_that_fails_and_is_in_the_other(away: Away, mode: str, only: str) -> None:
    with away.fault(mode, only):
        request = {"cluster": "main", "full": False, "synchronous": False}
        done = works.cluster(away.box, request, lambda *_: None)
    step = judged(Step("back up", "cluster", state=PASSED, result=done))
    assert step.state == FAILED and step.error is not None
    assert step.error["sentence"].endswith(f"far: {SAYS[mode]}")
    [made] = step.result["made"]
    assert made["repository"] == "r1" and made["manifest"], "so it can be proven"
    assert away.home.left() == []


@pytest.mark.parametrize("mode", SAYS)
@pytest.mark.parametrize("only", ["", FILES, LOG], ids=["beginning", "files", "log"])
def test_a_proof_that_a_store_fails_says_nothing_against_the_backup(away: Away, mode: str, only: str) -> None:
    label = away.made[1].backup.label
    before = away.both.records.proof("far", label)
    with away.fault(mode, only, "GET"), pytest.raises(HomeportError) as caught:
        away.both.prove("far", label)
    named(caught.value, mode)
    assert away.home.left() == []
    assert before is not None and away.both.records.proof("far", label) == before


@pytest.mark.parametrize(("mode", "only"), [("hang", LOG), ("truncate", FILES)])
def test_a_restore_comes_from_the_other_repository(away: Away, mode: str, only: str) -> None:
    with away.fault(mode, only, "GET"):
        with pytest.raises(HomeportError) as caught:
            away.both.restore(Newest(), "one", repositories=["far"])
        named(caught.value, mode)
        assert away.home.left() == []
        restored = away.both.restore(Newest(), "one", repositories=["far", "r1"])
    assert restored.repository == "r1"
    assert any(SAYS[mode] in told for told in restored.passed_over), restored.passed_over
    away.both.drop_restored("one")


def test_where_a_store_fails_is_not_taken_for_the_end_of_the_log(away: Away) -> None:
    away.home.sql("INSERT INTO orders VALUES (2000)")
    last = away.both.flush()
    with away.fault("500", last, "GET"), pytest.raises(HomeportError) as caught:
        away.both.restore(Newest(), "one", repositories=["far"])
    named(caught.value, "500")
    assert away.home.left() == []


def test_it_goes_on_when_the_store_is_well_again(away: Away) -> None:
    with away.fault("500", FILES), pytest.raises(HomeportError) as caught:
        away.both.backup(full=True)
    named(caught.value, "500")
    made = {m.backup.repository: m.backup.kind for m in away.both.backup()}
    # Of the full one that was cut off there is something left in the store, which none before it comes after.
    assert made == {"r1": "incr", "far": "full"}
    assert away.both.prove("far").passed and away.both.prove("r1").passed
    assert away.both.findings() == ()
    assert away.home.left() == []
