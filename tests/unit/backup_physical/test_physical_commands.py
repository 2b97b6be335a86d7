"""pgBackRest's configuration and programs, and what it prints."""

import json
from pathlib import Path

import pytest

from homeport.backup.physical import commands, parse
from homeport.backup.physical.model import BackupLayout, LocalStore, Repository, S3Store, Settings
from homeport.database.model import Cluster, Layout
from homeport.kernel.secret import Secret

DATA = Path("/srv/it's")
LAYOUT, PG = BackupLayout(DATA, "main"), Layout(DATA, "main")
CLUSTER = Cluster("main", 15, "ready", 16400, 16401, False)
S3 = S3Store(
    "b", "s3.example.com", "eu", Secret("key id"), Secret("key secret"), "/h", 8443, True, Path("/ca")
)
SETTINGS = Settings(
    (
        Repository("local", LocalStore(Path("/srv/r")), Secret("pass one")),
        Repository("far", S3, Secret("pass two")),
    )
)
SECRETS = ("pass one", "pass two", "key id", "key secret")


def test_every_repository_is_sealed_and_nothing_expires_by_itself() -> None:
    lines = commands.pgbackrest_conf(SETTINGS, LAYOUT, PG, 16400).reveal().splitlines()
    for n, passphrase in ((1, "pass one"), (2, "pass two")):
        assert f"repo{n}-cipher-type=aes-256-cbc" in lines and f"repo{n}-cipher-pass={passphrase}" in lines
        assert f"repo{n}-retention-full=9999999" in lines
    assert {"repo1-path=/srv/r", "repo2-type=s3", "repo2-path=/h", "repo2-s3-uri-style=path"} <= {*lines}
    assert {"repo2-storage-port=8443", "repo2-storage-ca-file=/ca", "repo2-s3-endpoint=s3.example.com"} <= {
        *lines
    }
    assert {"compress-type=zst", "expire-auto=n", "start-fast=y", "log-level-file=off"} <= {*lines}
    assert lines.index("[global]") < lines.index("[main]") < lines.index("pg1-port=16400")


def test_secrets_are_in_memory_and_in_no_argument() -> None:
    assert str(LAYOUT.conf).startswith("/dev/shm/homeport-") and "it's" not in str(LAYOUT.conf)
    for argv in (
        commands.backup(LAYOUT, 1, full=True),
        commands.info(LAYOUT, 2),
        commands.list_archive(LAYOUT, 1),
        commands.expire(LAYOUT, 1, "x"),
        commands.restore(LAYOUT, 2, "x", Path("/d"), kind="time", target="t", timeline=1, idle=True),
        commands.receiver(Path("/p"), LAYOUT, PG, CLUSTER, synchronous=True),
        tuple(commands.server_conf(SETTINGS, LAYOUT).splitlines()),
    ):
        assert not any(secret in word for word in argv for secret in SECRETS)


@pytest.mark.parametrize("text", ["", " x", "x ", "x\ny", "x\ty"])
def test_a_passphrase_that_a_configuration_cannot_hold_is_refused(text: str) -> None:
    settings = Settings((Repository("local", LocalStore(Path("/r")), Secret(text)),))
    with pytest.raises(ValueError, match="cipher-pass of repository local"):
        commands.pgbackrest_conf(settings, LAYOUT, PG, 1)


def test_a_copy_never_archives_and_nobody_else_reaches_it() -> None:
    argv = commands.restore(LAYOUT, 1, "L", Path("/c/data"), kind="name", target="p", timeline=2, idle=True)
    assert argv[: len(commands.IDLE)] == commands.IDLE and argv[-1] == "restore"
    assert {"--archive-mode=off", "--set=L", "--repo=1", "--type=name", "--target=p"} <= {*argv}
    assert {
        "--target-action=promote",
        "--recovery-option=recovery_target_timeline=2",
        "--pg1-path=/c/data",
    } <= {*argv}
    server = commands.copy_server(Path("/p"), Path("/c"), throwaway=False)
    assert {"archive_mode=off", "listen_addresses=", "synchronous_standby_names=", "hot_standby=off"} <= {
        *server
    }
    # What is to be kept is flushed to the disk.
    assert "fsync=off" not in server
    assert "fsync=off" in commands.copy_server(Path("/p"), Path("/c"), throwaway=True)
    assert "trust" not in commands.copy_hba()


def test_commits_wait_for_the_receiver_only_where_that_is_asked_for() -> None:
    text = commands.server_conf(SETTINGS, LAYOUT)
    assert "synchronous_standby_names = ''" in text and 'archive-push "%p"' in text
    synchronous = Settings(SETTINGS.repositories, synchronous=True)
    assert "synchronous_standby_names = '\"homeport_receiver\"'" in commands.server_conf(synchronous, LAYOUT)
    assert "--synchronous" in commands.receiver(Path("/p"), LAYOUT, PG, CLUSTER, synchronous=True)
    assert "--synchronous" not in commands.receiver(Path("/p"), LAYOUT, PG, CLUSTER, synchronous=False)


INFO = [
    {
        "backup": [
            {
                "archive": {"start": "000000010000000000000005", "stop": "000000010000000000000006"},
                "database": {"id": 1, "repo-key": 1},
                "error": False,
                "info": {"size": 36722425, "repository": {"delta": 623712}},
                "label": "20261121-123213F_20261121-123215I",
                "lsn": {"start": "0/5000028", "stop": "0/6000050"},
                "reference": ["20261121-123213F"],
                "timestamp": {"start": 1795264335, "stop": 1795264337},
                "type": "incr",
            }
        ],
        "db": [{"id": 1, "repo-key": 1, "system-id": 7710601590051457088, "version": "15"}],
        "repo": [{"key": 1, "status": {"code": 0, "message": "ok"}}],
        "status": {"code": 0, "message": "ok"},
    }
]


def test_what_info_gives() -> None:
    look = parse.look(json.dumps(INFO), "local")
    (backup,) = look.backups
    assert look.system_id == 7710601590051457088 and look.problem == ""
    assert backup.label == "20261121-123213F_20261121-123215I" and backup.needs == ("20261121-123213F",)
    assert backup.archive == "15-1" and str(backup.stop) == "000000010000000000000006"
    assert backup.stopped_at.isoformat() == "2026-11-21T12:32:17+00:00"
    assert parse.look("[]", "x").backups == ()


def status(code: int, message: str) -> str:
    stanza = {"backup": [], "db": [], "repo": [{"key": 1, "status": {"code": code, "message": message}}]}
    return json.dumps([stanza | {"status": {"code": code, "message": message}}])


def test_a_repository_that_cannot_be_read_says_why() -> None:
    garbage = "[FormatError] unable to load info file\nFormatError: key/value found outside of section at line 1: \x07"
    wrong = parse.look(status(99, garbage), "x")
    assert "passphrase" in wrong.problem and "\x07" not in wrong.problem
    assert "HostConnectError" in parse.look(status(99, "[HostConnectError] unable to connect"), "x").problem
    assert parse.look(status(1, "missing stanza path"), "x").problem == ""
    assert parse.look(status(2, "no valid backups"), "x").problem == ""


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (26, "ERROR: [026]: actual checksum 'a' does not match", "backup.damaged"),
        (29, "ERROR: [029]: x\n FormatError: key/value found outside of section at line 1: }", "backup.wrong_passphrase"),
        (28, "ERROR: [028]: backup and archive info files exist but do not match", "backup.other_cluster"),
        (29, "ERROR: [029]: new backup label '1' is not later than latest backup label '2'", "backup.clock"),
        (50, "ERROR: [050]: unable to acquire lock", "backup.busy"),
        (55, "ERROR: [055]: unable to open missing file", "backup.missing_files"),
        (82, "ERROR: [082]: WAL segment was not archived", "backup.not_archiving"),
        (41, "ERROR: [041]: unable to write: [28] No space left on device", "backup.no_space"),
        (103, "ERROR: [103]: HostConnectError: unable to connect to 's3:443'", "backup.repository_unreachable"),
        (39, "ERROR: [039]: HTTP request failed with 404\n<Code>NoSuchBucket</Code>", "backup.no_bucket"),
        (39, "ERROR: [039]: HTTP request failed with 403 (Forbidden)", "backup.store_refuses"),
        (1, "", "backup.failed"),
    ],
)  # fmt: skip
def test_failures_have_names(code: int, text: str, expected: str) -> None:
    told = parse.verdict(code, f"2026 P00 INFO: begin\n{text}\n")
    assert told.type.code == expected and told.why
    if expected == "backup.wrong_passphrase":
        assert parse.verdict(code, text, opened=True)[0].code == "backup.damaged"


def test_progress_adds_up() -> None:
    counter = parse.Counter()
    text = (
        b"2026-11-21 12:32:14.528 P01 DETAIL: backup file /d/base/5/1249 (bundle 2/156080, 448KB, 25.00%) checksum 0b\n"
        b"2026-11-21 12:32:14.528 P00   INFO: nothing of a file\n"
        b"2026-11-21 12:32:52.425 P01 DETAIL: restore file /r/base/5/16384 (1.5MB, 50.0"
    )
    assert counter.feed(text) and counter.done == 448 * 1024
    assert counter.progress(2.0).total == 4 * 448 * 1024 and counter.progress(2.0).rate == 224 * 1024
    assert not counter.feed(b"")
    assert counter.feed(b"0%) checksum d8\n") and counter.done == 448 * 1024 + 1536 * 1024
    assert counter.share == 0.5
    assert parse.Counter().progress(0.0).rate == 0.0


@pytest.mark.parametrize(
    ("status", "text", "why"),
    [
        (101, "ERROR: [101]: [500] Internal Server Error", "its store answers with error 500"),
        (
            42,
            "ERROR: [042]: no\nFileReadError: unexpected EOF reading HTTP content",
            "cuts its answers short",
        ),
        (
            42,
            "ERROR: [042]: timeout after 10000ms waiting for read from 'localhost:443'",
            "its store does not answer",
        ),
    ],
)
def test_a_store_that_fails_is_not_taken_for_damage(status: int, text: str, why: str) -> None:
    told = parse.verdict(status, text, opened=True)
    assert told.type.code == "backup.repository_unreachable" and why in told.why
    assert parse.problem(text) == told._replace(details=())


def test_a_store_that_fails_ends_a_recovery_and_is_not_taken_for_the_end_of_the_log() -> None:
    argv = commands.restore(
        BackupLayout(Path("/d"), "main"), 2, "L", Path("/d/my copy"), kind="default", timeline=1, idle=False
    )
    [fetch] = [a for a in argv if a.startswith("--recovery-option=restore_command=")]
    assert '--repo=2 "--pg1-path=/d/my copy" archive-get %f "%p" ||' in fetch
    assert fetch.endswith("|| { test $? -eq 1 && exit 1; exit 126; }")


def test_what_a_new_label_would_have_to_come_after() -> None:
    said = "ERROR: [106]: new backup label 'A_B' is not later than latest backup label '20261121-203647F'"
    assert parse.latest_label(["HINT: x", said]) == "20261121-203647F"
    assert parse.latest_label(["HINT: is there clock skew?"]) is None
