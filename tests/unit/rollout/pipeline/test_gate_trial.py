"""The trial at the gate: what is told, how much of it is kept, and that it never stands in the way."""

import base64
import io
import json
import tarfile
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from pipeline_values import PRODUCTION, SPEC, run

from homeport.database.migrations.errors import TRIAL_FAILED
from homeport.kernel.errors import HomeportError
from homeport.rollout.data import contracts, schemas
from homeport.rollout.data.schemas import files_of
from homeport.rollout.pipeline.trial import LINES, MOST, GateTrial, bounded, brief

DATABASE = '[database.main]\nmigrations = "sql"\n'


class Parts:
    """An environment with, or without, its database."""

    def __init__(self, *, there: bool = True) -> None:
        self.told = []
        self.clock = SimpleNamespace(monotonic=lambda: 0.0)
        store = SimpleNamespace(transaction=self.transaction)
        known = (SimpleNamespace(name=PRODUCTION),) if there else ()
        self.state = SimpleNamespace(store=store, environments=lambda app: known)
        made = (SimpleNamespace(name="main"),) if there else ()
        self.stores = SimpleNamespace(provisioned=lambda app, environment: made)

    @contextmanager
    def transaction(self, actor):
        yield SimpleNamespace(append=self.told.append)


class Schemas:
    def __init__(self, found):
        self.found, self.asked = found, []

    def inspect(self, work, request):
        self.asked.append((work, request))
        return {"files": [name for name, _ in request["files"]]}

    def trial(self, asked, *, spec, mark, stop):
        self.asked.append(asked)
        if isinstance(self.found, Exception):
            raise self.found
        return dict(self.found)


def archive(tmp_path, **files):
    path = tmp_path / "source.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def gate(tmp_path, monkeypatch):
    monkeypatch.setattr(contracts, "all_of", lambda store, app: ())
    source = archive(tmp_path, **{"sql/1_a.sql": b"-- migrate:up\n"})

    def make(found, *, there=True, spec=DATABASE):
        parts, schemas = Parts(there=there), Schemas(found)
        tried = GateTrial(parts, SimpleNamespace(source=lambda run: source), schemas)
        reports = tried.reports(run(spec=SPEC + "\n" + spec), PRODUCTION, None, lambda: None)
        return reports, schemas, parts

    return make


def test_an_app_without_migrations_has_no_report_and_no_event(gate):
    reports, _, parts = gate({}, spec="")
    assert reports == [] and parts.told == []


def test_files_of_the_run_are_tried(gate):
    [report], schemas, parts = gate({"how": "trial", "pending": []})
    assert [name for name, _ in schemas.asked[0].files] == ["1_a.sql"]
    assert report["database"] == "main" and report["note"] == "" and report["seconds"] == 0.0
    assert [e.databases for e in parts.told] == [["main"]]


def test_what_cannot_be_tried_is_a_note(gate):
    [report], _, _ = gate(TRIAL_FAILED.error("cannot make a scratch database", details=["why"]))
    assert report["note"] == "cannot make a scratch database"
    assert report["problems"][0]["details"] == ["why"]


def test_a_database_that_this_deploy_makes_is_not_tried(gate):
    [report], schemas, _ = gate({}, there=False)
    assert "this deploy makes it" in report["note"]
    assert [m["filename"] for m in report["pending"]] == ["1_a.sql"]
    assert schemas.asked[0][0] == "check"


def test_a_report_is_kept_bounded():
    difference = {"kind": "x", "name": "y", "sentence": "z", "diff": ["+"] * 1000}
    failure = {"code": "c", "sentence": "s", "hint": "", "details": ["x"] * 1000}
    report = {"drift": [difference] * 1000, "findings": [{}] * 1000, "failure": failure, "problems": []}
    found = bounded(report)
    assert len(found["drift"]) == MOST and len(found["drift"][0]["diff"]) == LINES
    assert len(found["findings"]) == MOST and len(found["failure"]["details"]) == LINES
    assert len(report["drift"]) == 1000


def test_the_journal_has_the_outcome():
    report = {
        "database": "main",
        "how": "trial",
        "note": "",
        "pending": [{"filename": "1_a.sql"}],
        "drift": ["x"] * 99,
    }
    told = brief({"serving": "r1", "migrations": [report | {"failure": {"sentence": "s"}}]})
    assert told["serving"] == "r1" and len(json.dumps(told)) < 300
    assert told["migrations"] == [
        {"database": "main", "pending": ["1_a.sql"], "how": "trial", "failed": True, "note": ""}
    ]


def test_only_the_sql_files_of_the_directory_itself_count(tmp_path):
    source = archive(
        tmp_path,
        **{
            "sql/1_a.sql": b"x",
            "./sql/2_b.sql": b"\xff\xfe",
            "sql/old/0.sql": b"",
            "sql/.x.sql": b"",
            "1.sql": b"",
        },
    )
    found = [(name, base64.b64decode(content)) for name, content in files_of(source, "./sql/")]
    assert found == [("1_a.sql", b"x"), ("2_b.sql", b"\xff\xfe")]
    assert files_of(source, "nowhere") == []


@pytest.mark.parametrize(("most", "limit"), [("MOST_BYTES", 3), ("MOST_FILES", 1)])
def test_an_archive_with_more_than_fits_into_memory_is_refused(tmp_path, monkeypatch, most, limit):
    source = archive(tmp_path, **{"sql/1_a.sql": b"xx", "sql/2_b.sql": b"xx"})
    assert len(files_of(source, "sql")) == 2
    monkeypatch.setattr(schemas, most, limit)
    with pytest.raises(HomeportError, match="cannot use the migrations in sql"):
        files_of(source, "sql")
