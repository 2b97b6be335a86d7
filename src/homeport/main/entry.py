"""The ``homeport`` program. The only reader of the process environment, with ``serve``."""

import gc
import os
import sys
from pathlib import Path


def main() -> None:
    """Entry point of the console script."""
    if sys.argv[1:] == ["--version"]:
        from homeport import __version__

        print(f"homeport {__version__}")
        return
    gc.disable()  # as homeport.system.start does
    from homeport.cli.app import run
    from homeport.cli.context import Session
    from homeport.main import lifecycle
    from homeport.system.clock import RealClock

    gc.freeze()
    gc.enable()
    session = Session(
        data_dir=data_dir(),
        clock=RealClock(),
        directory=Path.cwd(),
        variables=dict(os.environ),
        lifecycle=lifecycle,
    )
    sys.exit(run(session, sys.argv[1:]))


def data_dir() -> Path:
    """``HOMEPORT_HOME``, else /var/lib/homeport as root, else ./.homeport; spelled in one way only, since it
    marks what belongs to it."""
    named = os.environ.get("HOMEPORT_HOME")
    if named:
        return Path(named).resolve()
    return Path("/var/lib/homeport") if os.geteuid() == 0 else Path.cwd() / ".homeport"


if __name__ == "__main__":
    main()
