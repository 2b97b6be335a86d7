"""What restic says, and what is made of it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.backup.files import commands, parse
from homeport.backup.files.manifest import Database, File, Manifest, compare, compare_rows
from homeport.backup.files.model import (
    Limits,
    LocalPlace,
    Lock,
    Repository,
    Run,
    S3Place,
    Snapshot,
    is_series,
)
from homeport.backup.files.plan import (
    candidates,
    judge_locks,
    retained,
    sources,
    unfinished,
    worth_trying,
)
from homeport.backup.files.restoring import part
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret
from homeport.spec.model_backup import Keep

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HEX = "0123456789abcdef" * 4


def s3(**changes: str) -> Repository:
    place = S3Place(
        "https://s3.example.com/", "shop", Secret("AKID"), Secret("hush-key"), changes.get("prefix", ""), "eu"
    )
    return Repository("offsite", place, Secret("hush-pass"))


# Commands


def test_no_secret_is_in_an_argument_and_all_of_them_in_the_environment() -> None:
    repository = s3(prefix="/one/")
    argv = commands.restic(repository, *commands.backup("a.b", ("x",), None), limits=Limits(rate=500))
    assert argv == (
        "restic", "--repo=s3:https://s3.example.com/shop/one", "--no-cache", "--limit-upload=500",
        "--limit-download=500", "backup", "--json", "--host=homeport", "--tag=series=a.b", "--", "x",
    )  # fmt: skip
    env = commands.environment(repository, Path("/cache"))
    assert "hush" not in "".join(argv)
    assert (env["RESTIC_PASSWORD"], env["AWS_SECRET_ACCESS_KEY"], env["RESTIC_CACHE_DIR"]) == (
        "hush-pass", "hush-key", "/cache",
    )  # fmt: skip
    assert "AWS_ACCESS_KEY_ID" not in commands.environment(
        Repository("here", LocalPlace(Path("/r")), Secret("p")), None
    )


def test_postgresql_s_programs_get_a_url_by_the_environment() -> None:
    env = commands.pg_environment({"host": "db", "password": "hush", "dbname": "x", "application_name": "y"})
    assert (env["PGHOST"], env["PGPASSWORD"], env["PGDATABASE"]) == ("db", "hush", "x")
    argv = commands.pg_dump(Path("/bin"), Path("/t"), "0003-1", 2)
    assert "hush" not in "".join(argv) and "--no-password" in argv


@pytest.mark.parametrize(
    ("path", "written"), [("a [1] $x*.txt", "/d/a \\[1\\] $$x\\*.txt\n"), ("b", "/d/b\n")]
)
def test_paths_are_left_out_as_they_are_spelled(path: str, written: str) -> None:
    assert commands.excludes(Path("/d"), [path]) == written


# Errors


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("Fatal: wrong password or no key found", "repository_not_opened"),
        ("Fatal: unable to open config file: stat /r/config: no such file or directory", "no_repository"),
        ("Fatal: unable to open config file: Stat: The specified key does not exist.", "no_repository"),
        ('Stat: Get "http://127.0.0.1:1/b/": dial tcp: connect: connection refused', "store_not_answering"),
        (
            "Fatal: unable to create lock in backend: repository is already locked by PID 1",
            "repository_locked",
        ),
        ("Save(<data/ab>) returned error: write /r/tmp: no space left on device", "disk_full"),
        ("Stat: Access Denied.", "store_refused"),
        ("Stat: The specified bucket does not exist", "store_refused"),
        ("Load(<key/ab>, 0, 0) returned error, retrying after 1s: 500 Internal Server Error", "store_failed"),
        ("Load(<data/ab>, 9, 0) returned error, retrying after 1s: unexpected EOF", "store_failed"),
        ("ignoring error for /a: ciphertext verification failed", "repository_broken"),
        (
            "Load(<data/ab>, 9, 0) returned error: open /r/data/ab: no such file or directory",
            "repository_broken",
        ),
        ('no matching ID found for prefix "12"', "no_snapshot"),
        ("something else", "restic_failed"),
        ("", "restic_failed"),
    ],
)
def test_what_an_error_means(said: str, code: str) -> None:
    assert parse.verdict(said)[0].code == f"backup.{code}"


def test_the_lines_that_say_so_are_told() -> None:
    said = (
        "restoring <Snapshot 1>\nignoring error for /b: ciphertext verification failed\nThere were 1 errors"
    )
    assert parse.verdict(said)[2] == (
        "ignoring error for /b: ciphertext verification failed",
        "There were 1 errors",
    )


def test_what_is_not_there_is_not_asked_for_again_and_again() -> None:
    line = "Load(<data/bf>, 2, 0) returned error, retrying after 5.6s: open /r/data/bf/bf: no such file or directory"
    assert parse.is_lasting(line.encode())
    assert not parse.is_lasting(line.replace("data/bf>", "lock/bf>").encode())
    assert not parse.is_lasting(b"Load(<data/bf>, 2, 0) returned error, retrying after 5.6s: unexpected EOF")
    full = "Save(<data/bf>) returned error, retrying after 552ms: write /r/data/bf/bf-tmp-1: no space left on device"
    assert parse.is_lasting(full.encode()) and parse.verdict(full)[0].code == "backup.disk_full"


# Answers


def test_progress_is_followed_whatever_the_chunks() -> None:
    lines = [
        {"message_type": "status", "total_files": 4, "files_done": 1, "total_bytes": 100, "bytes_done": 30},
        {"message_type": "error", "error": {"message": "permission denied"}, "item": "/x"},
        {"message_type": "summary", "snapshot_id": "ab", "total_files_processed": 4, "total_bytes_processed": 100,
         "data_added": 60},
    ]  # fmt: skip
    text = "".join(f"{json.dumps(line)}\n" for line in lines).encode() + b"Fatal: end\n"
    counter = parse.Counter()
    moved = [counter.feed(text[n : n + 7]) for n in range(0, len(text), 7)]
    assert moved.count(True) == 2
    assert counter.summary is not None and (counter.summary.id, counter.summary.added) == ("ab", 60)
    assert counter.unread == ["/x: permission denied"] and counter.words == ["Fatal: end"]


@given(st.binary(max_size=300))
def test_no_output_breaks_the_reading(data: bytes) -> None:
    counter = parse.Counter()
    counter.feed(data)
    parse.verdict(data.decode("utf-8", "replace"))


def entry(id: str, hours: int, *tags: str) -> dict[str, object]:
    return {"id": id, "time": (NOW - timedelta(hours=hours)).isoformat(), "tags": list(tags)}


def test_a_backup_counts_with_its_manifest() -> None:
    text = json.dumps([
        entry("d2", 1, "series=shop.production"),
        entry("d1", 2, "series=shop.production"),
        entry("m1", 2, "series=shop.production", "manifest-of=d1"),
        entry("m9", 2, "series=shop.production", "manifest-of=gone"),
        entry("x", 2, "by-hand"),
        entry("y", 2, "series=../etc"),
    ])  # fmt: skip
    found, orphans = parse.snapshots(text)
    assert [(s.id, s.manifest) for s in found] == [("d1", "m1"), ("d2", "")]
    assert orphans == ("m9",) and unfinished(found) == ("d2",)
    assert {k: [s.id for s in v] for k, v in candidates(found).items()} == {"shop.production": ["d1"]}
    assert candidates(found, NOW - timedelta(hours=3)) == {}
    assert parse.snapshots("null") == ((), ())


def test_the_size_of_a_backup_is_read_where_restic_keeps_it() -> None:
    new = entry("d2", 1, "series=shop.production") | {"summary": {"total_bytes_processed": 1234}}
    found, _ = parse.snapshots(json.dumps([new, entry("d1", 2, "series=shop.production")]))
    assert [(s.id, s.bytes) for s in found] == [("d1", 0), ("d2", 1234)]


def test_of_records_the_newest_stay_and_the_others_go_at_once() -> None:
    def listed(count: int) -> str:
        return json.dumps([
            {"id": f"k{n:02}", "time": f"2026-11-21T{n:02}:00:00Z", "tags": [commands.RECORDS_TAG]}
            for n in reversed(range(count))
        ])  # fmt: skip

    few, many = listed(parse.MOST_RECORDS), listed(parse.MOST_RECORDS + 1)
    assert parse.records(few)[-2:] == ("k10", "k11") and parse.snapshots(few) == ((), ())
    assert parse.snapshots(many) == ((), tuple(f"k{n:02}" for n in range(10)))


def test_series_are_kept_each_by_itself() -> None:
    found = [Snapshot(f"{s}{n}", NOW - timedelta(days=n), s, "m") for s in ("a.b", "a.b.c") for n in range(5)]
    chosen = retained(found, {"a.b4": True}, lambda s: Keep(0, 2 if s == "a.b" else 1, 0, 0), NOW)
    assert {name: [k.backup.id for k in c.keep] for name, c in chosen.items()} == {
        "a.b": ["a.b0", "a.b1", "a.b4"], "a.b.c": ["a.b.c0"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "fits"),
    [("homeport", True), ("a.b", True), ("a.b.c", True), ("a", False), ("a.b.c.d", False), ("A.b", False), ("", False)],
)  # fmt: skip
def test_series(text: str, fits: bool) -> None:
    assert is_series(text) is fits


def test_what_is_backed_up_of_a_data_directory() -> None:
    own, storage = sources([("shop", "production")])
    assert "releases" in own.trees and own.databases == ("state.db",) and own.sealed == ("secrets.key",)
    assert "secrets.key" not in own.trees
    assert storage.trees == ("storage/shop/production",)
    with pytest.raises(ValueError):
        sources([("..", "x")])


# Locks


def lock(pid: int = 7, host: str = "here", minutes: float = 1.0) -> Lock:
    return Lock(HEX, NOW - timedelta(minutes=minutes), host, "root", pid, False)


OURS = Run(7, NOW - timedelta(minutes=2))


@pytest.mark.parametrize(
    ("locks", "alive", "runs", "may", "held"),
    [
        ([], set(), [OURS], False, False),
        ([lock()], set(), [OURS], True, False),
        ([lock()], {7}, [OURS], False, True),
        ([lock()], set(), [], False, True),
        ([lock(host="there")], set(), [OURS], False, True),
        ([lock(), lock(8)], set(), [OURS], False, True),
        ([lock(), lock(8, "there")], set(), [OURS], True, True),
        ([lock(), lock(8, "there", minutes=31)], set(), [OURS], False, True),
        ([lock()], set(), [Run(7, NOW)], False, True),
        ([lock(minutes=31)], set(), [], True, False),
        ([lock(minutes=31)], {7}, [], False, True),
    ],
)
def test_only_what_is_provably_ours_is_unlocked(
    locks: list[Lock], alive: set[int], runs: list[Run], may: bool, held: bool
) -> None:
    found = judge_locks(locks, "here", frozenset(alive), runs, NOW)
    assert (found.may_unlock, found.holder is not None) == (may, held)


# Manifests


MANIFEST = Manifest(
    "shop.production",
    NOW,
    "/var/lib/homeport",
    {"s/a": File(1, "x"), "s/b/c": File(2, "y"), "s/m": File(3, "z", moving=True), "backups/0": File(9, "q")},
    {"s/l": "a"},
    {"s/d.db": Database("backups/0", 0o640, 1, 2, {"orders": 5})},
    {"t": 4},
    {"secrets.key": "backups/1"},
)


def test_a_manifest_comes_back_as_it_was() -> None:
    assert Manifest.of(MANIFEST.text()) == MANIFEST
    assert (MANIFEST.bytes, MANIFEST.rows) == (15, 9)
    for text in ("", "{}", "[]", '{"format":2}', MANIFEST.text()[:-1]):
        with pytest.raises(ValueError):
            Manifest.of(text)


def test_what_differs_is_named() -> None:
    files = dict(MANIFEST.files)
    assert compare(MANIFEST, files, MANIFEST.links) == ()
    files |= {"s/a": File(1, "other"), "s/m": File(1, "other"), "s/new": File(1, "n")}
    del files["s/b/c"]
    assert compare(MANIFEST, files, {}) == (
        "s/a has another content", "s/b/c is missing", "link s/l is missing",
    )  # fmt: skip
    assert compare_rows("d", {"a": 1, "b": 2}, {"b": 3, "c": 0}) == (
        "d: table a is missing", "d: table b has 3 rows instead of 2", "d: table c was not there",
    )  # fmt: skip
    assert len(compare(MANIFEST, {}, {})) == 4
    many = Manifest("a.b", NOW, "", {f"f{n:02}": File(1, "") for n in range(30)})
    assert compare(many, {}, {})[-1] == "and 10 more"


def test_a_part_of_a_backup_has_the_copies_of_its_databases() -> None:
    found = part(MANIFEST, ["/s/b/", "s/d.db"])
    assert (set(found.files), found.links, set(found.databases), found.sealed) == (
        {"s/b/c", "backups/0"}, {}, {"s/d.db"}, {},
    )  # fmt: skip
    with pytest.raises(HomeportError, match="no such file"):
        part(MANIFEST, ["s/b", "s/bc"])


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ('[{"current": false, "id": "eb51c4be"}, {"current": true, "id": "52652df3"}]', "52652df3"),
        ('[{"current": false, "id": "eb51c4be"}]', ""),
        ('[{"current": true, "id": "../x"}]', ""),
        ('{"current": true}', ""),
        ("null", ""),
        ("repository is already locked", ""),
    ],
)
def test_the_key_that_opened_is_known_or_not(text: str, id: str) -> None:
    assert parse.current_key(text) == id


def test_behind_damage_that_the_newest_share_the_first_of_each_hour_is_tried() -> None:
    minutes = [*range(0, 8), 60, 120, 180]  # from 12:00 back to 11:53, and one in each hour before
    found = [Snapshot(f"s{n}", NOW + timedelta(minutes=8 - n), "homeport", "m") for n in minutes]
    tried = [s.id for s in worth_trying(found, 3)]
    assert tried == ["s0", "s1", "s2", "s7", "s60", "s120"]
    assert worth_trying(found[:2], 3) == tuple(found[:2]) and worth_trying((), 3) == ()
