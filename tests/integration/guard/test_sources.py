"""Values from outside: real files and real commands, the well-behaved and the others."""

import os
import threading

import pytest

from homeport.guard import sources
from homeport.kernel.errors import HomeportError
from homeport.kernel.variables import LARGEST_VALUE
from homeport.system import process


def failed(source, **options):
    with pytest.raises(HomeportError) as e:
        sources.read(source, **options)
    assert e.value.code == "guard.source_failed" and e.value.type.retry
    assert e.value.sentence.startswith("cannot read ")
    return e.value


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(sources, "TIMEOUT", 0.4)


def running(text):
    """Whether a process has ``text`` in its arguments."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if text.encode() in f.read().split(b"\0") and process.is_alive(int(pid)):
                    return True
        except OSError:
            continue
    return False


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"v\n", "v"),
        (b"v\r\n", "v"),
        (b"v\n\n", "v\n"),
        (b"a\nb", "a\nb"),
        (b"x" * LARGEST_VALUE + b"\n", "x" * LARGEST_VALUE),
    ],
)
def test_one_final_newline_is_not_part_of_the_value(tmp_path, content, value):
    (tmp_path / "value").write_bytes(content)
    assert sources.read(f"file:{tmp_path}/value") == value
    assert sources.read(f"command:cat {tmp_path}/value") == value


def test_a_link_to_a_file_is_followed_as_container_platforms_make_them(tmp_path):
    (tmp_path / "real").write_text("v")
    (tmp_path / "link").symlink_to("real")
    assert sources.read(f"file:{tmp_path}/link") == "v"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"marker-value\0", "NUL"),
        (b"marker-value\xff", "UTF-8"),
        (b"marker-value" * 6000, "64 KB"),
        (b"marker-value" * 600_000, "64 KB"),
    ],
)
@pytest.mark.parametrize("kind", ["file:", "command:cat "])
def test_what_can_be_no_value_is_refused_and_not_repeated(tmp_path, kind, content, told):
    (tmp_path / "value").write_bytes(content)
    e = failed(f"{kind}{tmp_path}/value")
    assert told in e.sentence
    assert "marker-value" not in e.sentence + e.hint + "".join(e.details)


def test_files_that_are_none_are_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path, told in (
        (tmp_path / "none", "No such file"),
        (tmp_path / "fifo", "no regular file"),
        (tmp_path, "irectory"),
        ("/dev/zero", "no regular file"),
        ("/a\0b", "no path"),
    ):
        assert told in failed(f"file:{path}").sentence


@pytest.mark.parametrize("source", ["", "file:", "file:relative", "command:", "command: ", "http://x", "x"])
def test_a_source_of_no_known_kind_is_refused(source):
    assert "a source is" in failed(source).sentence


def test_a_command_that_fails_is_told_by_its_stderr_alone():
    e = failed("command:echo marker-value; echo why not >&2; echo got marker-value >&2; exit 4")
    assert "status 4" in e.sentence
    assert e.details == ("why not", "got …")
    assert "signal 9" in failed("command:kill -9 $$").sentence
    assert "status 127" in failed("command:no-such-program-here").sentence


def test_what_a_command_says_on_stderr_is_no_part_of_the_value():
    assert sources.read("command:echo warning >&2; echo v") == "v"
    many = "i=0; while [ $i -lt 3000 ]; do echo 'a line of a chatty program' >&2; i=$((i+1)); done"
    assert sources.read(f"command:{many}; echo v") == "v"


def test_a_command_that_hangs_is_ended_with_all_it_started(hasty):
    mark = "4391.25"
    e = failed(f"command:setsid sleep {mark} & sleep {mark} & echo waiting >&2; sleep {mark}")
    assert "longer than" in e.sentence and e.details == ("waiting",)
    assert not running(mark)


def test_a_command_that_closes_its_pipes_and_hangs_is_ended(hasty):
    mark = "4392.25"
    assert "longer than" in failed(f"command:exec >&- 2>&-; sleep {mark}").sentence
    assert not running(mark)


def test_a_child_left_behind_is_neither_waited_for_nor_left():
    mark = "4393.25"
    assert sources.read(f"command:setsid sleep {mark} & echo v") == "v"
    assert not running(mark)


def test_a_command_that_never_stops_printing_is_ended():
    assert "more than 64 KB" in failed("command:yes marker-value").sentence


def test_a_command_does_not_see_homeports_own_environment(monkeypatch):
    monkeypatch.setenv("HOMEPORT_HOME", "/nowhere")
    monkeypatch.setenv("SUPERVISOR_ENABLED", "1")
    monkeypatch.setenv("VAULT_ADDR", "http://vault")
    seen = sources.read("command:env").splitlines()
    assert "VAULT_ADDR=http://vault" in seen
    assert not any(line.startswith(("HOMEPORT_HOME", "SUPERVISOR_")) for line in seen)


def test_a_shell_that_cannot_be_run_is_told():
    def run(line):
        raise FileNotFoundError(2, "No such file or directory", "/bin/sh")

    assert "cannot be run" in failed("command:x", run=run).sentence


def test_all_are_read_at_once_and_every_problem_is_told(tmp_path):
    (tmp_path / "a").write_text("from a file\n")
    values, problems = sources.read_all(
        {
            "A": f"file:{tmp_path}/a",
            "B": "command:echo from b",
            "C": f"file:{tmp_path}/none",
            "D": "command:echo no such item >&2; exit 3",
        }
    )
    assert values == {"A": "from a file", "B": "from b"}
    assert [p.split(":")[0] for p in problems] == ["C", "D"]
    assert "no such item" in problems[1] and "status 3" in problems[1]
    assert sources.read_all({}) == ({}, [])


def test_commands_run_side_by_side():
    """Each waits until all ten run: one after the other they would never end."""
    together = threading.Barrier(10)

    def run(line):
        together.wait(20)
        return process.Captured(0, line.encode(), b"", None)

    values, problems = sources.read_all({f"N{n}": f"command:{n}" for n in range(10)}, run=run)
    assert problems == [] and values == {f"N{n}": str(n) for n in range(10)}
