"""The only room that touches the machine, on the machine."""

import contextlib
import os
import socket
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from homeport.kernel.errors import HomeportError
from homeport.system import files, net, process


def test_run_gives_output_and_status_and_needs_no_shell():
    found = process.run(("printf", "%s", "$HOME; a"), timeout=10)
    assert found.ok and found.stdout == "$HOME; a"
    with pytest.raises(HomeportError) as e:
        process.run(("sh", "-c", "echo no >&2; exit 3"), timeout=10)
    assert e.value.code == "system.program_failed" and e.value.details == ("no",)


def test_run_names_what_is_missing_and_ends_what_hangs():
    with pytest.raises(HomeportError) as e:
        process.run(("no-such-program-here",), timeout=1)
    assert e.value.code == "system.not_installed"
    began = time.monotonic()
    with pytest.raises(HomeportError) as e:
        process.run(("sh", "-c", "sleep 60 & sleep 60"), timeout=0.3)
    assert e.value.code == "system.timed_out" and time.monotonic() - began < 5


def test_a_program_that_ended_in_time_is_not_timed_out_however_late_it_is_looked_at(tmp_path, monkeypatch):
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=time.sleep)
    monkeypatch.setattr(process, "time", clock)

    def late(pid):
        with contextlib.suppress(ChildProcessError):  # it was looked at between its words and its end
            os.waitid(os.P_PID, int(pid), os.WEXITED | os.WNOWAIT)
        clock.monotonic = lambda: time.monotonic() + 1000

    result, _ = stream("echo $$; exit 4", tmp_path, on_output=late)
    assert result == (4, None)


def stream(command, tmp_path, **options):
    parts = []
    environment = {"PATH": os.environ["PATH"], process.OWNER: str(tmp_path), process.INSTANCE: "a.build.r1"}
    result = process.stream(
        ("/bin/sh", "-c", command), cwd=tmp_path, env=environment,
        **{"timeout": 20, "on_output": parts.append, **options},
    )  # fmt: skip
    return result, b"".join(parts).decode("utf-8", "replace")


def test_stream_hands_output_over_as_it_comes(tmp_path):
    result, text = stream("echo one; echo two >&2; exit 4", tmp_path)
    assert result == (4, None) and text.split() == ["one", "two"]


def test_stream_ends_at_its_limit_with_everything_it_started(tmp_path):
    result, _ = stream("setsid sleep 4321 & sleep 4321", tmp_path, timeout=0.5)
    assert result[1] == "timeout"
    assert process.marked(str(tmp_path)) == ()


def test_stream_does_not_wait_for_what_a_build_left_running(tmp_path):
    began = time.monotonic()
    result, _ = stream("setsid sleep 4322 & echo done", tmp_path)
    assert result == (0, None) and time.monotonic() - began < 5
    assert process.marked(str(tmp_path)) == ()


def test_stream_stops_when_it_is_told_to(tmp_path):
    result, _ = stream("sleep 60", tmp_path, poll=lambda: "cancelled")
    assert result[1] == "cancelled"


def test_a_write_is_whole_or_not_at_all(tmp_path):
    path = tmp_path / "f"
    files.write_atomic(path, "old", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    stop = threading.Event()
    seen = set()

    def read():
        while not stop.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(200):
        files.write_atomic(path, str(n % 10) * 100_000)
    stop.set()
    reader.join()
    assert all(text == "old" or (len(text) == 100_000 and len(set(text)) == 1) for text in seen)
    assert list(tmp_path.iterdir()) == [path]


def test_remove_tree_stays_inside_and_follows_no_link(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("x")
    data = tmp_path / "data"
    (data / "a" / "ro").mkdir(parents=True)
    (data / "a" / "ro" / "f").write_text("x")
    (data / "a" / "ro").chmod(0o500)
    (data / "a" / "link").symlink_to(outside)
    files.remove_tree(data / "a", within=data)
    assert not (data / "a").exists() and (outside / "keep").exists()
    for path in (outside, data / ".." / "outside", data / ".."):
        with pytest.raises(HomeportError) as e:
            files.remove_tree(path, within=data)
        assert e.value.code == "system.outside_data_directory"
    files.remove_tree(data / "never-there", within=data)


def test_a_lock_is_held_once_and_seen(tmp_path):
    path = tmp_path / "lock"
    with files.lock(path, what="start"):
        assert files.is_locked(path)
        with pytest.raises(HomeportError) as e, files.lock(path, what="start"):
            pass
        assert e.value.code == "system.locked"
    assert not files.is_locked(path)


class Answers(threading.Thread):
    """One answer to one connection, in pieces with pauses."""

    def __init__(self, *pieces, pause=0.0):
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.pieces, self.pause = pieces, pause
        self.start()

    def run(self):
        connection, _ = self.socket.accept()
        with connection, self.socket:
            connection.recv(4096)
            for piece in self.pieces:
                time.sleep(self.pause)
                try:
                    connection.sendall(piece)
                except OSError:
                    return


@pytest.mark.parametrize(
    ("pieces", "pause", "status", "problem"),
    [
        ((b"HTTP/1.1 204 No Content\r\n\r\n",), 0, 204, ""),
        ((b"HTTP/1.1 503 x\r\nLocation: /login\r\n\r\n",), 0, 503, ""),
        ((b"HTTP/1.1 2", b"00 OK\r\n", b"\r\n"), 0.05, 200, ""),
        ((b"SSH-2.0-OpenSSH\r\n\r\n",), 0, None, "the answer is not HTTP"),
        ((b"",), 0, None, "closed without an answer"),
        ((b"HTTP/1.1 200 OK\r\n", b"a: b\r\n", b"\r\n"), 0.3, None, "no answer within 0.5 s"),
    ],
    ids=["well", "ill", "in pieces", "no http", "closed", "dripping"],
)
def test_a_probe_says_what_it_met(pieces, pause, status, problem):
    server = Answers(*pieces, pause=pause)
    found = net.probe_http("127.0.0.1", server.port, "/", timeout=0.5 if pause == 0.3 else 10.0)
    server.join(5)
    assert (found.status, found.problem) == (status, problem)


def test_listeners_are_found_by_process():
    with socket.create_server(("127.0.0.1", 0)) as s:
        inodes = net.listener_inodes(s.getsockname()[1])
        assert inodes and net.holds_socket(os.getpid(), inodes)
        assert not net.holds_socket(os.getppid(), inodes)
        assert not net.is_port_free(s.getsockname()[1])
    assert sys.executable and Path("/proc").is_dir()
