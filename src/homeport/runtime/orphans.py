"""What outlives a supervisord that was killed, and what to do before and while the next one runs.

``kill -9`` of supervisord leaves its children running. A new one would start second copies on the same
ports, so their program files are put aside first: they serve on as ORPHANED until they are replaced.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from homeport.kernel.clock import Clock
from homeport.kernel.ids import InstanceName
from homeport.runtime.documents import remove_cut_off
from homeport.runtime.layout import Layout
from homeport.runtime.processes import descends, end_pids, forget, living
from homeport.system.process import marked


def prepare(data_dir: Path) -> None:
    """Make the runtime's directories, for the owner only."""
    for directory in Layout(data_dir).directories():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def names_in(directory: Path) -> set[str]:
    """The instances that have a program file in ``directory``."""
    try:
        return {p.name.removesuffix(".conf") for p in directory.iterdir() if p.name.endswith(".conf")}
    except FileNotFoundError:
        return set()


def set_aside(data_dir: Path) -> tuple[InstanceName, ...]:
    """Call before a new supervisord is started, with none running. Returns the instances left orphaned.

    After it, supervisord will start exactly the instances that are wanted and of which nothing runs:
    program files of live orphans are in ``orphaned/``, all others in ``programs/`` (after a reboot
    nothing is alive, so all come back). What a stop that a reboot cut short left on disk is removed.
    """
    prepare(data_dir)
    layout = Layout(data_dir)
    alive = living(layout)
    for name in names_in(layout.programs) & alive.keys():
        os.replace(layout.program(name), layout.orphaned_program(name))
    for name in names_in(layout.orphaned) - alive.keys():
        os.replace(layout.orphaned_program(name), layout.program(name))
    wanted = names_in(layout.programs) | names_in(layout.orphaned)
    on_disk = {p.name.rpartition(".")[0] for p in layout.instances.iterdir() if not p.name.startswith(".")}
    for name in on_disk - wanted - alive.keys():
        forget(layout, name)
    remove_cut_off(layout)
    return tuple(InstanceName(name) for name in sorted(alive))


def end_orphaned_services(
    data_dir: Path, names: Iterable[str], clock: Clock, *, supervisor: int = 0, grace: float = 5.0
) -> tuple[str, ...]:
    """End processes of Homeport's own programs (marked ``serve``, ``logd``) that no supervisor owns.

    ``supervisor``: the pid of the supervisord that runs, 0 for none; what it owns is left alone, and so
    is the caller. Returns the names of which something ran.
    """
    wanted = frozenset(names)
    found = [
        process
        for process in marked(str(data_dir))
        if process.instance in wanted
        and process.pid != os.getpid()
        and not (supervisor and descends(process.pid, supervisor))
    ]
    end_pids([process.pid for process in found], clock, grace=grace)
    return tuple(sorted({process.instance for process in found}))
