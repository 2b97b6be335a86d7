"""The stream of log lines over real log files: each line once, whatever is written while it begins or is away."""

import json
import threading
from itertools import pairwise
from types import SimpleNamespace

import pytest

from homeport.api import streams
from homeport.kernel.ids import InstanceName
from homeport.runtime.layout import Layout
from homeport.runtime.logs import FileLogReader
from homeport.system.clock import RealClock

PREFIX = "shop.production."
WEB, WORKER = InstanceName("shop.production.r1.web.1"), InstanceName("shop.production.r1.worker.1")


class Logs:
    def __init__(self, top):
        self.layout = Layout(top)
        self.layout.logs.mkdir(parents=True)
        self.reader = FileLogReader(top, RealClock())

    def write(self, numbers, name=WEB, text="line {group}"):
        with open(self.layout.log_files(name)[0], "a") as f:
            for n in numbers:
                # Ten lines of each millisecond, as alike as ``text`` makes them.
                stamp = f"2026-11-22T10:{n // 60000:02}:{n // 1000 % 60:02}.{n // 10 % 1000:03}Z"
                f.write(f"{stamp} {text.format(group=n // 10, n=n)}\n")
                f.flush()

    def stream(self, *, process=None, since=None, limit=0, last=None):
        services = SimpleNamespace(parts=SimpleNamespace(logs=self.reader))
        return streams.logs(services, PREFIX, process, since=since, limit=limit, last=last)


@pytest.fixture
def logs(tmp_path):
    return Logs(tmp_path)


def take(stream, count):
    """(ids, texts) of so many lines."""
    ids, texts = [], []
    for message in stream:
        if "event: line" in message:
            id, _, data = message.strip().split("\n")
            ids.append(id.removeprefix("id: "))
            texts.append(json.loads(data.removeprefix("data: "))["text"])
        if len(texts) == count:
            break
    return ids, texts


def expected(numbers):
    return [f"line {n // 10}" for n in numbers]


def test_lines_that_are_written_while_it_begins_come_once(logs):
    logs.write(range(500), text="{n}")
    writer = threading.Thread(target=logs.write, args=(range(500, 4000), WEB, "{n}"))
    writer.start()
    told = take(logs.stream(limit=10_000), 4000)[1]
    writer.join()
    assert told == [str(n) for n in range(4000)]


@pytest.mark.parametrize("limit", [0, 7])
def test_it_begins_with_as_many_lines_as_wanted(logs, limit):
    logs.write(range(100))
    stream = logs.stream(limit=limit)
    assert next(stream).startswith(": here")
    assert take(stream, limit)[1] == expected(range(100 - limit, 100)) if limit else next(stream)
    logs.write(range(100, 105))
    assert take(stream, 5)[1] == expected(range(100, 105))


@pytest.mark.parametrize("told", [1, 3, 10, 37])
def test_who_comes_back_gets_what_was_written_meanwhile(logs, told):
    logs.write(range(50))
    ids, _ = take(logs.stream(limit=10_000), told)
    assert all(a != b for a, b in pairwise(ids))
    logs.write(range(50, 75))
    assert take(logs.stream(limit=5, last=ids[-1]), 75 - told)[1] == expected(range(told, 75))


def test_of_one_process_alone(logs):
    logs.write(range(20), WORKER)
    logs.write(range(20, 40))
    stream = logs.stream(process="worker", limit=100)
    assert take(stream, 20)[1] == expected(range(20))
    logs.write(range(40, 50))
    logs.write(range(60, 65), WORKER)
    assert take(stream, 5)[1] == expected(range(60, 65))
