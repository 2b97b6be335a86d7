"""Scheduled commands as real processes: what they are given, how they end, what is left of them."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import ReleaseId
from homeport.runtime import logs, orphans, processes
from homeport.runtime.commands import is_instance
from homeport.runtime.jobs.model import RunState

sys.path.insert(0, str(Path(__file__).parent))

from jobs_home import SHOP, JobsHome, wait_for

HELD = "until [ -e go ]; do sleep 0.05; done"


@pytest.fixture
def home() -> Iterator[JobsHome]:
    home = JobsHome()
    try:
        yield home
    finally:
        home.end()


def test_a_run_has_its_directory_and_variables_and_its_end_is_told(home: JobsHome) -> None:
    home.job("echo $GREETING from $PWD in $HOMEPORT_RUN try $HOMEPORT_ATTEMPT")
    id_ = home.run_now()
    run = home.ended(id_)
    assert (run.state, run.exit, run.release, run.cause) == (RunState.SUCCEEDED, "status 0", "r1", "ann")
    assert home.printed(id_) == [f"good day from {home.data} in shop.production.cron.report.1 try 1"]
    [started], [finished] = home.events("cron.started"), home.events("cron.finished")
    assert started["run"] == id_ and started["release"] == "r1"
    assert (finished["state"], finished["exit"], finished["lines"]) == ("succeeded", "status 0", [])
    assert list((home.data / "cron").iterdir()) == []
    assert not home.layout.fifo(id_).exists()
    assert home.left() == []


def test_a_failure_tells_its_last_lines_and_is_tried_again(home: JobsHome) -> None:
    home.job("echo one; echo two; printf three; exit 7", retries=1, retry_delay=0.3)
    first = home.run_now()
    assert (home.ended(first).state, home.runs()[first].exit) == (RunState.FAILED, "status 7")
    second = "shop.production.cron.report.2"
    assert home.ended(second).attempt == 2
    assert len(home.runs()) == 2
    for event in home.events("cron.finished"):
        assert event["lines"] == ["one", "two", "three"]
    assert [e["retry_at"] is not None for e in home.events("cron.finished")] == [True, False]


def test_the_last_words_of_a_failed_run_are_waited_for(home: JobsHome) -> None:
    """The log daemon still has the start of a line, and is off the processor."""
    home.job("printf three; exit 7")
    id_ = home.run_now()
    home.jobs.tick()
    wait_for(lambda: (home.data / "cron" / id_ / "result").exists(), what="the result")
    home.logd.send_signal(signal.SIGSTOP)

    def go_on() -> None:
        wait_for(lambda: not home.layout.fifo(id_).exists(), what="the end of the pipe")
        time.sleep(0.4)
        home.logd.send_signal(signal.SIGCONT)

    stalled = threading.Thread(target=go_on)
    stalled.start()
    home.ended(id_)
    stalled.join()
    assert home.events("cron.finished")[0]["lines"] == ["three"]


def test_a_short_run_is_not_lost_on_a_log_daemon_that_is_late(home: JobsHome) -> None:
    home.logd.send_signal(signal.SIGSTOP)
    try:
        home.job("echo one; touch ran")
        id_ = home.run_now()
        home.jobs.tick()
        wait_for((home.data / "ran").exists, what="the run")
        wait_for(lambda: [m.instance for m in processes.marked(str(home.data))] == [f"{id_}.runner"])
    finally:
        home.logd.send_signal(signal.SIGCONT)
    home.ended(id_)
    assert home.printed(id_) == ["one"]


def test_a_run_past_its_time_is_ended_with_its_children(home: JobsHome) -> None:
    home.job("sleep 1000 & sleep 1000; echo never", timeout=0.5, stop_grace=2.0)
    run = home.ended(home.run_now())
    assert run.state is RunState.TIMED_OUT
    assert home.left() == []


def test_one_that_ignores_sigterm_is_killed(home: JobsHome) -> None:
    home.job("trap '' TERM; while true; do sleep 0.1; done", timeout=4.0, stop_grace=0.3)
    run = home.ended(home.run_now())
    assert (run.state, run.exit) == (RunState.TIMED_OUT, "signal 9 (SIGKILL)")
    assert home.left() == []


def test_what_a_command_leaves_running_is_ended(home: JobsHome) -> None:
    home.job("setsid sleep 1000 & (env -i sleep 1000 &) ; sleep 0.1", stop_grace=1.0)
    run = home.ended(home.run_now())
    assert run.state is RunState.SUCCEEDED
    assert home.left() == []


def test_stop(home: JobsHome) -> None:
    home.job("echo up; sleep 1000")
    id_ = home.run_now()
    home.tick_until(lambda: home.printed(id_) == ["up"])
    home.jobs.stop(id_, "bob")
    assert (home.ended(id_).state, home.left()) == (RunState.STOPPED, [])
    assert home.events("cron.stop_asked") == [{"job": "report", "run": id_}]
    with pytest.raises(HomeportError) as e:
        home.jobs.stop(id_, "bob")
    assert e.value.code == "runtime.cron_run_ended"


def test_a_stop_before_there_is_a_process(home: JobsHome) -> None:
    home.job("echo up")
    waiting = home.run_now()
    home.jobs.stop(waiting, "bob")
    assert home.state_of(waiting) is RunState.STOPPED
    id_ = home.run_now()
    launch, home.jobs._rounds._launch = home.jobs._rounds._launch, lambda *_: None
    home.jobs.tick()
    assert home.state_of(id_) is RunState.RUNNING
    home.jobs.stop(id_, "bob")
    home.jobs._rounds._launch = launch
    assert (home.ended(id_).state, home.printed(id_)) == (RunState.STOPPED, [])


def test_a_kill_of_the_runner_loses_the_run_and_ends_its_processes(home: JobsHome) -> None:
    home.job("echo up; sleep 1000", retries=1, retry_delay=0.0)
    id_ = home.run_now()
    home.tick_until(lambda: home.printed(id_) == ["up"])
    runner = home.jobs._rounds.files(id_).runner()
    assert runner is not None
    os.kill(runner, signal.SIGKILL)
    run = home.ended(id_)
    assert run.state is RunState.LOST
    second = "shop.production.cron.report.2"
    home.tick_until(lambda: home.printed(second) == ["up"])
    marks = [m.instance for m in processes.marked(str(home.data))]
    assert id_ not in marks and second in marks


@pytest.mark.parametrize(
    "claim", ["{pid} {start} of-another-boot", "{pid} 1 {boot}", "4194000 1 {boot}", "torn"]
)
def test_a_run_of_a_runner_that_is_gone_is_lost(home: JobsHome, claim: str) -> None:
    """After a reboot, say: its pid may be another's by now."""
    home.job("echo up")
    id_ = home.run_now()
    home.jobs._rounds._launch = lambda *_: None
    home.jobs.tick()
    files = home.jobs._rounds.files(id_)
    files.prepare({})
    start = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (files.directory / "claim").write_text(f"{os.getpid()} {start} {boot}\n")
    home.jobs.tick()
    assert home.state_of(id_) is RunState.RUNNING
    (files.directory / "claim").write_text(claim.format(pid=os.getpid(), start=start, boot=boot))
    assert home.ended(id_).state is RunState.LOST
    assert home.printed(id_) == []


def test_what_a_run_needs_is_for_the_owner_only(home: JobsHome) -> None:
    home.job("sleep 1000")
    id_ = home.run_now()
    home.jobs.tick()
    paths = [home.data / "cron", *(home.data / "cron").rglob("*")]
    assert len(paths) >= 3 and [p for p in paths if p.stat().st_mode & 0o077] == []
    assert home.state_of(id_) is RunState.RUNNING


def test_a_runner_that_is_told_to_end_ends_the_run(home: JobsHome) -> None:
    """As when the machine goes down."""
    home.job("trap 'echo bye; exit 0' TERM; echo up; while true; do sleep 0.05; done")
    id_ = home.run_now()
    home.tick_until(lambda: "up" in home.printed(id_))
    runner = home.jobs._rounds.files(id_).runner()
    assert runner is not None
    os.kill(runner, signal.SIGTERM)
    run = home.ended(id_)
    assert run.state is RunState.LOST and "bye" in home.printed(id_)


def test_a_command_that_cannot_be_started(home: JobsHome) -> None:
    home.job("echo up", user="no-such-user")
    run = home.ended(home.run_now())
    assert (run.state, run.exit) == (RunState.FAILED, "status 111")
    assert any("no-such-user" in line for line in home.events("cron.finished")[0]["lines"])


def test_a_target_that_raises_fails_the_run(home: JobsHome) -> None:
    from homeport.runtime.errors import UNKNOWN_USER

    home.job("echo up", retries=1, retry_delay=0.0)

    def refuse(*_: Any) -> Any:
        raise UNKNOWN_USER.error("cannot read the secret TOKEN: nobody is there")

    home.instance = refuse
    run = home.ended(home.run_now())
    assert (run.state, run.exit) == (RunState.FAILED, "cannot read the secret TOKEN: nobody is there")
    assert home.ended("shop.production.cron.report.2").attempt == 2
    assert not home.runs().keys() - {run.id, "shop.production.cron.report.2"}


def test_overlap_replace_ends_what_runs(home: JobsHome) -> None:
    home.job("echo up; sleep 1000", schedule="@every 2s", overlap="replace", stop_grace=1.0)
    home.tick_until(lambda: [r for r in home.runs().values() if r.state is RunState.REPLACED])
    states = {r.state for r in home.runs().values()}
    assert states <= {RunState.REPLACED, RunState.RUNNING, RunState.WAITING}


def test_a_new_release_lets_a_run_finish_and_nothing_serving_starts_none(home: JobsHome) -> None:
    home.job(f"echo up; {HELD}; echo done")
    id_ = home.run_now()
    home.tick_until(lambda: home.printed(id_) == ["up"])
    assert home.jobs.releases_in_use() == {(SHOP, "r1")}
    home.release = ReleaseId("r2")
    home.serves = False
    (home.data / "go").touch()
    run = home.ended(id_)
    assert (run.state, run.release, home.printed(id_)) == (RunState.SUCCEEDED, "r1", ["up", "done"])
    with pytest.raises(HomeportError) as e:
        home.run_now()
    assert e.value.code == "runtime.cron_not_serving"
    assert home.jobs.releases_in_use() == frozenset()


def test_a_new_control_plane_finds_what_runs_and_what_ended_without_it(home: JobsHome) -> None:
    home.job(f"echo $$; {HELD}; exit 3")
    id_ = home.run_now()
    home.tick_until(lambda: len(home.printed(id_)) == 1)
    home.control_plane()
    home.jobs.tick()
    assert home.state_of(id_) is RunState.RUNNING
    (home.data / "go").touch()
    wait_for(lambda: not home.left(), what="the end of its runner")
    home.control_plane()
    run = home.ended(id_)
    assert (run.state, run.exit, len(home.printed(id_))) == (RunState.FAILED, "status 3", 1)


def test_of_many_runners_one_starts_the_run(home: JobsHome) -> None:
    from homeport.system import process

    home.job("echo up; sleep 0.5")
    id_ = home.run_now()
    send = process.run

    def many(*args: Any, **more: Any) -> Any:
        for _ in range(4):
            send(*args, **more)
        return send(*args, **more)

    process.run = many
    try:
        home.ended(id_)
    finally:
        process.run = send
    time.sleep(0.3)
    assert home.printed(id_) == ["up"]
    assert home.left() == []


def test_nothing_takes_a_run_for_an_instance(home: JobsHome) -> None:
    home.job("echo up; sleep 1000")
    id_ = home.run_now()
    home.tick_until(lambda: home.printed(id_) == ["up"])
    assert not is_instance(id_) and not is_instance(id_ + ".runner")
    assert processes.living(home.layout) == {}
    assert orphans.set_aside(home.data) == ()
    assert logs.FileLogReader(home.data, home.clock).names() == ()
    assert home.state_of(id_) is RunState.RUNNING and home.left()


def test_runs_of_an_app_that_was_destroyed_are_ended_and_forgotten(home: JobsHome) -> None:
    from homeport.journal import schema

    home.job("echo up; sleep 1000")
    id_ = home.run_now()
    home.tick_until(lambda: home.printed(id_) == ["up"])
    home.serves = False
    with home.store.transaction("ann") as tx:
        for table in (schema.cron_runs, schema.cron_jobs, schema.apps):
            tx.execute(table.delete())
    home.tick_until(lambda: not home.left() and not list((home.data / "cron").iterdir()))
    home.jobs.clean()
    assert not home.layout.log(id_).exists()
    # A new app of that name begins with clean slates.
    home.layout.log(id_).write_text("of the app before\n")
    home.serves = True
    home.add_app()
    home.job("echo new")
    home.jobs.tick()
    again = home.run_now()
    assert again == id_
    home.ended(again)
    assert home.printed(again) == ["new"]


def test_sealed_secrets_are_opened_for_the_command_and_masked_in_its_output(home: JobsHome) -> None:
    from homeport.system import seal

    key = home.data / seal.KEY_FILE
    key.write_bytes(seal.new_key() + b"\n")
    key.chmod(0o600)
    token = seal.Box(seal.read_keys(str(key))).seal("hunter2-of-the-shop")
    home.more = {"secrets": (("TOKEN", token),)}
    home.job('echo "it is $TOKEN"; echo ${#TOKEN}; exit 1')
    id_ = home.run_now()
    home.ended(id_)
    assert home.printed(id_)[1:] == [str(len("hunter2-of-the-shop"))]
    for path in home.data.rglob("*"):
        if path.is_file():
            assert b"hunter2" not in path.read_bytes(), path


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes control groups")
def test_a_memory_limit_binds_and_its_group_is_removed(home: JobsHome) -> None:
    from homeport.runtime import cgroup

    command = home.script("x = bytearray(200_000_000); print('never')\n")
    home.job(command, memory=50_000_000)
    run = home.ended(home.run_now())
    assert run.state is RunState.FAILED
    if run.exit == "status 111":
        pytest.skip("no writable cgroups here")
    assert run.exit == "signal 9 (SIGKILL), over its memory limit"
    for directory, _ in cgroup.places(run.id, 1, None):
        parent = Path(directory).parent
        assert not list(parent.glob(f"homeport.*{run.id}"))
