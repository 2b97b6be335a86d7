"""Reading the access log as it grows, is rotated and is cut."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from edge_rig import SHOP, Client, wait_until

from homeport.edge import access
from homeport.edge.access import Tail
from homeport.edge.logs import copy, rotate


def line(n: int, at: float = 1000.0, total_ms: int = 5) -> str:
    return (
        f'{{"time":{at:.3f},"request_id":"i","client":"::1","host":"h","method":"GET","path":"/{n}","status":200,'
        f'"bytes":1,"total_ms":{total_ms},"connect_ms":0,"response_ms":4,"service":"{SHOP}","server":"a{n}",'
        f'"retries":"0","end":"--"}}\n'
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.write_text("".join(line(n) for n in range(3)))
    return path


def append(path: Path, *texts: str) -> None:
    with path.open("a") as file:
        file.writelines(texts)


def names(entries: tuple[access.Access, ...]) -> list[str]:
    return [entry.server for entry in entries]


def test_it_begins_at_the_end_and_follows(log: Path) -> None:
    tail = Tail(log)
    entries, position = tail.read(None)
    assert entries == ()
    append(log, line(3), "[NOTICE] something else\n", line(4)[:40])
    entries, position = tail.read(json.loads(json.dumps(position)))
    assert names(entries) == ["a3"]
    append(log, line(4)[40:], line(5))
    entries, position = tail.read(position)
    assert names(entries) == ["a4", "a5"]
    assert tail.read(position) == ((), position)


def test_there_is_no_log_yet(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "access.log")
    assert tail.read(None) == ((), None)
    assert tail.recent(60, 1000) == ()


def test_rotations_lose_nothing(log: Path) -> None:
    tail = Tail(log)
    _, position = tail.read(None)
    for n in range(3, 9):
        append(log, line(n))
        if n % 2:
            rotate(log, 5)
            log.touch()
    entries, position = tail.read(position)
    assert names(entries) == [f"a{n}" for n in range(3, 9)]
    append(log, line(9))
    assert names(tail.read(position)[0]) == ["a9"]


def test_between_the_two_steps_of_a_rotation(log: Path) -> None:
    tail = Tail(log)
    _, position = tail.read(None)
    append(log, line(3))
    rotate(log, 5)
    entries, position = tail.read(position)
    assert names(entries) == ["a3"]
    append(log, line(4))
    assert names(tail.read(position)[0]) == ["a4"]


def test_a_log_that_was_cut_is_read_from_its_beginning(log: Path) -> None:
    tail = Tail(log)
    _, position = tail.read(None)
    log.write_text(line(7))
    assert names(tail.read(position)[0]) == ["a7"]


def test_a_position_in_a_log_that_is_gone(log: Path) -> None:
    tail = Tail(log)
    _, position = tail.read(None)
    aside = log.with_name("other")
    aside.write_text(line(8))
    os.replace(aside, log)
    assert names(tail.read(position)[0]) == ["a8"]
    assert names(tail.read({})[0]) == ["a8"]


def test_a_log_that_is_deleted_while_it_is_written_begins_anew(log: Path) -> None:
    reader, writer = os.pipe()
    writing = threading.Thread(target=copy, args=(reader, log, 1 << 20, 3))
    writing.start()
    try:
        os.write(writer, line(3).encode())
        wait_until(lambda: "/3" in log.read_text())
        log.unlink()
        os.write(writer, line(4).encode())
        wait_until(lambda: log.exists() and "/4" in log.read_text())
    finally:
        os.close(writer)
        writing.join()
        os.close(reader)


def test_no_call_reads_more_than_its_bound(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "READ_AT_MOST", 1000)
    tail = Tail(log)
    _, position = tail.read(None)
    append(log, *(line(n) for n in range(3, 20)))
    rotate(log, 5)
    append(log, *(line(n) for n in range(20, 40)))
    found: list[str] = []
    for _ in range(40):
        entries, position = tail.read(position)
        assert len(entries) <= 4
        found += names(entries)
    assert found == [f"a{n}" for n in range(3, 40)]
    append(log, "x" * 2500, "\n", line(40))
    for _ in range(5):
        entries, position = tail.read(position)
        found += names(entries)
    assert found[-1] == "a40"


def test_the_last_seconds(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write_text("".join(line(n, at=1000.0 + n) for n in range(50)))
    rotate(log, 5)
    log.write_text("".join(line(n, at=1000.0 + n) for n in range(50, 60)) + line(60)[:30])
    tail = Tail(log)
    assert names(tail.recent(3, 1060.0)) == ["a57", "a58", "a59"]
    assert names(tail.recent(20, 1060.0)) == [f"a{n}" for n in range(40, 60)]
    assert tail.recent(20, 2000.0) == ()
    monkeypatch.setattr(access, "_BLOCK", 300)
    assert names(tail.recent(20, 1060.0)) == [f"a{n}" for n in range(40, 60)]
    assert len(tail.recent(1000, 1060.0)) == 60
    monkeypatch.setattr(access, "READ_AT_MOST", 1000)
    assert names(tail.recent(20, 1060.0))[-1] == "a59"


def test_what_ended_lately_began_long_ago(log: Path) -> None:
    log.write_text(line(1, at=1000.0, total_ms=60_000) + line(2, at=1059.0))
    assert names(Tail(log).recent(5, 1062.0)) == ["a1", "a2"]


def test_what_haproxy_writes(shop: Any) -> None:
    tail = Tail(shop.layout.access_log)
    before = time.time()
    with Client(shop.port) as client:
        for target in ("/who", "/status?503", '/q"uo\\te?secret', "/slow?0.3"):
            client.get(target)
        time.sleep(0.5)
        late = time.time()
        client.get("/who")
    wait_until(lambda: len(tail.recent(60, time.time())) == 5, what=str(shop.log_lines()))
    entries = tail.recent(60, time.time())
    assert [e.status for e in entries] == [200, 503, 200, 200, 200]
    assert all(e.service == SHOP and e.server == "a1" and e.end == "--" for e in entries)
    assert all(before - 0.1 <= e.at <= time.time() for e in entries)
    slow = entries[3]
    assert slow.response_ms is not None and 250 <= slow.response_ms <= slow.total_ms < 5000
    assert entries[4].at >= late - 0.1
