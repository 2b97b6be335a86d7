"""One-off commands as data: what their runner (``terminal.py``) is given. Pure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from homeport.kernel.ids import InstanceName
from homeport.runtime import commands
from homeport.runtime.layout import Layout
from homeport.runtime.model import InstanceSpec

OWNER, INSTANCE = "HOMEPORT_OWNER", "HOMEPORT_INSTANCE"


def runner(python: str) -> tuple[str, ...]:
    """argv, to which the number of the descriptor that holds the document is added."""
    return (python, "-I", "-S", str(Path(__file__).with_name("terminal.py")))


def document(spec: InstanceSpec, name: InstanceName, layout: Layout, argv: Sequence[str]) -> dict[str, Any]:
    """As an instance's, but for the command, which no shell sees."""
    marks = ((OWNER, str(layout.data)), (INSTANCE, str(name)))
    return {**commands.instance_document(spec, layout, marks, name), "name": name, "argv": list(argv)}
