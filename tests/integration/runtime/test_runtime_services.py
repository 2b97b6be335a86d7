"""Services: programs that start before apps, end after them, and outlive a supervisor that was killed."""

import os
import signal
import sys
from pathlib import Path

import pytest
from supervised_home import wait_for

from homeport.kernel.errors import HomeportError
from homeport.runtime import service_files
from homeport.runtime.services import SupervisorServices
from homeport.system.clock import RealClock
from homeport.system.process import is_alive

PROGRAM = """
import signal, sys, time
def end(number, frame):
    print("told", number, flush=True)
    time.sleep(0.05)
    print("ended", time.monotonic(), flush=True)
    sys.exit(0)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, end)
print("up", flush=True)
while True:
    time.sleep(0.05)
"""


@pytest.fixture
def services(home):
    services = SupervisorServices(home.data, RealClock())
    yield services
    for name in service_files.names(home.layout):
        service_files.end(home.layout, name, RealClock())


def argv(home, program: str = PROGRAM) -> tuple[str, ...]:
    path = home.root / "service.py"
    path.write_text(program)
    return (sys.executable, "-u", str(path))


def start(services, home, name: str = "thing.main", **more) -> int:
    services.start(name, argv(home), directory="/", stop_signal="INT", grace=5.0, **more)
    wait_for(lambda: "up" in services.log_tail(name), what=name)
    return services.status(name).pid


def test_it_starts_once_and_stops_by_its_signal(home, services):
    pid = start(services, home)
    assert start(services, home) == pid
    assert home.runtime.observe() == ()
    services.stop("thing.main")
    assert not is_alive(pid) and services.status("thing.main") is None
    assert f"told {int(signal.SIGINT)}" in services.log_tail("thing.main")
    services.stop("thing.main")


def test_what_ends_is_started_again(home, services):
    pid = start(services, home)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: (s := services.status("thing.main")).running and s.pid != pid)


def test_restart_takes_the_words_of_the_last_start(home, services):
    pid = start(services, home)
    services.start("thing.main", (*argv(home), "more"), directory="/", stop_signal="INT", grace=5.0)
    assert services.status("thing.main").pid == pid
    services.restart("thing.main")
    again = wait_for(lambda: services.status("thing.main").pid)
    assert again != pid
    wait_for(lambda: b"more" in Path(f"/proc/{services.status('thing.main').pid}/cmdline").read_bytes())
    with pytest.raises(HomeportError):
        services.restart("thing.other")


def test_the_next_supervisor_keeps_it_and_stops_it(home, services):
    pid = start(services, home)
    home.kill_supervisord()
    home.supervise()
    wait_for(lambda: any("runs on as process" in line for line in services.log_tail("thing.main")))
    assert services.status("thing.main").pid == pid
    services.stop("thing.main")
    assert not is_alive(pid)
    assert f"told {int(signal.SIGINT)}" in services.log_tail("thing.main")


def test_after_a_reboot_it_comes_back(home, services):
    pid = start(services, home)
    home.kill_supervisord()
    os.kill(pid, signal.SIGKILL)
    home.supervise()
    wait_for(lambda: (s := services.status("thing.main")).running and s.pid != pid)


def test_all_end_in_order_when_homeport_ends(home, services):
    """Apps first, then services, the higher rank first."""
    start(services, home, "thing.server", rank=0)
    start(services, home, "thing.pooler", rank=2)
    app = home.start(home.spec(1, home.script(PROGRAM)))
    home.wait_line(app, "up")
    home.runtime.shut_down()
    home.child.wait(10)

    def ended(name: str) -> float:
        lines = [line for line in services.log_tail(name) if line.startswith("ended ")]
        return float(lines[-1].split()[1])

    assert ended(app) < ended("thing.pooler") < ended("thing.server")
    home.supervise()
    wait_for(lambda: services.status("thing.server").running and services.status("thing.pooler").running)


def test_an_older_supervisors_configuration_is_told_of_services(home, services):
    conf = home.layout.conf
    conf.write_text(conf.read_text().replace(" services/*.conf", ""))
    assert start(services, home)


def test_what_cannot_start_says_why(home, services):
    services.start("thing.main", ("/no/such/program",), directory="/")
    wait_for(lambda: any("cannot start thing.main" in line for line in services.log_tail("thing.main")))
    services.stop("thing.main")


def test_bad_names_are_refused(services):
    for name in ("shop", "Thing.main", "a.b/c", "a.b c", ""):
        with pytest.raises(ValueError):
            services.start(name, ("/bin/true",), directory="/")
