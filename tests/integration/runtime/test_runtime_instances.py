"""Instances under a real supervisord: how they start, end, crash, and what they are given."""

import os
import socket
import time
import urllib.request
from pathlib import Path

import pytest
from supervised_home import PYTHON, Home, free_port, name, wait_for

from homeport.kernel.errors import HomeportError
from homeport.runtime import listeners
from homeport.runtime.model import InstanceSpec, InstanceState
from homeport.runtime.processes import living
from homeport.runtime.supervisor import SupervisorRuntime
from homeport.system.clock import RealClock
from homeport.system.process import is_alive

IGNORES_TERM = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('up')\ntime.sleep(1000)\n"
SAYS_GOODBYE = """
import signal, sys, time
def end(*_):
    time.sleep(0.4)
    print("goodbye")
    sys.exit(0)
signal.signal(15, end)
print("up")
time.sleep(1000)
"""
DAEMONIZES = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        import signal
        signal.signal(15, signal.SIG_IGN)
        print("away")
        time.sleep(1000)
    os._exit(0)
time.sleep(1000)
"""
FORKS_AND_DIES = """
import os, socket, sys, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(os.environ["PORT"])))
s.listen()
print("bound")
if os.fork():
    time.sleep(1.3)
    os.kill(os.getpid(), 9)
time.sleep(1000)
"""


def test_one_that_ignores_sigterm_is_killed_after_its_grace(home: Home) -> None:
    instance = home.start(home.spec(1, home.script(IGNORES_TERM), stop_grace=1.0))
    home.wait_line(instance, "up")
    pid = home.status(instance).pid
    assert pid is not None
    home.runtime.stop((instance,))
    assert not is_alive(pid)
    assert home.marked(instance) == []
    assert home.runtime.observe() == ()


@pytest.mark.parametrize("wrap", ["{}", "cd / && {}", "GREETING=hello {}", "true\n{}; echo not this"])
def test_it_may_finish_what_it_does_when_stopped(home: Home, wrap: str) -> None:
    instance = home.start(home.spec(1, wrap.format(home.script(SAYS_GOODBYE))))
    home.wait_line(instance, "up")
    home.runtime.stop((instance,))
    assert home.wait_line(instance, "goodbye") == ("up", "goodbye")


def test_what_leaves_its_process_group_ends_too(home: Home) -> None:
    instance = home.start(home.spec(1, home.script(DAEMONIZES), stop_grace=1.0))
    home.wait_line(instance, "away")
    wait_for(lambda: len(home.marked(instance)) == 2)
    home.runtime.stop((instance,))
    assert home.marked(instance) == []


def test_files_of_a_stopped_instance_are_gone_but_for_its_log(home: Home) -> None:
    instance = home.start(home.spec(1, "echo up; exec sleep 1000"))
    home.wait_line(instance, "up")
    home.runtime.stop((instance,))
    names = {p.name for p in home.data.rglob("*") if instance in p.name}
    assert names == {f"{instance}.log"}


def test_a_simple_command_replaces_the_shell(home: Home) -> None:
    instance = home.start(home.spec(1, "sleep 1000"))
    pid = home.wait_state(instance, InstanceState.RUNNING).pid
    assert Path(f"/proc/{pid}/comm").read_text() == "sleep\n"


def test_a_crash_is_followed_by_growing_pauses(home: Home) -> None:
    instance = home.start(home.spec(1, "echo attempt; exit 3"))

    def look() -> bool:
        home.runtime.observe()  # supervisor looks at its children when it is asked something
        return len(home.runtime.log_tail(instance)) >= 3

    wait_for(look, what="three attempts")
    status = home.wait_state(instance, InstanceState.BACKOFF)
    assert status.exit == "status 3"
    log = home.layout.supervisor_log.read_text()
    assert log.count(f"exited: {instance}") in (3, 4)
    home.runtime.stop((instance,))


def test_a_signal_is_named(home: Home) -> None:
    instance = home.start(home.spec(1, "kill -SEGV $$"))
    assert home.wait_state(instance, InstanceState.BACKOFF).exit.startswith("signal 11 (SIGSEGV)")


def test_a_killed_instance_comes_back(home: Home) -> None:
    instance = home.start(home.spec(1, "exec sleep 1000"))
    first = home.wait_state(instance, InstanceState.RUNNING).pid
    assert first is not None
    os.kill(first, 9)
    wait_for(lambda: (s := home.status(instance)) and s.pid not in (None, first), what="a new process")
    assert home.status(instance).exit == "signal 9 (SIGKILL)"


def test_a_child_left_over_from_a_crash_does_not_keep_the_port(home: Home) -> None:
    port = free_port()
    instance = home.start(home.spec(1, home.script(FORKS_AND_DIES), ("PORT", str(port)), port=port))

    def look() -> bool:
        home.runtime.observe()
        return home.runtime.log_tail(instance).count("bound") >= 2

    wait_for(look, what="a second bind")
    assert all("Address already in use" not in line for line in home.runtime.log_tail(instance))


def test_a_command_that_is_not_there_says_so(home: Home) -> None:
    instance = home.start(home.spec(1, "no-such-program --port 1"))
    assert home.wait_state(instance, InstanceState.BACKOFF).exit == "status 127"
    assert wait_for(lambda: [x for x in home.runtime.log_tail(instance) if "no-such-program" in x])


def test_a_directory_that_is_not_there_says_so(home: Home) -> None:
    instance = home.start(InstanceSpec(name(1), "true", "/no/such/place", ()))
    assert home.wait_state(instance, InstanceState.BACKOFF).exit == "status 111"
    assert wait_for(lambda: [x for x in home.runtime.log_tail(instance) if "/no/such/place" in x])


def test_the_environment_is_what_was_given_and_nothing_else(home: Home) -> None:
    nasty = "a'b\"c %(here)s $HOME ;x #y \\ \n last ü"
    instance = home.start(
        home.spec(1, "env -0 | tr '\\n\\0' '~\\n'; exec sleep 1000", ("PORT", "1"), ("NASTY", nasty))
    )
    lines = wait_for(lambda: len(x := home.runtime.log_tail(instance)) >= 8 and x, what="8 variables")
    assert lines
    environment = dict(line.split("=", 1) for line in lines)
    environment.pop("_", None)
    assert environment.pop("PWD") == str(home.data)
    assert environment.pop("PATH").endswith("/bin")
    assert environment.pop("HOME")
    assert environment == {
        "PORT": "1",
        "NASTY": nasty.replace("\n", "~"),
        "LANG": "C.UTF-8",
        "HOMEPORT_OWNER": str(home.data),
        "HOMEPORT_INSTANCE": instance,
    }


def test_an_unusual_data_directory_serves_too() -> None:
    home = Home("my data; 100% ü")
    try:
        home.supervise()
        instance = home.start(home.spec(1, "echo up; exec sleep 1000"))
        home.wait_line(instance, "up")
        home.runtime.stop((instance,))
        assert home.runtime.observe() == ()
    finally:
        home.end()


def test_signals_and_files_are_as_in_a_fresh_process(home: Home) -> None:
    script = home.script(
        "import os, signal, time\n"
        "print(sorted(os.listdir('/proc/self/fd'))[:3], len(os.listdir('/proc/self/fd')))\n"
        "print(os.readlink('/proc/self/fd/0'), oct(os.umask(0)))\n"
        "print([l for l in open('/proc/self/status').read().split('\\n') if l.startswith(('SigBlk', 'SigIgn'))])\n"
        "time.sleep(1000)\n"
    )
    instance = home.start(home.spec(1, script))
    lines = wait_for(lambda: len(x := home.runtime.log_tail(instance)) == 3 and x)
    assert lines
    assert lines[0] == "['0', '1', '2'] 4"  # and the one that lists
    assert lines[1] == "/dev/null 0o22"
    # Python itself ignores SIGPIPE and SIGXFSZ; nothing is blocked.
    assert lines[2] == "['SigBlk:\\t0000000000000000', 'SigIgn:\\t0000000001001000']"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can switch users")
def test_it_runs_as_its_user(home: Home) -> None:
    os.chmod(home.root, 0o755)
    spec = InstanceSpec(
        name(1),
        "id -un; id -G; echo $HOME $USER; echo >/dev/stdout; exec sleep 1000",
        "/tmp",
        (),
        user="nobody",
    )
    home.runtime.check(spec)
    home.runtime.start(spec)
    lines = wait_for(lambda: len(x := home.runtime.log_tail(name(1))) >= 4 and x)
    assert lines
    assert lines[0] == "nobody"
    assert "0" not in lines[1].split()
    assert lines[2].endswith("nobody")
    assert lines[3] == ""


def test_a_stranger_on_the_port_is_not_the_instance(home: Home) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        instance = home.start(home.spec(1, "echo up; exec sleep 1000", port=port))
        home.wait_line(instance, "up")
        assert not home.runtime.owns_listener(instance, port)


def test_a_listener_below_a_shell_is_the_instances(home: Home) -> None:
    port = free_port()
    instance = home.start(
        home.spec(
            1, f"true && {PYTHON} -m http.server $PORT --bind 127.0.0.1", ("PORT", str(port)), port=port
        )
    )
    wait_for(lambda: home.runtime.owns_listener(instance, port))


def test_no_supervisor_is_unreachable(bare_home: Home) -> None:
    calls = (
        bare_home.runtime.observe,
        lambda: bare_home.runtime.start(bare_home.spec(1, "true")),
        lambda: bare_home.runtime.stop((name(1),)),
        lambda: bare_home.runtime.restart(name(1)),
    )
    for call in calls:
        with pytest.raises(HomeportError) as e:
            call()
        assert e.value.code == "runtime.unreachable"
        assert e.value.type.retry


class Interrupted(Exception):
    pass


class CutShort(RealClock):
    """The caller dies at its n-th pause."""

    def __init__(self, pauses: int) -> None:
        self.left = pauses

    def sleep(self, seconds: float) -> None:
        if self.left == 0:
            raise Interrupted
        self.left -= 1
        time.sleep(seconds)


@pytest.mark.parametrize("pauses", [0, 1, 2, 5, 20])
def test_a_stop_cut_short_is_finished_by_another(home: Home, pauses: int) -> None:
    instances = tuple(home.start(home.spec(n, home.script(IGNORES_TERM), stop_grace=4)) for n in (1, 2))
    for instance in instances:
        home.wait_line(instance, "up")
    with pytest.raises(Interrupted):
        SupervisorRuntime(home.data, CutShort(pauses)).stop(instances)
    assert {s.name for s in home.runtime.observe()} == set(instances)
    assert not any(home.layout.program(instance).exists() for instance in instances)
    home.runtime.stop(instances)
    assert home.runtime.observe() == ()
    assert living(home.layout) == {}


def test_a_start_while_its_stop_was_cut_short_starts_anew(home: Home) -> None:
    spec = home.spec(1, home.script(IGNORES_TERM), stop_grace=1)
    home.wait_line(home.start(spec), "up")
    first = home.status(spec.name)
    with pytest.raises(Interrupted):
        SupervisorRuntime(home.data, CutShort(0)).stop((spec.name,))
    home.runtime.start(spec)
    second = home.status(spec.name)
    assert first is not None and second is not None and first.pid != second.pid
    assert home.layout.program(spec.name).exists()


class NotAdded(SupervisorRuntime):
    def _add(self, name: object) -> None:
        raise Interrupted


def test_a_start_cut_short_is_stopped_until_it_is_asked_again(home: Home) -> None:
    spec = home.server()
    with pytest.raises(Interrupted):
        NotAdded(home.data, RealClock()).start(spec)
    home.wait_state(spec.name, InstanceState.STOPPED)
    written = home.status(spec.name)
    assert written is not None and not written.known
    home.runtime.start(spec)
    assert spec.port is not None
    wait_for(lambda: home.runtime.owns_listener(spec.name, spec.port))
    started = home.status(spec.name)
    assert started is not None and started.known


def test_restart_starts_a_stopped_one(home: Home) -> None:
    spec = home.server()
    with pytest.raises(Interrupted):
        NotAdded(home.data, RealClock()).start(spec)
    home.runtime.restart(spec.name)
    wait_for(lambda: home.runtime.owns_listener(spec.name, spec.port))
    with urllib.request.urlopen(f"http://127.0.0.1:{spec.port}/") as answer:
        assert answer.status == 200
    home.runtime._call("stopProcess", spec.name, True)
    home.wait_state(spec.name, InstanceState.STOPPED)
    home.runtime.restart(spec.name)
    home.wait_state(spec.name, InstanceState.RUNNING)


def test_a_broken_program_file_is_named(home: Home) -> None:
    broken = home.layout.programs / "x.conf"
    broken.write_text("[program:x]\n")
    with pytest.raises(HomeportError) as e:
        home.runtime.start(home.spec(1, "sleep 1000"))
    assert e.value.code == "runtime.start_failed"
    assert "x.conf" in e.value.sentence
    broken.unlink()
    home.runtime.start(home.spec(1, "sleep 1000"))
    home.wait_state(name(1), InstanceState.RUNNING)


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::")])
@pytest.mark.parametrize("netlink", [True, False])
def test_listeners_are_found_and_connections_are_not(
    family: socket.AddressFamily, address: str, netlink: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not netlink:
        monkeypatch.setattr(listeners, "NETLINK_SOCK_DIAG", 99)
    with socket.socket(family) as s:
        s.bind((address, 0))
        port = s.getsockname()[1]
        assert listeners.listener_inodes(port) == frozenset()
        s.listen()
        inode = os.fstat(s.fileno()).st_ino
        with socket.create_connection((address.replace("::", "::1"), port)) as client:
            assert listeners.listener_inodes(port) == {inode}
            assert listeners.listener_inodes(client.getsockname()[1]) == frozenset()
