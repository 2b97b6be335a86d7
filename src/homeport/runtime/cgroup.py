"""Memory and CPU limits by Linux control groups, versions 1 and 2.

A limit is a group of its own that the instance's first process joins before it becomes the app, so it
holds for all its processes together, swap included. Where the groups go:

- version 1: below the group this process is in, for ``memory`` and ``cpu`` each;
- version 2, the group of a systemd unit with ``Delegate=yes``: below it, after the unit's processes were
  moved into a leaf of it (a group that hands on controllers may hold no processes itself);
- version 2, anywhere else: at the top, as Docker does with its own groups (needs root).

The launcher runs this without Homeport on its path: the standard library only. Errors are OSError.
"""

import errno
import os

PREFIX = "homeport."
LEAF = PREFIX + "self"
PERIOD = 100_000
"""Microseconds in which a group may use its quota of CPU time."""
MINIMUM_QUOTA = 1_000
V1_CONTROLLERS = ("memory", "cpu")
Settings = list[tuple[str, str, bool]]
"""(file, text, must exist)"""


def _read(path: str) -> str:
    with open(path) as f:
        return f.read()


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _own(controller: str, proc: str = "/proc/self/cgroup") -> str | None:
    """Path of the group this process is in; "" for ``controller`` is version 2. None without one."""
    for line in _read(proc).splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return path
    return None


def _mounts(mounts: str = "/proc/self/mounts") -> dict[str, str]:
    """Mount point of each version 1 controller, and of version 2 as "" when it has controllers."""
    found: dict[str, str] = {}
    for line in _read(mounts).splitlines():
        _, point, kind, options = line.split()[:4]
        if kind == "cgroup":
            for name in V1_CONTROLLERS:
                if name in options.split(","):
                    found.setdefault(name, point)
        elif kind == "cgroup2":
            found.setdefault("", point)
    return found


def _below(root: str, path: str) -> str:
    """The directory of a group; the mount's top where a container shows only its own part."""
    directory = root + path.rstrip("/")
    return directory if os.path.isdir(directory) else root


def _settings_v1(memory: int | None, cpu: float | None) -> dict[str, Settings]:
    """By controller."""
    settings: dict[str, Settings] = {}
    if memory is not None:
        settings["memory"] = [
            ("memory.limit_in_bytes", str(memory), True),
            ("memory.memsw.limit_in_bytes", str(memory), False),
        ]
    if cpu is not None:
        quota = max(MINIMUM_QUOTA, round(cpu * PERIOD))
        settings["cpu"] = [("cpu.cfs_period_us", str(PERIOD), True), ("cpu.cfs_quota_us", str(quota), True)]
    return settings


def _settings_v2(memory: int | None, cpu: float | None) -> Settings:
    settings: Settings = []
    if memory is not None:
        settings += [("memory.max", str(memory), True), ("memory.swap.max", "0", False)]
    if cpu is not None:
        settings.append(("cpu.max", f"{max(MINIMUM_QUOTA, round(cpu * PERIOD))} {PERIOD}", True))
    return settings


def _make(directory: str, settings: Settings) -> None:
    try:
        os.mkdir(directory)
    except FileExistsError:
        pass
    for name, text, required in settings:
        path = f"{directory}/{name}"
        if required or os.path.exists(path):
            _apply(path, text)


def _apply(path: str, text: str) -> None:
    """Write a setting. Version 1 wants memory <= memory and swap at all times: lowering is done in two."""
    try:
        _write(path, text)
    except OSError as e:
        if e.errno != errno.EINVAL or not path.endswith("memory.limit_in_bytes"):
            raise
        _write(path.replace("memory.limit", "memory.memsw.limit"), text)
        _write(path, text)


def _is_delegated(directory: str) -> bool:
    for name in ("trusted.delegate", "user.delegate"):
        try:
            if os.getxattr(directory, name) == b"1":
                return True
        except OSError:
            continue
    return False


def _parent_v2(root: str, own: str, controllers: list[str]) -> str:
    """The group to make ours below, with ``controllers`` handed on to its children."""
    own = own.removesuffix("/" + LEAF)
    parent = _below(root, own)
    if not _is_delegated(parent):
        parent = root
    missing = [c for c in controllers if c not in _read(f"{parent}/cgroup.subtree_control").split()]
    if missing:
        if parent != root:
            _make(f"{parent}/{LEAF}", [])
            for pid in _read(f"{parent}/cgroup.procs").split():
                try:
                    _write(f"{parent}/{LEAF}/cgroup.procs", pid)
                except ProcessLookupError:
                    continue
        _write(f"{parent}/cgroup.subtree_control", " ".join(f"+{c}" for c in missing))
    return parent


def places(name: str, memory: int | None, cpu: float | None) -> list[tuple[str, Settings]]:
    """(directory, settings) of each group that these limits need. Nothing is made as yet.

    Raises OSError with a sentence where the limits cannot be made to bind.
    """
    mounts = _mounts()
    v1 = _settings_v1(memory, cpu)
    if all(controller in mounts for controller in v1):
        found = []
        for controller, settings in v1.items():
            own = _own(controller)
            if own is None:
                raise OSError(errno.ENOENT, f"this process is in no {controller} group")
            found.append((f"{_below(mounts[controller], own)}/{PREFIX}{name}", settings))
        return found
    if "" not in mounts:
        raise OSError(errno.ENOENT, "no cgroup file system is mounted here")
    controllers = list(v1)
    root = mounts[""]
    available = _read(f"{root}/cgroup.controllers").split()
    for controller in controllers:
        if controller not in available:
            raise OSError(errno.ENOENT, f"the kernel offers no {controller} controller here")
    parent = _parent_v2(root, _own("") or "/", controllers)
    return [(f"{parent}/{PREFIX}{name}", _settings_v2(memory, cpu))]


def make(groups: list[tuple[str, Settings]]) -> None:
    """Make the groups, or set those that are there. Raises OSError."""
    for directory, settings in groups:
        _make(directory, settings)


def create(name: str, memory: int | None, cpu: float | None) -> list[str]:
    """Make the groups for these limits; returns their directories, or removes what was made and raises."""
    groups = places(name, memory, cpu)
    directories = [directory for directory, _ in groups]
    try:
        make(groups)
    except OSError:
        remove(directories)
        raise
    return directories


def join(directories: list[str]) -> None:
    """Move this process into the groups."""
    for directory in directories:
        _write(f"{directory}/cgroup.procs", str(os.getpid()))


def remove(directories: list[str]) -> bool:
    """Remove groups that have no process any more; True when none of them is left."""
    gone = True
    for directory in directories:
        if not os.path.basename(directory).startswith(PREFIX):
            continue
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            continue
        except OSError:
            gone = False
    return gone


def ran_out_of_memory(directories: list[str]) -> bool:
    """Whether the kernel killed a process of the groups for their memory limit."""
    for directory in directories:
        for name in ("memory.oom_control", "memory.events"):
            try:
                lines = _read(f"{directory}/{name}").splitlines()
            except OSError:
                continue
            for line in lines:
                key, _, count = line.partition(" ")
                if key == "oom_kill" and int(count) > 0:
                    return True
    return False
