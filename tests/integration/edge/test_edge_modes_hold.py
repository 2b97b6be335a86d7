"""Modes hold at once, for every worker, over restarts, reloads and meddling."""

import os
import re
import signal
from dataclasses import replace

from edge_rig import SHOP, Client, Rig, children

from homeport.edge import commands, control
from homeport.edge.haproxy import HaproxyEdge
from homeport.edge.model import Mode, Route, Service
from homeport.edge.modes import MAX_PAGE
from homeport.kernel.ids import ServiceName

SITE = ServiceName("site.production.web")
DOWN = Mode(SHOP, "maintenance")
READ = Mode(SHOP, "read-only")


def test_a_restart_keeps_it_and_the_end_of_it(shop: Rig) -> None:
    def restart() -> None:
        child = shop.started[-1]
        for pid in (child.pid, *children(child.pid)):
            os.kill(pid, signal.SIGKILL)
        child.wait()
        shop.spawn()
        shop.wait_ready()

    with Client(shop.port) as client:
        shop.put(replace(DOWN, message='a "b"\n', page="ours\n", allow=("10.0.0.0/8",)))
        restart()
        client.close()
        assert client.get("/x").text == "ours\n"
        assert shop.put(replace(DOWN, message='a "b"\n', page="ours\n", allow=("10.0.0.0/8",))) == "none"
        shop.put()
        restart()
        client.close()
        assert client.status() == 200


def test_a_reload_is_never_needed(shop: Rig) -> None:
    pid = control.info(shop.layout).pid
    for of in ((DOWN,), (READ,), (), (DOWN, READ), (READ,), (replace(DOWN, page="x"),), ()):
        assert shop.put(*of) == "runtime"
        assert shop.put(*of) == "none"
    assert control.info(shop.layout).pid == pid


def test_what_someone_else_changed_is_healed(shop: Rig) -> None:
    shop.put(DOWN)
    control.ask(shop.layout, commands.delete_from_map(shop.layout.modes, SHOP))
    control.ask(shop.layout, commands.clear_map(shop.layout.mode_texts))
    assert shop.put(DOWN) == "runtime"
    control.ask(shop.layout, commands.add_to_map(shop.layout.modes, SHOP, "twice"))
    assert shop.put(DOWN) == "reload"
    with Client(shop.port) as client:
        assert "Down for maintenance" in client.get("/x").text
    assert shop.put(DOWN) == "none"


def test_draining_workers_obey_too(shop: Rig) -> None:
    """A kept connection brings an old worker one more request, however late."""
    with Client(shop.port) as one, Client(shop.port) as two, Client(shop.port) as three:
        for client in (one, two, three):
            assert client.status() == 200
        reloaded = shop.state(shop.server("a1"), response_timeout=99.0)
        assert shop.edge.apply(reloaded).method == "reload"
        page = replace(DOWN, page="é" * (MAX_PAGE // 2), allow=("10.0.0.0/8",))
        assert shop.edge.apply(replace(reloaded, modes=(page,))).method == "runtime"
        assert one.status() == 503
        # The process that switched is killed before it reaches the old worker: the next one sees to it.
        (old,) = [p for p in workers(shop) if p != control.info(shop.layout).pid]
        (socket_,) = shop.directory.glob("m*.sock")
        control.ask_master(socket_, f"@!{old} {commands.clear_map(shop.layout.modes)}")
        later = HaproxyEdge(shop.directory, shop.edge._clock)
        assert later.apply(replace(reloaded, modes=(page,))).method == "none"
        assert two.status() == 503
        # A reload and a switch in one.
        assert shop.edge.apply(shop.state(shop.server("a1"), response_timeout=98.0)).method == "reload"
        assert three.status() == 200


def workers(rig: Rig) -> list[int]:
    return children(rig.started[-1].pid)


def test_modes_of_a_new_service_need_no_second_look(shop: Rig) -> None:
    state = shop.state(shop.server("a1"), more=(Service(SITE),), routes=(Route("*", "/", SITE),))
    on = replace(state, modes=(replace(DOWN, service=SITE), READ))
    assert shop.edge.apply(on).method == "reload"
    with Client(shop.port) as client:
        assert "Down for maintenance" in client.get("/x").text
    assert shop.edge.apply(on).method == "none"


def test_an_edge_from_before_there_were_modes_starts_and_serves(shop: Rig) -> None:
    """Its configuration names no mode maps, so they need not be there."""
    config = shop.layout.config.read_text()
    older = re.sub(r"(?m)^\.if.*\n(?:.*\n)*?\.endif\n|.*mode.*\.map.*\n|.*txn\.(mode|retry).*\n", "", config)
    older = "".join(line for line in older.splitlines(keepends=True) if not line.startswith("# end of"))
    for path in shop.layout.mode_maps:
        path.unlink()
    shop.layout.config.write_text(commands.seal(older))
    child = shop.started[-1]
    for pid in (child.pid, *children(child.pid)):
        os.kill(pid, signal.SIGKILL)
    child.wait()
    shop.spawn()
    shop.wait_ready()
    with Client(shop.port) as client:
        assert client.status() == 200
        assert shop.put(DOWN) == "reload"
        client.close()
        assert client.status() == 503


def test_every_request_after_a_switch_obeys_it_on_connections_that_stay(shop: Rig) -> None:
    """The pace of it, and real load, are in bench/modes.py."""
    wanted = {(): (200, 200), (DOWN,): (503, 503), (READ,): (200, 503)}
    with Client(shop.port) as client:
        client.status()
        connection = client.socket
        for n in range(40):
            modes: tuple[Mode, ...] = ((), (DOWN,), (), (READ,))[n % 4]
            shop.put(*modes)
            assert (client.status(), client.status("POST")) == wanted[modes]
        assert client.socket is connection
