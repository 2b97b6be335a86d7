"""``homeport.main.backing`` in a process of its own: one piece of work on backups.

It opens ``state.db`` and the secrets' key by itself: nothing secret has to be handed over but a passphrase, which
comes by stdin with the request. See :mod:`homeport.database.child` for what goes out.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from homeport.backup.toolbox import Toolbox
from homeport.backup.works import WORKS
from homeport.database.child import answer
from homeport.database.state import DatabaseState
from homeport.guard.vault import Vault
from homeport.journal.store import Store, open_engine
from homeport.runtime.services import SupervisorServices
from homeport.system.clock import RealClock
from homeport.system.seal import KEY_FILE


def toolbox(data_dir: Path) -> Toolbox:
    clock = RealClock()
    store = Store(open_engine(data_dir / "state.db"), clock)
    return Toolbox(
        data_dir,
        DatabaseState(store),
        Vault(store, data_dir / KEY_FILE),
        SupervisorServices(data_dir, clock),
        clock,
    )


def main() -> int:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    request: dict[str, Any] = json.load(sys.stdin)

    def work(say: Any) -> Any:
        box = toolbox(Path(request["data_dir"]))
        return WORKS[request["work"]](box, _given(request), say)

    return answer(work)


def _given(request: Mapping[str, Any]) -> Mapping[str, Any]:
    return {k: v for k, v in request.items() if k not in ("work", "data_dir")}


if __name__ == "__main__":
    sys.exit(main())
