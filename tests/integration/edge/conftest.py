import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

if "edge_rig" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("edge_rig", Path(__file__).with_name("edge_rig.py"))
    assert _spec is not None and _spec.loader is not None
    _module = importlib.util.module_from_spec(_spec)
    sys.modules["edge_rig"] = _module
    _spec.loader.exec_module(_module)


@pytest.fixture
def rig() -> Iterator[Any]:
    from edge_rig import rig

    yield from rig()


@pytest.fixture
def shop(rig: Any) -> Any:
    """With one server, ``a1``, started."""
    rig.backend("a1")
    rig.start(rig.state(rig.server("a1")))
    return rig
