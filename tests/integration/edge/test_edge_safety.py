"""Broken files, strangers, kills: what serves goes on, and what cannot be is said."""

import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from edge_rig import SHOP, Backend, Client, Rig, children, free_port, wait_until

from homeport.edge import control, preflight
from homeport.edge.model import Bind, Service
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import ServiceName


@pytest.fixture
def one(rig: Rig) -> Rig:
    rig.backend("a1")
    rig.start(rig.state(rig.server("a1")))
    return rig


def start_and_wait(directory: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "homeport.edge.start", str(directory)],
        capture_output=True,
        text=True,
        timeout=20,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", ["haproxy.cfg", "routes.map", "hosts.map", "health.map", "pages.map"])
@pytest.mark.parametrize("how", ["truncated", "foreign", "garbage", "gone"])
def test_a_broken_file_is_refused_at_start_and_mended_by_apply(rig: Rig, name: str, how: str) -> None:
    rig.backend("a1")
    state = rig.state(rig.server("a1"))
    rig.edge.write(state)
    path = rig.directory / name
    whole = path.read_text()
    match how:
        case "truncated":
            path.write_text(whole[: len(whole) // 2])
        case "foreign":
            path.write_text("global\n  maxconn 10\n")
        case "garbage":
            path.write_bytes(b"\xff\xfe\0garbage")
        case "gone":
            path.unlink()
    status, errors = start_and_wait(rig.directory)
    assert status != 0
    assert errors.startswith(f"cannot start HAProxy on {path}") and "Traceback" not in errors
    rig.edge.write(state)
    assert path.read_text() == whole


def test_broken_files_do_not_disturb_traffic(one: Rig) -> None:
    state = one.state(one.server("a1"))
    for path in (one.layout.config, *one.layout.maps):
        path.write_text("garbage")
    with Client(one.port) as client:
        assert client.get("/").text == "a1"
        assert one.edge.apply(state).method == "none"
        assert client.get("/").text == "a1"
    preflight.check_files(one.layout)


def test_a_whole_file_that_haproxy_refuses_is_refused_at_start_with_its_words(rig: Rig) -> None:
    from homeport.edge.commands import seal

    rig.edge.write(rig.state())
    rig.layout.config.write_text(seal("global\n    nonsense\n"))
    status, errors = start_and_wait(rig.directory)
    assert status == 3
    assert "unknown keyword 'nonsense'" in errors and "Traceback" not in errors


def test_a_config_that_haproxy_refuses_never_replaces_the_good_one(
    one: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = one.layout.config.read_text()
    monkeypatch.setattr("homeport.edge.render._COMPRESSIBLE", "")
    with pytest.raises(HomeportError) as caught:
        one.edge.apply(one.state(one.server("a1")))
    assert caught.value.code == "edge.config_invalid"
    assert any("compression" in line for line in caught.value.details)
    assert one.layout.config.read_text() == before
    assert not (one.directory / "candidate.cfg").exists()


def test_what_others_changed_at_run_time_is_put_back(one: Rig) -> None:
    one.backend("b1")
    state = one.state(one.server("a1", 100), one.server("b1", 0))
    one.edge.apply(state)
    for meddling in (
        f"set server {SHOP}/a1 weight 0",
        f"set server {SHOP}/a1 state maint",
        f"add map {one.layout.routes} evil.example/ {SHOP}",
        f"del map {one.layout.routes} */",
        f"clear map {one.layout.health}",
        f"set server {SHOP}/b1 weight 7",
    ):
        control.ask(one.layout, meddling)
        assert one.edge.apply(state).method == "runtime"
        with Client(one.port) as client:
            assert client.get("/").text == "a1"
    for meddling, method in (
        (f"add map {one.layout.routes} */ elsewhere", "reload"),
        (f"set server {SHOP}/a1 addr 127.0.0.2 port 1", "reload"),
    ):
        control.ask(one.layout, meddling)
        assert one.edge.apply(state).method == method
        assert one.edge.apply(state).method == "none"


def test_a_server_that_is_busy_leaves_later(one: Rig) -> None:
    one.backend("b1")
    with Client(one.port) as slow:
        slow.send(b"GET /slow?6 HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: one.edge.sessions(SHOP, "a1") == 1)
        only_b = one.state(one.server("b1"))
        one.edge.apply(only_b)
        assert {s.name: s.weight for s in one.edge.observe()} == {"a1": 0, "b1": 100}
        assert one.edge.apply(only_b).method == "none"
        assert slow.read_answer().text == "a1"
    wait_until(lambda: one.edge.apply(only_b) and len(one.edge.observe()) == 1)
    back = one.state(one.server("a1"), one.server("b1"))
    assert one.edge.apply(back).method == "runtime"
    with Client(one.port) as client:
        assert {client.get("/").text for _ in range(4)} == {"a1", "b1"}


def test_no_haproxy_there_is_unreachable_and_the_disk_has_the_state(rig: Rig) -> None:
    rig.backend("a1")
    state = rig.state(rig.server("a1"))
    for call in (lambda: rig.edge.apply(state), rig.edge.observe, lambda: rig.edge.sessions(SHOP, "a1")):
        with pytest.raises(HomeportError) as caught:
            call()
        assert caught.value.code == "edge.unreachable" and caught.value.type.retry
    rig.spawn()
    rig.wait_ready()
    assert rig.edge.apply(state).method == "none"
    with Client(rig.port) as client:
        assert client.get("/").text == "a1"


def test_a_killed_haproxy_comes_back_with_the_same_servers_and_weights(one: Rig) -> None:
    one.backend("b1")
    state = one.state(one.server("a1", 0), one.server("b1", 40))
    one.edge.apply(state)
    master = control.master(one.layout)
    assert master is not None
    workers = children(master)
    os.kill(master, signal.SIGKILL)
    one.started[-1].wait()
    wait_until(lambda: not any(control.is_ours(pid, one.layout) for pid in workers))
    one.spawn()
    one.wait_ready()
    assert {s.name: s.weight for s in one.edge.observe()} == {"a1": 0, "b1": 40}
    assert one.edge.apply(state).method == "none"
    assert len(list(one.directory.glob("m*.sock"))) == 1


def test_an_orphaned_haproxy_is_taken_over_with_no_connection_refused(one: Rig) -> None:
    """Its supervisor was killed, and the new one starts another: the old one hands over and drains."""
    failures: list[object] = []
    stop = threading.Event()

    def connect() -> None:
        while not stop.is_set():
            try:
                with Client(one.port) as client:
                    if client.get("/").status != 200:
                        failures.append("status")
            except OSError as e:
                failures.append(e)

    loads = [threading.Thread(target=connect, daemon=True) for _ in range(3)]
    for load in loads:
        load.start()
    with Client(one.port) as slow:
        slow.send(b"GET /slow?10 HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: one.edge.sessions(SHOP, "a1") >= 1)
        old = control.master(one.layout)
        one.spawn()
        wait_until(lambda: control.master(one.layout) not in (old, None))
        one.wait_ready()
        one.backend("b1")
        wait_until(lambda: one.edge.apply(one.state(one.server("b1"))).method in ("runtime", "none"))
        wait_until(lambda: one.edge.sessions(SHOP, "a1") == 1)
        assert slow.read_answer().text == "a1"
    stop.set()
    for load in loads:
        load.join(10)
    assert failures == []
    one.started[0].wait(30)
    with Client(one.port) as client:
        assert client.get("/").text == "b1"
    assert control.master(one.layout) == one.started[1].pid


def test_a_port_that_a_stranger_has_is_refused_and_the_stranger_named(rig: Rig) -> None:
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", rig.port))
        stranger.listen()
        with pytest.raises(HomeportError) as caught:
            rig.edge.write(rig.state())
        assert caught.value.code == "edge.port_taken"
        assert f"pid {os.getpid()}" in caught.value.sentence
        assert not rig.layout.config.exists()
    rig.edge.write(rig.state())
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", rig.port))
        stranger.listen()
        status, errors = start_and_wait(rig.directory)
        assert status == 5 and f"pid {os.getpid()}" in errors and "Traceback" not in errors


def test_an_address_of_another_machine_is_refused_and_traffic_goes_on(one: Rig) -> None:
    state = one.state(one.server("a1"))
    before = one.layout.config.read_text()
    with pytest.raises(HomeportError) as caught:
        one.edge.apply(replace(state, http=Bind("192.0.2.1", 8080)))
    assert caught.value.code == "edge.bind_denied"
    assert one.layout.config.read_text() == before
    with Client(one.port) as client:
        assert client.get("/").text == "a1"


def test_listeners_move(one: Rig) -> None:
    state = one.state(one.server("a1"))
    port = free_port()
    assert one.edge.apply(replace(state, http=Bind("127.0.0.1", port))).method == "reload"
    with Client(port) as client:
        assert client.get("/").text == "a1"
    https = Bind("127.0.0.1", free_port())
    assert one.edge.apply(replace(state, http=Bind("127.0.0.1", port), https=https)).method == "reload"
    assert (one.layout.default_certificate.stat().st_mode & 0o777) == 0o600


def test_a_reload_that_fails_is_told_and_the_old_worker_serves_on(
    one: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate turns bad between the trial and the reload."""
    state = one.state(one.server("a1"), https=Bind("127.0.0.1", free_port()))
    one.edge.apply(state)
    good = one.layout.default_certificate.read_bytes()
    monkeypatch.setattr("homeport.edge.haproxy.preflight.check_config", lambda file, layout: None)
    one.layout.default_certificate.write_bytes(b"bad")
    more = replace(state, services=(*state.services, Service(ServiceName("more.production.web"))))
    with pytest.raises(HomeportError) as caught:
        one.edge.apply(more)
    assert caught.value.code == "edge.drift"
    with Client(one.port) as client:
        assert client.get("/").text == "a1"
    one.layout.default_certificate.write_bytes(good)
    assert one.edge.apply(more).method == "reload"


def test_two_edges_side_by_side(one: Rig) -> None:
    other = Rig()
    try:
        other.backends["z1"] = Backend("z1").start()
        other.start(other.state(other.server("z1")))
        with Client(one.port) as first, Client(other.port) as second:
            assert (first.get("/").text, second.get("/").text) == ("a1", "z1")
        assert not set(control.processes(one.layout)) & set(control.processes(other.layout))
    finally:
        other.close()


def test_a_data_directory_of_80_characters_works(rig: Rig) -> None:
    deep = rig.directory.parent
    deep = deep / ("d" * (80 - len(str(deep)) - 1))
    assert len(str(deep)) == 80
    deep.mkdir()
    from homeport.edge.haproxy import HaproxyEdge
    from homeport.system.clock import RealClock

    rig.directory = deep / "edge"
    rig.edge = HaproxyEdge(rig.directory, RealClock())
    rig.backend("a1")
    rig.start(rig.state(rig.server("a1")))
    assert rig.edge.apply(rig.state(rig.server("a1", 3))).method == "runtime"
    assert rig.edge.sessions(SHOP, "a1") == 0
