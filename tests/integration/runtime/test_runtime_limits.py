"""Limits that bind, and clear words where they cannot."""

import os
import time
from pathlib import Path

import pytest
from supervised_home import Home, name, wait_for

from homeport.kernel.errors import HomeportError
from homeport.runtime import cgroup
from homeport.runtime.model import InstanceSpec, InstanceState
from homeport.runtime.processes import launched

MB = 1_000_000


def has_cgroups() -> bool:
    """Whether this machine can bind limits, found without the code under test."""
    root = Path("/sys/fs/cgroup")
    v1 = (root / "memory/memory.limit_in_bytes", root / "cpu/cpu.cfs_quota_us")
    v2 = root / "cgroup.controllers"
    if os.getuid() != 0:
        return False
    if all(file.exists() for file in v1):
        return all(os.access(file.parent, os.W_OK) for file in v1)
    return v2.exists() and os.access(root, os.W_OK) and {"memory", "cpu"} <= set(v2.read_text().split())


@pytest.fixture
def bound(home: Home) -> Home:
    """A home that limits bind in. Where the machine cannot, that it refuses is all there is to see."""
    if not has_cgroups():
        with pytest.raises(HomeportError) as e:
            home.runtime.check(home.spec(1, "true", memory=100 * MB, cpu=0.5))
        assert e.value.code == "runtime.limit_unsupported"
        pytest.skip("this machine gives no cgroups, and limits are refused")
    return home


def test_one_over_its_memory_limit_is_killed_with_all_its_children_counted(bound: Home) -> None:
    script = bound.script(
        "import os, time\n"
        "print('up')\n"
        "if os.fork() == 0:\n"
        "    half = b'x' * 60_000_000\n"
        "    time.sleep(1000)\n"
        "time.sleep(0.3)\n"
        "half = b'x' * 60_000_000\n"
        "print('both fit')\n"
        "os.wait()\n"
        "raise SystemExit(7)\n"
    )
    spec = bound.spec(1, script, memory=100 * MB)
    bound.runtime.check(spec)
    bound.runtime.start(spec)
    record = wait_for(lambda: launched(bound.layout, spec.name))
    assert record is not None
    wait_for(lambda: cgroup.ran_out_of_memory(list(record.cgroups)), what="a kill for memory")


def test_the_reason_of_a_kill_for_memory_is_told(bound: Home) -> None:
    script = bound.script("x = []\nfor _ in range(500):\n    x.append(b'x' * 1_000_000)\n")
    bound.runtime.start(bound.spec(1, script, memory=50 * MB))

    def look() -> bool:
        status = bound.status(name(1))
        return status is not None and status.exit == "signal 9 (SIGKILL), over its memory limit"

    wait_for(look, what="the reason")


def test_within_its_memory_limit_it_lives(bound: Home) -> None:
    script = bound.script("import time\nx = b'x' * 60_000_000\nprint('fits')\ntime.sleep(1000)\n")
    instance = bound.start(bound.spec(1, script, memory=100 * MB))
    bound.wait_line(instance, "fits")
    bound.wait_state(instance, InstanceState.RUNNING)


def test_cpu_time_is_bound_over_all_its_processes(bound: Home) -> None:
    script = bound.script("import os\nprint('up')\nos.fork()\nwhile True: pass\n")
    instance = bound.start(bound.spec(1, script, cpu=0.1))
    bound.wait_line(instance, "up")
    pids = wait_for(lambda: (p := bound.marked(instance)) and len(p) == 2 and p)
    assert pids

    def used() -> float:
        ticks = 0
        for pid in pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    before, start = used(), time.monotonic()
    time.sleep(1.5)
    share = (used() - before) / (time.monotonic() - start)
    assert share < 0.4  # up to 2 without the limit
    record = launched(bound.layout, instance)
    assert record is not None
    told = [line.split() for g in record.cgroups for line in (Path(g) / "cpu.stat").read_text().splitlines()]
    assert int(dict(told)["nr_throttled"]) > 0


def test_groups_are_gone_with_their_instance(bound: Home) -> None:
    instance = bound.start(bound.spec(1, "echo up; exec sleep 1000", memory=100 * MB, cpu=1.5))
    bound.wait_line(instance, "up")
    record = launched(bound.layout, instance)
    assert record is not None and record.cgroups
    assert all(Path(group).is_dir() for group in record.cgroups)
    bound.runtime.stop((instance,))
    assert not any(Path(group).exists() for group in record.cgroups)


def test_a_check_leaves_no_group(bound: Home) -> None:
    bound.runtime.check(bound.spec(1, "true", memory=100 * MB, cpu=0.5))
    groups = cgroup.create("probe.place", 100 * MB, 0.5)
    try:
        leftover = [
            p for group in groups for p in Path(group).parent.glob(f"{cgroup.PREFIX}*.check.{os.getpid()}.*")
        ]
    finally:
        cgroup.remove(groups)
    assert leftover == []


def test_without_cgroups_a_limit_is_refused(bare_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "_mounts", lambda: {})
    for spec in (bare_home.spec(1, "true", memory=MB), bare_home.spec(1, "true", cpu=0.5)):
        with pytest.raises(HomeportError) as e:
            bare_home.runtime.check(spec)
        assert e.value.code == "runtime.limit_unsupported"
        assert e.value.sentence.startswith("cannot bind the ")


def test_without_root_users_and_limits_are_refused(bare_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(HomeportError) as e:
        bare_home.runtime.check(bare_home.spec(1, "true", memory=MB))
    assert e.value.code == "runtime.limit_unsupported"
    with pytest.raises(HomeportError) as e:
        bare_home.runtime.check(InstanceSpec(name(1), "true", "/", (), user="nobody"))
    assert e.value.code == "runtime.cannot_switch_user"


def test_one_that_cannot_be_bound_is_not_started(home: Home) -> None:
    """After a reboot into a kernel without the controller, say: the launcher refuses too."""
    spec = home.spec(1, "echo unbound; exec sleep 1000", memory=1)
    home.runtime.start(spec)
    document = home.layout.instance(spec.name)
    document.write_text(document.read_text().replace('"memory": 1,', '"memory": -7,'))
    home.runtime.restart(spec.name)
    wait_for(
        lambda: home.runtime.observe() and any("cannot bind" in x for x in home.runtime.log_tail(spec.name))
    )
    assert "unbound" not in home.runtime.log_tail(spec.name)


class Unified:
    """A cgroup2 tree of plain files: what is made and written where, without a kernel."""

    def __init__(self, root: Path, own: str, monkeypatch: pytest.MonkeyPatch, *, delegated: bool) -> None:
        self.root = root
        (root / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        (root / "cgroup.subtree_control").write_text("\n")
        self.unit = root / own
        self.unit.mkdir(parents=True, exist_ok=True)
        if own:
            (self.unit / "cgroup.subtree_control").write_text("\n")
            (self.unit / "cgroup.procs").write_text("")
        monkeypatch.setattr(cgroup, "_mounts", lambda: {"": str(root)})
        monkeypatch.setattr(cgroup, "_own", lambda controller: f"/{own}")
        monkeypatch.setattr(cgroup, "_is_delegated", lambda d: delegated and d == str(self.unit))

        def make(directory: str, settings: list[tuple[str, str, bool]]) -> None:
            Path(directory).mkdir(exist_ok=True)
            for file, text, _ in settings:
                (Path(directory) / file).write_text(text)

        monkeypatch.setattr(cgroup, "_make", make)


def test_version_2_at_the_top_when_nothing_was_delegated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Unified(tmp_path, "user.slice", monkeypatch, delegated=False)
    (group,) = cgroup.create("x", 5 * MB, 1.5)
    assert Path(group) == tmp_path / "homeport.x"
    assert (tmp_path / "cgroup.subtree_control").read_text().split() == ["+memory", "+cpu"]
    assert (Path(group) / "memory.max").read_text() == "5000000"
    assert (Path(group) / "memory.swap.max").read_text() == "0"
    assert (Path(group) / "cpu.max").read_text() == "150000 100000"
    assert not (tree.unit / cgroup.LEAF).exists()


@pytest.mark.parametrize("own", ["homeport.service", "homeport.service/homeport.self"])
def test_version_2_below_a_delegated_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str) -> None:
    tree = Unified(tmp_path, "homeport.service", monkeypatch, delegated=True)
    monkeypatch.setattr(cgroup, "_own", lambda controller: f"/{own}")
    (group,) = cgroup.create("x", None, 0.001)
    assert Path(group) == tree.unit / "homeport.x"
    assert (tree.unit / cgroup.LEAF).is_dir()
    assert (tree.unit / "cgroup.subtree_control").read_text() == "+cpu"
    assert (Path(group) / "cpu.max").read_text() == "1000 100000"


def test_version_2_without_the_controller_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Unified(tmp_path, "", monkeypatch, delegated=False)
    (tmp_path / "cgroup.controllers").write_text("pids\n")
    with pytest.raises(OSError, match="no memory controller"):
        cgroup.create("x", MB, None)
