"""``homeport.database.child`` in a process of its own: one piece of work on a database.

What it takes (a parser of SQL, a driver: some 40 MB) is gone when it ends, and ``kill -9`` of it is what the work
has to survive anyway. A JSON document comes by stdin, since it holds passwords; one JSON document a line goes out:
``{"say": KIND, …}`` while it works, and at the end ``{"done": …}`` or ``{"error": …}``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from homeport.database.works import WORKS
from homeport.kernel.errors import HomeportError
from homeport.system.clock import RealClock

Say = Callable[[str, Mapping[str, Any]], None]


def main() -> int:
    request = json.load(sys.stdin)
    return answer(lambda say: WORKS[request["work"]](request, say, RealClock()))


def answer(work: Callable[[Say], Any]) -> int:
    """Do it, and tell how it ended."""
    try:
        done = work(_say)
    except HomeportError as e:
        _print(
            {"error": {"code": e.code, "sentence": e.sentence, "hint": e.hint, "details": list(e.details)}}
        )
        return 0
    _print({"done": done})
    return 0


def _say(kind: str, values: Mapping[str, Any]) -> None:
    _print({"say": kind, **values})


def _print(document: Mapping[str, Any]) -> None:
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    sys.exit(main())
