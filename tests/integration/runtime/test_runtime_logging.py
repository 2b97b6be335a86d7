"""The log daemon and the readers, on real pipes and files."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from supervised_home import Home, name, wait_for

from homeport.runtime import logd, logs
from homeport.runtime.layout import Layout
from homeport.runtime.logs import FileLogReader, Follower, newest
from homeport.runtime.orphans import prepare
from homeport.system.clock import RealClock

A = name(1)


def stamped(n: int) -> str:
    return f"2025-01-01T00:00:{n // 1000:02d}.{n % 1000:03d}Z line {n}\n"


def texts(lines: list[tuple[str, object, str]]) -> list[str]:
    return [text for _, _, text in lines]


WAITS = ("7", "73", "271")
"""System calls of poll and ppoll: x86-64, arm64, x86-64."""


def kill_while_it_waits(pid: int) -> None:
    """Between a read and its write a line is in nobody's hands but the daemon's."""
    stat, syscall = (Path(f"/proc/{pid}/{name}") for name in ("stat", "syscall"))
    for _ in range(200):
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
        if syscall.read_text().split()[0] in WAITS:
            break
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.003)
    else:
        raise AssertionError("it never waits")
    os.kill(pid, signal.SIGKILL)


def test_nothing_is_lost_when_the_daemon_is_killed_between_reads(home: Home) -> None:
    script = home.script(
        "import time\nfor n in range(3000):\n    print(n)\n    time.sleep(0.0005)\nprint('end')\ntime.sleep(1000)\n"
    )
    instance = home.start(home.spec(1, script))
    for _ in range(2):
        wait_for(lambda: home.marked("logd"))
        time.sleep(0.3)
        for pid in home.marked("logd"):
            kill_while_it_waits(pid)
        wait_for(lambda: home.answers() and home.marked("logd"))
    lines = home.wait_line(instance, "end")
    assert sorted(lines, key=lambda x: (x == "end", x.zfill(5))) == [*map(str, range(3000)), "end"]


def test_a_flood_does_not_hold_up_the_others(home: Home) -> None:
    home.start(
        home.spec(
            1,
            "yes 'a line of a flood of lines that says nothing' | head -c 100000000; echo; echo over; exec sleep 1000",
        )
    )
    done = home.script(
        "for n in range(20):\n    print(n, flush=True)\n    __import__('time').sleep(0.01)\n__import__('time').sleep(1000)\n"
    )
    other = home.start(home.spec(2, done))
    home.wait_line(other, "19")
    home.wait_line(A, "over")
    assert home.layout.log_files(A)[3].exists()
    size = sum(p.stat().st_size for p in home.layout.log_files(A))
    assert size < (logd.FILES_KEPT + 1) * (logd.FILE_BYTES + 10 * logd.READ_BYTES)


def test_garbage_and_controls_are_kept_apart_from_the_next_line(home: Home) -> None:
    script = home.script(
        "import sys, time\n"
        "w = sys.stdout.buffer\n"
        "w.write(b'\\xff\\x00\\x1b[2J\\x1b]0;pwned\\x07bad\\r\\n\\n\\x07bell\\x0b\\x0c\\xc2\\x85end\\nlast words')\n"
        "w.flush()\n"
        "time.sleep(1000)\n"
    )
    instance = home.start(home.spec(1, script))
    lines = home.wait_line(instance, "last words")
    assert lines == ("\ufffd\\x00bad", "", "\\x07bell\\x0b\\x0c\\x85end", "last words")


def test_last_words_without_a_newline_are_kept(home: Home) -> None:
    instance = home.start(home.spec(1, "printf 'panic: out of cheese'; exit 4"))
    home.wait_line(instance, "panic: out of cheese")


def test_the_first_words_are_kept_when_the_daemon_is_slow_to_open_the_pipe(home: Home) -> None:
    (logd_pid,) = home.marked("logd")
    os.kill(logd_pid, signal.SIGSTOP)
    try:
        instance = home.start(home.spec(1, "[ -e first ] || echo first words; touch first; exit 1"))
        time.sleep(0.3)
    finally:
        os.kill(logd_pid, signal.SIGCONT)
    home.wait_line(instance, "first words")


def test_an_overlong_line_is_split(home: Home) -> None:
    script = home.script("import time\nprint('x' * 200_000)\nprint('after')\ntime.sleep(1000)\n")
    instance = home.start(home.spec(1, script))
    *parts, after = home.wait_line(instance, "after")
    assert after == "after"
    assert "".join(parts) == "x" * 200_000
    assert max(map(len, parts)) <= logd.READ_BYTES


def test_a_full_disk_drops_lines_and_tells_how_many(tmp_path: Path) -> None:
    log = logd.Log("/dev/full")
    log._open = lambda: setattr(log, "fd", os.open("/dev/full", os.O_WRONLY))
    log.write(b"one\ntwo", b"T ")
    log.write(b"three", b"T ")
    assert log.dropped == 3
    log.close()
    path = tmp_path / "log"
    log._open = lambda: setattr(log, "fd", os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    log.write(b"four", b"T ")
    log.close()
    assert path.read_text() == "T homeport: 3 lines were lost here: no space on the disk\nT four\n"


def test_a_write_that_did_not_fit_leaves_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logd.Log(str(tmp_path / "log"))
    log.write(b"whole", b"T ")
    real = os.write
    answers = [
        lambda fd, data: real(fd, data[:3]),
        lambda fd, data: (_ for _ in ()).throw(OSError(28, "full")),
    ]
    monkeypatch.setattr(os, "write", lambda fd, data: answers.pop(0)(fd, data))
    log.write(b"partly", b"T ")
    monkeypatch.undo()
    assert (tmp_path / "log").read_text() == "T whole\n"
    log.write(b"again", b"T ")
    log.close()
    assert (tmp_path / "log").read_text().splitlines()[-1] == "T again"


def test_a_line_torn_by_a_kill_does_not_swallow_the_next(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"2025-01-01T00:00:00.000Z torn")
    log = logd.Log(str(tmp_path / "log"))
    log.write(b"next", b"2025-01-01T00:00:01.000Z ")
    log.close()
    assert (tmp_path / "log").read_text().count("\n") == 2


def test_only_one_daemon_reads(home: Home) -> None:
    home.wait_line(home.start(home.spec(1, "echo up; exec sleep 1000")), "up")  # it reads: it has the lock
    first = home.marked("logd")
    taken = threading.Event()

    def wait() -> None:
        os.close(logd.hold(str(home.layout.logs / ".logd.lock")))
        taken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not taken.wait(0.2)
    os.kill(first[0], signal.SIGKILL)
    assert taken.wait(10)
    thread.join()


# Readers


def write(layout: Layout, numbers: range, generation: int = 0) -> None:
    with open(layout.log_files(A)[generation], "a") as f:
        f.writelines(stamped(n) for n in numbers)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    prepare(tmp_path)
    return Layout(tmp_path)


def rotate(layout: Layout) -> None:
    files = layout.log_files(A)
    for older, newer in zip(files[:0:-1], files[-2::-1], strict=True):
        if newer.exists():
            newer.replace(older)


@pytest.mark.parametrize("block", [7, 64, 1 << 20])
def test_the_newest_lines_over_rotated_files(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(logs, "BLOCK", block)
    write(layout, range(0, 10), 2)
    write(layout, range(10, 20), 1)
    write(layout, range(20, 25), 0)
    assert texts(newest(layout, A, 3)) == ["line 22", "line 23", "line 24"]
    assert texts(newest(layout, A, 8)) == [f"line {n}" for n in range(17, 25)]
    assert texts(newest(layout, A, 1000)) == [f"line {n}" for n in range(25)]
    assert texts(newest(layout, A, 1000, "2025-01-01T00:00:00.018")) == [f"line {n}" for n in range(18, 25)]
    assert newest(layout, name(2), 10) == []


@pytest.mark.parametrize("block", [7, 1 << 20])
def test_following_over_any_number_of_rotations(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(logs, "BLOCK", block)
    write(layout, range(5))
    follower = Follower(layout, A, at_end=True)
    assert follower.read() == []
    write(layout, range(5, 8))
    assert texts(follower.read()) == ["line 5", "line 6", "line 7"]
    write(layout, range(8, 9))
    rotate(layout)
    assert texts(follower.read()) == ["line 8"]
    write(layout, range(9, 10))
    rotate(layout)
    write(layout, range(10, 11))
    rotate(layout)
    write(layout, range(11, 12))
    assert texts(follower.read()) == ["line 9", "line 10", "line 11"]
    follower.close()


def test_following_when_all_that_was_read_is_rotated_away(layout: Layout) -> None:
    write(layout, range(1))
    follower = Follower(layout, A, at_end=True)
    for n in range(1, 6):
        rotate(layout)
        write(layout, range(n, n + 1))
    assert texts(follower.read()) == ["line 2", "line 3", "line 4", "line 5"]
    follower.close()


def test_a_line_is_followed_only_when_it_is_whole(layout: Layout) -> None:
    follower = Follower(layout, A, at_end=False)
    assert follower.read() == []
    text = stamped(1)
    layout.log(A).write_text(text[:30])
    assert follower.read() == []
    with open(layout.log(A), "a") as f:
        f.write(text[30:])
    assert texts(follower.read()) == ["line 1"]
    follower.close()


def test_a_new_instance_is_followed_from_its_first_line_and_others_are_not(layout: Layout) -> None:
    write(layout, range(3))
    follow = FileLogReader(layout.data, RealClock()).follow("shop.production.r1.")
    assert next(follow) is None
    layout.log(name(2)).write_text(stamped(7))
    layout.log("shop.staging.r1.web.1").write_text(stamped(8))
    layout.log("serve").write_text(stamped(9))
    write(layout, range(3, 4))
    seen = [line for line in (next(follow), next(follow), next(follow)) if line is not None]
    assert [(instance, text) for _, instance, text in seen] == [(A, "line 3"), (name(2), "line 7")]
    layout.log(A).unlink()
    assert next(follow) is None
    follow.close()
