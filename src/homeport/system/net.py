"""Ports, listeners, line protocols over unix sockets, and a plain HTTP probe."""

import contextlib
import errno
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path


def is_port_free(port: int, address: str = "127.0.0.1") -> bool:
    """Whether nothing is bound to the TCP port just now."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((address, port))
        except OSError:
            return False
    return True


def listener_inodes(port: int) -> frozenset[int]:
    """Socket inodes that listen on a TCP port, any address, IPv4 and IPv6."""
    inodes = set()
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(int(fields[9]))
    return frozenset(inodes)


def holds_socket(pid: int, inodes: frozenset[int]) -> bool:
    """Whether a process has one of the sockets open (False when it may not be looked at)."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if os.readlink(entry.path) in wanted:
                        return True
    except OSError:
        return False
    return False


def ask(path: Path, text: str, *, timeout: float) -> str:
    """Send ``text`` to a unix stream socket, read until it closes. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(timeout)
        s.connect(str(path))
        s.sendall(text.encode())
        parts = []
        while chunk := s.recv(1 << 16):
            parts.append(chunk)
    return b"".join(parts).decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What an HTTP probe met: a status and the seconds it took, or why there was none."""

    status: int | None
    seconds: float
    problem: str = ""
    location: str = ""


def probe_http(address: str, port: int, path: str, *, timeout: float, host: str = "localhost") -> ProbeResult:
    """GET ``path`` and wait for the whole status line and headers, ``timeout`` seconds in all.

    Redirects are not followed. Never raises.
    """
    start = time.monotonic()
    deadline = start + timeout
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: homeport-health\r\nConnection: close\r\n\r\n"
    )
    data = b""
    try:
        with socket.create_connection((address, port), timeout=timeout) as s:
            s.sendall(request.encode("ascii", "replace"))
            while b"\r\n\r\n" not in data and len(data) < 65536:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                s.settimeout(left)
                chunk = s.recv(65536)
                if not chunk:
                    break
                data += chunk
            seconds = time.monotonic() - start
            # Read to the end, or the app meets a broken pipe at each check.
            with contextlib.suppress(OSError):
                s.settimeout(0.05)
                rest = 1 << 16
                while rest > 0 and (chunk := s.recv(rest)):
                    rest -= len(chunk)
    except TimeoutError:
        return ProbeResult(None, time.monotonic() - start, f"no answer within {timeout:g} s")
    except OSError as e:
        why = "connection refused" if e.errno == errno.ECONNREFUSED else (e.strerror or str(e))
        return ProbeResult(None, time.monotonic() - start, why)
    lines = data.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    fields = lines[0].split(" ", 2)
    if len(fields) < 2 or not fields[0].startswith("HTTP/") or not fields[1].isdigit():
        return ProbeResult(None, seconds, "the answer is not HTTP" if data else "closed without an answer")
    location = next((x.partition(":")[2].strip() for x in lines[1:] if x.lower().startswith("location:")), "")
    return ProbeResult(int(fields[1]), seconds, "", location)
