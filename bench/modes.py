"""How fast maintenance and read-only are switched, under load.

    python bench/modes.py [--times N]

Keep-alive GETs and POSTs from a process of its own, while maintenance and then read-only go on and off N
times each on a real HAProxy. Timed is each switch from the call of ``HaproxyEdge.apply``, with what it
writes to disk, to the arrival of the last answer that is wrong by then: a 200 that should be a 503, or the
other way about. An answer under way when the call is made counts too. A connection is dropped when it ends
without an answer, or says that it will close.
"""

import argparse
import json
import multiprocessing
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from edge import BACKEND, HOST, SHOP, free_port, program, running

from homeport.edge.haproxy import HaproxyEdge
from homeport.edge.model import Bind, EdgeState, Mode, Route, Server, Service
from homeport.system.clock import RealClock

TIMES = 20
CONNECTIONS = 4
"""For each method. Few, so that two cores are not so full that the load's own waiting is measured."""
PAUSE_SECONDS = 0.001
DWELL_SECONDS = 0.15
BOUND_MS = 100.0

REQUESTS = {
    "GET": f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode(),
    "POST": f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\n\r\nbody".encode(),
}
WANTED = {
    "off": {"GET": 200, "POST": 200},
    "maintenance": {"GET": 503, "POST": 503},
    "read-only": {"GET": 200, "POST": 503},
}


@dataclass(frozen=True, slots=True)
class Answer:
    at: float
    """Monotonic time of its arrival; that clock is the same for all processes."""
    method: str
    status: int
    """0 for a connection that was dropped."""


@dataclass(frozen=True, slots=True)
class Switch:
    start: float
    mode: str
    """What goes on, or "off"."""
    of: str
    """Whose switching on and off it is part of."""


def read_answer(connection: socket.socket) -> tuple[int, bool]:
    """Its status, and whether the connection stays open. Raises OSError when there is none."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionError("closed without an answer")
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    left = next(int(x.partition(b":")[2]) for x in lines if x.startswith(b"content-length:")) - len(body)
    while left > 0:
        if not (more := connection.recv(left)):
            raise ConnectionError("closed in the middle of an answer")
        left -= len(more)
    return int(lines[0].split(b" ")[1]), b"connection: close" not in lines


def ask(port: int, method: str, stop: threading.Event, answers: list[Answer]) -> None:
    connection: socket.socket | None = None
    while not stop.is_set():
        try:
            if connection is None:
                connection = socket.create_connection(("127.0.0.1", port), timeout=10)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(REQUESTS[method])
            status, stays = read_answer(connection)
        except OSError:
            status, stays = 0, False
        answers.append(Answer(time.monotonic(), method, status))
        if not stays:
            answers.append(Answer(time.monotonic(), method, 0))
            if connection is not None:
                connection.close()
            connection = None
        time.sleep(PAUSE_SECONDS)
    if connection is not None:
        connection.close()


def load(port: int, pipe: Connection) -> None:
    """The load's process: it asks until it is told to stop, then hands back all answers."""
    stop = threading.Event()
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=ask, args=(port, method, stop, answers))
        for method in REQUESTS
        for _ in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    pipe.recv()
    stop.set()
    for thread in threads:
        thread.join()
    pipe.send(answers)


def measure(times: int) -> tuple[list[Switch], list[Answer]]:
    root = Path(tempfile.mkdtemp(prefix="hp", dir="/tmp"))
    try:
        with ExitStack() as stack:
            haproxy = program("haproxy")
            if haproxy is None:
                raise RuntimeError("haproxy is not installed")
            backend, port = free_port(), free_port()
            (root / "answer").write_text("an answer\n")
            (root / "cfg").write_text(BACKEND.format(port=backend, directory=root))
            stack.enter_context(running([haproxy, "-db", "-f", "cfg"], backend, root))
            directory = root / "edge"
            service = Service(SHOP, (Server("shop.production.r1.web.1", backend, 100),))
            state = EdgeState(Bind("127.0.0.1", port), None, (service,), (Route(HOST, "/", SHOP),))
            edge = HaproxyEdge(directory, RealClock())
            edge.write(state)
            stack.enter_context(
                running([sys.executable, "-m", "homeport.edge.start", str(directory)], port, directory)
            )
            here, there = multiprocessing.Pipe()
            process = multiprocessing.get_context("spawn").Process(target=load, args=(port, there))
            process.start()
            time.sleep(1.0)
            switches = []
            for kind in ("maintenance", "read-only"):
                on = replace(state, modes=(Mode(SHOP, kind, "Back in a minute.", allow=("192.0.2.0/24",)),))
                for _ in range(times):
                    for mode, wanted in ((kind, on), ("off", state)):
                        switches.append(Switch(time.monotonic(), mode, kind))
                        edge.apply(wanted)
                        time.sleep(DWELL_SECONDS)
            here.send("stop")
            answers: list[Answer] = here.recv()
            process.join()
            return switches, sorted(answers, key=lambda answer: answer.at)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def until_right(switches: list[Switch], answers: list[Answer]) -> dict[str, list[float]]:
    """Milliseconds from each switch's call to its last wrong answer, by what was switched."""
    found: dict[str, list[float]] = {}
    ends = [switch.start for switch in switches[1:]] + [answers[-1].at + 1]
    for switch, end in zip(switches, ends, strict=True):
        wrong = [
            answer.at - switch.start
            for answer in answers
            if switch.start <= answer.at < end
            and answer.status
            and answer.status != WANTED[switch.mode][answer.method]
        ]
        found.setdefault(switch.of, []).append(1000 * max(wrong, default=0.0))
    return found


def run(times: int = TIMES) -> list[dict[str, Any]]:
    switches, answers = measure(times)
    figures: list[dict[str, Any]] = []

    def add(name: str, value: float, unit: str, bound: float | None) -> None:
        figures.append(
            {
                "name": f"modes: {name}",
                "value": value,
                "unit": unit,
                "bound": f"<= {bound:g}" if bound is not None else "",
                "holds": value <= bound if bound is not None else None,
                "peers": {},
            }
        )

    for kind, took in until_right(switches, answers).items():
        what = f"{kind} on and off {times} times, last wrong answer"
        add(f"{what}, worst", round(max(took), 1), "ms", BOUND_MS)
        add(f"{what}, p50", round(statistics.median(took), 1), "ms", None)
    add("connections dropped", sum(answer.status == 0 for answer in answers), "", 0)
    add("answers", len(answers), "", None)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--times", type=int, default=TIMES, help="how often each mode goes on and off")
    figures = run(parser.parse_args().times)
    print(json.dumps(figures, indent=2))
    return 1 if any(figure["holds"] is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
