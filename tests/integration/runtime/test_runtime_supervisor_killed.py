"""What outlives supervisord, and what comes back with the next one."""

import os
import signal
import urllib.request
from collections.abc import Sequence

import pytest
from supervised_home import Home, name, wait_for

from homeport.kernel.ids import InstanceName
from homeport.runtime.model import InstanceState
from homeport.runtime.orphans import end_orphaned_services, set_aside
from homeport.runtime.processes import living
from homeport.system.clock import RealClock
from homeport.system.process import is_alive


def serves(port: int | None) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def kill_all(home: Home) -> None:
    """A power cut."""
    home.kill_supervisord()
    for processes in living(home.layout).values():
        for pid in processes.pids:
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not living(home.layout))


def test_orphans_serve_on_beside_a_new_supervisord_until_they_are_stopped(home: Home) -> None:
    spec = home.server()
    home.runtime.start(spec)
    wait_for(lambda: serves(spec.port))
    pid = home.status(spec.name).pid
    home.kill_supervisord()
    assert set_aside(home.data) == (spec.name,)
    assert end_orphaned_services(home.data, ("logd",), RealClock()) == ("logd",)
    assert home.marked("logd") == []
    home.supervise()
    status = home.status(spec.name)
    assert status is not None
    assert (status.state, status.pid) == (InstanceState.ORPHANED, pid)
    assert serves(spec.port)
    assert home.runtime.owns_listener(spec.name, spec.port)
    home.runtime.start(spec)  # it is there already
    assert home.status(spec.name).pid == pid
    home.runtime.stop((spec.name,))
    assert home.runtime.observe() == ()
    assert not serves(spec.port)
    home.runtime.start(spec)
    wait_for(lambda: serves(spec.port))


def test_an_orphan_that_ignores_sigterm_is_killed_after_its_grace(home: Home) -> None:
    script = home.script(
        "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('up')\ntime.sleep(1000)\n"
    )
    instance = home.start(home.spec(1, script, stop_grace=1.0))
    home.wait_line(instance, "up")
    home.kill_supervisord()
    set_aside(home.data)
    home.supervise()
    home.wait_state(instance, InstanceState.ORPHANED)
    home.runtime.stop((instance,))
    assert living(home.layout) == {}


def test_an_orphan_without_its_environment_is_known_by_its_process(home: Home) -> None:
    instance = home.start(home.spec(1, "exec env -i sleep 1000"))
    pid = home.wait_state(instance, InstanceState.RUNNING).pid
    wait_for(lambda: home.marked(instance) == [], what="the cleared environment")
    home.kill_supervisord()
    assert set_aside(home.data) == (instance,)
    home.supervise()
    assert home.status(instance).state is InstanceState.ORPHANED
    home.runtime.stop((instance,))
    assert pid is not None and not is_alive(pid)


def test_after_a_power_cut_all_come_back_without_the_control_plane(home: Home) -> None:
    spec = home.server()
    home.runtime.start(spec)
    wait_for(lambda: serves(spec.port))
    kill_all(home)
    home.supervise()
    wait_for(lambda: serves(spec.port))


def test_what_was_set_aside_comes_back_after_a_power_cut(home: Home) -> None:
    spec = home.server()
    home.runtime.start(spec)
    wait_for(lambda: serves(spec.port))
    home.kill_supervisord()
    set_aside(home.data)
    assert not home.layout.program(spec.name).exists()
    kill_all(home)
    assert set_aside(home.data) == ()
    home.supervise()
    wait_for(lambda: serves(spec.port))


def test_a_stop_that_a_power_cut_interrupted_does_not_come_back(home: Home) -> None:
    instance = home.start(home.spec(1, "exec sleep 1000"))
    home.wait_state(instance, InstanceState.RUNNING)
    home.layout.program(instance).unlink()
    kill_all(home)
    assert set_aside(home.data) == ()
    assert [p.name for p in home.layout.instances.iterdir()] == []
    home.supervise()
    assert home.runtime.observe() == ()


def test_a_second_copy_started_by_mistake_takes_over(home: Home) -> None:
    """Without set_aside (a supervisord that systemd restarted) the new copy ends the old one."""
    spec = home.server()
    home.runtime.start(spec)
    wait_for(lambda: serves(spec.port))
    first = home.status(spec.name).pid
    home.kill_supervisord()
    home.supervise()
    wait_for(lambda: (s := home.status(spec.name)) and s.state is InstanceState.RUNNING and s.pid != first)
    wait_for(lambda: serves(spec.port))
    assert first is not None and not is_alive(first)


def test_services_that_the_supervisor_owns_are_left_alone(home: Home) -> None:
    logd = home.marked("logd")
    assert home.child is not None
    assert end_orphaned_services(home.data, ("logd",), RealClock(), supervisor=home.child.pid) == ()
    assert home.marked("logd") == logd


@pytest.mark.parametrize("wrap", ["{}", "cd / && {}"])
def test_supervisord_that_is_asked_to_end_waits_for_the_apps(home: Home, wrap: str) -> None:
    """As systemd does at a shutdown. A shell in between must not be taken for the app."""
    script = home.script(
        "import signal, sys, time\n"
        "def end(*_):\n    time.sleep(2.5)\n    print('goodbye')\n    sys.exit(0)\n"
        "signal.signal(15, end)\nprint('up')\ntime.sleep(1000)\n"
    )
    instance = home.start(home.spec(1, wrap.format(script)))
    home.wait_line(instance, "up")
    assert home.child is not None
    home.child.terminate()
    home.child.wait(timeout=20)
    assert home.runtime.log_tail(instance) == ("up", "goodbye")


def test_shut_down_ends_all_at_once_and_all_come_back(home: Home) -> None:
    script = home.script(
        "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('up')\ntime.sleep(1000)\n"
    )
    instances = [home.start(home.spec(n, script, stop_grace=1.0)) for n in range(4)]
    for instance in instances:
        home.wait_line(instance, "up")
    home.runtime.shut_down()
    assert living(home.layout) == {}
    assert home.marked("logd") == []
    assert home.child is not None
    home.child.wait(timeout=5)
    home.supervise()
    for instance in instances:
        home.wait_state(instance, InstanceState.RUNNING)


def test_shut_down_ends_the_control_plane_before_what_it_would_mend(home: Home) -> None:
    """It would take what is being stopped for crashed, and start it again."""
    script = home.script(
        "import signal, sys, time\n"
        "def end(*_):\n    print('told', time.monotonic())\n    time.sleep(float(sys.argv[1]))\n"
        "    print('ended', time.monotonic())\n    sys.exit(0)\n"
        "signal.signal(15, end)\nprint('up')\ntime.sleep(1000)\n"
    )
    instance = home.start(home.spec(1, f"{script} 0"))
    home.wait_line(instance, "up")
    log = home.root / "serve.out"
    home.layout.program(InstanceName("serve")).write_text(
        f'[program:serve]\ncommand=/bin/sh -c "exec {script} 0.3 >{log}"\nautorestart=true\n'
    )
    home.runtime._add(InstanceName("serve"))
    wait_for(lambda: log.exists() and "up" in log.read_text(), what="the control plane")
    home.runtime.shut_down()

    def at(what: str, lines: Sequence[str]) -> float:
        return next(float(line.split()[1]) for line in lines if line.startswith(what))

    assert at("ended", log.read_text().splitlines()) < at("told", home.runtime.log_tail(instance))


@pytest.mark.parametrize("content", ["", "{", '{"stop_grace": "x"}', "[]"])
def test_a_damaged_instance_file_does_not_keep_it_from_being_stopped(home: Home, content: str) -> None:
    instance = home.start(home.spec(1, "exec sleep 1000"))
    home.wait_state(instance, InstanceState.RUNNING)
    home.layout.instance(instance).write_text(content)
    home.runtime.stop((instance,))
    assert home.runtime.observe() == ()


def test_names_of_others_are_not_instances(home: Home) -> None:
    assert home.runtime.observe() == ()
    assert home.status(name(1)) is None
