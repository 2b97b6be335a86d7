"""Runs the runner of a one-off command in this terminal, and waits for it as a shell would."""

import json
from typing import Any

from homeport.kernel.clock import Clock
from homeport.system import process

GRACE = 5.0
"""Seconds that a command has to end after the terminal is gone."""


def run_in_terminal(runner: list[str], document: dict[str, Any], clock: Clock) -> int:
    """The exit status; 128 and the signal's number when one ended it."""
    return process.foreground(runner, json.dumps(document).encode(), grace=GRACE)
