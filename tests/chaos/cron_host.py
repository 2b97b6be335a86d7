"""A control plane that does nothing but jobs, to be killed: ``cron_host.py <data dir>``.

What serves is read anew from ``crons.json`` in the data directory at each look.
"""

import json
import logging
import sys
import threading
from pathlib import Path

from homeport.journal.store import Store, open_engine
from homeport.kernel.ids import AppName, EnvironmentName, InstanceName, ReleaseId
from homeport.runtime.jobs.model import Target
from homeport.runtime.jobs.service import Jobs
from homeport.runtime.model import InstanceSpec
from homeport.spec.model import Cron
from homeport.system.clock import RealClock


def main(data: Path) -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)

    def instance(cron: Cron, name: str) -> InstanceSpec:
        return InstanceSpec(
            InstanceName(name),
            cron.command,
            str(data),
            (("OUT", str(data / "out")),),
            stop_grace=cron.stop_grace,
        )

    def targets() -> tuple[Target, ...]:
        crons = tuple(Cron(**cron) for cron in json.loads((data / "crons.json").read_text()))
        return (Target(AppName("shop"), EnvironmentName("production"), ReleaseId("r1"), crons, instance),)

    clock = RealClock()
    jobs = Jobs(data, Store(open_engine(data / "state.db"), clock), clock, targets)
    jobs.start()
    threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
